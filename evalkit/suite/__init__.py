"""Evals written as tests: what a spec imports.

    from evalkit.suite import AllOf, NonInferior, Superior, cases

    @pytest.mark.eval(metric="score", goal="maximize", trials=8, split="confirm")
    @pytest.mark.parametrize("case", cases("confirm"))
    def test_quality(subject, trial, case):
        answer = subject.call("solve:answer", case.input)      # in the sandbox; data only
        trial.record("score", grade(answer, case.expected))

    GATE = AllOf(Superior("score", min_effect=0.01), NonInferior("latency_s", margin=0.05))

Importing this package loads nothing else; a name is found when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.suite.casefiles import Case, cases
    from evalkit.suite.errors import SubjectError, SubjectGoneError, SubjectRaisedError, SubjectTimeoutError
    from evalkit.suite.gates import (
        AllOf,
        AnyOf,
        AtLeast,
        AtMost,
        NoFindings,
        NonInferior,
        PassAll,
        PassAt,
        Superior,
    )

__all__ = [
    "AllOf",
    "AnyOf",
    "AtLeast",
    "AtMost",
    "Case",
    "NoFindings",
    "NonInferior",
    "PassAll",
    "PassAt",
    "SubjectError",
    "SubjectGoneError",
    "SubjectRaisedError",
    "SubjectTimeoutError",
    "Superior",
    "cases",
]

_HOMES = {
    **dict.fromkeys(
        ("AllOf", "AnyOf", "AtLeast", "AtMost", "NoFindings", "NonInferior", "PassAll", "PassAt", "Superior"), "gates"
    ),
    **dict.fromkeys(("Case", "cases"), "casefiles"),
    **dict.fromkeys(("SubjectError", "SubjectGoneError", "SubjectRaisedError", "SubjectTimeoutError"), "errors"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"evalkit.suite.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
