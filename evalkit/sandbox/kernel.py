"""The few system calls that Python's standard library does not offer, by number or through libc.

Every function raises :class:`OSError` with the errno of the call. Names that hold a NUL byte are refused before the
call, because ctypes would cut them there and the kernel would see another name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

__all__ = [
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWUSER",
    "bind",
    "idmapped_bind",
    "make_private",
    "mount",
    "openat2",
    "prctl",
    "syscall",
    "unmount",
    "unshare",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

# System call numbers from 424 on are the same on every architecture.
_OPEN_TREE, _MOVE_MOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 437, 442
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MNT_DETACH = 2
_MOUNT_ATTR_IDMAP = 0x00100000
_MOUNT_ATTR_LOCKED_DOWN = 1 | 2 | 4  # read-only, no set-user-id, no devices

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 1, 2, 4, 8

_libc = ctypes.CDLL(None, use_errno=True)


def _name(path: str | bytes) -> bytes:
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError(f"a NUL byte in {path!r}")
    return name


def _check(returned: int, what: str) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return returned


def syscall(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char], what: str = "") -> int:
    """Any system call; integers are passed as C longs, bytes as pointers."""
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _check(int(_libc.syscall(ctypes.c_long(number), *converted)), what or f"syscall {number}")


def prctl(option: int, *arguments: int) -> int:
    """Call ``prctl`` with up to four integers."""
    padded = [*arguments, 0, 0, 0, 0][:4]
    return _check(_libc.prctl(option, *(ctypes.c_ulong(value) for value in padded)), f"prctl {option}")


def unshare(flags: int) -> None:
    """Leave the namespaces that the flags name, for new ones."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount a file system, or change a mount."""
    arguments = (_name(source), _name(target), _name(kind), ctypes.c_ulong(flags), _name(options) or None)
    _check(_libc.mount(*arguments), f"mount {kind} on {target}")


def make_private() -> None:
    """Cut this mount namespace off from every other one."""
    mount("none", "/", "none", MS_REC | MS_PRIVATE)


def unmount(target: str) -> None:
    """Take a mount away now, whoever still uses it."""
    _check(_libc.umount2(_name(target), _MNT_DETACH), f"umount {target}")


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show ``source`` (with what is mounted below it) at ``target`` too."""
    mount(source, target, "none", MS_BIND | MS_REC)
    if read_only:
        _make_read_only(target)


def _make_read_only(target: str) -> None:
    try:
        _set_attributes(_AT_FDCWD, target, _AT_RECURSIVE, _MOUNT_ATTR_LOCKED_DOWN)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        mount("none", target, "none", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _set_attributes(directory: int, path: str, flags: int, attributes: int, user_namespace: int = 0) -> None:
    structure = struct.pack("QQQQ", attributes, 0, 0, user_namespace)
    where = (_name(path), flags, structure, len(structure))
    syscall(_MOUNT_SETATTR, directory, *where, what=f"mount_setattr {path}")


def idmapped_bind(source: str, target: str, user_namespace: int, *, read_only: bool = False) -> None:
    """Show ``source`` at ``target`` with the owners that the map of a user namespace gives (Linux 5.12).

    Args:
        source: file or directory.
        target: existing mount point of the same kind.
        user_namespace: descriptor of the namespace whose map turns owners on disk into owners seen.
        read_only: whether the job may not write there.

    Raises:
        OSError: EINVAL where the file system can't be mapped, ENOSYS on kernels before 5.12.
    """
    clone = (_AT_FDCWD, _name(source), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    tree = syscall(_OPEN_TREE, *clone, what=f"open_tree {source}")
    try:
        attributes = _MOUNT_ATTR_IDMAP | (_MOUNT_ATTR_LOCKED_DOWN if read_only else 0)
        _set_attributes(tree, "", _AT_EMPTY_PATH, attributes, user_namespace)
        place = (tree, b"", _AT_FDCWD, _name(target), _MOVE_MOUNT_F_EMPTY_PATH)
        syscall(_MOVE_MOUNT, *place, what=f"move_mount {target}")
    finally:
        os.close(tree)


def openat2(directory: int, name: str | bytes, flags: int, resolve: int) -> int:
    """Open a name below a directory under rules about links and mounts (Linux 5.6)."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve)
    return syscall(_OPENAT2, directory, _name(name), how, len(how), what="openat2")
