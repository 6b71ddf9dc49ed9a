"""What tests recorded, as plain data: one row a value, and what became of every item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Item", "Row", "Scope"]


@dataclass(frozen=True, slots=True)
class Row:
    """One value of one trial.

    Attributes:
        evaluation: node id of the test function.
        arm: ``candidate`` or ``baseline``.
        trial: number, from 0.
        unit: which case (the test's other parameters); empty where there are none.
        cluster: units of one cluster count as one.
        metric: its name.
        value: finite.
        trust: ``measured``, ``scored`` or ``reported``.
    """

    evaluation: str
    arm: str
    trial: int
    unit: str
    cluster: str
    metric: str
    value: float
    trust: str = "scored"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(slots=True)
class Item:
    """What became of one test item; filled while reports come in.

    Attributes:
        nodeid: its name.
        kind: ``eval`` or ``guard``.
        arm: of an eval; ``candidate`` for a guard.
        quarantined: why its failure does not count, or the empty string.
        evaluation: node id of its test function.
        phases: how each phase ended, by name.
        problem: the first one, one line.
    """

    nodeid: str
    kind: str
    arm: str
    quarantined: str = ""
    evaluation: str = ""
    phases: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    def take(self, phase: str, ending: str, problem: str) -> None:
        """A phase is over; a second ending of the same phase means that it was run again, which no result may be."""
        if phase in self.phases:
            ending, problem = "repeated", "it was run more than once"
        self.phases[phase] = ending
        if ending != "passed" and not self.problem:
            self.problem = problem or ending

    @property
    def passed(self) -> bool:
        """Whether it ran once, whole, and passed; nothing else is a pass."""
        return self.phases == {"setup": "passed", "call": "passed", "teardown": "passed"}

    @property
    def ending(self) -> str:
        """How it ended, in one word."""
        if not self.phases:
            return "missing"
        bad = [f"{phase} {ending}" for phase, ending in self.phases.items() if ending != "passed"]
        return bad[0] if bad else ("passed" if self.passed else "incomplete")


@dataclass(slots=True)
class Scope:
    """A module or class that declares gates, and the items that they look at.

    Attributes:
        name: node id of the module or class.
        file: path of the module, as pytest shows it.
        gates: name, line and plain data of every gate.
        goals: metric → direction, as markers say.
        items: by node id: all that were selected.
        partial: why this is not all there is, or the empty string.
        expired: quarantines that are over, one sentence each.
        rows: what was recorded.
    """

    name: str
    file: str
    gates: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)
    goals: dict[str, str] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    partial: str = ""
    expired: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """What the controller has to know before anything ran."""
        return {
            "name": self.name,
            "file": self.file,
            "gates": [list(gate) for gate in self.gates],
            "goals": self.goals,
            "items": [
                [item.nodeid, item.kind, item.arm, item.quarantined, item.evaluation] for item in self.items.values()
            ],
            "partial": self.partial,
            "expired": self.expired,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Scope:
        """The inverse of :meth:`as_json`."""
        return cls(
            name=plain["name"],
            file=plain["file"],
            gates=[(name, line, gate) for name, line, gate in plain["gates"]],
            goals=dict(plain["goals"]),
            items={entry[0]: Item(*entry) for entry in plain["items"]},
            partial=plain["partial"],
            expired=list(plain["expired"]),
        )

    def bad(self) -> Iterable[Item]:
        """Items that did not pass and are not quarantined."""
        return (item for item in self.items.values() if not item.passed and not item.quarantined)
