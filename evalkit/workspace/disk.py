"""What the operating system says when a disk can't be written, in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from evalkit.errors import InfrastructureError

__all__ = ["disk_errors", "write_all"]

_WAY_OUT = {
    errno.ENOSPC: "free some space and start again; nothing is lost",
    errno.EDQUOT: "the disk quota is used up; free some space and start again; nothing is lost",
    errno.EROFS: "the file system is read-only; set EVALKIT_STATE to a folder that can be written",
    errno.EACCES: "see who owns the folder, or set EVALKIT_STATE to one that can be written",
    errno.EPERM: "see who owns the folder, or set EVALKIT_STATE to one that can be written",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
}


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn an :class:`OSError` into an :class:`InfrastructureError` that says what could not be done.

    Args:
        doing: completes "can't …".
    """
    try:
        yield
    except OSError as error:
        way_out = _WAY_OUT.get(error.errno or 0, "")
        raise InfrastructureError(f"can't {doing}: {error.strerror or error}", way_out) from error


def write_all(handle: int, data: bytes) -> None:
    """Write every byte to an open file."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
