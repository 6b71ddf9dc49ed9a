"""JSON lines of other loops: pi-autoresearch sessions, OpenEvolve traces, and plain records.

- pi-autoresearch: ``{"type": "config", "metricName", "bestDirection", …}`` starts a session (a later one, once there
  are runs, a new segment); runs are ``{"run", "commit", "metric", "status", "description", "timestamp", …}``;
  ``{"type": "hook"}`` is skipped. Its own reader takes an unknown status as keep and a missing metric as 0; not here.
- OpenEvolve: one record per child with ``parent_metrics`` and ``child_metrics``; ``combined_score`` or else the mean
  of the numeric metrics is what it maximises. It records no decision, so neither do we.
- anything else with a metric and a status under the usual names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.contract import Goal
from evalkit.errors import DataError
from evalkit.interop.history import History, HistoryRow, Problem, Segment, Status
from evalkit.interop.lines import Line, read_lines
from evalkit.interop.table import MAX_ROWS
from evalkit.interop.values import is_baseline, parse_number, parse_status, parse_time

__all__ = ["RecordError", "parse_record", "read_records"]

_MAX_EXTRA = 256
_METRIC_KEYS = ("metric", "score", "combined_score", "value", "val_bpb")
_STATUS_KEYS = ("status", "decision", "outcome", "verdict")
_TEXT_KEYS = ("description", "hypothesis", "notes", "message", "change", "summary")
_LABEL_KEYS = ("run", "iteration", "experiment_id", "id", "generation")
_GOALS: Mapping[object, Goal] = {
    **dict.fromkeys(("lower", "minimize", "min"), "minimize"),
    **dict.fromkeys(("higher", "maximize", "max"), "maximize"),
}


class RecordError(ValueError):
    """A line is not one JSON object; the message says why."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise RecordError("a key stands there twice")
    return record


def parse_record(text: str) -> dict[str, Any]:
    """One JSON object. NaN and infinities are read as such (the caller refuses them as values); no key twice.

    Raises:
        RecordError: when the text is anything else.
    """
    try:
        record = json.loads(text, object_pairs_hook=_unique)
    except RecordError:
        raise
    except RecursionError:
        raise RecordError("nested too deep") from None
    except ValueError as error:
        raise RecordError(f"not JSON ({str(error)[:80]})") from None
    if not isinstance(record, dict):
        raise RecordError("not a JSON object")
    return record


def number_of(value: object) -> float | None:
    """A finite number, or None; booleans and texts are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def text_of(value: object, limit: int = 2000) -> str:
    """A text or number as text; anything else is empty."""
    if isinstance(value, str):
        return value[:limit]
    return str(value)[:limit] if isinstance(value, int | float) and not isinstance(value, bool) else ""


def first_of(record: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The value of the first key that is there, or None."""
    return next((record[key] for key in keys if key in record), None)


def numbers_of(value: object) -> tuple[tuple[str, float], ...]:
    """The finite numbers of an object, by name."""
    if not isinstance(value, dict):
        return ()
    found = ((str(key)[:120], number_of(item)) for key, item in list(value.items())[:_MAX_EXTRA])
    return tuple((key, number) for key, number in found if number is not None)


@dataclass(slots=True)
class _State:
    rows: list[HistoryRow] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    configured: bool = False
    forms: dict[str, int] = field(default_factory=dict)

    def segment(self) -> int:
        if not self.segments:
            self.segments.append(Segment())
        return len(self.segments) - 1

    def note(self, line: int, text: str, *, dropped: bool) -> None:
        self.problems.append(Problem(line, text, dropped))


def read_records(path: Path) -> History:
    """Read a history of JSON lines, record by record.

    Raises:
        DataError: when the file can't be read, or no line of it is an experiment.
    """
    state = _State()
    for line in read_lines(path):
        _take(state, line)
        if len(state.rows) > MAX_ROWS:
            raise DataError(f"{path} has more than {MAX_ROWS} rows", "split it")
    if not state.rows and not state.configured:
        raise DataError(
            f"{path} holds no experiment that could be read" + "".join(f"\n  {p}" for p in state.problems[:3]),
            "JSON lines need a metric (or child_metrics) and, where there is one, a status",
        )
    form = max(state.forms, key=lambda name: state.forms[name], default="pi-autoresearch log")
    state.segment()
    return History(str(path), form, tuple(state.segments), tuple(state.rows), tuple(state.problems))


def _take(state: _State, line: Line) -> None:
    if line.fault:
        state.note(line.number, f"{line.fault}; left out", dropped=True)
        return
    if not line.text.strip():
        return
    try:
        record = parse_record(line.text)
    except RecordError as error:
        torn = "" if line.complete else " (the file ends inside it)"
        state.note(line.number, f"{error}{torn}; left out", dropped=True)
        return
    if record.get("type") == "config":
        _configure(state, record)
    elif "child_metrics" in record:
        _add(state, "OpenEvolve trace", _trace_row(state, line.number, record))
    elif record.get("type") == "hook":
        return
    elif "run" in record or first_of(record, _METRIC_KEYS) is not None or first_of(record, _STATUS_KEYS) is not None:
        form = "pi-autoresearch log" if state.configured or {"run", "status"} <= set(record) else "JSON lines"
        _add(state, form, _plain_row(state, line.number, record))
    else:
        state.note(line.number, "neither an experiment nor a configuration; left out", dropped=True)


def _add(state: _State, form: str, row: HistoryRow) -> None:
    state.forms[form] = state.forms.get(form, 0) + 1
    state.rows.append(row)


def _configure(state: _State, record: Mapping[str, Any]) -> None:
    """A configuration replaces the one before it as long as nothing ran under that."""
    goal = _GOALS.get(text_of(record.get("bestDirection")))
    noise = number_of(record.get("noiseFloor"))
    segment = Segment(
        metric=text_of(record.get("metricName"), 80) or "metric",
        goal=goal,
        goal_source="stated by the file" if goal else "",
        unit=text_of(record.get("metricUnit"), 20),
        noise_sd=noise if noise is not None and noise > 0 else None,
        name=text_of(record.get("name"), 200),
    )
    current = len(state.segments) - 1
    if state.segments and not any(row.segment == current for row in reversed(state.rows[-1:])):
        state.segments[-1] = segment
    else:
        state.segments.append(segment)
    state.configured = True


def _value(state: _State, number: int, raw: object, status: Status) -> tuple[float | None, float | None]:
    """The metric and, for a crash, what stands in its place."""
    value = number_of(raw) if not isinstance(raw, str) else parse_number(raw)
    if value is None and raw is not None:
        state.note(number, f"{str(raw)[:40]!r} is not a finite number; the row has no metric", dropped=False)
    elif value is None and status is Status.KEEP:
        state.note(number, "kept without a metric", dropped=False)
    return (None, value) if status is Status.CRASH else (value, None)


def _plain_row(state: _State, number: int, record: Mapping[str, Any]) -> HistoryRow:
    status_text = text_of(first_of(record, _STATUS_KEYS), 80)
    status = parse_status(status_text)
    metric, recorded = _value(state, number, first_of(record, _METRIC_KEYS), status)
    description, commit = text_of(first_of(record, _TEXT_KEYS)), text_of(record.get("commit"), 80)
    return HistoryRow(
        line=number,
        status=status,
        metric=metric,
        recorded=recorded,
        status_text=status_text,
        label=text_of(first_of(record, _LABEL_KEYS), 80),
        commit=commit,
        description=description,
        timestamp=parse_time(record.get("timestamp")),
        segment=state.segment(),
        baseline=is_baseline(status_text, description, commit),
        extra=numbers_of(record.get("metrics")),
        cases=numbers_of(record.get("tasks")),
    )


def _trace_row(state: _State, number: int, record: Mapping[str, Any]) -> HistoryRow:
    if not state.segments:
        state.segments.append(Segment("combined_score", "maximize", "what OpenEvolve does"))
    metrics = dict(numbers_of(record["child_metrics"]))
    failed = not set(metrics) - {"error", "timeout"}
    raw = metrics.get("combined_score")
    if raw is None and not failed:
        raw = math.fsum(metrics.values()) / len(metrics)
    described = text_of(record.get("child_changes_description")) or f"child of {text_of(record.get('parent_id'), 40)}"
    if failed:
        state.note(number, "no metric but an error: a crash", dropped=False)
    return HistoryRow(
        line=number,
        status=Status.CRASH if failed else Status.UNKNOWN,
        metric=None if failed else raw,
        recorded=metrics.get("error") if failed else None,
        label=text_of(record.get("child_id"), 80) or text_of(record.get("iteration"), 80),
        description=described,
        timestamp=parse_time(record.get("timestamp")),
        segment=state.segment(),
        parent=text_of(record.get("parent_id"), 80),
        extra=tuple(item for item in metrics.items() if item[0] != "combined_score"),
    )
