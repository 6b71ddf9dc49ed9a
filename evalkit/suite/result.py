"""What a suite came to: one decision that the terminal, JUnit, SARIF, the summary and the exit code all show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evalkit.suite.deciding import GateResult, State

__all__ = ["SCHEMA", "SuiteResult", "decision_of"]

SCHEMA = "evalkit/suite/1"
_EXIT_CODES = {"KEEP": 0, "REJECT": 1, "INCONCLUSIVE": 3, "ERROR": 4, "NONE": 3}
_DECISIONS = {
    State.FAIL: "REJECT",  # first: trying again would not change it
    State.ERROR: "ERROR",
    State.INCONCLUSIVE: "INCONCLUSIVE",
    State.NONE: "NONE",
    State.QUARANTINED: "KEEP",
    State.PASS: "KEEP",
}


def decision_of(gates: tuple[GateResult, ...]) -> str:
    """The decision that the gates come to: the worst of them; NONE where none could be decided."""
    states = {gate.state for gate in gates}
    if State.PASS not in states and states <= {State.QUARANTINED}:
        return "NONE"
    return next(decision for state, decision in _DECISIONS.items() if state in states)


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What a suite came to.

    Attributes:
        gates: decided, in the order in which they are declared.
        counts: tests by how they ended.
        profile: that it ran with.
        look: how often the evidence was looked at.
        seed: of the run.
        unsafe: whether the sandbox did not protect.
        manifest: node ids of every test that had to run.
        rows: what was recorded, as JSON, for ``--evalkit-continue`` and for deciding again.
        scopes: what was declared, as JSON.
        endings: how each test ended that did not pass, by node id.
    """

    gates: tuple[GateResult, ...]
    counts: Mapping[str, int]
    profile: str
    look: int
    seed: int
    unsafe: bool = False
    manifest: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    scopes: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    endings: Mapping[str, str] = field(default_factory=dict)

    @property
    def decision(self) -> str:
        """``KEEP``, ``REJECT``, ``INCONCLUSIVE``, ``ERROR``, or ``NONE`` where nothing was judged."""
        return decision_of(self.gates)

    @property
    def exit_code(self) -> int:
        """Of a command that judged with this suite."""
        return _EXIT_CODES[self.decision]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": SCHEMA,
            "decision": self.decision,
            "profile": self.profile,
            "look": self.look,
            "seed": self.seed,
            "unsafe": self.unsafe,
            "counts": dict(self.counts),
            "gates": [gate.as_json() for gate in self.gates],
            "endings": dict(self.endings),
            "manifest": list(self.manifest),
            "scopes": [dict(scope) for scope in self.scopes],
            "rows": [dict(row) for row in self.rows],
        }
