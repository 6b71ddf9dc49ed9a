"""From what the kernel counted to one word: how a job ended."""

from __future__ import annotations

import os
import signal
import stat
from dataclasses import dataclass, field

from evalkit.sandbox.artifacts import ArtifactForbidden, ArtifactMissing, collect_all
from evalkit.sandbox.interface import Job, Limits, Outcome, SealedFile

__all__ = ["Ending", "collect_artifacts", "judge"]

_SIGNAL_BASE = 128
_SCAN_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known when every process of a job is dead.

    Attributes:
        reason: ``exit`` by itself, or why we ended it: ``wall``, ``cpu``, ``memory``, ``output``, ``asked``.
        exit_code, signal: of the main process.
        began: whether the job's own program was started at all.
        oom: processes that the kernel killed because the job's memory limit was reached.
        pids: times the kernel refused a new process because the job's limit was reached.
        full: writable places of the job that were full at the end.
        failure: what went wrong on our side; empty when nothing did.
    """

    reason: str = "exit"
    exit_code: int | None = None
    signal: int | None = None
    began: bool = True
    oom: int = 0
    pids: int = 0
    full: tuple[str, ...] = field(default=())
    failure: str = ""

    @classmethod
    def from_exit_code(cls, code: int) -> tuple[int | None, int | None]:
        """Exit code and signal, from what a wrapper passes on (128 + n stands for signal n)."""
        if _SIGNAL_BASE < code <= _SIGNAL_BASE + signal.NSIG:
            return None, code - _SIGNAL_BASE
        return code, None


def judge(ending: Ending, limits: Limits) -> tuple[Outcome, str]:
    """The class of an ending, and one sentence for a person.

    The kernel's counters come first, because a job may fake any exit code, and one that ran out of memory in a child
    may still exit with 0 or wait for ever.
    """
    if ending.failure:
        return Outcome.SANDBOX_ERROR, ending.failure
    return _counted(ending, limits) or _ended(ending, limits) or _exit(ending)


def _counted(ending: Ending, limits: Limits) -> tuple[Outcome, str] | None:
    if ending.reason == "output":
        return Outcome.OUTPUT_LIMIT, f"wrote more than {limits.output} bytes of output"
    if ending.reason == "memory":
        return Outcome.OOM, f"used more than {limits.memory} bytes of memory"
    if ending.oom:
        return Outcome.OOM, f"ran out of memory: {ending.oom} killed at the limit of {limits.memory} bytes"
    if ending.pids:
        return Outcome.PIDS, f"wanted more than {limits.pids} processes and threads ({ending.pids} refused)"
    if ending.full:
        places = ", ".join(ending.full)
        return Outcome.DISK, f"filled {places}: {limits.disk} bytes (and files in proportion) may be written to each"
    return None


def _ended(ending: Ending, limits: Limits) -> tuple[Outcome, str] | None:
    ends = {
        "wall": (Outcome.TIMEOUT_WALL, f"still ran after {limits.wall:g} s"),
        "cpu": (Outcome.TIMEOUT_CPU, f"used more than {limits.cpu or 0:g} s of CPU time"),
        "asked": (Outcome.SIGNAL, "was ended by its caller"),
    }
    return ends.get(ending.reason)


def _exit(ending: Ending) -> tuple[Outcome, str]:
    if not ending.began:
        return Outcome.SANDBOX_ERROR, "the sandbox could not be set up"
    if ending.signal is not None:
        return Outcome.SIGNAL, f"was ended by signal {ending.signal} ({_signal_name(ending.signal)})"
    if ending.exit_code:
        return Outcome.NONZERO, f"exited with code {ending.exit_code}"
    return Outcome.OK, ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "a real-time signal"


def collect_artifacts(job: Job, box: int) -> tuple[dict[str, SealedFile], Outcome, str]:
    """The declared artefacts of a job that ended well, or why there are none."""
    try:
        return collect_all(box, job.artifacts, job.artifact_size), Outcome.OK, ""
    except ArtifactMissing as missing:
        return {}, Outcome.MISSING_ARTIFACT, f"artefact {missing}"
    except ArtifactForbidden as forbidden:
        return {}, Outcome.FORBIDDEN_ARTIFACT, f"artefact {forbidden}"


def reached_file_size(directory: int, limit: int) -> bool:
    """Whether a file below a directory is exactly as large as one file may be, which is what the limit leaves behind.

    Looks at 20,000 entries at most, follows nothing, and is asked only about jobs that failed.
    """
    seen = 0
    for _, folders, files, place in os.fwalk(".", dir_fd=directory, follow_symlinks=False):
        for name in files:
            try:
                status = os.stat(name, dir_fd=place, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_size == limit:
                return True
        seen += len(files) + len(folders)
        if seen > _SCAN_LIMIT:
            return False
    return False
