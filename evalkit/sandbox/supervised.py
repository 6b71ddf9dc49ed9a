"""What the backends on this machine share on the caller's side: a helper, its supervisors, jobs in its words.

A backend adds what its jobs see and how they are shut in; limits, results and cleaning up are the same for all of them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox import seccomp
from evalkit.sandbox.cgroups import Cgroups, JobGroup, owner_tag
from evalkit.sandbox.checking import check_job
from evalkit.sandbox.helper.client import Helper, Supervisor
from evalkit.sandbox.identities import Identities
from evalkit.sandbox.interface import Job, Limits, Probe, SealedFile
from evalkit.sandbox.proxy import Proxy
from evalkit.sandbox.running import Streams, SupervisedJob, Surroundings
from evalkit.sandbox.runtime import FILES, Runtime, certificates, discover, system_view

__all__ = ["Supervised"]

_PROXY_PORT = 3128
_OWN_PROCESSES = 16
"""Room in the per-user limit, which is only a backstop where control groups count."""
_ROOM_WHERE_SAMPLED = 8
"""Where memory is sampled, a process may ask for this many times the limit: it is ended when it uses it."""


class Supervised:
    """Base of the backends that the helper runs.

    Args:
        python: interpreter that ``argv[0] == "python"`` stands for; None means the one that runs this.
        cgroups: control groups to use; found out when None.
    """

    name = ""
    unsafe = False
    confinement = ""
    """How the helper shuts jobs in: ``bubblewrap``, ``landlock`` or ``process``."""

    def __init__(self, python: Path | None = None, cgroups: Cgroups | None = None) -> None:
        self._runtime = discover(python)
        self._cgroups = Cgroups.find() if cgroups is None else cgroups
        self._identities = Identities()
        self._helper = Helper(self._shared, self._identities)

    @property
    def runtime(self) -> Runtime:
        """The interpreter that jobs see."""
        return self._runtime

    def start(self, job: Job) -> SupervisedJob:
        """Start a job; see :meth:`evalkit.sandbox.interface.Sandbox.start`."""
        check_job(job)
        supervisor = self._helper.take()
        group: JobGroup | None = None
        proxy = Proxy(job.hosts) if job.network else None

        def release() -> None:
            if group is not None:
                group.remove()
            if proxy is not None:
                proxy.close()
            self._identities.give_back(supervisor.uid)

        try:
            if self._cgroups.bases:
                group = self._cgroups.make(job.limits)
            enforced, unenforced = self.protections(job)
            around = Surroundings(
                enforced=enforced,
                unenforced=unenforced,
                release=release,
                on_listener=proxy.serve if proxy else None,
                contacted=proxy.contacted if proxy else tuple,
            )
            return self._submit(job, supervisor, group, around)
        except BaseException as error:
            supervisor.control.close()
            release()
            if isinstance(error, OSError):
                raise SandboxUnavailable(f"a job could not be started: {error}") from error
            raise

    def _submit(self, job: Job, supervisor: Supervisor, group: JobGroup | None, around: Surroundings) -> SupervisedJob:
        payload = os.memfd_create("payload", os.MFD_CLOEXEC)
        streams = Streams(job)
        try:
            spec, offset = self._describe(job, group, payload)
            sealed = [content.fd for content in job.files.values() if isinstance(content, SealedFile)]
            leaves = [descriptor for _, descriptor in group.leaf] if group else []
            parents = list(group.parents) if group else []
            supervisor.submit(spec, payload, offset, [*streams.given, *leaves, *parents, *sealed])
        except BaseException:
            streams.close_ours()
            raise
        finally:
            streams.close_given()
            os.close(payload)
        lingers = self.confinement != "bubblewrap"
        return SupervisedJob(job, supervisor.control, streams, around, lingers=lingers)

    def _shared(self) -> dict[str, Any]:
        """What all jobs see and share."""
        binds, links = system_view()
        return {
            "confinement": self.confinement,
            "seccomp": seccomp.program().hex() if seccomp.SUPPORTED else "",
            "binds": [*binds, *self._runtime.binds],
            "links": links,
            "files": FILES,
        }

    def _describe(self, job: Job, group: JobGroup | None, payload: int) -> tuple[dict[str, Any], int]:
        """The job in the helper's words, and how many bytes of the payload are taken by small files."""
        files, offset = _pack(payload, job.files)
        shown = [(path, path, False) for path in (certificates() if job.network else [])]
        shown += [(_host(bind.source), bind.target, bind.writable) for bind in job.binds]
        spec = {
            "argv": [self._runtime.python, *job.argv[1:]] if job.argv[0] == "python" else list(job.argv),
            "env": self._environment(job),
            "tree": job.tree and _host(job.tree),
            "workspace": job.workspace and _host(job.workspace),
            "binds": shown,
            "files": files,
            "sealed": [(target, 0, c.size) for target, c in job.files.items() if isinstance(c, SealedFile)],
            "masks": [mask for name in job.masks for mask in dict.fromkeys((name, os.path.realpath(name)))],
            "devices": list(job.devices),
            "disk": job.limits.disk,
            "wall": job.limits.wall,
            "cpu": job.limits.cpu,
            "memory": job.limits.memory,
            "rlimits": self._rlimits(job.limits),
            "network": job.network,
            "proxy_port": _PROXY_PORT,
            "cgroup": [kind for kind, _ in group.leaf] if group else [],
            "leaf": group.name if group else "",
            "directory": os.path.join(tempfile.gettempdir(), f"evalkit-{owner_tag()}"),
        }
        return spec, offset

    def _environment(self, job: Job) -> dict[str, str]:
        fixed = {"PATH": self._runtime.path, "HOME": "/box", "LANG": "C.UTF-8"}
        if job.network:
            address = f"http://127.0.0.1:{_PROXY_PORT}"
            for name in ("http_proxy", "https_proxy", "all_proxy"):
                fixed |= {name: address, name.upper(): address}
        return fixed | dict(job.env)

    def _rlimits(self, limits: Limits) -> dict[str, int]:
        wanted = {
            "core": 0,
            "memlock": 64 << 10,
            "msgqueue": 0,
            "nofile": limits.open_files,
            "fsize": limits.file_size or limits.disk,
            "nproc": limits.pids + (_OWN_PROCESSES if self._cgroups.pids else 3),
        }
        if limits.cpu is not None:
            wanted["cpu"] = int(limits.cpu) + 2
        if not self._cgroups.memory:
            wanted["data"] = limits.memory * _ROOM_WHERE_SAMPLED
        return wanted

    def protections(self, job: Job) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What holds for a job on this machine, and what does not."""
        held = {
            **self.confines(job),
            "wall": True,
            "output": True,
            "open files": True,
            "file size": True,
            "own user": self._identities.separate,
            ("memory of the whole tree" if self._cgroups.memory else "memory, sampled"): True,
            "pids": self._cgroups.pids or self._identities.separate or self.confinement == "bubblewrap",
        }
        if job.limits.cpu is not None:
            held["cpu of the whole tree" if self._cgroups.cpu else "cpu, sampled"] = True
        if not self._cgroups.memory:
            held["memory without gaps"] = False
        enforced = tuple(name for name, holds in held.items() if holds)
        return enforced, tuple(name for name, holds in held.items() if not holds)

    def confines(self, job: Job) -> dict[str, bool]:
        """Which protections besides the limits hold for a job; every backend has its own answer."""
        raise NotImplementedError

    def probe(self) -> Probe:
        """Run real canaries; see :mod:`evalkit.sandbox.probing`."""
        from evalkit.sandbox.probing import probe  # noqa: PLC0415 - only doctors need it

        return probe(self)

    def sweep(self) -> list[str]:
        """Remove what killed runs left: control groups, and directories where a backend needs them."""
        return self._cgroups.sweep()

    def close(self) -> None:
        """Stop the helper and give back everything."""
        self._helper.close()
        self._cgroups.close()


def _host(path: Path) -> str:
    return os.path.realpath(path)


def _pack(payload: int, files: Mapping[str, bytes | SealedFile]) -> tuple[list[tuple[str, int, int]], int]:
    """Write small files one after the other; where each of them is, and how many bytes there are."""
    index, offset = [], 0
    for target, content in files.items():
        if isinstance(content, SealedFile):
            continue
        os.pwrite(payload, content, offset)
        index.append((target, offset, len(content)))
        offset += len(content)
    return index, offset
