"""One control group for each job, below the caller's own, so that limits already in force stay in force.

Works with cgroup v1 (a directory for each controller), with v1 and v2 side by side, and with v2 alone, where a process
can't have siblings in a group that hands out controllers: the caller's own group is used when only this process lives
there (what ``systemd-run --user --scope -p Delegate=yes`` gives), else its parent when that hands out what is needed.
Leaves are named after the process that made them, so that those of a killed process can be told and removed.
"""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evalkit.sandbox import counters
from evalkit.sandbox.interface import Limits

__all__ = ["Cgroups", "JobGroup", "is_orphan", "owner_tag"]

_PREFIX = "evalkit-"
_V1 = ("memory", "pids", "cpuacct")
_V2 = ("memory", "pids", "cpu")
_OWN_PROCESSES = 3
"""bubblewrap's own processes in a job's group: its outer one, its process 1, and the moment between fork and exec."""
_REMOVE_PATIENCE = 1.0


def owner_tag(pid: int | None = None) -> str:
    """Names one process for good: pid namespace, pid, and start time in clock ticks; empty when it is gone."""
    pid = os.getpid() if pid is None else pid
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return ""
    return f"{namespace}-{pid}-{after_name[19]}"


@dataclass(frozen=True, slots=True)
class JobGroup:
    """The group of one job.

    Attributes:
        name: of the directory, the same in every hierarchy.
        leaf: kinds and descriptors of the directories.
        parents: descriptors of the directories above, in the same order.
    """

    name: str
    leaf: tuple[tuple[str, int], ...]
    parents: tuple[int, ...]

    def remove(self) -> None:
        """Remove the directories; the job is dead. A busy one is tried again for a second, then left to the sweep."""
        for (_, descriptor), parent in zip(self.leaf, self.parents, strict=True):
            os.close(descriptor)
            _remove(self.name, parent)


def _remove(name: str, parent: int) -> None:
    deadline = time.monotonic() + _REMOVE_PATIENCE
    while True:
        try:
            os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                return
            time.sleep(0.001)
        else:
            return


class Cgroups:
    """What this process may do with control groups.

    Args:
        bases: kinds (see :mod:`evalkit.sandbox.counters`) and the directories below which leaves are made.
    """

    def __init__(self, bases: dict[str, Path]) -> None:
        self.bases = bases
        self._parents = {kind: _open_directory(base) for kind, base in bases.items()}
        self._numbers = itertools.count()
        self._tag = f"{_PREFIX}{owner_tag()}-"

    @classmethod
    def find(cls) -> Cgroups:
        """The hierarchies in which this process can make leaves that enforce and count."""
        return cls({kind: base for kind, base in _candidates() if _works(kind, base)})

    @property
    def memory(self) -> bool:
        """Whether memory is limited and counted."""
        return "memory" in self.bases or "unified" in self.bases

    @property
    def pids(self) -> bool:
        """Whether processes are limited and counted."""
        return "pids" in self.bases or "unified" in self.bases

    @property
    def cpu(self) -> bool:
        """Whether CPU time of a whole tree is counted."""
        return "cpuacct" in self.bases or "unified" in self.bases

    def make(self, limits: Limits) -> JobGroup:
        """Leaves for one job, limits set.

        Raises:
            OSError: a leaf can't be made any more, although it could when this object was made.
        """
        name = f"{self._tag}{next(self._numbers)}"
        leaf: list[tuple[str, int]] = []
        try:
            for kind, parent in self._parents.items():
                os.mkdir(name, 0o755, dir_fd=parent)
                descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
                leaf.append((kind, descriptor))
                _limit(kind, descriptor, limits)
        except BaseException:
            JobGroup(name, tuple(leaf), tuple(self._parents.values())[: len(leaf)]).remove()
            raise
        return JobGroup(name, tuple(leaf), tuple(self._parents.values()))

    def sweep(self) -> list[str]:
        """Kill what is left in leaves whose maker is gone, and remove them."""
        removed = []
        for base, parent in zip(self.bases.values(), self._parents.values(), strict=True):
            for name in sorted(os.listdir(base)):
                if name.startswith(_PREFIX) and is_orphan(name):
                    _kill_all(base / name)
                    _remove(name, parent)
                    removed.append(f"control group {base / name}")
        return removed

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in self._parents.values():
            os.close(descriptor)
        self._parents.clear()


def is_orphan(name: str) -> bool:
    """Whether the process that made a leaf is gone; leaves of another pid namespace are not ours to judge."""
    parts = name.removeprefix(_PREFIX).split("-")
    if len(parts) != 4 or not all(part.isdigit() for part in parts):  # noqa: PLR2004 - see owner_tag
        return False
    if parts[0] != str(Path("/proc/self/ns/pid").stat().st_ino):
        return False
    return owner_tag(int(parts[1])) != "-".join(parts[:3])


def _kill_all(leaf: Path) -> None:
    import signal  # noqa: PLC0415 - only a sweep needs it

    deadline = time.monotonic() + _REMOVE_PATIENCE
    while time.monotonic() < deadline:
        try:
            pids = [int(pid) for pid in (leaf / "cgroup.procs").read_text().split()]
        except OSError:
            return
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(0.002)


def _limit(kind: str, directory: int, limits: Limits) -> None:
    pids = str(limits.pids + _OWN_PROCESSES)
    if kind == "memory":
        counters.write(directory, "memory.limit_in_bytes", str(limits.memory))
        _write_if_there(directory, "memory.memsw.limit_in_bytes", str(limits.memory))
    elif kind == "pids":
        counters.write(directory, "pids.max", pids)
    elif kind == "unified":
        counters.write(directory, "memory.max", str(limits.memory))
        _write_if_there(directory, "memory.swap.max", "0")
        counters.write(directory, "pids.max", pids)


def _write_if_there(directory: int, name: str, value: str) -> None:
    """Set a limit on swap, which kernels without swap accounting don't have."""
    try:
        counters.write(directory, name, value)
    except FileNotFoundError:
        return


def _open_directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _own_paths() -> dict[str, str]:
    """This process's group in each hierarchy; the key of v2 is the empty string."""
    own: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    return own


def _mounts() -> Iterator[tuple[str, str, str, set[str]]]:
    """Mounted hierarchies: file system type, root within it, mount point, controllers."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()[0]
        if kind in ("cgroup", "cgroup2"):
            yield kind, fields[3], fields[4], set(right.split()[-1].split(","))


def _directory(mount_point: str, root: str, path: str) -> Path | None:
    """Where a group's directory is below a mount that may show only a part of the hierarchy."""
    if root == "/":
        return Path(mount_point + path)
    if path == root or path.startswith(f"{root}/"):
        return Path(mount_point + path[len(root) :])
    return None


def _candidates() -> Iterator[tuple[str, Path]]:
    try:
        own, mounts = _own_paths(), list(_mounts())
    except (OSError, ValueError):
        return
    for kind, root, point, controllers in mounts:
        if kind == "cgroup":
            for controller in sorted(controllers & set(_V1) & set(own)):
                if directory := _directory(point, root, own[controller]):
                    yield controller, directory
            continue
        directory = _directory(point, root, own[""]) if "" in own and kind == "cgroup2" else None
        if directory and (base := _unified_base(directory, Path(point))):
            yield "unified", base


def _unified_base(own: Path, top: Path) -> Path | None:
    """A v2 directory that hands out all the controllers that are needed."""
    for base in (own, own.parent):
        if base == top.parent:
            break
        if set(_V2) <= _words(base / "cgroup.subtree_control"):
            return base
    return own if _take_over(own) else None


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text().split())
    except OSError:
        return set()


def _take_over(own: Path) -> bool:
    """Move this process into a leaf of its own group, when nobody else lives there, and hand out controllers."""
    if not set(_V2) <= _words(own / "cgroup.controllers") or _words(own / "cgroup.procs") != {str(os.getpid())}:
        return False
    keeper = own / f"{_PREFIX}runner"
    try:
        keeper.mkdir(exist_ok=True)
        (keeper / "cgroup.procs").write_text("0")
        (own / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in _V2))
    except OSError:
        return False
    return True


def _works(kind: str, base: Path) -> bool:
    """Whether a leaf can be made, limited and removed there."""
    name = f"{_PREFIX}{owner_tag()}-{time.monotonic_ns()}"
    try:
        (base / name).mkdir()
    except OSError:
        return False
    try:
        descriptor = _open_directory(base / name)
        try:
            _limit(kind, descriptor, Limits())
        finally:
            os.close(descriptor)
    except OSError:
        return False
    else:
        return True
    finally:
        (base / name).rmdir()
