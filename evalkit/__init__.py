"""evalkit: the verifier side of autonomous optimisation loops.

Something proposes changes; evalkit decides which of them are real, and only those are kept.
Importing this package loads nothing else: the names below are found when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.contract import Contract
    from evalkit.loop import verified
    from evalkit.verify import Verifier

__version__ = "0.1.0"
__all__ = ["Contract", "Verifier", "__version__", "verified"]

_HOMES = {"Contract": "evalkit.contract", "Verifier": "evalkit.verify", "verified": "evalkit.loop"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
