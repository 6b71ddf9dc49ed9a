"""What an audit says: verdicts, rows, segments; frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from evalkit.interop import History, HistoryRow, Segment
from evalkit.watch.audit_findings import Finding
from evalkit.watch.audit_noise import Noise
from evalkit.watch.audit_rows import Mark

__all__ = ["Audit", "Explain", "Remeasure", "Remeasured", "RowVerdict", "SegmentAudit", "Verdict"]


class Verdict(StrEnum):
    """What is to be said of one row."""

    SURVIVES = "survives"
    UNSURE = "unsure"
    NOISE = "noise-like"
    TIE = "tie"
    WORSE = "kept though worse"
    SAME = "nothing to gain"
    IMPLAUSIBLE = "implausible"
    UNKNOWABLE = "can't be known"
    UNMEASURED = "no metric"
    START = "starting point"
    DISCARDED = "discarded"
    MISSED = "discarded though better"
    CRASH = "crash"
    UNDECIDED = "no known status"
    REPEAT = "repeat"


@dataclass(frozen=True, slots=True)
class Remeasured:
    """A keep and its predecessor, measured again side by side.

    Attributes:
        effect: mean improvement, metric's unit, larger is better.
        standard_error: of that mean, > 0.
        pairs: how many.
    """

    effect: float
    standard_error: float
    pairs: int


Explain = Callable[[str], Mark | None]
"""From a kept commit's name to why it can't have an effect; None where it can, or where it is not at hand."""

Remeasure = Callable[[HistoryRow, HistoryRow], Remeasured | None]
"""Called with a keep and the keep before it; None where one of the trees is not at hand."""


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """A row, and what is to be said of it.

    Attributes:
        row: as it was read.
        verdict: see :class:`Verdict`.
        reason: one sentence.
        kept: whether the loop kept it (or claims it as a new best).
        claimed: recorded improvement over the keep before it, metric's unit, larger is better; None without one.
        probability: that the change is a true improvement; None where the model says nothing.
        effect: the model's estimate of its true effect, shrunk for the winner's curse.
        level: the model's estimate of the true metric after it, metric's unit and sign.
        marks: what reading the row found.
        remeasured: the second measurement, where there was one.
    """

    row: HistoryRow
    verdict: Verdict
    reason: str
    kept: bool = False
    claimed: float | None = None
    probability: float | None = None
    effect: float | None = None
    level: float | None = None
    marks: tuple[Mark, ...] = ()
    remeasured: Remeasured | None = None


@dataclass(frozen=True, slots=True)
class SegmentAudit:
    """Everything about the rows of one segment.

    Attributes:
        segment: what was measured.
        noise: of one measurement.
        rows: one verdict a row, in order.
        findings: what to look at, gravest first.
        claimed_gain: last recorded keep minus the first, metric's unit, larger is better.
        true_gain: the model's estimate of it; None where it can't be known.
        true_gain_sd: its standard deviation.
        expected_false_keeps: among the tested ones; None where it can't be known.
        tested: keeps that the model judged.
        chains: how many starting points the segment has.
    """

    segment: Segment
    noise: Noise
    rows: tuple[RowVerdict, ...]
    findings: tuple[Finding, ...]
    claimed_gain: float | None
    true_gain: float | None
    true_gain_sd: float | None
    expected_false_keeps: float | None
    tested: int
    chains: int

    @property
    def sign(self) -> int:
        """+1 where larger is better."""
        return 1 if self.segment.goal == "maximize" else -1

    def count(self, *verdicts: Verdict) -> int:
        """How many rows have one of these verdicts."""
        return sum(row.verdict in verdicts for row in self.rows)


@dataclass(frozen=True, slots=True)
class Audit:
    """An audited history.

    Attributes:
        history: what was read.
        segments: the ones that hold rows.
        fdr: false discovery rate that the lists of survivors keep to.
    """

    history: History
    segments: tuple[SegmentAudit, ...]
    fdr: float
