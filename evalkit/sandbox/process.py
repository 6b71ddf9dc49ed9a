"""Unsafe: a plain process with limits and nothing else. Chosen by name only, for trusted code and for debugging.

The job can read whatever its user can read, talk to the network, see other processes and leave things in ``/tmp``. It
has a copy of its tree, rlimits, a control group where that can be had, and an end that takes its descendants with it.
"""

from __future__ import annotations

from evalkit.sandbox.interface import Job
from evalkit.sandbox.plainly import Plainly

__all__ = ["Process"]


class Process(Plainly):
    """See the module; arguments as in :class:`evalkit.sandbox.supervised.Supervised`."""

    name = "process"
    unsafe = True
    confinement = "process"

    def confines(self, job: Job) -> dict[str, bool]:  # noqa: ARG002 - the same for every job
        """Nothing."""
        return dict.fromkeys(("filesystem", "network", "seccomp", "processes", "disk"), False)
