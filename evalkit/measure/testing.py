"""For tests and benches: a sandbox that runs nothing, and answers with what a Python function says.

Everything around a trial (scorers' protocol, verdicts, ledger, keeps) is real; only the job itself is a call. What
is tested with it says nothing about containment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from evalkit.sandbox.artifacts import seal_bytes
from evalkit.sandbox.interface import Captured, Job, Outcome, Probe, Result, Usage

__all__ = ["Said", "StubSandbox"]


_LITTLE = Usage(wall=0.001, user=0.001, system=0.0, peak_memory=1 << 20)


@dataclass(frozen=True, slots=True)
class Said:
    """How a pretended job ended.

    Attributes:
        outcome: the class of its ending.
        artifacts: bytes by name.
        stdout, stderr: what it printed; of an interactive job, ``stdout`` goes to its caller (64 KiB at most).
        usage: what it used.
    """

    outcome: Outcome = Outcome.OK
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    stdout: bytes = b""
    stderr: bytes = b""
    usage: Usage = _LITTLE


class StubSandbox:
    """Implements :class:`evalkit.sandbox.interface.Sandbox`.

    Args:
        say: called with every job; says how it ends.
    """

    name = "stub"
    unsafe = False

    def __init__(self, say: Callable[[Job], Said]) -> None:
        self._say = say
        self.jobs = 0

    def probe(self) -> Probe:
        """It can always run, and holds nothing."""
        return Probe(usable=True)

    def start(self, job: Job) -> _StubJob:
        """Start and end a job."""
        self.jobs += 1
        return _StubJob(job, self._say(job))

    def sweep(self) -> list[str]:
        """There is nothing to remove."""
        return []

    def close(self) -> None:
        """There is nothing to give back."""


class _StubJob:
    def __init__(self, job: Job, said: Said) -> None:
        self._said = said
        self._interactive = job.interactive
        if job.interactive:
            read, self.stdin = os.pipe2(os.O_CLOEXEC)
            self.stdout, write = os.pipe2(os.O_CLOEXEC)
            os.write(write, said.stdout)
            os.close(write)
            os.close(read)

    def wait(self) -> Result:
        said = self._said
        ok = said.outcome is Outcome.OK
        printed = b"" if self._interactive else said.stdout
        return Result(
            outcome=said.outcome,
            exit_code=0 if ok else 1,
            stdout=Captured(printed, b"", len(printed)),
            stderr=Captured(said.stderr, b"", len(said.stderr)),
            usage=said.usage,
            artifacts={name: seal_bytes(name, content) for name, content in said.artifacts.items()} if ok else {},
            problem="" if ok else f"pretended to end as {said.outcome}",
        )

    def kill(self) -> None:
        """It has ended already."""
