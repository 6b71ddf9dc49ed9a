"""The fingerprint of the machine that a trial ran on: what may explain a difference that is not the code's."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import distributions
from typing import Any

__all__ = ["Environment", "fingerprint"]


@dataclass(frozen=True, slots=True)
class Environment:
    """Where trials run.

    Attributes:
        python: version and implementation.
        system: kernel and machine.
        cpu: the processor's model name.
        cores: processors that this process may use.
        packages: sha256 over the sorted ``name==version`` of every installed distribution.
        evalkit: version.
    """

    python: str
    system: str
    cpu: str
    cores: int
    packages: str
    evalkit: str

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """sha256 over :meth:`as_json`."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def fingerprint() -> Environment:
    """This machine's, read once a process."""
    from evalkit import __version__  # noqa: PLC0415 - the package's own root

    names = sorted({f"{item.name}=={item.version}" for item in distributions()})
    return Environment(
        python=f"{platform.python_implementation()} {platform.python_version()} ({sys.platform})",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        packages=hashlib.sha256("\n".join(names).encode()).hexdigest(),
        evalkit=__version__,
    )
