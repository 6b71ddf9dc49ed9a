"""Copies of trees and of parts of files, made by the helper."""

from __future__ import annotations

import os
import stat

__all__ = ["copy_range", "copy_tree"]

_CHUNK = 1 << 20


def copy_range(source: int, offset: int, size: int, target: str) -> None:
    """Copy a part of a memfd to a new read-only file."""
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444)
    try:
        end = offset + size
        while offset < end:
            offset += os.write(descriptor, os.pread(source, min(_CHUNK, end - offset), offset))
    finally:
        os.close(descriptor)


def copy_tree(source: str, target: str, ids: list[int] | None) -> None:
    """Files, directories and links below a source, without recursion; anything else is not part of a tree."""
    pending = [(source, target)]
    while pending:
        here, there = pending.pop()
        for entry in os.scandir(here):
            copy = f"{there}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), copy)
            elif entry.is_dir(follow_symlinks=False):
                os.mkdir(copy, 0o755)
                pending.append((entry.path, copy))
            elif entry.is_file(follow_symlinks=False):
                _copy_file(entry, copy)
            else:
                continue
            if ids:
                os.chown(copy, *ids, follow_symlinks=False)


def _copy_file(entry: os.DirEntry[str], copy: str) -> None:
    source = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(source).st_mode) & 0o777
        target = os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode | 0o200)
        try:
            while os.sendfile(target, source, None, _CHUNK):
                pass
            os.fchmod(target, mode)
        finally:
            os.close(target)
    finally:
        os.close(source)
