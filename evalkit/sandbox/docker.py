"""Docker: containers with everything taken away, one for each job; gVisor when it is registered as a runtime.

On Linux the container's root is an empty image that needs no registry, with the system's programs and the user's
interpreter bound read-only at their own paths, as under bubblewrap; ``EVALKIT_DOCKER_IMAGE`` names another image (which
then brings its own Python), and is needed where the engine runs in a virtual machine (macOS, Windows).

The workspace is a directory of its own, as root on a tmpfs of the size that the contract allows.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox import seccomp
from evalkit.sandbox.checking import check_job
from evalkit.sandbox.containers import ContainerJob
from evalkit.sandbox.interface import Job, Probe
from evalkit.sandbox.places import JobPlace, sweep_places
from evalkit.sandbox.runtime import Runtime, discover, system_view
from evalkit.sandbox.skeleton import IMAGE, skeleton

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["LABEL", "Docker", "connect"]

LABEL = "evalkit.owner"
_PATIENCE = 60
_GVISOR_PIDS = 1024
_USER = 65533
_SHM = "/dev/shm"  # noqa: S108 - a place inside the container
_START_DOCKER = "start docker (systemctl start docker), or set DOCKER_HOST to a socket that you may use"


class Docker:
    """See the module.

    Args:
        python: interpreter that ``argv[0] == "python"`` stands for; None means the one that runs this.
        runtime: name of a runtime that the engine knows (``runsc``); empty for its default.

    Raises:
        SandboxUnavailable: the SDK is missing, the engine can't be reached, or it does not know the runtime.
    """

    unsafe = False

    def __init__(self, python: Path | None = None, runtime: str = "") -> None:
        self.name = f"docker:{runtime}" if runtime else "docker"
        self._runtime_name = runtime
        self._client = connect()
        self._info: dict[str, Any] = self._client.info()
        if runtime and runtime not in self._info.get("Runtimes", {}):
            raise SandboxUnavailable(
                f"docker knows no runtime {runtime!r}", f"{runtime} install && systemctl restart docker"
            )
        self._image = os.environ.get("EVALKIT_DOCKER_IMAGE", "")
        if not self._image and sys.platform != "linux":
            raise SandboxUnavailable(
                "docker needs an image with Python here", "export EVALKIT_DOCKER_IMAGE=python:3.12-slim"
            )
        self._python = python
        if not self._image:
            self._ensure_skeleton()

    @cached_property
    def runtime(self) -> Runtime:
        """The interpreter that jobs see."""
        if self._image:
            return Runtime(python="python3", binds=(), path="/usr/local/bin:/usr/bin:/bin")
        return discover(self._python)

    def _ensure_skeleton(self) -> None:
        if not self._client.images(name=IMAGE, quiet=True):
            name, _, tag = IMAGE.partition(":")
            self._client.import_image_from_data(skeleton(), repository=name, tag=tag)

    def start(self, job: Job) -> ContainerJob:
        """Start a job; see :meth:`evalkit.sandbox.interface.Sandbox.start`."""
        check_job(job)
        if job.network:
            raise ValueError("the docker backend has no proxy; use bubblewrap for proposers that need network")
        place = JobPlace(job, self._ids())
        try:
            config = self._configuration(job, place)
            return ContainerJob(self._client, job, place, config, self.protections(job, place))
        except BaseException as error:
            place.remove()
            if type(error).__module__.startswith(("docker.", "requests.")):
                raise SandboxUnavailable(f"docker refuses the job: {error}", _START_DOCKER) from error
            raise

    def _ids(self) -> tuple[int, int]:
        return (_USER, _USER) if os.geteuid() == 0 else (os.geteuid(), os.getegid())

    def _configuration(self, job: Job, place: JobPlace) -> dict[str, Any]:
        """Arguments of the container's creation."""
        runtime, limits = self.runtime, job.limits
        argv = [runtime.python, *job.argv[1:]] if job.argv[0] == "python" else list(job.argv)
        environment = {"PATH": runtime.path, "HOME": "/box", "LANG": "C.UTF-8"} | dict(job.env)
        uid, gid = self._ids()
        return {
            "image": self._image or IMAGE,
            "command": argv,
            "entrypoint": [],
            "environment": environment,
            "working_dir": "/box",
            "user": f"{uid}:{gid}",
            "hostname": "sandbox",
            "stdin_open": job.interactive or job.stdin is not None,
            "labels": {LABEL: place.tag},
            "host_config": self._client.create_host_config(
                network_mode="none",
                read_only=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges", f"seccomp={json.dumps(seccomp.docker_profile())}"],
                pids_limit=max(limits.pids, _GVISOR_PIDS) if self._runtime_name == "runsc" else limits.pids + 1,
                mem_limit=limits.memory,
                memswap_limit=limits.memory,
                tmpfs=self._tmpfs(limits.disk),
                shm_size=limits.disk,
                init=True,
                ipc_mode="private",
                ulimits=_ulimits(job),
                log_config={"Type": "none", "Config": {}},
                cgroup_parent=place.group_name or None,
                mounts=self._mounts(place),
                devices=[f"/dev/{device}:/dev/{device}:rw" for device in job.devices],
                runtime=self._runtime_name or None,
                oom_score_adj=500,
            ),
        }

    @staticmethod
    def _tmpfs(size: int) -> dict[str, str]:
        inodes = min(1 << 20, max(4096, size // 4096))
        return {"/tmp": f"rw,nosuid,nodev,exec,size={size},mode=1777,nr_inodes={inodes}"}  # noqa: S108

    def _mounts(self, place: JobPlace) -> list[dict[str, Any]]:
        shown = [] if self._image else [(path, path, True) for path in (*system_view()[0], *self.runtime.binds)]
        shown += place.mounts()
        return [
            {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only}
            for source, target, read_only in shown
        ]

    def protections(self, job: Job, place: JobPlace) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What holds for a job, and what does not."""
        held = dict.fromkeys(
            ("filesystem", "processes", "seccomp", "capabilities", "network", "wall", "output", "open files"), True
        )
        held |= {"file size": True, "memory of the whole tree": True, "own user": os.geteuid() == 0}
        held |= {"pids": self._runtime_name != "runsc", "disk": place.capped}
        if job.limits.cpu is not None:
            held["cpu of the whole tree"] = bool(place.group_name)
        return tuple(n for n, holds in held.items() if holds), tuple(n for n, holds in held.items() if not holds)

    def probe(self) -> Probe:
        """Run real canaries; see :mod:`evalkit.sandbox.probing`."""
        from evalkit.sandbox.probing import probe  # noqa: PLC0415 - only doctors need it

        return probe(self)

    def sweep(self) -> list[str]:
        """Remove containers, mounts, directories and control groups of runs that were killed."""
        removed = []
        for container in self._client.containers(all=True, filters={"label": LABEL}):
            if JobPlace.is_orphan(container["Labels"][LABEL]):
                self._client.remove_container(container["Id"], force=True)
                removed.append(f"container {container['Id'][:12]}")
        return removed + sweep_places()

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()


def _listens() -> bool:
    """Whether anybody listens where docker should; asked first, for the SDK leaks sockets that it can't connect."""
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not host.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as attempt:
        try:
            attempt.connect(host.removeprefix("unix://"))
        except OSError:
            return False
    return True


def connect() -> APIClient:
    """A connection to the engine that the environment names.

    Raises:
        SandboxUnavailable: there is none.
    """
    try:
        import docker  # noqa: PLC0415 - loaded when this backend is opened, not before
    except ImportError:
        raise SandboxUnavailable("the docker SDK is not installed", "pip install 'evalkit-guards[docker]'") from None
    if not _listens():
        raise SandboxUnavailable("no docker answers", _START_DOCKER)
    try:
        environment = docker.utils.kwargs_from_env()
        client = docker.APIClient(version="auto", timeout=_PATIENCE, **environment)
        client.ping()
    except docker.errors.DockerException as error:
        raise SandboxUnavailable(f"docker can't be reached: {error}", _START_DOCKER) from None
    return client


def _ulimits(job: Job) -> list[Any]:
    from docker.types import Ulimit  # noqa: PLC0415

    limits = job.limits
    values = {
        "core": 0,
        "nofile": limits.open_files,
        "fsize": limits.file_size or limits.disk,
        "memlock": 64 << 10,
        "msgqueue": 0,
    }
    if limits.cpu is not None:
        values["cpu"] = int(limits.cpu) + 2
    return [Ulimit(name=name, soft=value, hard=value) for name, value in values.items()]
