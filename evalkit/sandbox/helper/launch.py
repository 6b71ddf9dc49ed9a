"""The last steps in the process that becomes the job: cgroup, limits, user, descriptors, and then another program."""

from __future__ import annotations

import json
import os
import resource
import signal
from typing import TYPE_CHECKING, Any

from evalkit.sandbox import counters, kernel
from evalkit.sandbox.helper import perf

if TYPE_CHECKING:
    from evalkit.sandbox.helper.stage import Stage
    from evalkit.sandbox.helper.supervise import _Descriptors

__all__ = ["Launched"]

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
_FAILED = 125
_LIKELY_VICTIM = "500"


class Launched:
    """A started job.

    Attributes:
        pid: its outermost process.
        instructions: perf counter, or -1.
    """

    def __init__(self, spec: dict[str, Any], descriptors: _Descriptors, stage: Stage) -> None:
        go = os.pipe2(os.O_CLOEXEC)
        self._status = os.pipe2(os.O_CLOEXEC)
        arguments = _memfd("arguments", _arguments(spec, stage, descriptors.seccomp, self._status[1]))
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(go[1])
                _become(spec, descriptors, arguments, self._status[1], go[0])
            finally:
                os._exit(_FAILED)
        for end in (go[0], arguments, self._status[1]):
            os.close(end)
        self.instructions = perf.open_counter(self.pid)
        os.close(go[1])  # the child waits for this

    def began(self) -> bool:
        """Whether the job's own program was started; only then does an exit code say something about it."""
        text = b""
        while chunk := os.read(self._status[0], 4096):
            text += chunk
        os.close(self._status[0])
        return any("exit-code" in json.loads(line) for line in text.splitlines() if line.strip())


def _memfd(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _arguments(spec: dict[str, Any], stage: Stage, seccomp: int, status: int) -> bytes:
    """bubblewrap's options, NUL-separated, so that none of them is seen in a process list."""
    options = [*spec["isolation"], "--ro-bind", "/sys/root", "/", "--proc", "/proc", "--dev", "/dev"]
    options += ["--bind", "/sys/shm", "/dev/shm"]
    for device in spec["devices"]:
        options += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    options += ["--remount-ro", "/dev", "--bind", "/sys/tmp", "/tmp"]
    for place, target in stage.writable:
        options += ["--bind", place, target]
    options += ["--chdir", "/box", "--clearenv"]
    for name, value in spec["env"].items():
        options += ["--setenv", name, value]
    options += ["--seccomp", str(seccomp), "--json-status-fd", str(status)]
    return b"".join(os.fsencode(option) + b"\0" for option in options)


def _become(spec: dict[str, Any], descriptors: _Descriptors, arguments: int, status: int, go: int) -> None:
    """Turn this process into the job's; never returns."""
    os.read(go, 1)
    counters.join(descriptors.leaf)
    _write_score()
    for name, value in spec["rlimits"].items():
        allowed = _at_most(value, resource.getrlimit(_LIMITS[name])[1])
        resource.setrlimit(_LIMITS[name], (allowed, allowed))
    if spec["ids"]:
        uid, gid = spec["ids"]
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for position, stream in enumerate(descriptors.streams):
        os.dup2(stream, position)
    for descriptor in (descriptors.seccomp, arguments, status):
        os.set_inheritable(descriptor, True)  # noqa: FBT003
    os.execve(spec["program"], [spec["program"], "--args", str(arguments), "--", *spec["argv"]], {})


def _at_most(value: int, hard: int) -> int:
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _write_score() -> None:
    """Should the machine run out of memory, the job goes first."""
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, _LIKELY_VICTIM.encode())
    finally:
        os.close(descriptor)
