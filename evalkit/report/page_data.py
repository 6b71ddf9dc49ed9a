"""A run as the page needs it: read once from the ledger, nothing known that a record does not say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evalkit.contract import Contract, Margin, Metric, Trust
from evalkit.ledger import Ledger
from evalkit.verify.rules import NotOnScaleError, Scale, oriented, scale_of

__all__ = ["Experiment", "Interval", "Run", "Trial", "oriented_value", "read_run"]

_REFUSED = frozenset({"no_change", "duplicate", "scope", "guard", "proposer"})
_SCREENED = frozenset({"screened_out"})


@dataclass(frozen=True, slots=True)
class Interval:
    """An effect on one metric in oriented units of its scale; positive is better. An open end is None."""

    centre: float
    low: float | None
    high: float | None
    pairs: int
    confidence: float = 0.95

    @classmethod
    def of(cls, plain: Mapping[str, Any] | None) -> Interval | None:
        """From an ``effect`` of a verdict, of an estimate or of a comparison."""
        if plain is None:
            return None
        centre = plain.get("mean", plain.get("effect"))
        if centre is None:
            return None
        return cls(centre, plain["low"], plain["high"], plain["pairs"], plain.get("confidence", 0.95))


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial or pair of an experiment, without what the page does not show.

    Attributes:
        need: what it was for.
        split: on which cases.
        seed: of both arms.
        first: which arm ran first.
        incumbent, candidate: value by metric; None where that arm was not run, empty where it has no value.
        wall: seconds of both arms.
        problem: one sentence where an arm has no value.
    """

    need: str
    split: str
    seed: int
    first: str
    incumbent: Mapping[str, float] | None
    candidate: Mapping[str, float]
    wall: float
    problem: str


@dataclass(frozen=True, slots=True)
class Experiment:
    """All that is known of one decided experiment.

    Attributes:
        number: from 1.
        at: when it was decided.
        verdict: the ``decided`` record's body.
        trials: in order.
        kept: the ``kept`` record's body.
        estimates: by metric, on fresh pairs; empty before they were measured.
    """

    number: int
    at: str
    verdict: Mapping[str, Any]
    trials: tuple[Trial, ...] = ()
    kept: Mapping[str, Any] | None = None
    estimates: Mapping[str, Interval | None] = field(default_factory=dict)

    @property
    def decision(self) -> str:
        """``KEEP``, ``REJECT``, ``INCONCLUSIVE`` or ``ERROR``."""
        return str(self.verdict["decision"])

    @property
    def effect(self) -> Interval | None:
        """On the objective, from the confirm pairs."""
        return Interval.of(self.verdict["effect"])

    @property
    def stage(self) -> str:
        """How far it came: ``confirmed``, ``screened``, ``refused`` (before any trial) or ``failed``."""
        if self.effect is not None:
            return "confirmed"
        if self.verdict["reason"] in _SCREENED:
            return "screened"
        return "refused" if self.verdict["reason"] in _REFUSED or not self.trials else "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """A run.

    Attributes:
        name: of the task.
        opened: the first record's body; empty where nothing was begun.
        metrics: as the run was opened with, the objective among them.
        calibrations: bodies of ``calibrated`` records, oldest first.
        first_value: the anchor's first value in its first A/A pair, oriented; None where there is none.
        experiments: decided, oldest first.
        rules: of the last experiment that had any.
        open_number: of an experiment without verdict, or None.
        compared: the last comparison of head and anchor, or None.
        keeps_since_compared: keeps that are younger than it.
        ledger, head, records: where the ledger is, the hash of its last record, and how many there are.
        last_at: when the last record was written.
    """

    name: str
    opened: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    calibrations: tuple[Mapping[str, Any], ...]
    first_value: float | None
    experiments: tuple[Experiment, ...]
    rules: Mapping[str, Any] | None
    open_number: int | None
    compared: Mapping[str, Any] | None
    keeps_since_compared: int
    ledger: str
    head: str
    records: int
    last_at: str

    @property
    def objective(self) -> Metric:
        """The metric that has to improve."""
        return next(metric for metric in self.metrics if metric.margin is None)

    @property
    def scale(self) -> Scale:
        """Of the objective."""
        return scale_of(self.objective)

    @property
    def keeps(self) -> tuple[Experiment, ...]:
        """What was kept, oldest first."""
        return tuple(experiment for experiment in self.experiments if experiment.decision == "KEEP")


class _Reader:
    """Folds records into a run; trials wait here until their verdict comes."""

    def __init__(self) -> None:
        self.opened: Mapping[str, Any] = {}
        self.calibrations: list[Mapping[str, Any]] = []
        self.first_pair: Mapping[str, Any] | None = None
        self.experiments: dict[int, Experiment] = {}
        self.rules: Mapping[str, Any] | None = None
        self.open_number: int | None = None
        self.waiting: list[Trial] = []
        self.compared: Mapping[str, Any] | None = None
        self.keeps_since = 0
        self.last_at = ""

    def take(self, kind: str, body: Mapping[str, Any], at: str) -> None:
        self.last_at = at
        if kind == "opened":
            self.opened = body
        elif kind == "calibrating":
            self.first_pair = self.first_pair or body
        elif kind == "calibrated":
            self.calibrations.append(body)
        elif kind == "compared":
            self.compared, self.keeps_since = body, 0
        elif kind in {"proposed", "measured", "decided", "kept", "estimated"}:
            getattr(self, f"_{kind}")(body, at)

    def _proposed(self, body: Mapping[str, Any], _at: str) -> None:
        self.open_number, self.rules, self.waiting = body["experiment"], body["rules"] or self.rules, []

    def _measured(self, body: Mapping[str, Any], _at: str) -> None:
        self.waiting.append(_trial(body))

    def _decided(self, body: Mapping[str, Any], at: str) -> None:
        number = body["experiment"]
        self.experiments[number] = Experiment(number, at, body, tuple(self.waiting))
        self.open_number, self.waiting = None, []
        self.keeps_since += body["decision"] == "KEEP"

    def _kept(self, body: Mapping[str, Any], _at: str) -> None:
        self._more(body["experiment"], kept=body)

    def _estimated(self, body: Mapping[str, Any], _at: str) -> None:
        self._more(body["experiment"], estimates={name: Interval.of(one) for name, one in body["effects"].items()})

    def _more(self, number: int, **known: Any) -> None:
        if (found := self.experiments.get(number)) is not None:
            self.experiments[number] = replace(found, **known)


def read_run(contract: Contract, ledger: Ledger) -> Run:
    """Read a run.

    Args:
        contract: for a run that has not begun; a run that has is shown under the contract that it was opened with.
        ledger: open for reading.

    Raises:
        LedgerCorrupt: a record is not what was written.
    """
    reader = _Reader()
    for record in ledger.records():
        reader.take(record.kind, record.body, record.at)
    metrics = tuple(_metrics(reader.opened)) or contract.metrics
    return Run(
        name=reader.opened.get("name", contract.name),
        opened=reader.opened,
        metrics=metrics,
        calibrations=tuple(reader.calibrations),
        first_value=_first_value(reader.first_pair, metrics),
        experiments=tuple(reader.experiments.values()),
        rules=reader.rules,
        open_number=reader.open_number,
        compared=reader.compared,
        keeps_since_compared=reader.keeps_since,
        ledger=str(ledger.folder),
        head=ledger.head,
        records=ledger.count,
        last_at=reader.last_at,
    )


def _metrics(opened: Mapping[str, Any]) -> Iterator[Metric]:
    for plain in opened.get("contract", {}).get("metrics", ()):
        margin = plain["margin"]
        yield Metric(**{**plain, "trust": Trust(plain["trust"]), "margin": Margin(**margin) if margin else None})


def _first_value(pair: Mapping[str, Any] | None, metrics: Iterable[Metric]) -> float | None:
    objective = next(metric for metric in metrics if metric.margin is None)
    values = _values(pair["incumbent"]) if pair else None
    return oriented_value(objective, values)


def oriented_value(metric: Metric, values: Mapping[str, float] | None) -> float | None:
    """A trial's value of a metric so that larger is better, on its scale; None where there is none."""
    if values is None or metric.name not in values:
        return None
    try:
        return oriented(values[metric.name], metric.sign, scale_of(metric), metric.name)
    except NotOnScaleError:
        return None


def _trial(body: Mapping[str, Any]) -> Trial:
    candidate, incumbent = body["candidate"], body["incumbent"]
    arms = [arm for arm in (candidate, incumbent) if arm]
    return Trial(
        need=body["need"],
        split=candidate["split"],
        seed=candidate["seed"],
        first=body["first"],
        incumbent=_values(incumbent),
        candidate=_values(candidate) or {},
        wall=sum(arm["wall"] for arm in arms),
        problem="; ".join(arm["problem"] for arm in arms if arm["problem"]),
    )


def _values(arm: Mapping[str, Any] | None) -> Mapping[str, float] | None:
    return {name: reading["value"] for name, reading in arm["readings"].items()} if arm else None
