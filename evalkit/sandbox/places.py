"""A job's directory on the host, for engines that can only bind directories: workspace, files, and a control group.

As root the directory is a tmpfs as large as the job may write, so that its size holds and dropping it is one call; an
ordinary user gets a plain directory, and nothing limits its total size.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

from evalkit.sandbox import kernel
from evalkit.sandbox.cgroups import is_orphan, owner_tag
from evalkit.sandbox.helper.copying import copy_tree
from evalkit.sandbox.helper.plain import remove_tree
from evalkit.sandbox.interface import Job, SealedFile

__all__ = ["JobPlace", "remove_group", "sweep_places"]

_PREFIX = "evalkit-"
_V1 = ("memory", "pids", "cpuacct")
_SYS = Path("/sys/fs/cgroup")
_numbers = itertools.count()


class JobPlace:
    """Directories of one job.

    Args:
        job: what it needs.
        ids: user and group that must own what it may write.
    """

    def __init__(self, job: Job, ids: tuple[int, int]) -> None:
        self.tag = f"{owner_tag()}-{next(_numbers)}"
        self.path = f"{tempfile.gettempdir()}/{_PREFIX}{self.tag}"
        self._job, self._ids = job, list(ids) if os.geteuid() == 0 else None
        self.capped = False
        self.group_name = ""
        self._binds: list[tuple[str, str, bool]] = []
        os.mkdir(self.path, 0o711)
        try:
            self._fill()
            self.box = os.open(self._box, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except BaseException:
            self.remove()
            raise
        self._make_group()

    def _fill(self) -> None:
        self._box = str(self._job.workspace.resolve()) if self._job.workspace else f"{self.path}/box"
        if self._job.workspace is None:
            os.mkdir(self._box, 0o755)
            self._mount_box()
            if self._job.tree:
                copy_tree(str(self._job.tree.resolve()), self._box, self._ids)
            self._own(self._box)
        os.mkdir(f"{self.path}/root", 0o755)
        for index, (target, content) in enumerate(self._job.files.items()):
            real = f"{self.path}/root/{index}"
            data = content.read() if isinstance(content, SealedFile) else content
            Path(real).write_bytes(data)
            os.chmod(real, 0o444)
            self._binds.append((real, target, True))
        for bind in self._job.binds:
            self._binds.append((self._reachable(bind.source, bind.writable), bind.target, not bind.writable))
        self._hide()

    def _mount_box(self) -> None:
        if os.geteuid() != 0:
            return
        size = self._job.limits.disk
        inodes = min(1 << 20, max(4096, size // 4096))
        try:
            options = f"mode=755,size={size},nr_inodes={inodes}"
            kernel.mount(_PREFIX + "box", self._box, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
        except OSError:
            return
        self.capped = True

    def _own(self, path: str) -> None:
        if self._ids:
            os.chown(path, *self._ids)

    def _reachable(self, source: Path, writable: bool) -> str:
        """A source itself, or a copy that the job's user may read where the source is private to its owner."""
        real = os.path.realpath(source)
        status = os.stat(real)
        if writable or not self._ids or (status.st_mode & 0o004 and os.path.isfile(real)):
            return real
        copy = f"{self.path}/root/bind{len(self._binds)}"
        if os.path.isdir(real):
            os.mkdir(copy, 0o755)
            copy_tree(real, copy, self._ids)
        else:
            Path(copy).write_bytes(Path(real).read_bytes())
            self._own(copy)
        return copy

    def _hide(self) -> None:
        empty, nothing = f"{self.path}/root/empty", f"{self.path}/root/nothing"
        os.mkdir(empty, 0o755)
        Path(nothing).touch(0o444)
        for mask in dict.fromkeys(os.path.realpath(mask) for mask in self._job.masks):
            if os.path.exists(mask):
                self._binds.append((empty if os.path.isdir(mask) else nothing, mask, True))

    def mounts(self) -> list[tuple[str, str, bool]]:
        """Source, target, read-only, of everything that belongs to this job."""
        return [(self._box, "/box", False), *self._binds]

    def _make_group(self) -> None:
        """A parent for the container's groups whose counters can be read when the container is gone (v1, as root)."""
        if os.geteuid() != 0:
            return
        name = f"{_PREFIX}{self.tag}"
        try:
            for kind in _V1:
                (_SYS / kind / name).mkdir()
        except OSError:
            self._remove_group()
            return
        self.group_name = f"/{name}"

    def leaf(self) -> list[tuple[str, int]]:
        """Descriptors of the group's directories."""
        if not self.group_name:
            return []
        return [(kind, os.open(f"{_SYS}/{kind}{self.group_name}", os.O_RDONLY | os.O_DIRECTORY)) for kind in _V1]

    def _remove_group(self) -> None:
        if os.geteuid() == 0:
            for group in _SYS.glob(f"*/{_PREFIX}{self.tag}"):  # the engine made more of them than we did
                remove_group(group)

    def is_full(self) -> bool:
        """Whether the workspace's own file system is full."""
        if not self.capped:
            return False
        state = os.fstatvfs(self.box)
        return state.f_bfree == 0 or state.f_ffree == 0

    def remove(self) -> None:
        """Remove everything; the job is dead."""
        if getattr(self, "box", -1) >= 0:
            os.close(self.box)
            self.box = -1
        _drop(self.path)
        self._remove_group()

    @staticmethod
    def is_orphan(tag: str) -> bool:
        """Whether the process that made something with this tag is gone."""
        return is_orphan(_PREFIX + tag)


def remove_group(group: Path) -> None:
    """Remove a control group and the empty ones below it."""
    for child in [child for child in group.iterdir() if child.is_dir()]:
        remove_group(child)
    try:
        group.rmdir()
    except OSError:
        return  # still busy; the next sweep finds it


def _drop(path: str) -> None:
    """Unmount what is mounted in a job's directory, then remove it."""
    if os.path.ismount(f"{path}/box"):
        kernel.unmount(f"{path}/box")
    if os.path.isdir(path):
        remove_tree(path)


def sweep_places() -> list[str]:
    """Remove directories, mounts and groups of processes that are gone."""
    removed = []
    folder = Path(tempfile.gettempdir())
    for path in sorted(folder.glob(f"{_PREFIX}*")):
        if is_orphan(path.name) and path.is_dir() and not path.is_symlink() and path.lstat().st_uid == os.geteuid():
            _drop(str(path))
            removed.append(f"directory {path}")
    for group in sorted(_SYS.glob(f"*/{_PREFIX}*")) if os.geteuid() == 0 else ():
        if is_orphan(group.name):
            remove_group(group)
            removed.append(f"control group {group}")
    return removed
