"""What a trial yields: metric values, resource use, and how each phase ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from evalkit.contract import Trust
from evalkit.sandbox.interface import Outcome, Usage

__all__ = ["Fault", "Observation", "PhaseRecord", "Reading"]


class Fault(StrEnum):
    """Whose fault it is that a trial has no value."""

    NONE = ""
    CANDIDATE = "candidate"
    OURS = "ours"


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric's value in one trial.

    Attributes:
        value: finite, in the metric's own unit and orientation.
        trust: how it was obtained.
        cases: one value a case, in the scorer's order; empty where there are none.
        clusters: one label a case, or empty.
    """

    value: float
    trust: Trust
    cases: tuple[float, ...] = ()
    clusters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a reading must be finite, not {self.value}")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; empty vectors are left out."""
        plain: dict[str, Any] = {"value": self.value, "trust": str(self.trust)}
        if self.cases:
            plain["cases"] = list(self.cases)
        if self.clusters:
            plain["clusters"] = list(self.clusters)
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Reading:
        """The inverse of :meth:`as_json`."""
        return cls(
            value=plain["value"],
            trust=Trust(plain["trust"]),
            cases=tuple(plain.get("cases", ())),
            clusters=tuple(plain.get("clusters", ())),
        )


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """How one phase of a trial ended.

    Attributes:
        program: whose phase it is.
        phase: ``run``, ``serve`` or ``score``.
        outcome: the class of the ending.
        problem: one sentence where the outcome is not ``ok``.
        exit_code: of the main process.
        usage: what it used.
        artifacts: sha256 of every artefact that left it.
        stdout: head and tail of what it printed (kept from proposers unless the split is visible to them).
        stderr: the same.
    """

    program: str
    phase: str
    outcome: Outcome
    problem: str
    exit_code: int | None
    usage: Usage
    artifacts: Mapping[str, str] = field(default_factory=dict)
    stdout: str = ""
    stderr: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values without the streams, which are evidence and not part of the decision."""
        return {
            "program": self.program,
            "phase": self.phase,
            "outcome": str(self.outcome),
            "problem": self.problem,
            "exit_code": self.exit_code,
            "wall": round(self.usage.wall, 6),
            "cpu": None if self.usage.cpu is None else round(self.usage.cpu, 6),
            "memory": self.usage.peak_memory,
            "artifacts": dict(self.artifacts),
        }


@dataclass(frozen=True, slots=True)
class Observation:
    """One trial of one tree with one seed on one split.

    Attributes:
        tree: git tree id.
        seed: chosen by evalkit, given to the candidate.
        scoring_seed: given to the scorer; the same in both trials of a pair.
        split: on which the scorer scored it.
        readings: by metric; empty unless the trial is valid.
        phases: in the order in which they ran.
        outcome: ``ok``, or the class of the first ending that was not.
        fault: whose fault it is when there are no readings.
        problem: one sentence when there are no readings.
        wall: seconds from start to end, all phases.
        enforced, unenforced: what the sandbox held, over all phases.
    """

    tree: str
    seed: int
    scoring_seed: int
    split: str
    readings: Mapping[str, Reading]
    phases: tuple[PhaseRecord, ...]
    outcome: Outcome
    fault: Fault = Fault.NONE
    problem: str = ""
    wall: float = 0.0
    enforced: tuple[str, ...] = ()
    unenforced: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether every metric of the contract has a value."""
        return self.fault is Fault.NONE

    @property
    def candidate_cpu(self) -> float | None:
        """CPU seconds of candidate code, all phases, or None where the machine can't tell."""
        used = [phase.usage.cpu for phase in self.phases if phase.phase != "score"]
        return None if any(cpu is None for cpu in used) else sum(cpu for cpu in used if cpu is not None)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values for the ledger."""
        return {
            "tree": self.tree,
            "seed": self.seed,
            "scoring_seed": self.scoring_seed,
            "split": self.split,
            "outcome": str(self.outcome),
            "fault": str(self.fault),
            "problem": self.problem,
            "wall": round(self.wall, 6),
            "readings": {name: reading.as_json() for name, reading in self.readings.items()},
            "phases": [phase.as_json() for phase in self.phases],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Observation:
        """What :meth:`as_json` wrote, without the phases and the sandbox's lists: enough to decide again."""
        return cls(
            tree=plain["tree"],
            seed=plain["seed"],
            scoring_seed=plain["scoring_seed"],
            split=plain["split"],
            readings={name: Reading.from_json(reading) for name, reading in plain["readings"].items()},
            phases=(),
            outcome=Outcome(plain["outcome"]),
            fault=Fault(plain["fault"]),
            problem=plain["problem"],
            wall=plain["wall"],
        )
