"""The state of a run, folded from the ledger's records: nothing is known that a record does not say.

The records of a run, in the order in which they are written::

    opened      once: contract, anchor, branch, environment
    calibrating one A/A pair
    calibrated  the noise of every metric, from those pairs (again when the environment changed)
    proposed    an experiment begins: candidate, who proposed it, the rules with the level it has to reach
    measured    one trial or pair of the experiment, as soon as it is there
    decided     the verdict
    kept        the commit that a KEEP becomes, before the branch moves
    estimated   what the keep is worth on fresh pairs, and the new incumbent's baseline
    rolled-back a keep turned out to have lost something: the commit without it, before the branch moves
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from evalkit.contract import Contract, Metric
from evalkit.stats.noise import Noise, pooled
from evalkit.stats.online import RunLevel
from evalkit.stats.screen import Baseline
from evalkit.verify.rules import MetricRule, Rules, margin_on_scale, min_effect_on_scale, policy_of, scale_of
from evalkit.verify.units import Units

__all__ = ["RecordLike", "Runbook"]


class RecordLike(Protocol):
    """A ledger record."""

    @property
    def kind(self) -> str:
        """Which of the records above."""

    @property
    def body(self) -> Mapping[str, Any]:
        """Its content."""


@dataclass(frozen=True, slots=True)
class Runbook:
    """Where a run stands.

    Attributes:
        anchor, anchor_commit: where it started.
        branch: that keeps go to.
        incumbent, head_commit: the accepted tree and the commit that carries it.
        experiments: decided so far.
        keeps: kept so far.
        calibration: A/A pairs of the present incumbent that no calibration has used yet.
        noise: by metric, in oriented units on the metric's scale; empty before calibration.
        anchor_values: by metric, the anchor's mean in the metric's own unit.
        spent: by guarded metric, how much of its margin is used (on its scale).
        units: what is one unit of evidence for the objective, and why.
        baseline: incumbent values for single screens.
        budget: of errors: rule, alpha and how many confirmations it is planned for.
        settled: how confirmations ended: index, level, keeps before, kept, log of the e-process.
        open_experiment: a proposal without a verdict.
        trials: of the open experiment, as recorded.
        unkept: a KEEP whose commit is not recorded yet.
        unestimated: a keep whose fresh pairs are missing.
    """

    anchor: str = ""
    anchor_commit: str = ""
    branch: str = ""
    incumbent: str = ""
    head_commit: str = ""
    experiments: int = 0
    keeps: int = 0
    calibration: tuple[Mapping[str, Any], ...] = ()
    noise: Mapping[str, Noise] = field(default_factory=dict)
    anchor_values: Mapping[str, float] = field(default_factory=dict)
    spent: Mapping[str, float] = field(default_factory=dict)
    units: Units = field(default_factory=Units)
    baseline: Baseline | None = None
    budget: Mapping[str, Any] = field(default_factory=dict)
    settled: tuple[tuple[int, float, int, bool, float], ...] = ()
    open_experiment: Mapping[str, Any] | None = None
    trials: tuple[Mapping[str, Any], ...] = ()
    unkept: Mapping[str, Any] | None = None
    unestimated: Mapping[str, Any] | None = None

    @property
    def calibrated(self) -> bool:
        """Whether the noise is known."""
        return bool(self.noise)

    def after(self, kind: str, body: Mapping[str, Any]) -> Runbook:
        """The state after one more record."""
        fold = _FOLDS.get(kind)
        return fold(self, body) if fold else self

    @classmethod
    def of(cls, records: Iterable[RecordLike]) -> Runbook:
        """The state after all records of a run, in order."""
        book = cls()
        for record in records:
            book = book.after(record.kind, record.body)
        return book

    def rules(self, contract: Contract, *, digest: str) -> Rules:
        """The rules of the next experiment, its level reserved but not yet recorded."""
        index, level, keeps = self._reserve()
        return Rules(
            contract=digest,
            policy=policy_of(contract.policy),
            level=level,
            index=index,
            keeps_before=keeps,
            objective=replace(self._metric_rule(contract.objective), evidence=self.units.kind, why=self.units.why),
            guarded=tuple(self._metric_rule(metric) for metric in contract.guarded),
            baseline=self.baseline,
            screen_split=contract.splits.screen,
            confirm_split=contract.splits.confirm,
        )

    def exhausted(self, contract: Contract) -> tuple[str, ...]:
        """The guarded metrics whose margin against the anchor is used up; empty before calibration."""
        if not self.calibrated:
            return ()
        rules = (self._metric_rule(metric) for metric in contract.guarded)
        return tuple(rule.name for rule in rules if rule.margin is not None and rule.spent >= rule.margin)

    def _reserve(self) -> tuple[int, float, int]:
        """Place, level and keeps so far of the next confirmation."""
        budget = RunLevel.restore({**self.budget, "open": {}, "settled": self.settled})
        level = budget.reserve("next")
        index, _, keeps = budget.state()["open"]["next"]
        return index, level, keeps

    def _metric_rule(self, metric: Metric) -> MetricRule:
        scale = scale_of(metric)
        anchor_value = self.anchor_values[metric.name]
        return MetricRule(
            name=metric.name,
            sign=metric.sign,
            scale=scale,
            trust=metric.trust,
            noise=self.noise[metric.name],
            min_effect=min_effect_on_scale(metric, scale),
            margin=None if metric.margin is None else margin_on_scale(metric, scale, anchor_value),
            spent=self.spent.get(metric.name, 0.0),
        )


def _opened(book: Runbook, body: Mapping[str, Any]) -> Runbook:
    return replace(
        book,
        anchor=body["anchor"],
        anchor_commit=body["commit"],
        branch=body["branch"],
        incumbent=body["anchor"],
        head_commit=body["commit"],
        budget=body["budget"],
    )


def _calibrating(book: Runbook, body: Mapping[str, Any]) -> Runbook:
    return replace(book, calibration=(*book.calibration, body))


def _calibrated(book: Runbook, body: Mapping[str, Any]) -> Runbook:
    return replace(
        book,
        calibration=(),
        noise={name: Noise.from_dict(noise) for name, noise in body["noise"].items()},
        anchor_values=book.anchor_values or dict(body["values"]),
        units=Units.from_json(body.get("evidence")),
        baseline=_baseline(body["baseline"]),
    )


def _proposed(book: Runbook, body: Mapping[str, Any]) -> Runbook:
    return replace(book, open_experiment=body, trials=())


def _measured(book: Runbook, body: Mapping[str, Any]) -> Runbook:
    return replace(book, trials=(*book.trials, body))


def _decided(book: Runbook, body: Mapping[str, Any]) -> Runbook:
    kept = body["decision"] == "KEEP"
    book = replace(book, open_experiment=None, trials=(), experiments=body["experiment"])
    if settled := body.get("settled"):
        book = _settle(book, settled, kept=kept)
    if not kept:
        return book
    return replace(
        book,
        incumbent=body["candidate"],
        keeps=book.keeps + 1,
        calibration=(),
        baseline=None,
        unkept=body,
        unestimated=body,
    )


def _settle(book: Runbook, settled: Mapping[str, Any], *, kept: bool) -> Runbook:
    noise = dict(book.noise)
    objective = settled["objective"]
    noise[objective] = pooled(noise[objective], *settled["residuals"])
    if not settled["confirmed"]:
        return replace(book, noise=noise)
    entry = (settled["index"], settled["level"], settled["keeps_before"], kept, settled["log_e"])
    return replace(book, noise=noise, settled=(*book.settled, entry))


def _kept(book: Runbook, body: Mapping[str, Any]) -> Runbook:
    return replace(book, head_commit=body["commit"], unkept=None)


def _estimated(book: Runbook, body: Mapping[str, Any]) -> Runbook:
    return replace(book, unestimated=None, baseline=_baseline(body["baseline"]), spent=dict(body["spent"]))


def _rolled_back(book: Runbook, body: Mapping[str, Any]) -> Runbook:
    return replace(
        book,
        incumbent=body["tree"],
        head_commit=body["commit"],
        spent=dict(body["spent"]),
        calibration=(),
        baseline=None,
        unkept=None,
        unestimated=None,
    )


def _baseline(plain: Mapping[str, float] | None) -> Baseline | None:
    return Baseline.from_dict(plain) if plain else None


_FOLDS = {
    "opened": _opened,
    "calibrating": _calibrating,
    "calibrated": _calibrated,
    "proposed": _proposed,
    "measured": _measured,
    "decided": _decided,
    "kept": _kept,
    "estimated": _estimated,
    "rolled-back": _rolled_back,
}
