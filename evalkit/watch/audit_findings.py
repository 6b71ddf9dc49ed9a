"""What reading a history finds besides its keeps: traps for a careless reader, and claims to look at twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from evalkit.interop import HistoryRow, Segment, Status
from evalkit.watch.audit_model import Kind
from evalkit.watch.audit_noise import Noise
from evalkit.watch.audit_rows import Chain, Mark, Placed

__all__ = ["Finding", "find_all"]

_JUMP = 8.0
_FEWEST_CLAIMS = 4
_SAME_SEED_MANY = 2
_BOUNDED = re.compile(r"(?:acc|accuracy|f1|auc|auroc|precision|recall|iou|dice)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know or to look at.

    Attributes:
        rule: short id.
        grave: whether a conclusion that rests on these rows is in doubt.
        text: one or two sentences.
        lines: of the file.
    """

    rule: str
    grave: bool
    text: str
    lines: tuple[int, ...]


def find_all(chains: Sequence[Chain], segment: Segment, noise: Noise) -> tuple[Finding, ...]:
    """Every finding, grave ones first."""
    placed = [row for chain in chains for row in chain.rows]
    found = [
        *_crashes(placed, segment),
        *_unknown(placed),
        *_beyond_tree(placed),
        *_seeds(placed),
        *_ties(chains),
        *_copies(placed),
        *_jumps(chains, segment),
        *_impossible(placed, segment),
        *_missed(chains, noise),
    ]
    return tuple(sorted(found, key=lambda finding: not finding.grave))


def _many(count: int, one: str, several: str) -> str:
    """``1 row is`` or ``3 rows are``."""
    return f"{count} {one if count == 1 else several}"


def _lines(rows: Iterable[Placed]) -> tuple[int, ...]:
    return tuple(row.row.line for row in rows)


def _crashes(placed: Sequence[Placed], segment: Segment) -> Iterable[Finding]:
    crashes = [row for row in placed if row.row.status is Status.CRASH and row.row.recorded is not None]
    if crashes:
        best = " (the best value there is)" if segment.goal == "minimize" else ""
        text = f"{_many(len(crashes), 'crash is', 'crashes are')} recorded as a number{best}"
        yield Finding("crash-as-value", grave=False, text=text, lines=_lines(crashes))
    zeros = [row for row in placed if Mark.ZERO in row.marks]
    if zeros:
        text = f"{_many(len(zeros), 'row records', 'rows record')} exactly 0, far from all others: a failure"
        yield Finding("implausible-zero", grave=True, text=text, lines=_lines(zeros))


def _unknown(placed: Sequence[Placed]) -> Iterable[Finding]:
    rows = [row for row in placed if row.row.status is Status.UNKNOWN and row.row.status_text]
    if rows:
        words = sorted({row.row.status_text[:30] for row in rows})
        text = f"{_many(len(rows), 'row has', 'rows have')} a status that decides nothing: {', '.join(words[:6])}"
        yield Finding("unknown-status", grave=False, text=text, lines=_lines(rows))
    unmeasured = [row for row in placed if row.row.status is Status.KEEP and row.gain is None and not row.marks]
    if unmeasured:
        text = f"{_many(len(unmeasured), 'row was', 'rows were')} kept without a number"
        yield Finding("keep-without-metric", grave=True, text=text, lines=_lines(unmeasured))


def _beyond_tree(placed: Sequence[Placed]) -> Iterable[Finding]:
    rows = [row for row in placed if Mark.TREE in row.marks]
    if rows:
        kinds = sorted({mark.value for row in rows for mark in row.marks} - {Mark.TREE.value, Mark.NEW_BEST.value})
        text = (
            f"{_many(len(rows), 'keep changed', 'keeps changed')} nothing that could gain anything: {', '.join(kinds)}"
        )
        yield Finding("beyond-tree", grave=True, text=text, lines=_lines(rows))


def _seeds(placed: Sequence[Placed]) -> Iterable[Finding]:
    rows = [row for row in placed if Mark.SEED_ONLY in row.marks]
    kept = [row for row in rows if row.kind is Kind.SAME_KEPT]
    if kept:
        text = f"{len(kept)} of {len(rows)} rows that only change the seed were kept: a seed hunt, whose gain is luck"
        yield Finding("seed-hunt", grave=True, text=text, lines=_lines(kept))
    elif len(rows) >= _SAME_SEED_MANY:
        text = f"{len(rows)} rows only change the seed; none was kept, and they show the noise"
        yield Finding("seed-rows", grave=False, text=text, lines=_lines(rows))


def _claim(row: Placed, chain: Chain) -> float | None:
    before = chain.rows[row.incumbent] if row.incumbent is not None else None
    if before is None or before.gain is None or row.gain is None or row.kind is not Kind.KEEP:
        return None
    return row.gain - before.gain


def _ties(chains: Sequence[Chain]) -> Iterable[Finding]:
    claims = [(row, _claim(row, chain)) for chain in chains for row in chain.rows if row.kind is Kind.KEEP]
    ties = [row for row, claim in claims if claim == 0]
    worse = [row for row, claim in claims if claim is not None and claim < 0]
    if ties:
        text = f"{_many(len(ties), 'keep is', 'keeps are')} recorded exactly as good as the keep before"
        yield Finding("tie-kept", grave=False, text=text, lines=_lines(ties))
    if worse:
        text = f"{_many(len(worse), 'keep is', 'keeps are')} worse than the keep before; perhaps another metric decided"
        yield Finding("worse-kept", grave=False, text=text, lines=_lines(worse))


def _copies(placed: Sequence[Placed]) -> Iterable[Finding]:
    copies = [row for row in placed if Mark.COPY in row.marks]
    if copies:
        text = (
            f"{_many(len(copies), 'row repeats', 'rows repeat')} an earlier commit and its number: copied, not measured"
        )
        yield Finding("copied-row", grave=False, text=text, lines=_lines(copies))
    again = [row for row in placed if Mark.REPLICATE in row.marks]
    if again:
        text = f"{_many(len(again), 'row measures', 'rows measure')} a commit again, which tells the noise"
        yield Finding("duplicate-commit", grave=False, text=text, lines=_lines(again))


def _jumps(chains: Sequence[Chain], segment: Segment) -> Iterable[Finding]:
    """A gain far beyond all others is a reason to probe that change, never to reject it."""
    kept = [(row, _claim(row, chain)) for chain in chains for row in chain.rows if row.kind is Kind.KEEP]
    claims = [(row, claim) for row, claim in kept if claim is not None and claim > 0]
    if len(claims) < _FEWEST_CLAIMS:
        return
    typical = median(claim for _, claim in claims)
    bar = max(_JUMP * typical, max(claim for _, claim in claims) / 2)
    jumps = [row for row, claim in claims if claim >= bar and claim > _JUMP * typical]
    if jumps:
        text = (
            f"{_many(len(jumps), 'keep claims', 'keeps claim')} over {_JUMP:.0f} times the usual gain of {typical:.3g}"
            f"{segment.unit and ' ' + segment.unit}: look at what the change did (a reason to probe, not to reject)"
        )
        yield Finding("jump", grave=False, text=text, lines=_lines(jumps))


def _impossible(placed: Sequence[Placed], segment: Segment) -> Iterable[Finding]:
    values = [row for row in placed if row.row.metric is not None]
    negative = [row for row in values if row.row.metric is not None and row.row.metric < 0]
    if segment.goal == "minimize" and negative and len(negative) * 10 < len(values):
        text = f"{_many(len(negative), 'value is', 'values are')} below 0 on a metric that is otherwise above it"
        yield Finding("impossible-value", grave=True, text=text, lines=_lines(negative))
    if _BOUNDED.search(segment.metric):
        above = _above_bound([row.row for row in values])
        if above:
            text = f"{_many(len(above), 'value is', 'values are')} above what {segment.metric!r} can be"
            yield Finding("impossible-value", grave=True, text=text, lines=tuple(row.line for row in above))


def _above_bound(rows: Sequence[HistoryRow]) -> list[HistoryRow]:
    """Rows above 1 (or above 100, where the values are percentages) of a bounded metric."""
    values = [row.metric for row in rows if row.metric is not None]
    if not values:
        return []
    bound = 1.0 if median(values) <= 1 else 100.0
    return [row for row in rows if row.metric is not None and row.metric > bound]


def _missed(chains: Sequence[Chain], noise: Noise) -> Iterable[Finding]:
    rows = [
        row
        for chain in chains
        for row in chain.rows
        if row.kind is Kind.TRY
        and row.gain is not None
        and row.row.status is Status.DISCARD
        and row.incumbent is not None
        and row.gain > (chain.rows[row.incumbent].gain or 0.0) + 3 * (noise.sd or 0.0)
    ]
    if rows:
        text = f"{_many(len(rows), 'discard is', 'discards are')} recorded clearly better than the keep they met"
        yield Finding("missed", grave=False, text=text, lines=_lines(rows))
