"""What is fixed about an experiment before its first trial, as plain data that the ledger can hold.

From these rules and the recorded trials the verdict follows, with nothing else looked at: this is what makes
``replay`` possible, and what keeps anyone from choosing a level after having seen data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from evalkit.contract import Contract, Metric, PolicySettings, Trust
from evalkit.errors import TrialError
from evalkit.measure import Reading
from evalkit.stats.noise import Noise
from evalkit.stats.policies import Policy, policy
from evalkit.stats.screen import Baseline

__all__ = [
    "MetricRule",
    "NotOnScaleError",
    "Rules",
    "Scale",
    "margin_on_scale",
    "min_effect_on_scale",
    "oriented",
    "policy_of",
    "scale_of",
    "weakest_trust",
]

Scale = Literal["linear", "log"]

_OTHER_SCALE = 'differences instead of ratios are compared with kind = "scalar"'
_NO_LOSS = 1e-12
"""A margin of zero, as a number: far below any real loss, far above rounding."""


class NotOnScaleError(TrialError):
    """A ratio metric was zero or negative, so its logarithm does not exist."""


@dataclass(frozen=True, slots=True)
class MetricRule:
    """How one metric is judged.

    Attributes:
        name: as in the contract.
        sign: +1 where larger is better, −1 where smaller is.
        scale: ``log`` for ratios: differences are then relative.
        trust: how it is obtained.
        noise: in oriented units on this scale.
        min_effect: what a keep must gain at least (oriented, on this scale); objective only.
        margin: what may be lost against the anchor in total (on this scale), or None for the objective.
        spent: how much of the margin earlier keeps have used.
        evidence, why: what is one unit of evidence (see :mod:`evalkit.verify.units`), and why; objective only.
    """

    name: str
    sign: int
    scale: Scale
    trust: Trust
    noise: Noise
    min_effect: float = 0.0
    margin: float | None = None
    spent: float = 0.0
    evidence: str = "scalar"
    why: str = "one number per trial"

    def oriented(self, reading: Reading) -> float:
        """The value as the statistics see it: larger is better.

        Raises:
            NotOnScaleError: a ratio that is not positive.
        """
        return oriented(reading.value, self.sign, self.scale, self.name)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "sign": self.sign,
            "scale": self.scale,
            "trust": str(self.trust),
            "noise": self.noise.to_dict(),
            "min_effect": self.min_effect,
            "margin": self.margin,
            "spent": self.spent,
            "evidence": self.evidence,
            "why": self.why,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> MetricRule:
        """The inverse of :meth:`as_json`."""
        fields = dict(plain)
        return cls(**{**fields, "trust": Trust(fields["trust"]), "noise": Noise.from_dict(fields["noise"])})


def oriented(value: float, sign: int, scale: Scale, name: str) -> float:
    """A metric's value so that larger is better, on its scale.

    Raises:
        NotOnScaleError: a ratio that is not positive.
    """
    if scale == "linear":
        return sign * value
    if value <= 0.0:
        raise NotOnScaleError(f"{name!r} is {value:g}; a ratio has to be positive", _OTHER_SCALE)
    return sign * math.log(value)


def scale_of(metric: Metric) -> Scale:
    """Times and sizes are compared as ratios, everything else as differences.

    A metric that evalkit measures is positive and its noise is proportional to it, so ``auto`` means ``ratio`` there.
    """
    if metric.kind == "ratio" or (metric.kind == "auto" and metric.trust is Trust.MEASURED):
        return "log"
    return "linear"


def min_effect_on_scale(metric: Metric, scale: Scale) -> float:
    """The smallest gain worth keeping; on the logarithmic scale ``min_effect`` is a fraction."""
    if scale == "linear":
        return metric.min_effect
    return -math.log1p(-metric.min_effect) if metric.goal == "minimize" else math.log1p(metric.min_effect)


def margin_on_scale(metric: Metric, scale: Scale, anchor_value: float) -> float:
    """What may be lost against the anchor; on the logarithmic scale a loss is a ratio to the anchor's value.

    Raises:
        NotOnScaleError: the anchor's value is not positive, or the margin allows losing all of it.
    """
    if metric.margin is None:
        return 0.0
    loss = max(metric.margin.absolute(anchor_value), _NO_LOSS * max(1.0, abs(anchor_value)))
    if scale == "linear":
        return loss
    worst = anchor_value + loss if metric.goal == "minimize" else anchor_value - loss
    if anchor_value <= 0.0 or worst <= 0.0:
        raise NotOnScaleError(f"the margin of {metric.name!r} allows losing all of {anchor_value:g}", _OTHER_SCALE)
    return abs(math.log(worst / anchor_value))


def policy_of(settings: PolicySettings) -> Policy:
    """The statistical policy that the contract names, with what it changes in it."""
    chosen = replace(
        policy(settings.name),
        alpha=settings.alpha,
        calibration_pairs=settings.calibration_pairs,
        estimate_pairs=settings.estimate_pairs,
    )
    return replace(chosen, max_pairs=settings.max_pairs) if settings.max_pairs else chosen


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that is fixed before an experiment's first trial.

    Attributes:
        contract: digest of the contract.
        policy: how much to spend.
        level: α_t, reserved from the run's error budget.
        index: of this confirmation in the run, from 1 (its γ).
        keeps_before: that the level rests on.
        objective: the metric that has to improve.
        guarded: the metrics that must not get worse than their margins.
        baseline: incumbent values to screen single trials against, or None.
        screen_split, confirm_split: on which cases.
    """

    contract: str
    policy: Policy
    level: float
    index: int
    keeps_before: int
    objective: MetricRule
    guarded: tuple[MetricRule, ...]
    baseline: Baseline | None
    screen_split: str
    confirm_split: str

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "contract": self.contract,
            "policy": self.policy.to_dict(),
            "level": self.level,
            "index": self.index,
            "keeps_before": self.keeps_before,
            "objective": self.objective.as_json(),
            "guarded": [rule.as_json() for rule in self.guarded],
            "baseline": self.baseline.to_dict() if self.baseline else None,
            "screen_split": self.screen_split,
            "confirm_split": self.confirm_split,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Rules:
        """The inverse of :meth:`as_json`."""
        return cls(
            contract=plain["contract"],
            policy=Policy.from_dict(plain["policy"]),
            level=plain["level"],
            index=plain["index"],
            keeps_before=plain["keeps_before"],
            objective=MetricRule.from_json(plain["objective"]),
            guarded=tuple(MetricRule.from_json(rule) for rule in plain["guarded"]),
            baseline=Baseline.from_dict(plain["baseline"]) if plain["baseline"] else None,
            screen_split=plain["screen_split"],
            confirm_split=plain["confirm_split"],
        )


def weakest_trust(contract: Contract) -> Trust:
    """The weakest trust among the contract's metrics: a verdict is worth no more than that."""
    order = (Trust.MEASURED, Trust.SCORED, Trust.REPORTED)
    return max((metric.trust for metric in contract.metrics), key=order.index)
