"""Users that jobs run as, when this process may choose: a different one for every job that runs at the same time.

The ids lie where no distribution hands out accounts or container ranges (systemd's "unused" block from 0x70000000 on),
and are told apart between processes by pid, so that two runners don't share one either: two jobs of one user could
signal each other where a process namespace is missing, and share its per-user limits everywhere.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

__all__ = ["Identities"]

_FIRST = 0x70000000
_PER_PROCESS = 32
_PID_MASK = (1 << 22) - 1
_FALLBACK = 65533


class Identities:
    """User ids for jobs; none where this process is an ordinary user."""

    def __init__(self) -> None:
        self.separate = os.geteuid() == 0 and _can_use(_FALLBACK)
        base = _FIRST + (os.getpid() & _PID_MASK) * _PER_PROCESS
        pool = range(base, base + _PER_PROCESS) if _can_use(base + _PER_PROCESS) else range(_FALLBACK, _FALLBACK + 1)
        self._free = list(reversed(pool))
        self._shared = pool[-1]
        self._lock = threading.Lock()

    def take(self) -> int | None:
        """A user id for one job, or None: the job runs as the caller, inside a user namespace.

        When all of them are taken, further jobs share the last one.
        """
        if not self.separate:
            return None
        with self._lock:
            return self._free.pop() if self._free else self._shared

    def give_back(self, uid: int | None) -> None:
        """The job is dead."""
        if uid is None:
            return
        with self._lock:
            if uid not in self._free:
                self._free.append(uid)


def _can_use(uid: int) -> bool:
    """Whether this user namespace has the id."""
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return False
    ranges = [(int(first), int(count)) for first, _, count in (line.split() for line in lines)]
    return any(first <= uid < first + count for first, count in ranges)
