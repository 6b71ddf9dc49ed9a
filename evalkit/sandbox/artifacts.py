"""Bytes of declared artefacts leave a sandbox through here: opened without following anything, copied, sealed, hashed.

The job is dead by then, but what it left may be hostile: symlinks to the vault, FIFOs that would block a reader, sparse
files of a terabyte, hard links. Only a regular file with one name, below the workspace, reached through no link and no
other mount, and no larger than declared is taken; the copy is a memfd with every seal set.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterable

from evalkit.sandbox import kernel
from evalkit.sandbox.interface import SealedFile

__all__ = ["ArtifactForbidden", "ArtifactMissing", "check_name", "collect", "collect_all", "seal", "seal_bytes"]

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY
_RESOLVE = kernel.RESOLVE_NO_XDEV | kernel.RESOLVE_NO_MAGICLINKS | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_BENEATH
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_CHUNK = 1 << 20
_NAME_LIMIT = 4096


class ArtifactMissing(Exception):  # noqa: N818 - a state of the job, turned into an Outcome
    """The job did not leave the file."""


class ArtifactForbidden(Exception):  # noqa: N818
    """What the job left under that name may not leave the sandbox."""


def check_name(name: str) -> None:
    """Refuse names that can't be below a workspace.

    Raises:
        ValueError: empty, absolute, too long, with a NUL byte, or with an empty, ``.`` or ``..`` part.
    """
    raw = os.fsencode(name)
    if not raw or b"\0" in raw or len(raw) > _NAME_LIMIT:
        raise ValueError(f"artefact name {name!r}: empty, longer than {_NAME_LIMIT} bytes, or with a NUL byte")
    if any(part in (b"", b".", b"..") for part in raw.split(b"/")):
        raise ValueError(f"artefact name {name!r}: must be a plain path below the workspace, such as 'out/model.npz'")


def collect(directory: int, name: str, limit: int) -> SealedFile:
    """Copy one file below a directory into a sealed memfd.

    Args:
        directory: descriptor of the workspace (``O_PATH`` will do).
        name: path below it.
        limit: bytes that the file may have.

    Raises:
        ArtifactMissing: there is no such file.
        ArtifactForbidden: it is a link, behind a link, a special file, has two names, is too large, or changes.
        ValueError: the name makes no sense.
    """
    check_name(name)
    source = _open(directory, name)
    try:
        _check_kind(os.fstat(source), name, limit)
        return seal(source, name, limit)
    finally:
        os.close(source)


def _open(directory: int, name: str) -> int:
    try:
        return kernel.openat2(directory, name, _FLAGS, _RESOLVE)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ArtifactMissing(f"{name!r} was not written") from None
        reasons = {
            errno.ELOOP: "a symbolic link is on the way",
            errno.EXDEV: "it leads out of the workspace",
            errno.ENXIO: "it is a socket or a device",
            errno.EACCES: "it can't be read",
            errno.ENAMETOOLONG: "a part of the name is too long",
        }
        reason = reasons.get(error.errno or 0, os.strerror(error.errno or 0))
        raise ArtifactForbidden(f"{name!r} is refused: {reason}") from None


def _check_kind(status: os.stat_result, name: str, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactForbidden(f"{name!r} is refused: not a regular file ({stat.filemode(status.st_mode)})")
    if status.st_nlink != 1:
        raise ArtifactForbidden(f"{name!r} is refused: the file has {status.st_nlink} names (hard links)")
    if status.st_size > limit:
        raise ArtifactForbidden(f"{name!r} is refused: {status.st_size} bytes, and {limit} may leave the sandbox")


def seal(source: int, name: str, limit: int) -> SealedFile:
    """Copy what can be read from a descriptor into a sealed memfd, up to ``limit`` bytes.

    Raises:
        ArtifactForbidden: there was more than that.
    """
    target = os.memfd_create("artifact", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        size, digest = 0, hashlib.sha256()
        while chunk := os.read(source, min(_CHUNK, limit + 1 - size)):
            size += len(chunk)
            if size > limit:
                raise ArtifactForbidden(f"{name!r} is refused: it grew past {limit} bytes while it was read")
            digest.update(chunk)
            _write(target, chunk)
        fcntl.fcntl(target, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(target)
        raise
    return SealedFile(name=name, fd=target, size=size, sha256=digest.hexdigest())


def seal_bytes(name: str, content: bytes) -> SealedFile:
    """The same for bytes at hand, so that a caller can pass its own data on as a sealed file."""
    target = os.memfd_create("artifact", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        _write(target, content)
        fcntl.fcntl(target, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(target)
        raise
    return SealedFile(name=name, fd=target, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def _write(target: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(target, view) :]


def collect_all(directory: int, names: Iterable[str], limit: int) -> dict[str, SealedFile]:
    """All declared artefacts, or none.

    Raises:
        ArtifactMissing, ArtifactForbidden: as soon as one of them can't be had; the others are closed again.
    """
    collected: dict[str, SealedFile] = {}
    try:
        for name in names:
            collected[name] = collect(directory, name, limit)
    except BaseException:
        for artifact in collected.values():
            artifact.close()
        raise
    return collected
