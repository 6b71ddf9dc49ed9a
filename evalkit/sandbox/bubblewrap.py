"""The default backend on Linux: bubblewrap, started by a supervisor as another user, in a control group of its own.

What a job gets: namespaces of its own for users, processes, network, mounts, IPC, host name and control groups; no
capability; a seccomp filter; a read-only root with nothing in it but the system's programs, the user's interpreter and
what the job declares; a private copy of its tree that is an overlay on a capped tmpfs; ``/tmp`` and ``/dev/shm``
of the same size; limits on everything; and an end that takes every descendant with it, because process 1 of its
namespace dies.

As root every job runs as a user that no other job has (and that no account has); as an ordinary user it runs as that
user inside a user namespace, and control groups are used where they are delegated.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox import seccomp
from evalkit.sandbox.cgroups import Cgroups
from evalkit.sandbox.interface import Job
from evalkit.sandbox.supervised import Supervised

__all__ = ["Bubblewrap"]

INSTALL = "apt-get install -y bubblewrap (or your system's package of that name)"
_ISOLATION = (
    # The network namespace is the supervisor's, made ahead of time: the job's user has no power over it at all.
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"),
    *("--disable-userns", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
)


class Bubblewrap(Supervised):
    """See the module.

    Args:
        python: interpreter that ``argv[0] == "python"`` stands for; None means the one that runs this.
        cgroups: control groups to use; found out when None.

    Raises:
        SandboxUnavailable: there is no bubblewrap here.
    """

    name = "bubblewrap"
    confinement = "bubblewrap"

    def __init__(self, python: Path | None = None, cgroups: Cgroups | None = None) -> None:
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxUnavailable("bubblewrap (bwrap) is not installed", INSTALL)
        if not seccomp.SUPPORTED:
            raise SandboxUnavailable("no seccomp filter is known for this processor", "use the docker backend")
        self._program = program
        super().__init__(python, cgroups)

    def _shared(self) -> dict[str, Any]:
        return super()._shared() | {"program": self._program, "isolation": _ISOLATION}

    def confines(self, job: Job) -> dict[str, bool]:
        """Everything, save for the size of a workspace that is edited in place."""
        network = "network allow-list" if job.network else "network"
        always = dict.fromkeys(("filesystem", "processes", "seccomp", "capabilities", network), True)
        return always | {"disk": job.workspace is None}
