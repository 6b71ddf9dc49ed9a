"""The default backend on Linux: bubblewrap, started by a supervisor as another user, in a control group of its own.

What a job gets: namespaces of its own for users, processes, network, mounts, IPC, host name and control groups; no
capability; a seccomp filter; a read-only root with nothing in it but the system's programs, the user's interpreter and
what the job declares; a private copy of its tree that is an overlay on a capped tmpfs; ``/tmp`` and ``/dev/shm`` of the
same size; limits on everything; and an end that takes every descendant with it, because process 1 of its namespace dies.

As root every job runs as a user that no other job has (and that no account has); as an ordinary user it runs as that
user inside a user namespace, and control groups are used where they are delegated.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox import seccomp
from evalkit.sandbox.cgroups import Cgroups, JobGroup
from evalkit.sandbox.checking import check_job
from evalkit.sandbox.helper.client import Helper, Supervisor
from evalkit.sandbox.identities import Identities
from evalkit.sandbox.interface import Job, Limits, Probe, SealedFile
from evalkit.sandbox.proxy import Proxy
from evalkit.sandbox.running import Streams, SupervisedJob, Surroundings
from evalkit.sandbox.runtime import FILES, Runtime, certificates, discover, system_view

__all__ = ["Bubblewrap"]

INSTALL = "apt-get install -y bubblewrap (or your system's package of that name)"
_ISOLATION = (
    # The network namespace is the supervisor's, made ahead of time: the job's user has no power over it at all.
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"),
    *("--disable-userns", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
)
_PROXY_PORT = 3128
_OWN_PROCESSES = 16
"""Room in the per-user limit, which is only a backstop where control groups count."""


class Bubblewrap:
    """See the module.

    Args:
        python: interpreter that ``argv[0] == "python"`` stands for; None means the one that runs this.
        cgroups: control groups to use; found out when None.

    Raises:
        SandboxUnavailable: there is no bubblewrap here.
    """

    name = "bubblewrap"
    unsafe = False

    def __init__(self, python: Path | None = None, cgroups: Cgroups | None = None) -> None:
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxUnavailable("bubblewrap (bwrap) is not installed", INSTALL)
        if not seccomp.SUPPORTED:
            raise SandboxUnavailable("no seccomp filter is known for this processor", "use the docker backend")
        self._program = program
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

    def _submit(
        self, job: Job, supervisor: Supervisor, group: JobGroup | None, around: Surroundings
    ) -> SupervisedJob:
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
        return SupervisedJob(job, supervisor.control, streams, around)

    def _shared(self) -> dict[str, Any]:
        """What all jobs see and share."""
        binds, links = system_view()
        return {
            "program": self._program,
            "isolation": _ISOLATION,
            "seccomp": seccomp.program().hex(),
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
            "rlimits": self._rlimits(job.limits),
            "network": job.network,
            "proxy_port": _PROXY_PORT,
            "cgroup": [kind for kind, _ in group.leaf] if group else [],
            "leaf": group.name if group else "",
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
            wanted["data"] = limits.memory
        return wanted

    def protections(self, job: Job) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What holds for a job on this machine, and what does not."""
        enforced = ["filesystem", "processes", "seccomp", "capabilities", "wall", "output", "open files", "file size"]
        enforced.append("network allow-list" if job.network else "network")
        unenforced: list[str] = []
        (enforced if self._identities.separate else unenforced).append("own user")
        (enforced if self._cgroups.memory else unenforced).append("memory of the whole tree")
        (enforced if self._cgroups.pids or self._identities.separate else unenforced).append("pids")
        (enforced if job.workspace is None else unenforced).append("disk")
        if job.limits.cpu is not None:
            (enforced if self._cgroups.cpu else unenforced).append("cpu of the whole tree")
        return tuple(enforced), tuple(unenforced)

    def probe(self) -> Probe:
        """Run real canaries; see :mod:`evalkit.sandbox.probing`."""
        from evalkit.sandbox.probing import probe  # noqa: PLC0415 - only doctors need it

        return probe(self)

    def sweep(self) -> list[str]:
        """Remove control groups of killed runs; nothing else of a job can outlive it."""
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
