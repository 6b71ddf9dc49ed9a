"""The verdict: what was decided, why, on what evidence, and everything needed to decide again offline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from evalkit.sandbox.interface import Outcome

__all__ = ["Decision", "Effect", "Reason", "Verdict", "finite", "reason_of_outcome"]


class Decision(StrEnum):
    """What happens to the candidate."""

    KEEP = "KEEP"
    REJECT = "REJECT"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"

    @property
    def exit_code(self) -> int:
        """Of a command that judged one candidate."""
        return {Decision.KEEP: 0, Decision.REJECT: 1, Decision.INCONCLUSIVE: 3, Decision.ERROR: 4}[self]


class Reason(StrEnum):
    """Why, as a stable code."""

    IMPROVED = "improved"

    NO_CHANGE = "no_change"
    DUPLICATE = "duplicate"
    SCOPE = "scope"
    GUARD = "guard"
    SCREENED_OUT = "screened_out"
    FUTILE = "futile"
    NOT_BETTER = "not_better"
    GUARD_METRIC = "guard_metric"
    CRASH = "crash"
    TIMEOUT = "timeout"
    RESOURCES = "resources"
    NO_RESULT = "no_result"
    INVALID_RESULT = "invalid_result"

    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"
    DOUBTFUL_EVIDENCE = "doubtful_evidence"

    INCUMBENT_FAILED = "incumbent_failed"
    SANDBOX = "sandbox"
    PROPOSER = "proposer"


_REASONS = {
    Outcome.NONZERO: Reason.CRASH,
    Outcome.SIGNAL: Reason.CRASH,
    Outcome.TIMEOUT_WALL: Reason.TIMEOUT,
    Outcome.TIMEOUT_CPU: Reason.TIMEOUT,
    Outcome.OOM: Reason.RESOURCES,
    Outcome.PIDS: Reason.RESOURCES,
    Outcome.DISK: Reason.RESOURCES,
    Outcome.OUTPUT_LIMIT: Reason.RESOURCES,
    Outcome.FORBIDDEN_ARTIFACT: Reason.INVALID_RESULT,
    Outcome.MISSING_ARTIFACT: Reason.NO_RESULT,
    Outcome.SCORER_ERROR: Reason.INVALID_RESULT,
    Outcome.SANDBOX_ERROR: Reason.SANDBOX,
}


def reason_of_outcome(outcome: Outcome) -> Reason:
    """The reason code for a trial that ended badly.

    Raises:
        ValueError: for ``ok``, which is no reason to refuse anything.
    """
    if outcome is Outcome.OK:
        raise ValueError("a trial that ended well is no reason")
    return _REASONS[outcome]


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect on the objective, in the metric's own unit; positive is better whatever the goal.

    Attributes:
        mean: of the paired differences.
        low, high: confidence sequence at the policy's alpha, valid at the stopping time.
        pairs: how many.
    """

    mean: float
    low: float
    high: float
    pairs: int

    def as_json(self) -> dict[str, float]:
        """Plain JSON values; infinite bounds become None in :class:`Verdict`'s JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "pairs": self.pairs}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about one candidate.

    Attributes:
        experiment: number within the run, from 1.
        decision, reason: what and why.
        sentence: the reason for a person.
        incumbent, candidate: git tree ids; ``candidate`` is empty where nothing was proposed.
        trust: the weakest trust among the metrics that decided.
        unsafe: why the sandbox did not protect, or the empty string.
        effect: on the objective, where pairs were measured.
        evaluations: trials that were run for it.
        more_pairs: for INCONCLUSIVE, how many more would probably decide.
        findings: of the guards, as JSON.
        body: everything else that the ledger keeps: rules, trials, statistics, environment, sandbox.
    """

    experiment: int
    decision: Decision
    reason: Reason
    sentence: str
    incumbent: str
    candidate: str
    trust: str
    unsafe: str = ""
    effect: Effect | None = None
    evaluations: int = 0
    more_pairs: int | None = None
    findings: tuple[Mapping[str, Any], ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether the candidate becomes the incumbent."""
        return self.decision is Decision.KEEP

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, finite numbers only, for the ledger and ``--json``."""
        return {
            "experiment": self.experiment,
            "decision": str(self.decision),
            "reason": str(self.reason),
            "sentence": self.sentence,
            "incumbent": self.incumbent,
            "candidate": self.candidate,
            "trust": self.trust,
            "unsafe": self.unsafe,
            "effect": finite(self.effect.as_json()) if self.effect else None,
            "evaluations": self.evaluations,
            "more_pairs": self.more_pairs,
            "findings": [dict(finding) for finding in self.findings],
            **finite(self.body),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Verdict:
        """The inverse of :meth:`as_json`."""
        own = {
            "experiment", "decision", "reason", "sentence", "incumbent", "candidate", "trust", "unsafe", "effect",
            "evaluations", "more_pairs", "findings",
        }  # fmt: skip
        effect = plain["effect"]
        return cls(
            experiment=plain["experiment"],
            decision=Decision(plain["decision"]),
            reason=Reason(plain["reason"]),
            sentence=plain["sentence"],
            incumbent=plain["incumbent"],
            candidate=plain["candidate"],
            trust=plain["trust"],
            unsafe=plain["unsafe"],
            effect=None if effect is None else _effect_from_json(effect),
            evaluations=plain["evaluations"],
            more_pairs=plain["more_pairs"],
            findings=tuple(plain["findings"]),
            body={key: value for key, value in plain.items() if key not in own},
        )


def _effect_from_json(plain: Mapping[str, Any]) -> Effect:
    low, high = plain["low"], plain["high"]
    return Effect(
        mean=plain["mean"],
        low=float("-inf") if low is None else low,
        high=float("inf") if high is None else high,
        pairs=plain["pairs"],
    )


def finite(value: Any) -> Any:
    """A copy in which infinite and undefined numbers are None, which strict JSON can hold."""
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
