"""The stages and the verdict: from a candidate tree to KEEP, REJECT, INCONCLUSIVE or ERROR.

:mod:`rules` (fixed before the first trial), :mod:`course` (the pure machine), :mod:`verdict` (its result),
:mod:`runbook` (the run's state, folded from the ledger), :mod:`workbench` (store, ledger, sandbox, opened together),
:mod:`examination` (drives a course with real trials), :mod:`verifier` (the way in), :mod:`replay` (decides again).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.verify.verdict import Decision, Effect, Reason, Verdict
    from evalkit.verify.verifier import Verifier
    from evalkit.verify.workbench import Workbench

__all__ = ["Decision", "Effect", "Reason", "Verdict", "Verifier", "Workbench"]

_HOMES = {"Verifier": "verifier", "Workbench": "workbench"}


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415

    if name in __all__:
        return getattr(import_module(f"evalkit.verify.{_HOMES.get(name, 'verdict')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
