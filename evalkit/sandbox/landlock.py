"""Landlock, seccomp and rlimits: for where namespaces can't be had, such as inside an ordinary container.

Files outside the job's own are out of reach; there are no sockets but pairs; signals and abstract sockets stay inside
from landlock ABI 6 on. What needs a namespace is missing and listed: other processes can be seen, and the disk has no
cap for a whole tree. ``/box`` is a directory of its own, whose real path replaces it in arguments and environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox import landlocking, seccomp
from evalkit.sandbox.cgroups import Cgroups
from evalkit.sandbox.interface import Job
from evalkit.sandbox.plainly import Plainly

__all__ = ["Landlock"]

_ABI_SCOPE = 6


class Landlock(Plainly):
    """See the module.

    Args:
        python: interpreter that ``argv[0] == "python"`` stands for; None means the one that runs this.
        cgroups: control groups to use; found out when None.

    Raises:
        SandboxUnavailable: this kernel has no landlock.
    """

    name = "landlock"
    confinement = "landlock"

    def __init__(self, python: Path | None = None, cgroups: Cgroups | None = None) -> None:
        self._abi = landlocking.abi()
        if not self._abi or not seccomp.SUPPORTED:
            raise SandboxUnavailable(
                "this kernel has no landlock", "add landlock to the lsm= list on the kernel's command line"
            )
        super().__init__(python, cgroups)

    def _shared(self) -> dict[str, Any]:
        return super()._shared() | {"seccomp": seccomp.program(sockets=False).hex()}

    def confines(self, job: Job) -> dict[str, bool]:  # noqa: ARG002 - the same for every job
        """Files, network and system calls; processes from ABI 6 on."""
        return {
            "filesystem": True,
            "network": True,
            "seccomp": True,
            "signals to other processes": self._abi >= _ABI_SCOPE or self._identities.separate,
            "processes": False,
            "shared memory of the machine": True,
            "disk": False,
        }
