"""A job is looked at before anything is started: what makes no sense is refused by name, before any system call."""

from __future__ import annotations

import os
from pathlib import Path

from evalkit.sandbox.artifacts import check_name
from evalkit.sandbox.interface import BOX, Job

__all__ = ["check_job"]

_RESERVED = (BOX, "/tmp", "/dev", "/proc", "/sys")  # noqa: S108 - places inside a sandbox, not on this machine


def check_job(job: Job) -> None:
    """Refuse a job that no backend could run as meant.

    Raises:
        ValueError: which part makes no sense, and why.
    """
    if not job.argv:
        raise ValueError("argv is empty")
    if job.tree is not None and job.workspace is not None:
        raise ValueError("a job has a tree or a workspace, not both")
    if job.interactive and job.stdin is not None:
        raise ValueError("an interactive job's standard input is a pipe; stdin must be None")
    if job.network and job.identity != "proposer":
        raise ValueError(f"network is for proposers only, not for a {job.identity}")
    _check_text(job)
    for name in job.artifacts:
        check_name(name)
    for target in [*(bind.target for bind in job.binds), *job.files]:
        _check_target(target)
    for device in job.devices:
        _check_device(device)
    for place in (job.tree, job.workspace):
        if place is not None and not place.is_dir():
            raise ValueError(f"{place} is not a directory")
    _check_limits(job)


def _check_text(job: Job) -> None:
    paths = [os.fspath(bind.source) for bind in job.binds]
    if any("\0" in text for text in [*job.argv, *job.env, *job.env.values(), *job.masks, *paths]):
        raise ValueError("a NUL byte in argv, env, masks or binds")
    for name in job.env:
        if not name or "=" in name:
            raise ValueError(f"{name!r} can't be the name of an environment variable")


def _check_target(target: str) -> None:
    if not target.startswith("/") or "\0" in target or os.path.normpath(target) != target or target == "/":
        raise ValueError(f"{target!r} must be a plain absolute path inside the sandbox")
    if any(target == place or target.startswith(f"{place}/") for place in _RESERVED):
        raise ValueError(f"{target!r} lies in a place that the sandbox itself fills ({', '.join(_RESERVED)})")


def _check_device(name: str) -> None:
    parts = Path(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise ValueError(f"device {name!r} must be a name below /dev, such as 'nvidia0'")


def _check_limits(job: Job) -> None:
    limits = job.limits
    numbers = (limits.wall, limits.memory, limits.pids, limits.disk, limits.open_files, limits.output)
    if any(number <= 0 for number in numbers) or limits.kept < 0 or (limits.cpu is not None and limits.cpu <= 0):
        raise ValueError("limits must be greater than zero")
