"""One supervisor watches one job: it sets the stage, starts the job, holds the clocks, waits for every orphan, reports.

It is a process of its own so that limits hold even when the process that asked for the job is busy, stopped or killed.
What it reports travels over the job's control socket, as one JSON document with the workspace's descriptor beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from evalkit.sandbox import counters, kernel
from evalkit.sandbox.helper import perf
from evalkit.sandbox.helper.identity import IdentityMaps
from evalkit.sandbox.helper.launch import Launcher
from evalkit.sandbox.helper.network import open_listener
from evalkit.sandbox.helper.plain import PlainStage, end_children
from evalkit.sandbox.helper.sampling import INTERVAL, Sampler
from evalkit.sandbox.helper.stage import Stage

__all__ = ["supervise"]

_CPU_RESOLUTION = 0.004
"""Seconds; how finely the CPU limit is watched when it is close."""
_BETWEEN_KILLS = 0.0005
MAX_DESCRIPTORS = 250


class JobDescriptors:
    """The descriptors that came with a job, by what they are for."""

    def __init__(self, spec: dict[str, Any], received: list[int]) -> None:
        self.streams = received[1:4]
        rest = received[4:]
        kinds = spec["cgroup"]
        self.leaf: list[tuple[str, int]] = list(zip(kinds, rest, strict=False))
        self.parents = rest[len(kinds) : 2 * len(kinds)]
        self.sealed = rest[2 * len(kinds) :]


def supervise(shared: dict[str, Any], ids: list[int] | None, descriptor: int, maps: IdentityMaps) -> None:
    """Make ready for one job, wait for it, and run it; every failure of our own is reported as such."""
    with socket.socket(fileno=os.dup(descriptor)) as control:
        os.close(descriptor)
        try:
            _prepare_and_serve(shared, ids, control, maps)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is ours, and it must not look like the job's fault
            failure = f"the supervisor failed: {type(error).__name__}: {error}"
            with contextlib.suppress(OSError):
                control.send(json.dumps({"failure": failure}).encode())


def _prepare_and_serve(
    shared: dict[str, Any], ids: list[int] | None, control: socket.socket, maps: IdentityMaps
) -> None:
    os.setsid()
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    if not ids:
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # else its own files in /proc belong to root
    stage, failure = _stage(shared, ids, maps), ""
    try:
        stage.prepare()
    except OSError as error:
        failure = f"the stage of a job can't be set: {error}"
    launcher = Launcher(shared, ids)
    launcher.rehearse()
    message, received, _, _ = socket.recv_fds(control, 64, MAX_DESCRIPTORS)
    if message:
        for each in received:
            os.set_inheritable(each, False)
        offset, size = (int(number) for number in message.split())
        spec = json.loads(os.pread(received[0], size, offset))
        _serve(spec, received, control, stage, launcher, failure)


def _stage(shared: dict[str, Any], ids: list[int] | None, maps: IdentityMaps) -> Stage | PlainStage:
    if shared["confinement"] == "bubblewrap":
        return Stage(shared, ids, maps)
    return PlainStage(shared, ids)


def _serve(
    spec: dict[str, Any], received: list[int], control: socket.socket, stage: Stage | PlainStage, launcher: Launcher, failure: str
) -> None:
    descriptors = JobDescriptors(spec, received)
    report, box = {"failure": failure}, None
    if not failure:
        try:
            report, box = _run(spec, descriptors, control, stage, launcher, received[0])
        except (OSError, ValueError, KeyError) as error:
            report = {"failure": str(error) or type(error).__name__}
    try:
        socket.send_fds(control, [json.dumps(report).encode()], [] if box is None else [box])
    except OSError:
        _remove_leaf(spec, descriptors)  # whoever asked is gone
    if isinstance(stage, PlainStage):
        while control.recv(1):  # the artefacts are still being read; the end of the conversation says they are not
            pass
        stage.remove()


def _remove_leaf(spec: dict[str, Any], descriptors: JobDescriptors) -> None:
    for parent in descriptors.parents:
        try:
            os.rmdir(spec["leaf"], dir_fd=parent)
        except OSError:
            continue  # the next start sweeps it


def _run(
    spec: dict[str, Any],
    descriptors: JobDescriptors,
    control: socket.socket,
    stage: Stage | PlainStage,
    launcher: Launcher,
    payload: int,
) -> tuple[dict[str, Any], int | None]:
    stage.build(spec, payload, descriptors.sealed)
    if spec["network"]:
        listener = open_listener(spec["proxy_port"])
        socket.send_fds(control, [b"listening"], [listener.fileno()])
        listener.close()
    job = launcher.go(spec, descriptors, stage)
    watch = _Watch(spec, descriptors.leaf, control, Sampler([stage.watched[name] for name in sorted(stage.watched)]))
    reason = watch.until_end(job.pid)
    status, usage = _reap(job.pid, stage.end_rest if isinstance(stage, PlainStage) else end_children)
    wall = time.monotonic() - watch.started
    for stream in descriptors.streams:
        os.close(stream)
    report = {
        "status": status,
        "began": job.began(),
        "reason": reason,
        "wall": wall,
        "user": max(usage[0], watch.sampler.user),
        "system": max(usage[1], watch.sampler.system),
        **watch.sampled(),
        "instructions": perf.read(job.instructions),
        "full": [name for name, place in stage.watched.items() if _is_full(place)],
        "copied": stage.copied,
        **counters.read(descriptors.leaf),
    }
    return report, stage.box


class _Watch:
    """The clocks of a job."""

    def __init__(
        self, spec: dict[str, Any], leaf: counters.Leaf, control: socket.socket, sampler: Sampler
    ) -> None:
        self.sampler = sampler
        counted = any(kind in ("memory", "unified") for kind, _ in leaf)
        self._memory_limit: int = 0 if counted else spec["memory"]
        self.started = time.monotonic()
        self._wall_end = self.started + spec["wall"]
        self._cpu_limit: float | None = spec["cpu"]
        self._leaf, self._control = leaf, control
        self._cores = len(os.sched_getaffinity(0))

    def until_end(self, pid: int) -> str:
        """Wait until the job's outermost process has ended, ending it when a limit is reached; says why it ended."""
        ended = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        try:
            while True:
                events = dict(poll.poll(max(0.0, self._next_look() * 1000)))
                if ended in events:
                    return "exit"
                if reason := self._reason(asked=self._control.fileno() in events):
                    signal.pidfd_send_signal(ended, signal.SIGKILL)
                    return reason
        finally:
            os.close(ended)

    def _next_look(self) -> float:
        """Seconds until a limit can be reached at the earliest."""
        left = self._wall_end - time.monotonic()
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


def _reap(pid: int, end_rest: Callable[[], None]) -> tuple[int, tuple[float, float]]:
    """Wait for the job and for everything it left behind, which the kernel hands to the nearest subreaper.

    Args:
        pid: the job's outermost process, which has ended.
        end_rest: kills what is left. A process namespace dies with its process 1, and that one dies with its parent,
            unless the job took it over (it runs as the job's user) and told it not to; nothing survives SIGKILL.

    Returns:
        The wait status of the outermost process, and user and system seconds of all of them.
    """
    status, user, system = 0, 0.0, 0.0
    while True:
        try:
            ended, ended_status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return status, (user, system)
        if ended == 0:
            end_rest()
            time.sleep(_BETWEEN_KILLS)
            continue
        user += usage.ru_utime
        system += usage.ru_stime
        if ended == pid:
            status = ended_status


def _is_full(place: int) -> bool:
    state = os.fstatvfs(place)
    return state.f_bfree == 0 or state.f_ffree == 0
