"""From a folder to a tree: the bytes that lie there, and nothing that git's configuration would make of them.

The folder was written by a proposer. Nothing in it is followed or started: symlinks are read as links, names are bytes,
FIFOs and devices are never opened, and sizes are capped while reading. All processes that could write to the folder
should be dead; if one is not, the tree holds what was read, which is what every trial will run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.errors import WorkspaceError
from evalkit.workspace.database import ObjectDatabase
from evalkit.workspace.disk import disk_errors
from evalkit.workspace.ignoring import Ignored
from evalkit.workspace.lru import Lru
from evalkit.workspace.objects import EMPTY_TREE, EXECUTABLE, FILE, LINK, TREE, Item, build_tree, object_id
from evalkit.workspace.paths import name_problem, printable
from evalkit.workspace.trees import Caps, check_links, refuse, same_kind

__all__ = ["Signature", "Stamp", "StatCache", "Walk", "read_file", "snapshot", "stamp_of"]

_PENDING_BYTES = 32 << 20
_PENDING_COUNT = 2000
_READ = 1 << 20

Stamp = tuple[int, int, int]
"""(size, mtime in ns, ctime in ns)"""
Signature = dict[int, tuple[Stamp, str]]
"""Of one folder that evalkit wrote: inode number to stamp and blob."""
StatCache = Lru[tuple[int, int], Signature]
"""(device, inode) of such a folder to its signature."""


def stamp_of(status: os.stat_result) -> Stamp:
    """What tells an untouched file from a changed one without reading it."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(slots=True)
class Walk:
    """What one reading of a folder has found so far."""

    database: ObjectDatabase
    caps: Caps
    device: int
    known: Signature
    problems: list[str] = field(default_factory=list)
    links: dict[bytes, bytes] = field(default_factory=dict)
    pending: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    pending_bytes: int = 0
    files: int = 0
    total: int = 0

    def keep(self, kind: str, data: bytes) -> str:
        """Remember an object for writing; its id."""
        id_ = object_id(kind, data)
        self.pending[id_] = (kind, data)
        self.pending_bytes += len(data)
        if self.pending_bytes > _PENDING_BYTES or len(self.pending) > _PENDING_COUNT:
            self.flush()
        return id_

    def keep_file(self, data: bytes) -> None:
        """Remember the bytes of a file, as long as they fit."""
        self.total += len(data)
        if self.total <= self.caps.total_bytes:
            self.keep("blob", data)
        elif self.total - len(data) <= self.caps.total_bytes:
            self.problems.append(f"it adds more than {self.caps.total_bytes >> 20} MiB")

    def count(self) -> bool:
        """Count one more file; whether that many are allowed."""
        self.files += 1
        if self.files == self.caps.files + 1:
            self.problems.append(f"it holds more than {self.caps.files} files")
        return self.files <= self.caps.files

    def flush(self) -> None:
        """Write what is pending."""
        if self.pending:
            self.database.store(self.pending)
        self.pending, self.pending_bytes = {}, 0


def snapshot(
    database: ObjectDatabase,
    directory: Path,
    *,
    like: str,
    cache: StatCache,
    caps: Caps,
    ignore: Sequence[str] = (),
) -> str:
    """The tree of what lies in ``directory``.

    Args:
        database: where new objects go.
        directory: the folder.
        like: the tree it was materialised from: its files are never ignored, its ``.gitignore`` files count.
        cache: signatures of folders that evalkit wrote; an untouched file is not read again.
        caps: number and sizes allowed.
        ignore: further globs of new files to leave out.

    Raises:
        WorkspaceError: it holds something that no tree can hold, or more than ``caps`` allows; all of it is listed.
    """
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise WorkspaceError(f"{directory} is not a folder that can be read: {error.strerror}") from None
    try:
        status = os.fstat(root)
        known = cache.get((status.st_dev, status.st_ino)) or {}
        walk = Walk(database, caps, status.st_dev, known)
        with disk_errors(f"read {directory}"):
            top = _enter(walk, root, b"", like, Ignored(ignore), tracked_only=False, depth=0)
            tree = _folder(walk, top, like)
    finally:
        os.close(root)
    walk.problems.extend(check_links(walk.links))
    refuse(f"{directory} can't be turned into a tree", walk.problems, "remove what is named here")
    walk.flush()
    return tree or _empty(database)


def _empty(database: ObjectDatabase) -> str:
    database.write_tree(())
    return EMPTY_TREE


@dataclass(frozen=True, slots=True)
class _Folder:
    """Where the walk is: an open folder, its path with a slash at the end, and what is known about it."""

    fd: int
    prefix: bytes
    tracked: dict[bytes, Item]
    ignored: Ignored
    tracked_only: bool
    depth: int


def _folder(walk: Walk, folder: _Folder, like: str) -> str | None:
    """The tree of one folder, None where it holds no file (git has no empty folders)."""
    if folder.depth > walk.caps.depth:
        walk.problems.append(f"{printable(folder.prefix)} is nested more than {walk.caps.depth} folders deep")
        return None
    items: list[Item] = []
    with os.scandir(folder.fd) as found:
        for entry in found:
            item = _entry(walk, folder, entry)
            if item is not None:
                items.append(item)
    if not items:
        return None
    tracked = folder.tracked
    if like and len(items) == len(tracked) and all(tracked.get(item.name) == item for item in items):
        return like
    return walk.keep("tree", build_tree(items))


def _entry(walk: Walk, folder: _Folder, entry: os.DirEntry[str]) -> Item | None:
    name = os.fsencode(entry.name)
    path = folder.prefix + name
    before = folder.tracked.get(name)
    status = entry.stat(follow_symlinks=False)
    is_folder = stat.S_ISDIR(status.st_mode)
    left_out = folder.tracked_only or ((is_folder or before is None) and folder.ignored.ignored(path, folder=is_folder))
    if before is None and left_out:
        return None
    problem = name_problem(name) if before is None else ""
    if problem:
        walk.problems.append(f"{printable(path)} {problem}")
        return None
    if is_folder:
        return _subfolder(walk, folder, name, tracked_only=left_out)
    if not walk.count():
        return None
    if stat.S_ISREG(status.st_mode):
        return read_file(walk, folder.fd, name, path=path, status=status, before=before)
    return _special(walk, folder.fd, name, path, status.st_mode)


def _special(walk: Walk, fd: int, name: bytes, path: bytes, mode: int) -> Item | None:
    if stat.S_ISLNK(mode):
        target = os.readlink(name, dir_fd=fd)
        walk.links[path] = target
        return Item(LINK, name, walk.keep("blob", target))
    kind = "FIFO" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
    walk.problems.append(f"{printable(path)} is a {kind}")
    return None


def _subfolder(walk: Walk, folder: _Folder, name: bytes, *, tracked_only: bool) -> Item | None:
    before = folder.tracked.get(name)
    like = before.id if before is not None and before.mode == TREE else ""
    path = folder.prefix + name
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.fd)
    except PermissionError:
        walk.problems.append(f"{printable(path)} can't be read")
        return None
    try:
        below = _enter(walk, fd, path + b"/", like, folder.ignored, tracked_only=tracked_only, depth=folder.depth + 1)
        tree = _folder(walk, below, like)
    finally:
        os.close(fd)
    return None if tree is None else Item(TREE, name, tree)


def _enter(
    walk: Walk, fd: int, prefix: bytes, like: str, ignored: Ignored, *, tracked_only: bool, depth: int
) -> _Folder:
    tracked = {item.name: item for item in (walk.database.tree(like) if like else ())}
    rules = tracked.get(b".gitignore")
    if rules is not None and rules.mode != TREE:
        ignored = ignored.below(prefix, walk.database.read(rules.id, "blob"))
    return _Folder(fd, prefix, tracked, ignored, tracked_only, depth)


def read_file(
    walk: Walk, fd: int, name: bytes, *, path: bytes, status: os.stat_result, before: Item | None
) -> Item | None:
    """The item of the regular file ``name`` in the folder ``fd``; None, and a problem noted, where it can't be read.

    Args:
        walk: takes new bytes and problems.
        fd: the open folder.
        name: below that folder.
        path: what to call it.
        status: from ``lstat``.
        before: what the tree before held there.
    """
    mode = EXECUTABLE if status.st_mode & stat.S_IXUSR else FILE
    if before is not None and same_kind(before.mode, mode):
        mode = before.mode
    known = walk.known.get(status.st_ino)
    if known is not None and known[0] == stamp_of(status) and status.st_dev == walk.device:
        return Item(mode, name, known[1])
    data = _read(walk, fd, name, printable(path))
    if data is None:
        return None
    id_ = object_id("blob", data)
    if before is None or before.id != id_:
        walk.keep_file(data)
    return Item(mode, name, id_)


def _read(walk: Walk, fd: int, name: bytes, shown: str) -> bytes | None:
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=fd)
    except PermissionError:
        walk.problems.append(f"{shown} can't be read")
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            walk.problems.append(f"{shown} is not a regular file any more")
            return None
        data = _read_up_to(handle, status.st_size, walk.caps.file_bytes)
    finally:
        os.close(handle)
    if data is None:
        walk.problems.append(f"{shown} is larger than {walk.caps.file_bytes >> 20} MiB")
    return data


def _read_up_to(handle: int, expected: int, cap: int) -> bytes | None:
    """All bytes, None where there are more than ``cap`` (a file may grow while it is read)."""
    if expected > cap:
        return None
    first = os.read(handle, expected + 1)
    if len(first) == expected:
        return first
    chunks, total = [first], len(first)
    while total <= cap and (chunk := os.read(handle, _READ)):
        chunks.append(chunk)
        total += len(chunk)
    return b"".join(chunks) if total <= cap else None
