"""evalkit's own ledger as a history, so that a run which evalkit decided can be audited like any other.

A row per experiment: the mean of what the candidate measured on the objective, the verdict, and what the keep was worth
on fresh pairs (``fresh_effect``, ``fresh_error``, ``fresh_pairs`` among the row's extra numbers). Where changes are
compared as ratios the values are logarithms. The chain of hashes is not checked here; ``evalkit verify`` does that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.contract import Goal
from evalkit.errors import DataError
from evalkit.interop.history import History, HistoryRow, Problem, Segment, Status
from evalkit.interop.lines import read_lines
from evalkit.interop.records import RecordError, number_of, parse_record, text_of
from evalkit.interop.table import MAX_ROWS
from evalkit.interop.values import parse_time

__all__ = ["FORM", "read_own"]

FORM = "evalkit ledger"
_STATUS = {"KEEP": Status.KEEP, "REJECT": Status.DISCARD, "INCONCLUSIVE": Status.DISCARD, "ERROR": Status.CRASH}
_Z_95 = 1.96


class _Reading:
    """What the records so far say."""

    def __init__(self) -> None:
        self.segment: Segment | None = None
        self.logarithmic = False
        self.objective = ""
        self.rows: list[HistoryRow] = []
        self.values: list[float] = []
        self.keeps: dict[int, int] = {}
        self.problems: list[Problem] = []

    def take(self, number: int, record: Mapping[str, Any]) -> None:
        body, kind = record.get("body"), record.get("kind")
        if not isinstance(body, dict):
            self.problems.append(Problem(number, "a record without a body; left out"))
        elif kind == "opened":
            self._open(body)
        elif self.segment is None:
            self.problems.append(Problem(number, "a record before the run was opened; left out"))
        elif kind == "calibrated" and not self.rows:
            value = self._scaled((body.get("values") or {}).get(self.objective))
            self._row(number, record, Status.KEEP, value, description="the anchor", baseline=True)
        elif kind == "measured":
            self._measure(body)
        elif kind == "decided":
            self._decide(number, record, body)
        elif kind == "estimated":
            self._estimate(body)

    def _open(self, body: Mapping[str, Any]) -> None:
        metrics = (body.get("contract") or {}).get("metrics") or []
        metric = next((item for item in metrics if isinstance(item, dict) and item.get("margin") is None), None)
        if metric is None or metric.get("goal") not in {"minimize", "maximize"}:
            return
        kind, trust = metric.get("kind"), metric.get("trust")
        self.logarithmic = kind == "ratio" or (kind == "auto" and trust == "measured")
        self.objective = text_of(metric.get("name"), 80)
        goal: Goal = "minimize" if metric["goal"] == "minimize" else "maximize"
        name = f"log {self.objective}" if self.logarithmic else self.objective
        self.segment = Segment(name, goal, "stated by the contract", name=text_of(body.get("name"), 200))

    def _scaled(self, raw: object) -> float | None:
        value = number_of(raw)
        if value is None or not self.logarithmic:
            return value
        return math.log(value) if value > 0 else None

    def _measure(self, body: Mapping[str, Any]) -> None:
        trial = body.get("candidate")
        reading = (trial.get("readings") or {}).get(self.objective) if isinstance(trial, dict) else None
        value = self._scaled(reading.get("value")) if isinstance(reading, dict) else None
        if value is not None:
            self.values.append(value)

    def _decide(self, number: int, record: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        said = text_of(body.get("decision"), 40)
        status = _STATUS.get(said, Status.UNKNOWN)
        value = math.fsum(self.values) / len(self.values) if self.values else None
        self.values = []
        experiment = body.get("experiment")
        if status is Status.KEEP and isinstance(experiment, int):
            self.keeps[experiment] = len(self.rows)
        described = text_of(body.get("description"))
        self._row(number, record, status, value, description=described, said=said, label=text_of(experiment, 20))

    def _row(
        self,
        number: int,
        record: Mapping[str, Any],
        status: Status,
        value: float | None,
        *,
        description: str,
        said: str = "",
        label: str = "",
        baseline: bool = False,
    ) -> None:
        crashed = status is Status.CRASH
        row = HistoryRow(
            line=number,
            status=status,
            metric=None if crashed else value,
            recorded=value if crashed else None,
            status_text=said,
            label=label,
            description=description,
            timestamp=parse_time(record.get("at")),
            baseline=baseline,
        )
        self.rows.append(row)

    def _estimate(self, body: Mapping[str, Any]) -> None:
        """What a keep is worth on fresh pairs joins its row."""
        effects, experiment = body.get("effects"), body.get("experiment")
        found = effects.get(self.objective) if isinstance(effects, dict) else None
        place = self.keeps.get(experiment) if isinstance(experiment, int) else None
        if place is None or not isinstance(found, dict):
            return
        effect, low, high, pairs = (number_of(found.get(name)) for name in ("effect", "low", "high", "pairs"))
        if effect is None or low is None or high is None or not pairs or high <= low:
            return
        extra = (("fresh_effect", effect), ("fresh_error", (high - low) / (2 * _Z_95)), ("fresh_pairs", pairs))
        row = self.rows[place]
        self.rows[place] = replace(row, extra=extra)


def read_own(path: Path) -> History:
    """Read ``ledger.jsonl``.

    Raises:
        DataError: when it is not one.
    """
    reading = _Reading()
    for line in read_lines(path):
        try:
            record = parse_record(line.text) if not line.fault else None
        except RecordError as error:
            reading.problems.append(Problem(line.number, f"{error}; left out"))
            continue
        if record is None:
            reading.problems.append(Problem(line.number, f"{line.fault}; left out"))
        else:
            reading.take(line.number, record)
        if len(reading.rows) > MAX_ROWS:
            raise DataError(f"{path} has more than {MAX_ROWS} rows")
    if reading.segment is None:
        raise DataError(f"{path} is not a ledger of evalkit's", "its first record opens the run")
    return History(str(path), FORM, (reading.segment,), tuple(reading.rows), tuple(reading.problems))
