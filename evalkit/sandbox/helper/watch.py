"""The clocks of a job, and the one who takes in its orphans."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from evalkit.sandbox import counters
from evalkit.sandbox.helper.sampling import INTERVAL, Sampler

__all__ = ["Reaper", "Watch"]

_CPU_RESOLUTION = 0.004
"""Seconds; how finely the CPU limit is watched when it is close."""
_BETWEEN_KILLS = 0.0005


class Watch:
    """The clocks of a job."""

    def __init__(
        self, spec: dict[str, Any], leaf: counters.Leaf, control: socket.socket, sampler: Sampler, started: float
    ) -> None:
        self.sampler = sampler
        counted = any(kind in ("memory", "unified") for kind, _ in leaf)
        self._memory_limit: int = 0 if counted else spec["memory"]
        self.started = started
        self._wall_end: float = self.started + spec["wall"]
        self._cpu_limit: float | None = spec["cpu"]
        self._leaf, self._control = leaf, control
        self._cores = len(os.sched_getaffinity(0))

    def until_end(self, reaper: Reaper) -> str:
        """Wait until the job's outermost process has ended, ending it when a limit is reached; says why it ended."""
        ended = os.pidfd_open(reaper.main)
        poll = select.poll()
        for source in (ended, self._control, reaper.wakes):
            poll.register(source, select.POLLIN)
        try:
            while True:
                events = dict(poll.poll(max(0.0, self._next_look() * 1000)))
                if ended in events:
                    return "exit"
                reaper.orphans()
                if reason := self._reason(asked=self._control.fileno() in events):
                    signal.pidfd_send_signal(ended, signal.SIGKILL)
                    return reason
        finally:
            os.close(ended)

    def _next_look(self) -> float:
        """Seconds until a limit can be reached at the earliest."""
        left: float = self._wall_end - time.monotonic()
        if self._memory_limit:
            return min(left, INTERVAL)
        if self._cpu_limit is not None:
            used = counters.cpu_seconds(self._leaf)
            if used is not None:
                left = min(left, max(_CPU_RESOLUTION, (self._cpu_limit - used) / self._cores))
        return left

    def _cpu_used(self) -> float | None:
        if self._cpu_limit is None:
            return None
        counted = counters.cpu_seconds(self._leaf)
        return self.sampler.user + self.sampler.system if counted is None else counted

    def sampled(self) -> dict[str, int]:
        """Peaks that were seen, where nothing counts them."""
        if not self._memory_limit:
            return {}
        return {"peak_memory": self.sampler.peak_memory, "peak_pids": self.sampler.peak_pids}

    def _reason(self, *, asked: bool) -> str:
        if asked:
            return "asked"
        if time.monotonic() >= self._wall_end:
            return "wall"
        if self._memory_limit and self.sampler.memory(self._memory_limit) > self._memory_limit:
            return "memory"
        used = self._cpu_used()
        return "cpu" if used is not None and used >= (self._cpu_limit or 0) else ""


class Reaper:
    """Waits for a job and for everything it leaves behind, which the kernel hands to the nearest subreaper.

    Args:
        main: the job's outermost process.

    Attributes:
        status: wait status of the outermost process, once it is reaped.
        user, system: CPU seconds of all that were reaped.
        wakes: descriptor that becomes readable when a child has ended.
    """

    def __init__(self, main: int) -> None:
        self.main = main
        self.status = 0
        self.user = self.system = 0.0
        self.wakes, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def orphans(self) -> None:
        """Reap what has ended besides the outermost process: zombies count against the job's limit of processes."""
        try:
            while os.read(self.wakes, 4096):
                pass
        except BlockingIOError:
            pass  # all wake-ups are read
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid == self.main:
                return
            self._take(ended.si_pid, 0)

    def _take(self, pid: int, options: int) -> int:
        ended, status, usage = os.wait4(pid, options)
        self.user += usage.ru_utime
        self.system += usage.ru_stime
        if ended == self.main:
            self.status = status
        return ended

    def rest(self, end_rest: Callable[[], None], *, namespace: bool) -> None:
        """The outermost process has ended: until nobody is left, kill and reap.

        Args:
            end_rest: kills what is left, as far as it can be found.
            namespace: whether the job had a process namespace. It dies with its process 1, and that one dies with its
                parent, unless the job took it over (it runs as the job's user) and told it not to; nothing survives
                SIGKILL, so one kill is enough. Elsewhere a process may have been born meanwhile.
        """
        options = 0 if namespace else os.WNOHANG
        if namespace:
            self._take(self.main, 0)
            end_rest()
        while True:
            try:
                ended = self._take(-1, options)
            except ChildProcessError:
                return
            if ended == 0:
                end_rest()
                time.sleep(_BETWEEN_KILLS)
