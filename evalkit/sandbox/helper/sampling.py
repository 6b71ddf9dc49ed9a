"""What a job uses, seen by looking: for machines where this process has no control group to count in.

Every look walks the supervisor's descendants and reads the kernel's own numbers of each (``statm``, ``stat``).
What lives and dies between two looks is missed, and shared pages count once for each process unless the sum comes
near the limit, when proportional sizes are read instead; results say that memory was sampled.
"""

from __future__ import annotations

import os

from evalkit.sandbox.helper.plain import descendants

__all__ = ["INTERVAL", "Sampler"]

INTERVAL = 0.02
"""Seconds between two looks."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME = 11, 12


class Sampler:
    """One job's numbers so far.

    Args:
        places: descriptors of the job's writable tmpfs, whose content is memory too.
    """

    def __init__(self, places: list[int]) -> None:
        self._places = places
        self._cpu: dict[int, tuple[float, float]] = {}
        self.peak_memory = self.peak_pids = 0

    @property
    def user(self) -> float:
        """Seconds in user space, of every process that was ever seen."""
        return sum(times[0] for times in self._cpu.values())

    @property
    def system(self) -> float:
        """Seconds in the kernel."""
        return sum(times[1] for times in self._cpu.values())

    def memory(self, limit: int) -> int:
        """Look at everything once; bytes in use now."""
        pids = descendants(os.getpid())
        self.peak_pids = max(self.peak_pids, len(pids))
        files = sum(_used(place) for place in self._places)
        total = files + sum(_resident(pid) for pid in pids)
        if total > limit:
            total = files + sum(_proportional(pid) for pid in pids)
        for pid in pids:
            if times := _times(pid):
                self._cpu[pid] = times
        self.peak_memory = max(self.peak_memory, total)
        return total


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _used(place: int) -> int:
    state = os.fstatvfs(place)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def _resident(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return (int(fields[1]) - int(fields[2])) * _PAGE if fields else 0


def _proportional(pid: int) -> int:
    lines = _read(f"/proc/{pid}/smaps_rollup").splitlines()
    sizes = [int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:")]
    return sizes[0] * 1024 if sizes else _resident(pid)


def _times(pid: int) -> tuple[float, float] | None:
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[_UTIME]) / _TICKS, int(fields[_STIME]) / _TICKS) if fields else None
