"""The kernel's own counters of one job, read through descriptors of its cgroup directories.

Used on both sides of the helper, so it imports nothing heavy. A *leaf* is a list of ``(kind, descriptor)``; the kinds
are ``memory``, ``pids`` and ``cpuacct`` (cgroup v1, one directory each) and ``unified`` (v2, all in one).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

__all__ = ["Leaf", "close", "cpu_seconds", "join", "read", "write"]

Leaf = Sequence[tuple[str, int]]
_NANO, _MICRO = 1e-9, 1e-6


def _text(directory: int, name: str) -> str:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 4096).decode()
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _number(directory: int, name: str) -> int | None:
    text = _text(directory, name).strip()
    return int(text) if text.isdigit() else None


def _table(directory: int, name: str) -> dict[str, int]:
    pairs = (line.split() for line in _text(directory, name).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}  # noqa: PLR2004


def write(directory: int, name: str, value: str) -> None:
    """Write a control file.

    Raises:
        OSError: there is no such file, or the kernel refuses the value.
    """
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def join(leaf: Leaf) -> None:
    """Move the calling process into the leaf.

    In v1 through ``tasks`` and not ``cgroup.procs``: a single thread that moves itself does not take the kernel's
    global lock, whose grace period costs milliseconds.
    """
    for kind, directory in leaf:
        write(directory, "cgroup.procs" if kind == "unified" else "tasks", "0")


def cpu_seconds(leaf: Leaf) -> float | None:
    """CPU seconds of all processes that are or were in the leaf."""
    for kind, directory in leaf:
        if kind == "cpuacct":
            nanoseconds = _number(directory, "cpuacct.usage")
            return None if nanoseconds is None else nanoseconds * _NANO
        if kind == "unified" and "usage_usec" in (table := _table(directory, "cpu.stat")):
            return table["usage_usec"] * _MICRO
    return None


def read(leaf: Leaf) -> dict[str, float]:
    """All counters at once: ``oom``, ``pids`` (limit hits), ``peak_memory``, ``peak_pids``, ``user``, ``system``."""
    found: dict[str, float | None] = {}
    for kind, directory in leaf:
        found |= _READERS[kind](directory)
    return {name: value for name, value in found.items() if value is not None}


def _memory(directory: int) -> dict[str, float | None]:
    return {
        "oom": _table(directory, "memory.oom_control").get("oom_kill"),
        "peak_memory": _number(directory, "memory.max_usage_in_bytes"),
    }


def _pids(directory: int) -> dict[str, float | None]:
    return {"pids": _table(directory, "pids.events").get("max"), "peak_pids": _number(directory, "pids.peak")}


def _cpuacct(directory: int) -> dict[str, float | None]:
    total = _number(directory, "cpuacct.usage")
    user = _number(directory, "cpuacct.usage_user")
    if total is None or user is None:
        return {}
    return {"user": user * _NANO, "system": max(0, total - user) * _NANO}


def _unified(directory: int) -> dict[str, float | None]:
    cpu = _table(directory, "cpu.stat")
    return {
        "oom": _table(directory, "memory.events").get("oom_kill"),
        "peak_memory": _number(directory, "memory.peak"),
        **_pids(directory),
        "user": cpu["user_usec"] * _MICRO if "user_usec" in cpu else None,
        "system": cpu["system_usec"] * _MICRO if "system_usec" in cpu else None,
    }


_READERS = {"memory": _memory, "pids": _pids, "cpuacct": _cpuacct, "unified": _unified}


def close(leaf: Iterable[tuple[str, int]]) -> None:
    """Give the descriptors back."""
    for _, directory in leaf:
        os.close(directory)
