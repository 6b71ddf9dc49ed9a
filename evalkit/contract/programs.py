"""From metric tables to programs and metrics: who runs what, who reads from whom, how far a value can be trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

from evalkit.contract.draft import Draft
from evalkit.contract.fields import quoted
from evalkit.contract.model import Metric, Program, Trust
from evalkit.contract.schema import MetricTable

__all__ = ["check_metrics", "make_metrics", "make_programs"]

_NAME = re.compile(r"[^\W\d][\w.-]{0,79}")
_MANY = 100
_OWN = ("run", "artifacts", "serve", "score")


def make_programs(draft: Draft) -> dict[str, Program]:
    """The programs, by the metric that declares each."""
    return {name: _program(name, table) for name, table in draft.tables.metric.items() if table.with_ is None}


def make_metrics(draft: Draft) -> tuple[Metric, ...]:
    """The metrics, in the file's order."""
    programs = make_programs(draft)
    return tuple(_metric(name, table, programs) for name, table in draft.tables.metric.items())


def check_metrics(draft: Draft) -> None:
    """Report every mistake in and between the metric tables."""
    tables = draft.tables.metric
    if not tables and not draft.report.is_broken("metric"):
        draft.add((), "there is no metric", 'a table such as [metric.loss] with goal = "minimize", run and score')
    if len(tables) > _MANY:
        draft.add(
            ("metric",), f"there are {len(tables):,} metrics", f"at most {_MANY}: each guarded one costs evidence"
        )
        return
    broken = frozenset(name for name in tables if draft.report.is_broken("metric", name))
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            draft.add(("metric", name), "is no name of a metric", 'letters, digits, "_", "." and "-", no digit first')
        for key, found, expected in _mistakes(_Case(name, table, tables, broken)):
            if not draft.report.is_broken("metric", name, key or "goal"):
                draft.add(("metric", name, key) if key else ("metric", name), found, expected)
    _check_objective(draft)


@dataclass(frozen=True, slots=True)
class _Case:
    """One metric among the others."""

    name: str
    table: MetricTable
    tables: dict[str, MetricTable]
    broken: frozenset[str]
    """Metrics that lost a key because its value was wrong."""

    @property
    def whole(self) -> bool:
        """Whether the metric and its program are there as the file has them."""
        return self.name not in self.broken and (self.table.with_ or self.name) not in self.broken

    @property
    def owner(self) -> MetricTable:
        """The table of the program that the metric is read from."""
        return self.tables.get(self.table.with_ or self.name, self.table)


def _check_objective(draft: Draft) -> None:
    tables = draft.tables.metric
    if draft.report.is_broken("metric") or not tables:
        return
    objectives = [name for name, table in tables.items() if table.margin is None]
    if not objectives:
        draft.add(("metric",), "every metric has a margin", "exactly one without: the objective, which has to improve")
    for name in objectives[1:]:
        draft.add(
            ("metric", name),
            f"it has no margin, and neither has {objectives[0]}",
            'exactly one objective; give a guarded metric what may be lost: margin = "5%"',
        )


_Mistake = tuple[str, str, str]


def _mistakes(case: _Case) -> Iterator[_Mistake]:
    table = case.table
    if table.goal is None:
        yield "", "it has no goal", 'goal = "minimize" or goal = "maximize"'
    if table.min_effect is not None and table.margin is not None:
        yield "min_effect", "the metric is guarded (it has a margin)", "min_effect in the objective's table only"
    if table.with_ is not None:
        yield from _borrowed(case, table.with_)
    elif case.whole:
        yield from _owned(case)
    if not case.whole:
        return
    yield from _source(case)
    if table.measure is not None:
        yield from _measured(table, case.owner)
    elif table.phase is not None:
        yield "phase", "nothing is measured", 'measure = "wall" (or cpu, memory, …) beside it, or no phase'


def _borrowed(case: _Case, target: str) -> Iterator[_Mistake]:
    for key in _own_keys(case.table):
        yield key, f"the metric is read from {quoted(target)}, which has its own", f"either `with` or `{key}`"
    if target == case.name:
        yield "with", "it names itself", "another metric, or run, artifacts and score of its own"
    elif target not in case.tables:
        near = get_close_matches(target, case.tables, n=1)
        known = ", ".join(quoted(name) for name in case.tables if name != case.name) or "none"
        hint = f"{quoted(near[0])} is meant" if near and near[0] != case.name else f"one of the others: {known}"
        yield "with", f"there is no metric {quoted(target)}", hint
    elif (further := case.tables[target].with_) is not None:
        yield "with", f"{quoted(target)} has no program of its own", f"with = {quoted(further)}"


def _owned(case: _Case) -> Iterator[_Mistake]:
    table = case.table
    if table.run is None and table.serve is None:
        example = 'run = ["python", "train.py"], or with = "the metric that runs it"'
        yield "", "nothing says how to get a value: it has neither run, serve nor with", example
    if table.serve is not None and table.score is None:
        yield "serve", "nobody asks what it serves", 'a scorer beside it: score = ["python", "score.py"]'
    if table.artifacts and table.run is None and table.serve is not None:
        yield "artifacts", "nothing runs that could leave them", "a run command beside them"
    if table.score is not None and table.serve is None and not table.artifacts and table.run is not None:
        yield "score", "the scorer would see nothing", 'artifacts = ["model.npz"], or a serve command to ask'
    if table.score is not None and table.measure is not None and not _score_is_read(case):
        yield (
            "score",
            "the value is measured, and nothing else reads what the scorer reports",
            f"no measure here, or a metric for the score: with = {quoted(case.name)}",
        )


def _score_is_read(case: _Case) -> bool:
    return any(
        other.with_ == case.name and other.measure is None and other.report is None for other in case.tables.values()
    )


def _source(case: _Case) -> Iterator[_Mistake]:
    """One value, one source."""
    table = case.table
    if table.report is None:
        return
    if table.measure is not None:
        yield "report", "the metric is measured", "either measure or report"
    if table.score is not None:
        yield "report", "the metric is scored, which can't be forged", "no report here"
    if case.owner.run is None:
        yield "report", "nothing runs that could print it", "a run command"


def _measured(table: MetricTable, owner: MetricTable) -> Iterator[_Mistake]:
    phase, measure = table.phase or "all", table.measure
    if phase != "all" and getattr(owner, phase) is None and measure not in {"latency", "bytes"}:
        yield "phase", f"the program has no {phase} command", f'one, or phase = "{_other(phase)}"'
    if measure == "latency":
        if owner.serve is None:
            yield "measure", "latency is the time of answers, and nothing is served", 'a serve command, or "wall"'
        elif phase == "run":
            yield "phase", "answers are given in serve", 'phase = "serve"'
    if measure == "bytes":
        if not owner.artifacts:
            yield "measure", "bytes are those of artifacts, and the program leaves none", "artifacts"
        elif phase == "serve":
            yield "phase", "artifacts are left by run", 'phase = "run"'


def _other(phase: str) -> str:
    return "serve" if phase == "run" else "run"


def _own_keys(table: MetricTable) -> list[str]:
    return [key for key in _OWN if getattr(table, key) is not None]


def _program(name: str, table: MetricTable) -> Program:
    return Program(
        name=name,
        run=_argv(table.run),
        artifacts=tuple(table.artifacts or ()),
        serve=_argv(table.serve),
        score=_argv(table.score),
    )


def _argv(command: list[str] | None) -> tuple[str, ...] | None:
    return None if command is None else tuple(command)


def _metric(name: str, table: MetricTable, programs: dict[str, Program]) -> Metric:
    program = programs[table.with_ or name]
    trust = _trust(table, program)
    given: dict[str, Any] = {
        key: value for key in ("kind", "measure", "phase", "min_effect") if (value := getattr(table, key)) is not None
    }
    report = _report(name, table) if trust is Trust.REPORTED else None
    return Metric(
        name=name,
        goal=cast("Any", table.goal),
        program=program.name,
        trust=trust,
        margin=table.margin,
        report=report,
        **given,
    )


def _trust(table: MetricTable, program: Program) -> Trust:
    if table.measure is not None:
        return Trust.MEASURED
    return Trust.SCORED if program.score is not None and table.report is None else Trust.REPORTED


def _report(name: str, table: MetricTable) -> str:
    """The expression, made to match line by line whatever flags it is compiled with."""
    return "(?m)" + (table.report or rf"^METRIC[ \t]+{re.escape(name)}=(\S+)[ \t]*\r?$")
