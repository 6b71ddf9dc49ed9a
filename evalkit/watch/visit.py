"""One visit of an open run: head against its frozen anchor on every metric of the contract, recorded in the ledger.

A visit is one ``visited`` record: state of each metric's e-CUSUM, what was measured, the environment. The next visit
goes on from the last one, so a cron job that runs ``evalkit watch`` needs nothing else. When a metric raises the alarm,
:func:`find_keep` bisects over all keeps since the anchor: where the evidence began to grow is no safe start (a bet on a
large loss may begin a visit after the loss), and starting at the anchor costs a test or two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evalkit.contract import Metric
from evalkit.errors import TrialError, UsageError
from evalkit.measure import Pair, fingerprint
from evalkit.verify.rules import NotOnScaleError, Scale, margin_on_scale, oriented, scale_of
from evalkit.verify.workbench import Workbench
from evalkit.watch.bisect import Bisection, Cost, Finding, predict_cost
from evalkit.watch.drift import DriftPolicy, DriftWatch, VisitReport, environment_shift
from evalkit.watch.exact import search_exactly
from evalkit.watch.lineage import ROLLED_BACK, lineage, pointed_at
from evalkit.watch.notes import cost_ratio, spread_ratio
from evalkit.watch.slices import Slice, worse_slices

__all__ = ["MetricVisit", "Suspects", "Visit", "find_keep", "suspects", "visit"]

_RECORD, _FOUND = "visited", "bisected"
_MAX_INVALID = 3
_EXACT_PAIRS = 2
_HISTORY = 50
_RECENT = 8
_Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class MetricVisit:
    """What a visit says of one metric.

    Attributes:
        name: of the metric.
        scale: ``log`` where changes are logarithms of ratios, else ``linear``.
        tolerance: what may be lost against the anchor in total, on that scale.
        report: of the e-CUSUM; for a metric without noise, of the bare comparison.
        slices: groups of cases that are worse although the metric as a whole is not.
        shift: the anchor itself measures differently than in earlier visits (plain data), or None.
        spread: how much wider head's values scatter than the anchor's, as a ratio; None where that may be chance.
    """

    name: str
    scale: Scale
    tolerance: float
    report: VisitReport
    slices: tuple[Slice, ...] = ()
    shift: Mapping[str, float] | None = None
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """A finished visit.

    Attributes:
        keeps: how many keeps head had.
        metrics: in the contract's order; empty where nothing was kept yet.
        changed: environment values that differ from the last visit (or the opening): name → (before, now).
        broken: one sentence when head has no value where the anchor has one, else empty.
        cost: how much more CPU a trial of head takes than one of the anchor, as a ratio; None where that may be chance.
    """

    keeps: int
    metrics: tuple[MetricVisit, ...]
    changed: Mapping[str, tuple[Any, Any]]
    broken: str = ""
    cost: float | None = None

    @property
    def alarms(self) -> tuple[MetricVisit, ...]:
        """The metrics that lost more than they may."""
        return tuple(metric for metric in self.metrics if metric.report.alarm)


class _Watched:
    """One metric during a visit."""

    def __init__(self, metric: Metric, bench: Workbench, policy: DriftPolicy, before: Mapping[str, Any] | None) -> None:
        book = bench.book
        self.metric, self.scale = metric, scale_of(metric)
        self.tolerance = margin_on_scale(metric, self.scale, book.anchor_values[metric.name])
        self.noise = book.noise[metric.name]
        self.heads: list[float] = []
        self.anchors: list[float] = []
        self.before = before
        self.machine: DriftWatch | None = None
        if self.noise.pilot_sd > 0:
            state = before["state"] if before else None
            count = len(bench.contract.metrics)
            self.machine = DriftWatch(self.noise, self.tolerance, policy, metrics=count, state=state)

    def needs_pair(self) -> bool:
        return self.machine.needs_pair() if self.machine else len(self.heads) < _EXACT_PAIRS

    def observe(self, pair: Pair) -> None:
        head, anchor = (
            oriented(trial.readings[self.metric.name].value, self.metric.sign, self.scale, self.metric.name)
            for trial in (pair.candidate, pair.incumbent)
        )
        self.heads.append(head)
        self.anchors.append(anchor)
        if self.machine:
            self.machine.observe(head, anchor)

    def close(self, visits: int) -> VisitReport:
        if self.machine:
            return self.machine.close()
        losses = [anchor - head for head, anchor in zip(self.heads, self.anchors, strict=True)]
        change = -math.fsum(losses) / len(losses)
        lost = min(losses) > self.tolerance
        evidence = math.inf if lost else 0.0
        return VisitReport(visits + 1, len(losses), change, (-max(losses), -min(losses)), evidence, lost, visits)


def visit(bench: Workbench, *, policy: DriftPolicy | None = None, progress: _Progress | None = None) -> Visit:
    """Measure head against the anchor, as many pairs as the most curious metric wants, and record it.

    Args:
        bench: the open run; calibrated.
        policy: costs and threshold.
        progress: called with the number of pairs measured and the number that is sure to be measured.

    Raises:
        UsageError: the run is not calibrated.
        TrialError: the anchor itself has no value any more.
    """
    book, rules = bench.book, policy or DriftPolicy()
    if not book.calibrated:
        raise UsageError("the noise of this run is not known yet", "evalkit calibrate")
    past = [record.body for record in bench.ledger.records(_RECORD)]
    changed = _environment_changes(bench, past)
    if book.incumbent == book.anchor:
        return Visit(book.keeps, (), changed)
    earlier = _latest_state(bench)
    watched = [_Watched(metric, bench, rules, earlier.get(metric.name)) for metric in bench.contract.metrics]
    pairs, broken = _measure(bench, watched, rules, progress)
    if broken:
        body = {"keeps": book.keeps, "metrics": earlier, "environment": fingerprint().as_json(), "broken": broken}
        bench.record(_RECORD, body)
        return Visit(book.keeps, (), changed, broken)
    done = tuple(_metric_visit(item, pairs, past) for item in watched)
    bench.record(_RECORD, _body(bench, watched, done, pairs))
    return Visit(book.keeps, done, changed, cost=cost_ratio(pairs))


def _latest_state(bench: Workbench) -> Mapping[str, Any]:
    """By metric, what the last visit left; nothing after a rollback: what is gone from head counts no more."""
    latest, rolled = bench.ledger.latest(_RECORD), bench.ledger.latest(ROLLED_BACK)
    if latest is None or (rolled is not None and rolled.seq > latest.seq):
        return {}
    metrics: Mapping[str, Any] = latest.body["metrics"]
    return metrics


def _measure(
    bench: Workbench, watched: list[_Watched], policy: DriftPolicy, progress: _Progress | None
) -> tuple[list[Pair], str]:
    """Pairs until no metric wants another, or the sentence that says why head can't be measured."""
    pairs: list[Pair] = []
    invalid = 0
    while any(item.needs_pair() for item in watched):
        if progress:
            progress(len(pairs), max(policy.first_pairs, len(pairs) + 1))
        pair = bench.pairing.pair(bench.book.anchor, bench.book.incumbent, split=bench.contract.splits.screen)
        problem = _problem(pair, watched)
        if problem:
            invalid += 1
            if invalid >= _MAX_INVALID:
                return pairs, problem
            continue
        pairs.append(pair)
    return pairs, ""


def _problem(pair: Pair, watched: list[_Watched]) -> str:
    """Take a pair, or say why it can't be taken."""
    if not pair.incumbent.valid:
        raise TrialError(
            f"the anchor's own trial has no value: {pair.incumbent.problem}",
            "head can't be compared with it; look at what changed on this machine",
        )
    if not pair.candidate.valid:
        return f"head has no value where the anchor has one: {pair.candidate.problem}"
    try:
        for item in watched:
            item.observe(pair)
    except NotOnScaleError as error:
        return str(error)
    return ""


def _metric_visit(item: _Watched, pairs: list[Pair], past: list[Mapping[str, Any]]) -> MetricVisit:
    visits = sum("broken" not in body for body in past)
    report = item.close(visits)
    name = item.metric.name
    earlier = [body["metrics"][name]["anchor"] for body in past[-_HISTORY:] if name in body["metrics"]]
    shift = environment_shift(earlier, item.anchors)
    return MetricVisit(
        name=name,
        scale=item.scale,
        tolerance=item.tolerance,
        report=report,
        slices=worse_slices(pairs, item.metric),
        shift=asdict(shift) if shift else None,
        spread=spread_ratio([*_values(past[-_RECENT:], name), (item.heads, item.anchors)]) if item.machine else None,
    )


def _values(past: list[Mapping[str, Any]], name: str) -> list[tuple[list[float], list[float]]]:
    """Of each visit head's values and the anchor's."""
    found = (body["metrics"].get(name) for body in past if not body.get("broken"))
    return [(metric["head"], metric["anchor"]) for metric in found if metric]


def _body(
    bench: Workbench, watched: list[_Watched], done: tuple[MetricVisit, ...], pairs: list[Pair]
) -> dict[str, Any]:
    metrics = {
        item.metric.name: {
            "state": item.machine.state() if item.machine else {},
            "report": result.report.as_json(),
            "anchor": item.anchors,
            "head": item.heads,
            "slices": [asdict(found) for found in result.slices],
        }
        for item, result in zip(watched, done, strict=True)
    }
    return {
        "keeps": bench.book.keeps,
        "anchor": bench.book.anchor,
        "head": bench.book.incumbent,
        "metrics": metrics,
        "pairs": [pair.as_json() for pair in pairs],
        "environment": fingerprint().as_json(),
    }


def _environment_changes(bench: Workbench, past: list[Mapping[str, Any]]) -> dict[str, tuple[Any, Any]]:
    opened = bench.ledger.latest("opened")
    before = past[-1]["environment"] if past else (opened.body["environment"] if opened else {})
    now = fingerprint().as_json()
    return {name: (before[name], now[name]) for name in now if name in before and before[name] != now[name]}


@dataclass(frozen=True, slots=True)
class Suspects:
    """The keeps among which the loss is, and what finding it costs.

    Attributes:
        metric: that lost it.
        bodies: the steps from the anchor to head, see :func:`evalkit.watch.lineage.lineage`.
        trees: the anchor, then that of each step.
        loss: estimated, on the metric's scale.
        cost: predicted.
        first: step to look at first, from 1, because a guard asked to probe its change; None for the middle.
    """

    metric: str
    bodies: tuple[Mapping[str, Any], ...]
    trees: tuple[str, ...]
    loss: float
    cost: Cost
    first: int | None = None


def suspects(bench: Workbench, alarm: MetricVisit) -> Suspects:
    """Which keeps to search, and at what cost."""
    sd = bench.book.noise[alarm.name].pilot_sd
    bodies = lineage(bench)
    trees = (bench.book.anchor, *(body["tree"] for body in bodies))
    if not sd > 0:
        looks = math.ceil(math.log2(len(bodies))) + 2
        return Suspects(alarm.name, bodies, trees, -alarm.report.change, Cost(looks, looks, looks))
    loss = max(-alarm.report.change, sd / 4)
    cost = predict_cost(len(bodies), loss, sd)
    return Suspects(alarm.name, bodies, trees, loss, cost, pointed_at(bench, bodies))


def find_keep(
    bench: Workbench, among: Suspects, *, progress: _Progress | None = None
) -> tuple[Finding, Mapping[str, Any]]:
    """Bisect; returns what was found and the step that it points at.

    Args:
        bench: the open run.
        among: from :func:`suspects`.
        progress: called with the pairs measured and the pairs predicted.

    Raises:
        TrialError: a tree that was kept has no value any more.
    """
    looks = _Looks(bench, among, progress)
    if bench.book.noise[among.metric].pilot_sd > 0:
        finding = _search(bench, among, looks)
    else:
        finding = search_exactly(len(among.bodies), looks.loss)
    body = among.bodies[finding.keep - 1]
    bench.record(_FOUND, {"metric": among.metric, "finding": asdict(finding), "kept": dict(body)})
    return finding, body


def _search(bench: Workbench, among: Suspects, looks: _Looks) -> Finding:
    search = Bisection(len(among.bodies), among.loss, bench.book.noise[among.metric], first=among.first)
    while (asked := search.next()) is not None:
        search.observe(*looks.values(asked.newer, asked.older))
    if search.finding is None:
        raise AssertionError("a search that asks for nothing has found something")
    return search.finding


class _Looks:
    """Pairs of two of the trees, one at a time."""

    def __init__(self, bench: Workbench, among: Suspects, progress: _Progress | None) -> None:
        self._bench, self._among, self._progress = bench, among, progress
        self._metric = next(metric for metric in bench.contract.metrics if metric.name == among.metric)
        self._taken = self._invalid = 0

    def loss(self, newer: int, older: int) -> float:
        """By one pair; positive where the newer tree is worse."""
        new, old = self.values(newer, older)
        return old - new

    def values(self, newer: int, older: int) -> tuple[float, float]:
        """Of the newer tree and the older, oriented so that larger is better."""
        pair = self._pair(newer, older)
        self._taken += 1
        metric = self._metric
        new, old = (
            oriented(trial.readings[metric.name].value, metric.sign, scale_of(metric), metric.name)
            for trial in (pair.candidate, pair.incumbent)
        )
        return new, old

    def _pair(self, newer: int, older: int) -> Pair:
        trees, bench = self._among.trees, self._bench
        while True:
            if self._progress:
                self._progress(self._taken, self._among.cost.pairs)
            pair = bench.pairing.pair(trees[older], trees[newer], split=bench.contract.splits.screen)
            if pair.valid:
                return pair
            self._invalid += 1
            if self._invalid >= _MAX_INVALID:
                problem = pair.candidate.problem or pair.incumbent.problem
                raise TrialError(f"a tree that was kept has no value any more: {problem}", "look at what changed")
