"""Where candidate code runs: behind one interface, in one of several engines, and never in a trusted process.

``open_sandbox()`` gives the best engine of this machine, or an error that says which one command helps. It never falls
back to an unsafe one by itself.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.errors import SandboxUnavailable, UsageError

if TYPE_CHECKING:
    from evalkit.sandbox.interface import Sandbox

__all__ = ["BACKENDS", "open_sandbox"]

BACKENDS = {
    "bubblewrap": ("evalkit.sandbox.bubblewrap", "Bubblewrap"),
    "docker": ("evalkit.sandbox.docker", "Docker"),
    "landlock": ("evalkit.sandbox.landlock", "Landlock"),
    "process": ("evalkit.sandbox.process", "Process"),
}
"""Name, module and class of each engine; modules are loaded when first used."""


def open_sandbox(name: str = "auto", *, python: Path | None = None) -> Sandbox:
    """Open an engine by name, and remove what killed runs of it left behind.

    Args:
        name: ``auto`` (bubblewrap on Linux), ``bubblewrap``, ``docker``, ``docker:RUNTIME`` (``docker:runsc`` for
            gVisor), ``landlock``, or ``process``, which is unsafe.
        python: interpreter that ``argv[0] == "python"`` stands for in jobs; None means the one that runs this.

    Raises:
        SandboxUnavailable: the engine can't run here; says what would help.
        UsageError: there is no engine of that name.
    """
    if name == "auto":
        name = _default()
    base, _, runtime = name.partition(":")
    if base not in BACKENDS or (runtime and base != "docker"):
        raise UsageError(f"there is no sandbox {name!r}", f"use one of: auto, {', '.join(BACKENDS)}, docker:runsc")
    module, attribute = BACKENDS[base]
    factory = getattr(import_module(module), attribute)
    sandbox: Sandbox = factory(python=python, runtime=runtime) if base == "docker" else factory(python=python)
    sandbox.sweep()
    return sandbox


def _default() -> str:
    if sys.platform == "linux":
        return "bubblewrap"
    raise SandboxUnavailable("bubblewrap needs Linux", 'set sandbox = "docker" in the contract, with docker running')
