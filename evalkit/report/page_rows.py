"""A row an experiment, and what it unfolds to, as the template needs it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.contract import Metric
from evalkit.report.page_chart import effect_range
from evalkit.report.page_data import Experiment, Interval, Run, Trial, oriented_value
from evalkit.report.page_diff import Diff, read_diff
from evalkit.report.page_text import cut, decimals, effect_text, interval_text, signed
from evalkit.report.wording import REASONS
from evalkit.verify.rules import scale_of

if TYPE_CHECKING:
    from evalkit.workspace import Store

__all__ = ["Detail", "Glyph", "Row", "Standing", "TrialRow", "glyph", "rows_of"]

_MAX_DETAILED = 300
_DIFF_BYTES = 8_000
_ALL_DIFFS = 320_000
_MAX_TRIALS = 30
_MAX_FINDINGS = 12
_GLYPH = 110.0
_LARGE = 13.8  # a million


@dataclass(frozen=True, slots=True)
class Glyph:
    """An interval on the scale that all rows share, as positions from 0 to 110."""

    zero: float
    at: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial or pair as text; ``difference`` is oriented: + is better."""

    need: str
    first: str
    seed: int
    incumbent: str
    candidate: str
    difference: str
    seconds: str
    problem: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the pairs say about one metric."""

    metric: str
    role: str
    effect: str
    pairs: int
    evidence: str
    message: str


@dataclass(frozen=True, slots=True)
class Detail:
    """What a row unfolds to."""

    facts: tuple[tuple[str, str], ...]
    standings: tuple[Standing, ...]
    diagnostics: tuple[Mapping[str, str], ...]
    estimates: tuple[tuple[str, str, int], ...]
    trials: tuple[TrialRow, ...]
    trials_left_out: int
    findings: tuple[Mapping[str, Any], ...]
    findings_left_out: int
    suppressed: tuple[Mapping[str, Any], ...]
    diff: Diff


@dataclass(frozen=True, slots=True)
class Row:
    """One experiment."""

    number: int
    decision: str
    stage: str
    reason: str
    sentence: str
    description: str
    effect: str
    interval: str
    glyph: Glyph | None
    trials: int
    seconds: str
    detail: Detail | None


def rows_of(run: Run, store: Store | None) -> tuple[Row, ...]:
    """Every experiment, newest last; of very many, only the most telling ones can be unfolded.

    Args:
        run: the run.
        store: where trees are; None leaves the diffs out.
    """
    ranked = sorted(run.experiments, key=_telling)[:_MAX_DETAILED]
    details: dict[int, Detail] = {}
    room = _ALL_DIFFS
    for one in ranked:
        diff = _diff(one, store, min(room, _DIFF_BYTES))
        room -= diff.size
        details[one.number] = _detail(run, one, diff)
    reach, places = effect_range(run), _places(run)
    return tuple(_row(run, one, details.get(one.number), reach, places) for one in run.experiments)


def _places(run: Run) -> int | None:
    """Decimals of every effect in the table, by the noise."""
    if not run.calibrations:
        return None
    return decimals(run.calibrations[-1]["noise"][run.objective.name]["sd"], run.scale)


def _telling(one: Experiment) -> tuple[bool, bool, int]:
    return one.decision != "KEEP", one.stage != "confirmed", -one.number


def _diff(one: Experiment, store: Store | None, room: int) -> Diff:
    old, new = one.verdict["incumbent"], one.verdict["candidate"]
    if not new:
        return Diff(problem="there is no candidate tree")
    if new == old:
        return Diff(problem="nothing was changed")
    if store is None:
        return Diff(problem="the run's store of trees was not at hand when this page was written")
    if room <= 0:
        return Diff(problem="left out, so that this page stays small; both trees are in the run's store")
    return read_diff(store, old, new, room)


def _row(run: Run, one: Experiment, detail: Detail | None, reach: tuple[float, float], places: int | None) -> Row:
    verdict, found = one.verdict, one.effect
    return Row(
        number=one.number,
        decision=one.decision,
        stage=one.stage,
        reason=REASONS.get(verdict["reason"], verdict["reason"]),
        sentence=cut(verdict["sentence"], 260),
        description=cut(verdict["description"], 200),
        effect=signed(found.centre, run.scale, places) if found else "",
        interval=interval_text(found.low, found.high, run.scale, places) if found else "",
        glyph=glyph(found, reach) if found else None,
        trials=verdict["evaluations"],
        seconds=_seconds(verdict["seconds"]),
        detail=detail,
    )


def glyph(found: Interval, reach: tuple[float, float]) -> Glyph:
    """The interval between two values that stand at 0 and 110; what lies outside is cut off there."""
    low, high = reach

    def at(value: float) -> float:
        return round(_GLYPH * (min(max(value, low), high) - low) / (high - low), 1)

    return Glyph(
        zero=at(0.0),
        at=at(found.centre),
        low=at(low if found.low is None else found.low),
        high=at(high if found.high is None else found.high),
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 100 else f"{seconds:,.0f}"  # noqa: PLR2004 - three digits


def _detail(run: Run, one: Experiment, diff: Diff) -> Detail:
    verdict = one.verdict
    statistics = verdict["statistics"] or {}
    diagnostics = [*statistics.get("objective", {}).get("diagnostics", ())]
    return Detail(
        facts=tuple(_facts(one)),
        standings=tuple(_standings(run, statistics)),
        diagnostics=tuple(diagnostics),
        estimates=tuple(_estimates(run, one)),
        trials=tuple(_trial(run.objective, trial) for trial in one.trials[:_MAX_TRIALS]),
        trials_left_out=max(0, len(one.trials) - _MAX_TRIALS),
        findings=tuple(_finding(found) for found in verdict["findings"][:_MAX_FINDINGS]),
        findings_left_out=max(0, len(verdict["findings"]) - _MAX_FINDINGS),
        suppressed=tuple(verdict.get("suppressed", ()))[:_MAX_FINDINGS],
        diff=diff,
    )


def _facts(one: Experiment) -> Iterator[tuple[str, str]]:
    verdict = one.verdict
    if one.kept:
        yield "commit", f"{one.kept['commit']} on {cut(one.kept['branch'], 80)}"
    yield "proposed by", cut(verdict["proposer"], 60)
    if verdict["details"]:
        yield "in its words", cut(json.dumps(verdict["details"], ensure_ascii=False), 300)
    yield "trees", f"{verdict['incumbent'][:12]} → {verdict['candidate'][:12] or 'none'}"
    yield "decided", one.at[:19].replace("T", " ") + " UTC"
    if verdict.get("level"):
        spent = "spent" if verdict["settled"]["confirmed"] else "not spent: it was not confirmed"
        yield "error level", f"{verdict['level']:.3g}, {spent}"
    if verdict["more_pairs"]:
        yield "would decide", f"about {verdict['more_pairs']} more pairs"
    if verdict.get("unenforced"):
        yield "not enforced", ", ".join(verdict["unenforced"])


def _standings(run: Run, statistics: Mapping[str, Any]) -> Iterator[Standing]:
    if not statistics or not statistics["objective"]["pairs"]:
        return
    by_name = {metric.name: metric for metric in run.metrics}
    yield _standing(run.objective, "objective", statistics["objective"])
    for name, seen in statistics["guarded"].items():
        if name in by_name and seen["pairs"]:
            yield _standing(by_name[name], "guarded", seen)


def _standing(metric: Metric, role: str, seen: Mapping[str, Any]) -> Standing:
    scale, (low, high) = scale_of(metric), seen["interval"]
    level = seen["level"]
    needed = f", {_odds(-math.log(level))} needed" if level else ""
    return Standing(
        metric=metric.name,
        role=role,
        effect="" if seen["mean"] is None else effect_text(seen["mean"], low, high, scale),
        pairs=seen["pairs"],
        evidence=f"{_odds(seen['log_e'])}{needed}",
        message=cut(seen["message"], 200),
    )


def _odds(log_e: float) -> str:
    """``1,600 : 1``, from its natural logarithm."""
    if log_e > _LARGE:
        return f"10^{log_e / math.log(10):.1f} : 1"
    odds = math.exp(log_e)
    return f"{odds:,.0f} : 1" if odds >= 10 else f"{odds:.2g} : 1"  # noqa: PLR2004 - two digits say enough


def _estimates(run: Run, one: Experiment) -> Iterator[tuple[str, str, int]]:
    for metric in run.metrics:
        found = one.estimates.get(metric.name)
        if found is not None:
            yield metric.name, effect_text(found.centre, found.low, found.high, scale_of(metric)), found.pairs


def _trial(metric: Metric, trial: Trial) -> TrialRow:
    ours, theirs = oriented_value(metric, trial.candidate), oriented_value(metric, trial.incumbent)
    return TrialRow(
        need=trial.need,
        first=trial.first if trial.incumbent is not None else "",
        seed=trial.seed,
        incumbent=_value(metric, trial.incumbent),
        candidate=_value(metric, trial.candidate),
        difference="" if ours is None or theirs is None else signed(ours - theirs, scale_of(metric)),
        seconds=_seconds(trial.wall),
        problem=cut(trial.problem, 200),
    )


def _value(metric: Metric, values: Mapping[str, float] | None) -> str:
    if values is None:
        return ""
    return f"{values[metric.name]:#.5g}".rstrip(".") if metric.name in values else "—"


def _finding(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """A finding; of one that rests on the vault only that there is one, since pages are passed on."""
    where = f"{found['file']}:{found['line']}" if found["line"] else found["file"]
    if found["secret"]:
        message = "found with the vault's help, so it is not shown on a page; evalkit show has it"
        return {**found, "where": "", "message": message, "evidence": "", "advice": ""}
    evidence = found["evidence"][:600]
    return {**found, "where": cut(where, 120), "message": cut(found["message"], 300), "evidence": evidence}
