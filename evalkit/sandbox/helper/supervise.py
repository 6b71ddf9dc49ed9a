"""One supervisor watches one job: it sets the stage, starts the job, holds the clocks, waits for every orphan, reports.

It is a process of its own so that limits hold even when the process that asked for the job is busy, stopped or killed.
What it reports travels over the job's control socket, as one JSON document with the workspace's descriptor beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from typing import Any

from evalkit.sandbox import counters, kernel
from evalkit.sandbox.helper import perf
from evalkit.sandbox.helper.identity import IdentityMaps
from evalkit.sandbox.helper.launch import Launcher
from evalkit.sandbox.helper.network import open_listener
from evalkit.sandbox.helper.plain import PlainStage, end_children
from evalkit.sandbox.helper.sampling import Sampler
from evalkit.sandbox.helper.stage import Stage
from evalkit.sandbox.helper.watch import Reaper, Watch

__all__ = ["supervise"]

MAX_DESCRIPTORS = 250


class Given:
    """A job as it came: its description, and its descriptors by what they are for."""

    def __init__(self, control: socket.socket, spec: dict[str, Any], received: list[int]) -> None:
        self.control, self.spec = control, spec
        self.payload = received[0]
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
        finally:
            end_children()  # nothing of a job may outlive its supervisor, however that one ends


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
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # a job of the same user must not be able to trace its supervisor
    launcher.rehearse()
    message, received, _, _ = socket.recv_fds(control, 64, MAX_DESCRIPTORS)
    if message:
        for each in received:
            os.set_inheritable(each, False)
        offset, size = (int(number) for number in message.split())
        spec = json.loads(os.pread(received[0], size, offset))
        _serve(Given(control, spec, received), stage, launcher, failure)


def _stage(shared: dict[str, Any], ids: list[int] | None, maps: IdentityMaps) -> Stage | PlainStage:
    if shared["confinement"] == "bubblewrap":
        return Stage(shared, ids, maps)
    return PlainStage(shared, ids)


def _serve(job: Given, stage: Stage | PlainStage, launcher: Launcher, failure: str) -> None:
    report: dict[str, Any] = {"failure": failure}
    box = None
    if not failure:
        try:
            report, box = _run(job, stage, launcher)
        except (OSError, ValueError, KeyError) as error:
            report = {"failure": str(error) or type(error).__name__}
    try:
        socket.send_fds(job.control, [json.dumps(report).encode()], [] if box is None else [box])
    except OSError:
        _remove_leaf(job)  # whoever asked is gone
    if isinstance(stage, PlainStage):
        while job.control.recv(1):  # the artefacts are still being read; the end of the conversation says they are not
            pass
        stage.remove()


def _remove_leaf(job: Given) -> None:
    for parent in job.parents:
        try:
            os.rmdir(job.spec["leaf"], dir_fd=parent)
        except OSError:
            continue  # the next start sweeps it


def _run(job: Given, stage: Stage | PlainStage, launcher: Launcher) -> tuple[dict[str, Any], int | None]:
    spec = job.spec
    stage.build(spec, job.payload, job.sealed)
    if spec["network"]:
        listener = open_listener(spec["proxy_port"])
        socket.send_fds(job.control, [b"listening"], [listener.fileno()])
        listener.close()
    started = time.monotonic()
    launched = launcher.go(spec, job, stage)
    sampler = Sampler([stage.watched[name] for name in sorted(stage.watched)])
    reaper, watch = Reaper(launched.pid), Watch(spec, job.leaf, job.control, sampler, started)
    reason = watch.until_end(reaper)
    if isinstance(stage, PlainStage):
        reaper.rest(stage.end_rest, namespace=False)
    else:
        reaper.rest(end_children, namespace=True)
    wall = time.monotonic() - watch.started
    for stream in job.streams:
        os.close(stream)
    report = {
        "status": reaper.status,
        "began": launched.began(),
        "reason": reason,
        "wall": wall,
        "user": max(reaper.user, sampler.user),
        "system": max(reaper.system, sampler.system),
        **watch.sampled(),
        "instructions": perf.read(launched.instructions),
        "full": [name for name, place in stage.watched.items() if _is_full(place)],
        **counters.read(job.leaf),
    }
    return report, stage.box


def _is_full(place: int) -> bool:
    state = os.fstatvfs(place)
    return state.f_bfree == 0 or state.f_ffree == 0
