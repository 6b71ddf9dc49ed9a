"""A job without namespaces: its workspace is a copy in a directory of its own, removed when it is over.

Paths that are fixed in a sandbox (``/box``, where binds and files are) can't be had here, so they are replaced by the
real ones wherever they stand in the job's arguments and environment.
"""

from __future__ import annotations

import os
import signal
import stat
from typing import Any

from evalkit.sandbox.helper.copying import copy_range, copy_tree

__all__ = ["PlainStage", "descendants", "end_children", "remove_tree"]

_READABLE = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/etc/localtime", "/etc/ld.so.cache")
_ABOUT_MACHINE = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/vm",
    "/proc/self",
)
_CONFIGURATION = ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/alternatives")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PlainStage:
    """The directory of one job.

    Args:
        shared: what all jobs share.
        ids: user and group that the job runs as, or None for the caller's own.
    """

    def __init__(self, shared: dict[str, Any], ids: list[int] | None) -> None:
        self._shared, self._ids = shared, ids
        self.box = -1
        self.watched: dict[str, int] = {}
        self._place = self._root = self._box = self._scratch = ""

    def prepare(self) -> None:
        """Nothing can be done before there is a job."""

    def build(self, spec: dict[str, Any], payload: int, sealed: list[int]) -> None:
        """Copy what the job gets.

        Raises:
            OSError: something can't be copied; the message says which.
        """
        self._place = f"{spec['directory']}-{os.getpid()}"
        os.mkdir(self._place, 0o711)
        self._root, self._scratch = f"{self._place}/root", f"{self._place}/scratch"
        self._box = spec["workspace"] or f"{self._place}/box"
        for path in {self._root, self._scratch, self._box} - {spec["workspace"]}:
            os.mkdir(path, 0o755)
        if spec["tree"]:
            copy_tree(spec["tree"], self._box, self._ids)
        for path in (self._scratch, self._box):
            if self._ids and path != spec["workspace"]:
                os.chown(path, *self._ids)
        for target, offset, size in spec["files"]:
            self._file(target, payload, offset, size)
        for (target, _, size), descriptor in zip(spec["sealed"], sealed, strict=True):
            self._file(target, descriptor, 0, size)
        self.box = os.open(self._box, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def _file(self, target: str, source: int, offset: int, size: int) -> None:
        os.makedirs(self._root + os.path.dirname(target), 0o755, exist_ok=True)
        copy_range(source, offset, size, self._root + target)

    def order(self, spec: dict[str, Any]) -> dict[str, Any]:
        """What the process that becomes the job has to know."""
        places = {"/box": self._box}
        for target, *_ in [*spec["files"], *spec["sealed"]]:
            folder = target.rpartition("/")[0]
            places |= {target: self._root + target} | ({folder: self._root + folder} if folder else {})
        places |= {target: source for source, target, _ in spec["binds"]}
        env = {name: _translate(value, places) for name, value in spec["env"].items()}
        landlock = self._shared["confinement"] == "landlock"
        return {
            "argv": [_translate(word, places) for word in spec["argv"]],
            "env": env | {"HOME": self._box, "TMPDIR": self._scratch},
            "box": self._box,
            "landlock": landlock,
            "seccomp": self._shared["seccomp"] if landlock else "",
            "readable": self._readable(spec) if landlock else [],
            "writable": [self._box, self._scratch, *_DEVICES, *(s for s, _, writable in spec["binds"] if writable)],
        }

    def _readable(self, spec: dict[str, Any]) -> list[str]:
        devices = [f"/dev/{device}" for device in spec["devices"]]
        system = [*_READABLE, *_ABOUT_MACHINE, *_CONFIGURATION]
        return [*self._shared["binds"], *system, *devices, self._root, *(source for source, *_ in spec["binds"])]

    def end_rest(self) -> None:
        """Kill whatever of the job still lives.

        A job with a user of its own is killed by that user, all at once: ``kill(-1)`` leaves no gap in which a process
        could fork away. Otherwise every descendant is looked for and killed; the caller repeats that.
        """
        if self._ids:
            child = os.fork()
            if child == 0:
                os.setgroups([])
                os.setresgid(self._ids[1], self._ids[1], self._ids[1])
                os.setresuid(self._ids[0], self._ids[0], self._ids[0])
                try:
                    os.kill(-1, signal.SIGKILL)
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            return
        end_children()

    def remove(self) -> None:
        """Remove the directory, whatever is in it."""
        os.close(self.box)
        if self._place:
            remove_tree(self._place)


def end_children() -> None:
    """Kill every descendant of this process that can be found now."""
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue


def _translate(text: str, places: dict[str, str]) -> str:
    """Replace a fixed path at the beginning of a word, or after ``=`` or ``:``."""
    for target, real in sorted(places.items(), key=lambda pair: -len(pair[0])):
        if text == target or text.startswith(f"{target}/"):
            return real + text[len(target) :]
    for separator in ("=", ":"):
        left, found, right = text.partition(separator)
        if found and right.startswith("/"):
            return f"{left}{found}{_translate(right, places)}"
    return text


def descendants(pid: int) -> list[int]:
    """Pids below a process, as far as they can be seen now."""
    found, pending = [], [pid]
    while pending:
        here = pending.pop()
        try:
            with open(f"/proc/{here}/task/{here}/children") as file:
                children = [int(child) for child in file.read().split()]
        except OSError:
            continue
        found += children
        pending += children
    return found


def remove_tree(path: str) -> None:
    """Remove a directory of any depth and with any modes, without recursion and without following anything.

    One descriptor is open at a time: down by name, up by ``..``, so that neither a path nor a stack of descriptors gets
    long. The job is dead; nobody moves directories meanwhile.
    """
    here = os.open(path, _DIRECTORY)
    levels: list[tuple[bytes, list[bytes]]] = [(b"", _unlink_files(here))]
    try:
        while levels:
            name, folders = levels[-1]
            if folders:
                below = folders.pop()
                os.chmod(below, 0o700, dir_fd=here)  # it may have been shut on purpose
                here = _move(here, below)
                levels.append((below, _unlink_files(here)))
                continue
            levels.pop()
            if levels:
                here = _move(here, b"..")
                os.rmdir(name, dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(path)


def _move(here: int, name: bytes) -> int:
    there = os.open(name, _DIRECTORY, dir_fd=here)
    os.close(here)
    return there


def _unlink_files(here: int) -> list[bytes]:
    """Remove everything but directories; those are returned."""
    folders = []
    for entry in os.listdir(here):
        name = os.fsencode(entry)
        if stat.S_ISDIR(os.lstat(name, dir_fd=here).st_mode):
            folders.append(name)
        else:
            os.unlink(name, dir_fd=here)
    return folders
