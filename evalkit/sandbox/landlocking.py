"""Landlock: a process gives up the right to touch files outside a list, for good (landlock(7), Linux 5.13).

What a kernel can restrict is its ABI version: 2 adds moving files between directories, 3 truncation, 4 TCP, 5 device
commands, 6 signals and abstract unix sockets.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from evalkit.sandbox import kernel

__all__ = ["abi", "restrict"]

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_FIRST_ABI_RIGHTS = (1 << 13) - 1
_TCP_BOTH, _SCOPE_BOTH = 3, 3
_ABI_REFER, _ABI_TRUNCATE, _ABI_TCP, _ABI_IOCTL, _ABI_SCOPE = 2, 3, 4, 5, 6


def abi() -> int:
    """The version that this kernel offers; 0 where there is none."""
    try:
        return kernel.syscall(_CREATE, 0, 0, 1)
    except OSError:
        return 0


def restrict(readable: Iterable[str], writable: Iterable[str]) -> int:
    """Keep the calling process, and all it starts, to these paths; it must not be able to gain privileges.

    Args:
        readable: files and directories that may be read and executed; missing ones are left out.
        writable: those where everything but making devices is allowed.

    Returns:
        The ABI version in force.

    Raises:
        OSError: the kernel has no landlock.
    """
    version = abi()
    handled = _FIRST_ABI_RIGHTS
    for needed, right in ((_ABI_REFER, _REFER), (_ABI_TRUNCATE, _TRUNCATE), (_ABI_IOCTL, _IOCTL_DEV)):
        if version >= needed:
            handled |= right
    attribute = struct.pack("Q", handled)
    if version >= _ABI_TCP:
        attribute += struct.pack("Q", _TCP_BOTH)
    if version >= _ABI_SCOPE:
        attribute += struct.pack("Q", _SCOPE_BOTH)
    rules = kernel.syscall(_CREATE, attribute, len(attribute), 0, what="landlock_create_ruleset")
    try:
        full = handled & ~(_MAKE_CHAR | _MAKE_BLOCK)
        for paths, rights in ((readable, _EXECUTE | _READ_FILE | _READ_DIR), (writable, full)):
            for path in paths:
                _add(rules, path, rights & handled)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.syscall(_RESTRICT, rules, 0, what="landlock_restrict_self")
    finally:
        os.close(rules)
    return version


def _add(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _ON_FILES
        kernel.syscall(_ADD, rules, 1, struct.pack("=Qi", rights, place), 0, what=f"landlock rule for {path}")
    finally:
        os.close(place)
