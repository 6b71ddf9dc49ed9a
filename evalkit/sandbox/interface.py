"""What every sandbox backend is: a job goes in, a result comes out, and nothing is left behind.

A backend is one file that implements :class:`Sandbox`. All backends take the same :class:`Job`, enforce the same
:class:`Limits` as far as the machine allows, and return the same :class:`Result`, which says what was enforced and
what was not. Paths inside a sandbox are fixed: the workspace is ``/box`` (also the working directory and ``HOME``),
scratch space is ``/tmp``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

__all__ = [
    "BOX",
    "Bind",
    "Captured",
    "Identity",
    "Job",
    "Limits",
    "Outcome",
    "Probe",
    "Result",
    "Running",
    "Sandbox",
    "SealedFile",
    "Usage",
]

BOX = "/box"
Identity = Literal["candidate", "scorer", "proposer"]


class Outcome(StrEnum):
    """How a job ended, told from the kernel's own counters and never guessed from an exit code."""

    OK = "ok"
    NONZERO = "nonzero"
    SIGNAL = "signal"
    TIMEOUT_WALL = "timeout_wall"
    TIMEOUT_CPU = "timeout_cpu"
    OOM = "oom"
    PIDS = "pids"
    DISK = "disk"
    OUTPUT_LIMIT = "output_limit"
    FORBIDDEN_ARTIFACT = "forbidden_artifact"
    MISSING_ARTIFACT = "missing_artifact"
    SCORER_ERROR = "scorer_error"
    SANDBOX_ERROR = "sandbox_error"
    """Ours; never blamed on the candidate."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may cost.

    Attributes:
        wall: seconds of wall time.
        cpu: CPU seconds of the whole process tree (user + system), or None for no limit.
        memory: bytes of the whole process tree, swap included.
        pids: processes and threads at any one time.
        disk: bytes that the job may write to its workspace; ``/tmp`` and ``/dev/shm`` have the same cap each.
        file_size: bytes of a single file; None means ``disk``.
        open_files: file descriptors of one process.
        output: bytes of stdout plus stderr after which the job is killed.
        kept: bytes of the head, and again of the tail, that are kept of each stream.
    """

    wall: float = 60.0
    cpu: float | None = None
    memory: int = 2 << 30
    pids: int = 256
    disk: int = 1 << 30
    file_size: int | None = None
    open_files: int = 1024
    output: int = 16 << 20
    kept: int = 64 << 10


@dataclass(frozen=True, slots=True)
class Bind:
    """A host file or directory that the job sees at ``target`` (an absolute path)."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class SealedFile:
    """Bytes that can't change any more: a memfd with every seal set, and its digest.

    The holder of the result owns the descriptor: call :meth:`close`.
    """

    name: str
    fd: int
    size: int
    sha256: str

    def read(self) -> bytes:
        """All bytes; the descriptor's offset is left alone."""
        return os.pread(self.fd, self.size, 0)

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.fd)


@dataclass(frozen=True, slots=True)
class Job:
    """One command to run in a sandbox.

    Attributes:
        argv: the command. ``argv[0] == "python"`` stands for the interpreter of the user's environment, which is
            bound read-only where it is, with its packages.
        tree: a pristine directory. The job sees a private writable copy of it (an overlay where that can be had) at
            ``/box``; whatever it writes there is gone afterwards, except for the declared artefacts.
        workspace: instead of ``tree``, a host directory that the job edits in place at ``/box`` (proposers).
        binds: further host paths, read-only unless they say otherwise.
        files: small read-only files that the job sees at absolute paths: bytes, or sealed files of an earlier job.
        masks: host paths that the job must not see although a bound directory holds them (a standard-library module
            that holds the test text, say): a directory looks empty, a file too.
        env: the job's whole environment besides ``PATH``, ``HOME`` and ``LANG``.
        limits: what it may cost.
        artifacts: names below ``/box`` that may leave the sandbox.
        artifact_size: bytes that one artefact may have.
        stdin: bytes given on standard input; none means ``/dev/null``.
        interactive: standard input and output are pipes in the caller's hands (:attr:`Running.stdin`,
            :attr:`Running.stdout`); only stderr is captured then, and ``stdin`` must be None.
        network: False, or a forwarding proxy decides (proposers only).
        hosts: what the proxy lets through: ``host``, ``host:port`` or ``*.domain``; port 443 where none is named.
        devices: names below ``/dev`` that the contract declared.
        identity: whose job it is; candidate, scorer and proposer run as different users where the backend can.
    """

    argv: tuple[str, ...]
    tree: Path | None = None
    workspace: Path | None = None
    binds: tuple[Bind, ...] = ()
    files: Mapping[str, bytes | SealedFile] = field(default_factory=dict)
    masks: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    artifacts: tuple[str, ...] = ()
    artifact_size: int = 1 << 30
    stdin: bytes | None = None
    interactive: bool = False
    network: bool = False
    hosts: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    identity: Identity = "candidate"


@dataclass(frozen=True, slots=True)
class Captured:
    """What a job wrote to one stream: the first and the last bytes, and how many there were."""

    head: bytes = b""
    tail: bytes = b""
    total: int = 0

    def text(self) -> str:
        """Head and tail as text, with a line between them where bytes were left out."""
        left_out = self.total - len(self.head) - len(self.tail)
        middle = f"\n… {left_out} bytes left out …\n".encode() if left_out else b""
        return (self.head + middle + self.tail).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a job used, its whole process tree, orphans included.

    Seconds and bytes. None where this machine can't tell.
    """

    wall: float
    user: float | None = None
    system: float | None = None
    peak_memory: int | None = None
    peak_pids: int | None = None
    instructions: int | None = None

    @property
    def cpu(self) -> float | None:
        """User plus system seconds."""
        return None if self.user is None or self.system is None else self.user + self.system


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended.

    Attributes:
        outcome: the class of the ending.
        exit_code: of the main process, when it exited.
        signal: that ended the main process, when one did.
        stdout, stderr: what was kept of the streams.
        usage: what it used.
        artifacts: the declared artefacts, by name, sealed.
        problem: one sentence for a person wherever ``outcome`` is not ``ok``.
        enforced, unenforced: which protections and limits held for this job, and which could not be had here.
        contacted: ``host:port`` that the job's proxy was asked for, refused ones with a leading ``!``.
    """

    outcome: Outcome
    exit_code: int | None = None
    signal: int | None = None
    stdout: Captured = Captured()
    stderr: Captured = Captured()
    usage: Usage = Usage(wall=0.0)
    artifacts: Mapping[str, SealedFile] = field(default_factory=dict)
    problem: str = ""
    enforced: tuple[str, ...] = ()
    unenforced: tuple[str, ...] = ()
    contacted: tuple[str, ...] = ()

    def close(self) -> None:
        """Give back the artefacts' memory."""
        for artifact in self.artifacts.values():
            artifact.close()


@dataclass(frozen=True, slots=True)
class Probe:
    """What a backend can do on this machine, found out by running a real canary.

    Attributes:
        usable: whether jobs can run at all.
        enforced: what holds here.
        unenforced: what does not.
        reason: why it is not usable, or why something is not enforced; one sentence.
        way_out: the one command that would change it.
    """

    usable: bool
    enforced: tuple[str, ...] = ()
    unenforced: tuple[str, ...] = ()
    reason: str = ""
    way_out: str = ""


@runtime_checkable
class Running(Protocol):
    """A job under way. A thread of the backend enforces its limits; the caller only waits or talks."""

    @property
    def stdin(self) -> int:
        """Descriptor to write to the job's standard input (interactive jobs only); the caller closes it."""

    @property
    def stdout(self) -> int:
        """Descriptor to read the job's standard output from (interactive jobs only); the caller closes it."""

    def wait(self) -> Result:
        """Block until every process of the job is dead and its artefacts are sealed."""

    def kill(self) -> None:
        """End the job and everything it started."""


@runtime_checkable
class Sandbox(Protocol):
    """A backend."""

    name: str
    unsafe: bool

    def probe(self) -> Probe:
        """Find out what holds here."""

    def start(self, job: Job) -> Running:
        """Start a job.

        Raises:
            SandboxUnavailable: the engine can't run here.
            ValueError: the job itself makes no sense (a NUL in a name, both ``tree`` and ``workspace``).
        """

    def sweep(self) -> list[str]:
        """Remove what killed runs left behind; say what it was."""

    def close(self) -> None:
        """Stop helpers and give back everything; the sandbox can't be used afterwards."""
