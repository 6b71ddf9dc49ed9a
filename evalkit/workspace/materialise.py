"""From a tree to a folder: raw bytes, plain modes, no attribute, filter or end-of-line conversion.

A pristine copy of each (tree, hidden globs) is written once per process and kept while there is room: a sandbox
mounts it as the read-only lower layer, or a workspace is copied from it, with reflinks where the file system has
them. Pristine copies of earlier processes are never believed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

from evalkit.errors import WorkspaceError
from evalkit.workspace.database import ObjectDatabase
from evalkit.workspace.disk import disk_errors, write_all
from evalkit.workspace.globs import Globs
from evalkit.workspace.lru import Lru
from evalkit.workspace.objects import EXECUTABLE, LINK, SUBMODULE
from evalkit.workspace.paths import to_text
from evalkit.workspace.snapshot import Signature, StatCache, stamp_of
from evalkit.workspace.trees import Leaf, leaves

__all__ = ["Pristine", "materialise", "visible"]

_GROUP_BYTES = 16 << 20
_ALWAYS_KEPT = 16  # the copies handed out last may be mounted right now
_FICLONE = 0x40049409  # ioctl_ficlone(2)
_WHOLE = 1 << 18
_THEN = 1_577_836_800  # 2020-01-01: workspaces of the same tree look alike, and any later write shows
_NO_CLONE = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM})


def visible(database: ObjectDatabase, tree: str, without: Sequence[str]) -> list[Leaf]:
    """The files of a tree that no glob of ``without`` covers."""
    hidden = Globs(without)
    return [leaf for leaf in leaves(database, tree) if not (hidden and hidden.covers(to_text(leaf.path)))]


def _folders(files: Sequence[Leaf]) -> list[bytes]:
    """Every folder of these files, outer ones first."""
    found: set[bytes] = set()
    for leaf in files:
        folder = leaf.path.rpartition(b"/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition(b"/")[0]
    return sorted(found)


def _groups(database: ObjectDatabase, files: Sequence[Leaf]) -> Iterator[list[Leaf]]:
    """The files in groups that fit into memory together."""
    group: list[Leaf] = []
    held = 0
    for leaf, size in zip(files, database.sizes([leaf.id for leaf in files]), strict=True):
        if group and held + size > _GROUP_BYTES:
            yield group
            group, held = [], 0
        group.append(leaf)
        held += size
    if group:
        yield group


def _skeleton(root: bytes, files: Sequence[Leaf]) -> None:
    for folder in _folders(files):
        os.mkdir(root + b"/" + folder, 0o755)  # noqa: PTH102 - bytes


def _mode(leaf: Leaf) -> int:
    return 0o755 if leaf.mode == EXECUTABLE else 0o644


def _create(path: bytes, mode: int) -> int:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    os.fchmod(handle, mode)  # whatever the umask says
    return handle


def _write_tree(database: ObjectDatabase, files: Sequence[Leaf], root: bytes) -> int:
    """Write the files below ``root``, which exists and is empty; the bytes written."""
    _skeleton(root, files)
    total = 0
    for group in _groups(database, [leaf for leaf in files if leaf.mode not in {LINK, SUBMODULE}]):
        for leaf, data in zip(group, database.read_many([leaf.id for leaf in group], "blob"), strict=True):
            handle = _create(root + b"/" + leaf.path, _mode(leaf))
            try:
                write_all(handle, data)
            finally:
                os.close(handle)
            total += len(data)
    _write_links(database, files, root)
    return total


def _write_links(database: ObjectDatabase, files: Sequence[Leaf], root: bytes) -> None:
    """Last, so that no file can be written through one."""
    links = [leaf for leaf in files if leaf.mode == LINK]
    for leaf, target in zip(links, database.read_many([leaf.id for leaf in links], "blob"), strict=True):
        os.symlink(target, root + b"/" + leaf.path)  # noqa: PTH211 - bytes


class Pristine:
    """Untouched copies of trees, in a folder that is this process's own.

    Args:
        database: where the trees are.
        root: the folder; it is created, and removed by :meth:`close`.
        max_bytes: the copies used longest ago are removed above this; the last few are always kept.
    """

    def __init__(self, database: ObjectDatabase, root: Path, max_bytes: int) -> None:
        self._database = database
        self._root = root
        self._max_bytes = max_bytes
        self._copies: OrderedDict[str, int] = OrderedDict()
        self._listings: Lru[str, list[Leaf]] = Lru(200_000, weight=len)
        self._lock = threading.RLock()

    def files(self, tree: str, without: Sequence[str]) -> list[Leaf]:
        """What a copy of ``tree`` holds."""
        key = _key(tree, without)
        found = self._listings.get(key)
        if found is None:
            found = visible(self._database, tree, without)
            self._listings.put(key, found)
        return found

    def path(self, tree: str, without: Sequence[str]) -> Path:
        """The folder with an untouched copy; treat it as read-only."""
        key = _key(tree, without)
        folder = self._root / key
        with self._lock:
            if key in self._copies and folder.is_dir():
                self._copies.move_to_end(key)
                return folder
            self._copies[key] = self._write(tree, without, folder)
            self._copies.move_to_end(key)
            self._evict()
        return folder

    def _write(self, tree: str, without: Sequence[str], folder: Path) -> int:
        with disk_errors(f"write the tree {tree[:12]} to {folder.parent}"):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix="tmp-", dir=self._root))
            try:
                size = _write_tree(self._database, self.files(tree, without), os.fsencode(temporary))
                temporary.chmod(0o755)
                temporary.replace(folder)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
        return size

    def _evict(self) -> None:
        while len(self._copies) > _ALWAYS_KEPT and sum(self._copies.values()) > self._max_bytes:
            key, _size = self._copies.popitem(last=False)
            shutil.rmtree(self._root / key, ignore_errors=True)

    def close(self) -> None:
        """Remove every copy."""
        with self._lock:
            self._copies.clear()
            shutil.rmtree(self._root, ignore_errors=True)


def _key(tree: str, without: Sequence[str]) -> str:
    return hashlib.sha256("\0".join((tree, *without)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def materialise(pristine: Pristine, tree: str, target: Path, *, without: Sequence[str], cache: StatCache) -> None:
    """Write a tree to ``target``, whole or not at all.

    Args:
        pristine: where untouched copies are.
        tree: the tree.
        target: does not exist yet, or is an empty folder; its parent exists.
        without: globs of what to leave out, with everything below.
        cache: remembers what was written, so that a snapshot need not read it again.

    Raises:
        WorkspaceError: ``target`` holds something.
        InfrastructureError: the disk is full or can't be written.
    """
    source = pristine.path(tree, without)
    files = pristine.files(tree, without)
    with disk_errors(f"write a workspace to {target}"):
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=target.parent))
        try:
            signature = _copy(files, os.fsencode(source), os.fsencode(temporary))
            temporary.chmod(0o755)
            _move(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        status = target.stat()
    cache.put((status.st_dev, status.st_ino), signature)


def _move(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise WorkspaceError(f"{target} is there already", "give a folder that is new or empty") from None
        raise


def _copy(files: Sequence[Leaf], source: bytes, root: bytes) -> Signature:
    _skeleton(root, files)
    stamp = _THEN * 10**9 + secrets.randbelow(10**9)  # no file copied in from another workspace has it
    copier = _Copier()
    signature: Signature = {}
    for leaf in files:
        if leaf.mode in {LINK, SUBMODULE}:
            continue
        handle = _create(root + b"/" + leaf.path, _mode(leaf))
        try:
            copier.copy(source + b"/" + leaf.path, handle)
            os.utime(handle, ns=(stamp, stamp))
            status = os.fstat(handle)
        finally:
            os.close(handle)
        signature[status.st_ino] = (stamp_of(status), leaf.id)
    for leaf in files:
        if leaf.mode == LINK:
            target = os.readlink(source + b"/" + leaf.path)  # noqa: PTH115 - bytes
            os.symlink(target, root + b"/" + leaf.path)  # noqa: PTH211
    return signature


class _Copier:
    """Copies bytes of files: cloned by the file system where it can, else by the kernel."""

    def __init__(self) -> None:
        self._clones = True

    def copy(self, source: bytes, target: int) -> None:
        origin = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if self._clones and self._clone(origin, target):
                return
            if data := os.read(origin, _WHOLE):
                write_all(target, data)
                if len(data) == _WHOLE:
                    _send_rest(origin, target, _WHOLE)
        finally:
            os.close(origin)

    def _clone(self, origin: int, target: int) -> bool:
        try:
            fcntl.ioctl(target, _FICLONE, origin)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            self._clones = False
        return self._clones


def _send_rest(origin: int, target: int, offset: int) -> None:
    size = os.fstat(origin).st_size
    while offset < size:
        sent = os.sendfile(target, origin, offset, size - offset)
        if sent == 0:
            return
        offset += sent
