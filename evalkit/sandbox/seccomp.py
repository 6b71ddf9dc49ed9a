"""The system calls that a job may not make, as a seccomp filter built by hand (classic BPF, linux/seccomp.h).

Everything else is allowed, so that ordinary programs run; what is denied are doors out of the sandbox (namespaces,
mounts, kernel keyrings, io_uring, BPF, tracing, clocks, modules) and the few calls whose arguments matter:

* ``socket`` and ``socketpair`` only for unix, IPv4 and IPv6 (vsock reaches the hypervisor through every network
  namespace), and only unix where a backend has no network namespace;
* ``clone`` with a namespace flag, and all of ``clone3`` (whose flags a filter can't see; libc falls back to clone);
* terminal input injection (``TIOCSTI``, ``TIOCLINUX``), compared in the low 32 bits as the kernel does;
* modes with a set-user-id or set-group-id bit, and ``openat2`` (whose mode a filter can't see), because a workspace
  edited in place is the host's own directory;
* ``sync`` and ``syncfs`` succeed and do nothing: flushing the host's disks is only good for disturbing a neighbour.

Calls of a foreign architecture (i386, x32) kill the process.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from evalkit.sandbox import kernel

__all__ = ["SUPPORTED", "docker_profile", "install", "program"]

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_SETUID_BITS = 0o6000
_NAMESPACE_FLAGS = 0x7E020080
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_X32_BIT = 0x40000000

# name: (x86_64, aarch64); None where the architecture has no such call.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, None),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "listmount": (458, 458),
    "lookup_dcookie": (212, 18),
    "lsm_set_self_attr": (460, 460),
    "mbind": (237, 235),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "statmount": (457, 457),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_SOCKET, _SOCKETPAIR, _IOCTL, _OPENAT2 = (41, 198), (53, 199), (16, 29), (437, 437)
_NOTHING = {"sync": (162, 81), "syncfs": (306, 267)}
# name: (x86_64, aarch64, which argument is the mode)
_MODES: dict[str, tuple[int | None, int | None, int]] = {
    "chmod": (90, None, 1),
    "fchmod": (91, 52, 1),
    "fchmodat": (268, 53, 2),
    "fchmodat2": (452, 452, 2),
    "open": (2, None, 2),
    "openat": (257, 56, 3),
    "creat": (85, None, 1),
    "mknod": (133, None, 1),
    "mknodat": (259, 33, 2),
}
_FAMILIES = 64
_O_CREAT, _O_TMPFILE = 0o100, 0o20000000
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

SUPPORTED = platform.machine() in _ARCHITECTURES
"""Whether a filter can be built for this machine."""

_Instruction = tuple[int, int, int, int]


def _load(offset: int) -> _Instruction:
    return (0x20, 0, 0, offset)


def _load_argument(index: int) -> _Instruction:
    return _load(16 + 8 * index)


def _equal(value: int, yes: int, no: int) -> _Instruction:
    return (0x15, yes, no, value)


def _at_least(value: int, yes: int, no: int) -> _Instruction:
    return (0x35, yes, no, value)


def _any_bit(mask: int, yes: int, no: int) -> _Instruction:
    return (0x45, yes, no, mask)


def _answer(value: int) -> _Instruction:
    return (0x06, 0, 0, value)


def _fail(number: int) -> _Instruction:
    return _answer(_ERRNO | number)


def _rule(number: int | None, body: list[_Instruction]) -> list[_Instruction]:
    """``body`` for one system call; it must restore the number (or answer) before it ends."""
    return [] if number is None else [_equal(number, 0, len(body)), *body]


def _families(allowed: Iterable[int]) -> list[_Instruction]:
    families = list(allowed)
    checks = [_equal(family, len(families) - i, 0) for i, family in enumerate(families)]
    return [_load_argument(0), *checks, _fail(errno.EAFNOSUPPORT), _load(0)]


def _bits(argument: int, mask: int) -> list[_Instruction]:
    return [_load_argument(argument), _any_bit(mask, 0, 1), _fail(errno.EPERM), _load(0)]


def _mode_rule(name: str, argument: int) -> list[_Instruction]:
    """Set-id bits are refused; ``open`` looks at its mode only when it may create a file."""
    if name not in ("open", "openat"):
        return _bits(argument, _SETUID_BITS)
    creating = [_load_argument(argument - 1), _any_bit(_O_CREAT | _O_TMPFILE & ~0o200000, 0, 3)]
    return [*creating, _load_argument(argument), _any_bit(_SETUID_BITS, 0, 1), _fail(errno.EPERM), _load(0)]


@cache
def program(*, sockets: bool = True, machine: str = "") -> bytes:
    """The filter as an array of ``struct sock_filter``.

    Args:
        sockets: whether unix, IPv4 and IPv6 sockets may be made, because a network namespace decides where they lead;
            otherwise only pairs, which lead nowhere.
        machine: architecture; this one by default.

    Raises:
        KeyError: no system call numbers are known for the architecture.
    """
    column, audit = _ARCHITECTURES[machine or platform.machine()]
    pick: Callable[[tuple[int | None, ...]], int | None] = lambda numbers: numbers[column]  # noqa: E731
    code = [_load(4), _equal(audit, 1, 0), _answer(_KILL), _load(0)]
    if column == 0:
        code += [_at_least(_X32_BIT, 0, 1), _answer(_KILL)]
    for numbers in sorted(_DENIED.values(), key=str):
        code += _rule(pick(numbers), [_fail(errno.EPERM)])
    for number in _NOTHING.values():
        code += _rule(pick(number), [_fail(0)])
    code += _rule(pick(_CLONE3), [_fail(errno.ENOSYS)])
    code += _rule(pick(_OPENAT2), [_fail(errno.ENOSYS)])
    code += _rule(pick(_CLONE), _bits(0, _NAMESPACE_FLAGS))
    code += _rule(pick(_SOCKET), _families((1, 2, 10) if sockets else ()))
    code += _rule(pick(_SOCKETPAIR), _families((1,)))
    terminal = [_load_argument(1), _equal(_TIOCSTI, 1, 0), _equal(_TIOCLINUX, 0, 1), _fail(errno.EPERM), _load(0)]
    code += _rule(pick(_IOCTL), terminal)
    for name, (x86, arm, argument) in _MODES.items():
        code += _rule((x86, arm)[column], _mode_rule(name, argument))
    code.append(_answer(_ALLOW))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def docker_profile() -> dict[str, Any]:
    """The same rules as :func:`program` in the form that docker's ``seccomp=`` option takes.

    Docker's engine builds a filter of its own from it, with libseccomp; ``runc`` needs ``clone3`` and ``openat2`` while
    it sets a container up, but the profile is loaded after that.
    """
    errors = {"action": "SCMP_ACT_ERRNO"}
    rules: list[dict[str, Any]] = [
        {**errors, "names": sorted(_DENIED), "errnoRet": errno.EPERM},
        {**errors, "names": sorted(_NOTHING), "errnoRet": 0},
        {**errors, "names": ["clone3", "openat2"], "errnoRet": errno.ENOSYS},
    ]
    masked = {"op": "SCMP_CMP_MASKED_EQ"}
    rules += [
        {**errors, "names": ["clone"], "args": [{"index": 0, "value": bit, "valueTwo": bit, **masked}]}
        for bit in _single_bits(_NAMESPACE_FLAGS)
    ]
    for call, allowed in (("socket", (1, 2, 10)), ("socketpair", (1,))):
        for family in sorted(set(range(_FAMILIES)) - set(allowed)):
            argument = {"index": 0, "value": family, "op": "SCMP_CMP_EQ"}
            rules.append({**errors, "names": [call], "errnoRet": errno.EAFNOSUPPORT, "args": [argument]})
        beyond = {"index": 0, "value": _FAMILIES, "op": "SCMP_CMP_GE"}
        rules.append({**errors, "names": [call], "errnoRet": errno.EAFNOSUPPORT, "args": [beyond]})
    for request in (_TIOCSTI, _TIOCLINUX):
        argument = {"index": 1, "value": 0xFFFFFFFF, "valueTwo": request, **masked}
        rules.append({**errors, "names": ["ioctl"], "args": [argument]})
    for name, (_, _, index) in _MODES.items():
        if name not in ("open", "openat"):
            for bit in _single_bits(_SETUID_BITS):
                argument = {"index": index, "value": bit, "valueTwo": bit, **masked}
                rules.append({**errors, "names": [name], "args": [argument]})
    architectures = ["SCMP_ARCH_X86_64"] if platform.machine() == "x86_64" else ["SCMP_ARCH_AARCH64"]
    return {"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": rules}


def _single_bits(mask: int) -> list[int]:
    return [1 << position for position in range(mask.bit_length()) if mask >> position & 1]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(code: bytes) -> None:
    """Put the calling process under the filter, for good; it must not be able to gain privileges.

    Raises:
        OSError: the kernel has no seccomp filters.
    """
    buffer = ctypes.create_string_buffer(code, len(code))
    description = _Program(len(code) // 8, ctypes.addressof(buffer))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_SECCOMP, 2, ctypes.addressof(description))
