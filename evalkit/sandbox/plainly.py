"""What the two backends without namespaces share: directories of their own, and no network for anybody."""

from __future__ import annotations

import stat
from pathlib import Path

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox.cgroups import Cgroups
from evalkit.sandbox.interface import Job
from evalkit.sandbox.places import sweep_places
from evalkit.sandbox.running import SupervisedJob
from evalkit.sandbox.supervised import Supervised

__all__ = ["Plainly"]


class Plainly(Supervised):
    """Base of ``landlock`` and ``process``."""

    def __init__(self, python: Path | None = None, cgroups: Cgroups | None = None) -> None:
        super().__init__(python, cgroups)
        if self._identities.separate and (shut := _first_shut(self._runtime.python)):
            raise SandboxUnavailable(
                f"jobs run as another user, who can't pass {shut} to reach the interpreter {self._runtime.python}",
                f"chmod o+x {shut}, or name another interpreter, or use the bubblewrap backend",
            )

    def start(self, job: Job) -> SupervisedJob:
        """Start a job; see :meth:`evalkit.sandbox.interface.Sandbox.start`."""
        if job.network:
            raise ValueError(f"the {self.name} backend has no network namespace; use bubblewrap or docker for network")
        if job.masks:
            raise ValueError(f"the {self.name} backend can't hide paths; use bubblewrap or docker for masks")
        return super().start(job)

    def sweep(self) -> list[str]:
        """Remove directories and control groups of runs that were killed."""
        return super().sweep() + sweep_places()


def _first_shut(path: str) -> str:
    """The first directory on the way to a file, links followed, that other users can't pass; or nothing."""
    for place in (Path(path), Path(path).resolve()):
        for folder in reversed(place.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                return str(folder)
    return ""
