"""The file under the ledger: locked, appended to, synced, and never left half-written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from evalkit.errors import LedgerError, LedgerLocked

__all__ = ["LedgerFile", "Lock", "ledger_error", "sync_folder"]

_WAY_OUT = {
    errno.ENOSPC: "free some space and go on; nothing that was recorded is lost",
    errno.EDQUOT: "the disk quota is used up; free some space and go on; nothing that was recorded is lost",
    errno.EROFS: "the file system is read-only; set EVALKIT_STATE to a folder that can be written",
    errno.EACCES: "see who owns the folder, or set EVALKIT_STATE to one that can be written",
    errno.EPERM: "see who owns the folder, or set EVALKIT_STATE to one that can be written",
    errno.ENOTDIR: "a file stands where a folder should be; set EVALKIT_STATE to another folder",
    errno.ENOENT: "no run has been recorded here yet: see whether the folder is the right one",
}
_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def ledger_error(doing: str, error: OSError) -> LedgerError:
    """What the operating system said, in words.

    Args:
        doing: completes "the ledger can't be …".
        error: what it said.
    """
    return LedgerError(f"the ledger can't be {doing}: {error.strerror or error}", _WAY_OUT.get(error.errno or 0, ""))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Lock:
    """One writer at a time. The kernel lets go of it when the process dies, however it dies.

    Args:
        path: the lock file; it holds the writer's process id.

    Raises:
        LedgerLocked: another process writes; names it.
        OSError: the file can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise LedgerLocked(
                f"another run, process {holder or 'unknown'}, is writing the ledger in {path.parent}",
                f"wait for it, or end it: kill {holder}" if holder.isdigit() else "wait for it",
            ) from None
        except BaseException:
            os.close(self._handle)
            raise

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._handle)


class LedgerFile:
    """The append-only file.

    Args:
        path: the file; it is created, durably, where it is not there and may be written.
        write: whether it may be written.

    Raises:
        OSError: it can't be opened.
    """

    def __init__(self, path: Path, *, write: bool) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT if write else os.O_RDONLY
        self._handle = os.open(path, flags | os.O_CLOEXEC, 0o644)
        self._broken = ""
        self.size = os.fstat(self._handle).st_size
        if write and self.size == 0:
            os.fsync(self._handle)
            sync_folder(path.parent)
            sync_folder(path.parent.parent)

    def see_size(self) -> None:
        """Look again how long the file is."""
        self.size = os.fstat(self._handle).st_size

    def append(self, data: bytes) -> int:
        """Write and sync; the offset of the first byte. On any failure the file is as long as before.

        Raises:
            LedgerError: there is no room, or the file can't be written, or someone else changed it.
        """
        start = self.size
        self._see_that_it_is_ours(start)
        try:
            self._write(data, start)
            os.fdatasync(self._handle)
        except BaseException as error:
            self._take_back(start, error)
            if isinstance(error, OSError):
                raise ledger_error("written", error) from error
            raise
        self.size = start + len(data)
        return start

    def _see_that_it_is_ours(self, expected: int) -> None:
        if self._broken:
            raise LedgerError(f"the ledger can't be written any more: {self._broken}", "start again; nothing is lost")
        status = os.fstat(self._handle)
        if status.st_size != expected or status.st_nlink == 0:
            self._broken = "someone else changed, replaced or deleted the file"
            raise LedgerError(f"the ledger {self.path} can't be trusted: {self._broken}", "see: evalkit verify")

    def _write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._handle, view, offset)
            view, offset = view[written:], offset + written

    def _take_back(self, size: int, error: BaseException) -> None:
        """Cut off what was begun. After a failed sync the kernel may have dropped pages: then no more is written."""
        try:
            os.ftruncate(self._handle, size)
            os.fsync(self._handle)
        except OSError as second:
            self._broken = second.strerror or str(second)
        if isinstance(error, OSError) and error.errno not in _ROOM:
            self._broken = error.strerror or str(error)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from ``offset`` on, fewer at the end."""
        chunks: list[bytes] = []
        while size > 0 and (chunk := os.pread(self._handle, size, offset)):
            chunks.append(chunk)
            offset, size = offset + len(chunk), size - len(chunk)
        return b"".join(chunks)

    def replace_end(self, offset: int, data: bytes) -> None:
        """Replace everything from ``offset`` on, and sync: for the repair of a torn line."""
        self._write(data, offset)
        os.ftruncate(self._handle, offset + len(data))
        os.fsync(self._handle)
        self.size = offset + len(data)

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(OSError):
            os.close(self._handle)
