"""What a job will see, put together in a mount namespace that nobody else can see.

Everything is mounted below ``/sys``, which is hidden for the supervisor that way and left alone on the host: there is
no directory to make, and nothing to remove when the supervisor ends in whatever way.

``/sys/root`` is the job's root without ``/proc`` and ``/dev``; ``/sys/box``, ``/sys/tmp`` and ``/sys/shm`` are its
writable places, each capped; ``/sys/disk`` holds the upper layer of the overlay, ``/sys/tree`` its lower layer.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from evalkit.sandbox import kernel
from evalkit.sandbox.helper.copying import copy_range, copy_tree
from evalkit.sandbox.helper.identity import IdentityMaps
from evalkit.sandbox.helper.network import loopback_up

__all__ = ["Stage"]

_AT = "/sys"
_BYTES_PER_INODE = 4096
_MIN_INODES, _MAX_INODES = 4096, 1 << 20
_ROOM = 16 << 20
"""Bytes that the stage itself may need besides the files that it was given."""
# What staging a bind may meet on file systems or kernels that can't map owners.
_CANT_MAP = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP)


class Stage:
    """Mounts of one job.

    Args:
        shared: what all jobs see (``binds``, ``links``, ``files``).
        ids: user and group that the job runs as, or None where it runs as the caller in a user namespace.
        maps: user namespaces for sources whose owner must look like the job's user.
    """

    def __init__(self, shared: dict[str, Any], ids: list[int] | None, maps: IdentityMaps) -> None:
        self._shared, self._ids, self._maps = shared, ids, maps
        self._spec: dict[str, Any] = {}
        self.writable: list[tuple[str, str]] = []
        self.box = -1
        self.watched: dict[str, int] = {}

    def prepare(self) -> None:
        """Enter namespaces of its own and mount what does not depend on the job; done before there is one.

        Raises:
            OSError: something can't be had; the message says which.
        """
        self._enter()
        kernel.make_private()
        kernel.mount("stage", _AT, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, f"mode=755,size={_ROOM}")
        for name in ("root", "box", "tmp", "shm", "disk", "tree", "empty"):
            os.mkdir(f"{_AT}/{name}", 0o755)
        os.close(os.open(f"{_AT}/nothing", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))
        root = f"{_AT}/root"
        for name in ("proc", "dev", "tmp", "box"):
            os.mkdir(f"{root}/{name}", 0o755)
        for target, link in self._shared["links"]:
            os.symlink(link, root + target)
        for target, text in self._shared["files"].items():
            _make_parents(root, target)
            _write_file(root + target, text.encode(), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        for path in self._shared["binds"]:
            _mount_point(root, path, path)
            kernel.bind(path, root + path, read_only=True)
        loopback_up()

    def build(self, spec: dict[str, Any], payload: int, sealed: list[int]) -> None:
        """Mount what the job declares.

        Args:
            spec: the job as the parent described it.
            payload: descriptor that the small files are read from.
            sealed: descriptors of sealed files, in the order of ``spec["sealed"]``.

        Raises:
            OSError: something can't be had; the message says which.
        """
        self._spec = spec
        contents = sum(entry[2] for entry in [*spec["files"], *spec["sealed"]])
        if contents:
            kernel.mount("none", _AT, "none", kernel.MS_REMOUNT, f"size={contents + _ROOM}")
        for name in ("tmp", "shm"):
            self._tmpfs(name, 0o1777)
        self._workspace()
        self._declared(payload, sealed)
        self._masks()

    def _enter(self) -> None:
        if self._ids:
            kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
            return
        uid, gid = os.geteuid(), os.getegid()
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            _write_file(f"/proc/self/{name}", text.encode(), os.O_WRONLY)

    def _tmpfs(self, name: str, mode: int) -> None:
        size = self._spec["disk"]
        inodes = min(_MAX_INODES, max(_MIN_INODES, size // _BYTES_PER_INODE))
        options = f"mode={mode:o},size={size},nr_inodes={inodes}"
        kernel.mount("disk", f"{_AT}/{name}", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
        self.watched[name] = os.open(f"{_AT}/{name}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def _workspace(self) -> None:
        box = f"{_AT}/box"
        if self._spec["workspace"]:
            self._show(self._spec["workspace"], box, must_map=True)
        else:
            self._tmpfs("disk", 0o755)
            if not (self._spec["tree"] and self._overlay(self._spec["tree"], box)):
                self._plain_box(box)
        self.box = os.open(box, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.writable.append((box, "/box"))

    def _overlay(self, tree: str, box: str) -> bool:
        """An overlay over the pristine tree, writing into the capped disk; False where that can't be had."""
        upper, work = f"{_AT}/disk/upper", f"{_AT}/disk/work"
        for path in (upper, work):
            os.mkdir(path, 0o755)
        self._give(upper)
        options = f"lowerdir={_AT}/tree,upperdir={upper},workdir={work}"
        if not self._ids:
            options += ",userxattr"
        try:
            self._show(tree, f"{_AT}/tree", must_map=True)
            kernel.mount("box", box, "overlay", kernel.MS_NOSUID | kernel.MS_NODEV, options)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise
            return False
        return True

    def _plain_box(self, box: str) -> None:
        """A directory on the capped disk, with a copy of the tree where there is one."""
        content = f"{_AT}/disk/content"
        os.mkdir(content, 0o755)
        if self._spec["tree"]:
            copy_tree(self._spec["tree"], content, self._ids)
        self._give(content)
        kernel.bind(content, box)

    def _give(self, path: str) -> None:
        if self._ids:
            os.chown(path, *self._ids)

    def _show(self, source: str, target: str, *, read_only: bool = False, must_map: bool = False) -> None:
        """Bind a source so that its owner looks like the job's user, where that is needed and possible."""
        if not self._ids:
            kernel.bind(source, target, read_only=read_only)
            return
        status = os.stat(source)
        try:
            namespace = self._maps.get((status.st_uid, status.st_gid), self._ids)
            kernel.idmapped_bind(source, target, namespace, read_only=read_only)
        except OSError as error:
            if must_map or error.errno not in _CANT_MAP:
                raise
            kernel.bind(source, target, read_only=read_only)

    def _declared(self, payload: int, sealed: list[int]) -> None:
        """The job's own binds and files, in the read-only root."""
        root = f"{_AT}/root"
        for source, target, writable in self._spec["binds"]:
            if writable:
                self._writable_bind(source, target)
                continue
            _mount_point(root, target, source)
            self._show(source, root + target, read_only=True)
        for target, offset, size in self._spec["files"]:
            _make_parents(root, target)
            copy_range(payload, offset, size, root + target)
        for (target, _, size), descriptor in zip(self._spec["sealed"], sealed, strict=True):
            _make_parents(root, target)
            copy_range(descriptor, 0, size, root + target)

    def _writable_bind(self, source: str, target: str) -> None:
        place = f"{_AT}/writable{len(self.writable)}"
        _mount_point(_AT, f"/writable{len(self.writable)}", source)
        self._show(source, place, must_map=True)
        _mount_point(f"{_AT}/root", target, source)
        self.writable.append((place, target))

    def _masks(self) -> None:
        for path in self._spec["masks"]:
            for base in (f"{_AT}/root", *(place for place, _ in self.writable)):
                self._mask(base, path)

    def _mask(self, base: str, path: str) -> None:
        """Cover a path of the host wherever a bind shows it."""
        if base == f"{_AT}/root":
            places = [
                f"{base}{target}{path[len(source) :]}"
                for source, target, _ in [*self._spec["binds"], *((at, at, False) for at in self._shared["binds"])]
                if path == source or path.startswith(source.rstrip("/") + "/")
            ]
        else:
            sources = {f"{_AT}/box": self._spec["workspace"]}
            source = sources.get(base)
            inside = source and path.startswith(source.rstrip("/") + "/")
            places = [base + path[len(source.rstrip("/")) :]] if source and inside else []
        for place in places:
            try:
                kind = os.lstat(place).st_mode
            except OSError:
                continue  # not there, so there is nothing to hide
            kernel.bind(f"{_AT}/empty" if stat.S_ISDIR(kind) else f"{_AT}/nothing", place, read_only=True)


def _make_parents(root: str, target: str) -> None:
    """Directories above a target, on the stage's own file system and never through a link that leads off it."""
    parent = root + target.rsplit("/", 1)[0]
    if not f"{os.path.realpath(parent)}/".startswith(f"{root}/"):
        raise OSError(errno.EXDEV, f"{target} lies behind a symbolic link that leads out of the sandbox")
    with _named(target):
        os.makedirs(parent, 0o755, exist_ok=True)


def _mount_point(root: str, target: str, source: str) -> None:
    """Make the place where a source will be mounted, where there is none yet."""
    place = root + target
    _make_parents(root, target)
    if os.path.lexists(place):
        return
    with _named(target):
        if os.path.isdir(source):
            os.mkdir(place, 0o755)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))


@contextmanager
def _named(target: str) -> Iterator[None]:
    """Say what a failure to make a mount point means."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EROFS:
            raise OSError(error.errno, f"{target} lies below a read-only bind and does not exist there") from None
        raise


def _write_file(path: str, content: bytes, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o444)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
