"""What a run history says, whichever loop wrote it: one frozen model for all of them.

Three rules hold for every reader that makes these:

- a status that is not known is ``UNKNOWN`` and never becomes a keep;
- a metric that is missing, not a number or not finite is ``None`` and never becomes 0;
- a crash recorded as 0 (the best value of a minimised metric) is a crash without a metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evalkit.contract import Goal

__all__ = ["History", "HistoryRow", "Problem", "Segment", "Status"]


class Status(StrEnum):
    """What the loop decided about an experiment."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the file, by line.

    Attributes:
        line: 1-based line, or the ordinal of the record where the file has no lines.
        text: what is wrong and what was made of it.
        dropped: whether the whole row was left out.
    """

    line: int
    text: str
    dropped: bool = True

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One experiment as its loop recorded it.

    Attributes:
        line: 1-based line of the file (ordinal of the record where the file has no lines).
        status: what was decided.
        metric: the primary metric, finite, in the file's own unit; None where there is none to believe.
        recorded: the number that stands in the file although ``metric`` is None (a crash's 0), else None.
        status_text: the status as it stands there.
        label: iteration, run or experiment id, as text.
        commit: what was tried, as text; empty where the file names none.
        description: what was tried, in words.
        timestamp: seconds since 1970 (UTC), or None.
        segment: index into :attr:`History.segments`.
        baseline: whether the row measures an unchanged starting point rather than a change.
        detail: whether the row repeats part of another one (a worker of a parallel batch), so that it is no
            experiment of its own.
        parent: label of the row this one was derived from, where the loop is a tree and not a chain.
        passed: ``(passed, total)`` cases, where the loop counts them.
        extra: further finite numbers of the row, by name, in the file's order.
        cases: score per case, where the loop records them.
    """

    line: int
    status: Status
    metric: float | None
    recorded: float | None = None
    status_text: str = ""
    label: str = ""
    commit: str = ""
    description: str = ""
    timestamp: float | None = None
    segment: int = 0
    baseline: bool = False
    detail: bool = False
    parent: str = ""
    passed: tuple[int, int] | None = None
    extra: tuple[tuple[str, float], ...] = ()
    cases: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of rows that were measured in the same way.

    Attributes:
        metric: name of the primary metric; ``metric`` where the file names none.
        goal: which way is better, or None where neither the file nor its keeps say.
        goal_source: where the goal comes from, in words.
        unit: of the metric, or empty.
        noise_sd: standard deviation of one measurement as the file states it, or None.
        name: of the session, or empty.
    """

    metric: str = "metric"
    goal: Goal | None = None
    goal_source: str = ""
    unit: str = ""
    noise_sd: float | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """Everything a file says.

    Attributes:
        source: the file, as it was named.
        form: which loop's format it is.
        segments: at least one.
        rows: in the file's order.
        problems: what was wrong, by line.
    """

    source: str
    form: str
    segments: tuple[Segment, ...]
    rows: tuple[HistoryRow, ...]
    problems: tuple[Problem, ...] = ()

    def of_segment(self, index: int) -> tuple[HistoryRow, ...]:
        """The rows of one segment."""
        return tuple(row for row in self.rows if row.segment == index)
