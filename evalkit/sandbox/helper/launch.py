"""The process that becomes the job: forked before there is one, it waits to be told, and then executes bubblewrap."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.sandbox import counters, kernel, landlocking, seccomp
from evalkit.sandbox.helper import perf
from evalkit.sandbox.helper.plain import PlainStage

if TYPE_CHECKING:
    from evalkit.sandbox.helper.stage import Stage
    from evalkit.sandbox.helper.supervise import Given

__all__ = ["Launched", "Launcher"]

_LIMITS = {
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
}
_FAILED, _NOT_FOUND = 125, 127
_LIKELY_VICTIM = b"500"
_MESSAGE_SIZE = 64
_STREAMS = 3


@dataclass(frozen=True)
class Launched:
    """A started job.

    Attributes:
        pid: its outermost process.
        instructions: perf counter, or -1.
        status: descriptor on which is told whether the job's own program was started.
        wrapped: by bubblewrap, which then does the telling.
    """

    pid: int
    instructions: int
    status: int
    wrapped: bool

    def began(self) -> bool:
        """Whether the job's own program was started; only then does an exit code say something about it."""
        text = b""
        while chunk := os.read(self.status, 4096):
            text += chunk
        os.close(self.status)
        if not self.wrapped:
            return not text
        return any("exit-code" in json.loads(line) for line in text.splitlines() if line.strip())


class Launcher:
    """A child that waits for its job.

    Args:
        shared: what all jobs share (``program``, ``isolation``, ``seccomp``).
        ids: user and group that the job runs as, or None.
    """

    def __init__(self, shared: dict[str, Any], ids: list[int] | None) -> None:
        self._shared = shared
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        supervisor = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            try:
                _await(theirs, shared, ids, supervisor)
            finally:
                os._exit(_FAILED)
        theirs.close()
        self._counts = perf.available()

    def rehearse(self) -> None:
        """Go through the motions of :meth:`go` without a job, for the sake of pages; see :func:`_rehearse`."""
        _rehearse()
        if self._shared["confinement"] == "bubblewrap":
            os.close(_memfd("arguments", _options(_SAMPLE, self._shared, [], seccomp=0, status=0)))
        bytes.fromhex(self._shared["seccomp"])

    def go(self, spec: dict[str, Any], descriptors: Given, stage: Stage | PlainStage) -> Launched:
        """Tell the child what it becomes."""
        status, theirs = os.pipe2(os.O_CLOEXEC)
        counter = perf.open_counter(self._pid) if self._counts else -1
        filter_fd = _memfd("seccomp", bytes.fromhex(self._shared["seccomp"]))
        # Descriptors keep these numbers: the child puts what it receives at fixed places.
        first = _STREAMS
        last: dict[str, Any] = {"rlimits": spec["rlimits"], "kinds": [kind for kind, _ in descriptors.leaf]}
        if isinstance(stage, PlainStage):
            options, wrapped = b"", False
            last |= stage.order(spec)
        else:
            options = _options(spec, self._shared, stage.writable, seccomp=first + 1, status=first + 2)
            wrapped = True
            last["argv"] = spec["argv"]
        arguments = _memfd("arguments", options)
        order = json.dumps(last).encode()
        orders = _memfd("order", order)
        passed = [*descriptors.streams, arguments, filter_fd, theirs, orders, *(fd for _, fd in descriptors.leaf)]
        socket.send_fds(self._socket, [str(len(order)).encode()], passed)
        self._socket.close()
        for descriptor in (arguments, filter_fd, theirs, orders):
            os.close(descriptor)
        return Launched(self._pid, counter, status, wrapped)


_SAMPLE: dict[str, Any] = {
    "rlimits": dict.fromkeys(_LIMITS, 0),
    "kinds": [],
    "argv": [""],
    "devices": [],
    "env": {"": ""},
}


def _rehearse(order: bytes = json.dumps(_SAMPLE).encode()) -> None:
    """Touch what the last steps will touch: the first write to a page after a fork copies it, and now there is time."""
    descriptor = _memfd("rehearsal", order)
    sample = json.loads(os.pread(descriptor, len(order), 0))
    counters.join([])
    for name in sample["rlimits"]:
        soft, hard = resource.getrlimit(_LIMITS[name])
        resource.setrlimit(_LIMITS[name], (soft, _at_most(hard, hard)))
    os.close(descriptor)


def _memfd(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _options(
    spec: dict[str, Any], shared: dict[str, Any], writable: list[tuple[str, str]], *, seccomp: int, status: int
) -> bytes:
    """What bubblewrap is told, NUL-separated, so that none of it is seen in a process list."""
    options = [*shared["isolation"], "--ro-bind", "/sys/root", "/", "--proc", "/proc", "--dev", "/dev"]
    options += ["--bind", "/sys/shm", "/dev/shm"]  # noqa: S108 - a place inside the sandbox
    for device in spec["devices"]:
        options += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    options += ["--remount-ro", "/dev", "--bind", "/sys/tmp", "/tmp"]  # noqa: S108 - the same
    for path in shared["binds"]:
        if path.startswith("/tmp/"):  # noqa: S108 - an interpreter there would be hidden by the job's own /tmp
            options += ["--ro-bind", f"/sys/root{path}", path]
    for place, target in writable:
        options += ["--bind", place, target]
    options += ["--chdir", "/box", "--clearenv"]
    for name, value in spec["env"].items():
        options += ["--setenv", name, value]
    options += ["--seccomp", str(seccomp), "--json-status-fd", str(status)]
    return b"".join(os.fsencode(option) + b"\0" for option in options)


def _await(orders: socket.socket, shared: dict[str, Any], ids: list[int] | None, supervisor: int) -> None:
    """Wait for the job, then turn this process into it; never returns normally."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _write_score()
    _rehearse()
    message, received, _, _ = socket.recv_fds(orders, _MESSAGE_SIZE, 64)
    if not message:
        return
    head = _STREAMS + 3
    order = json.loads(os.pread(received[head], int(message), 0))
    counters.join(list(zip(order["kinds"], received[head + 1 :], strict=True)))
    for name, value in order["rlimits"].items():
        allowed = _at_most(value, resource.getrlimit(_LIMITS[name])[1])
        resource.setrlimit(_LIMITS[name], (allowed, allowed))
    if ids:
        uid, gid = ids
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        return  # it died before that was set, and nobody would ever be told
    _place(received[:head])
    if shared["confinement"] == "bubblewrap":
        program = shared["program"]
        os.execve(program, [program, "--args", str(_STREAMS), "--", *order["argv"]], {})  # noqa: S606 - no shell
    _become_plain(order, status=head - 1)


def _become_plain(order: dict[str, Any], status: int) -> None:
    """Shut this process in by landlock and seccomp, as far as asked, and become the job's program."""
    try:
        os.chdir(order["box"])
        if order["landlock"]:
            landlocking.restrict(order["readable"], order["writable"])
        if order["seccomp"]:
            seccomp.install(bytes.fromhex(order["seccomp"]))
    except OSError as error:
        os.write(status, b"failed")
        os.write(2, f"{error}\n".encode())
        return
    os.set_inheritable(status, False)
    os.closerange(_STREAMS, status)
    try:
        os.execvpe(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - no shell is what we want
    except OSError as error:
        os.write(2, f"{order['argv'][0]}: {error.strerror}\n".encode())
        os._exit(_NOT_FOUND)


def _place(received: list[int]) -> None:
    """Put descriptors at 0, 1, 2, …, and close every other one."""
    above = max(*received, len(received)) + 1
    moved = [os.dup2(descriptor, above + index, inheritable=False) for index, descriptor in enumerate(received)]
    for position, descriptor in enumerate(moved):
        os.dup2(descriptor, position)
    os.closerange(len(received), above + len(received))


def _at_most(value: int, hard: int) -> int:
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _write_score() -> None:
    """Should the machine run out of memory, the job goes first."""
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, _LIKELY_VICTIM)
    finally:
        os.close(descriptor)
