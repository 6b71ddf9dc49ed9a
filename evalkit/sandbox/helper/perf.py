"""Instructions that a process tree retires in user space, where the machine lets them be counted.

``perf_event_open(2)`` with ``inherit`` (descendants count) and ``enable_on_exec`` (our own set-up does not). Virtual
machines often have no counters: then there is no number, and nobody invents one.
"""

from __future__ import annotations

import os
import platform
import struct
from functools import cache

from evalkit.sandbox import kernel

__all__ = ["available", "open_counter", "read"]

_NUMBER = {"x86_64": 298, "aarch64": 241}
_HARDWARE, _INSTRUCTIONS = 0, 1
_DISABLED, _INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV, _ENABLE_ON_EXEC = 1 << 0, 1 << 1, 1 << 5, 1 << 6, 1 << 12
_ATTRIBUTE_SIZE = 128
_CLOSE_ON_EXEC = 8


def open_counter(pid: int) -> int:
    """A counter that starts when the process executes its program; -1 where there is none."""
    flags = _DISABLED | _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HV | _ENABLE_ON_EXEC
    head = struct.pack("IIQQQQQ", _HARDWARE, _ATTRIBUTE_SIZE, _INSTRUCTIONS, 0, 0, 0, flags)
    attribute = head.ljust(_ATTRIBUTE_SIZE, b"\0")
    try:
        return kernel.syscall(_NUMBER[platform.machine()], attribute, pid, -1, -1, _CLOSE_ON_EXEC)
    except (KeyError, OSError):
        return -1


@cache
def available() -> bool:
    """Whether this machine counts instructions at all."""
    counter = open_counter(0)
    if counter >= 0:
        os.close(counter)
    return counter >= 0


def read(counter: int) -> int | None:
    """What was counted so far."""
    if counter < 0:
        return None
    try:
        return int(struct.unpack("Q", os.read(counter, 8))[0])
    finally:
        os.close(counter)
