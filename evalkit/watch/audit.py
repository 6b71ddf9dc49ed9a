"""Audit of a run history: which keeps survive, what the run really gained, and what can't be known.

``audit`` works on any :class:`~evalkit.interop.History`. The statistics are :mod:`evalkit.watch.audit_model`'s; this
module asks them, turns probabilities into verdicts and adds what plain reading finds (crashes written as values,
unknown statuses, seed hunts, ties, copies, claims that nothing explains).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evalkit.interop import History, HistoryRow, Segment, Status
from evalkit.interop.own import FORM as OWN
from evalkit.watch.audit_findings import find_all
from evalkit.watch.audit_model import Kind, fit_chain
from evalkit.watch.audit_noise import Scale, Sureness, estimate_noise
from evalkit.watch.audit_rows import Chain, Mark, Placed, arrange
from evalkit.watch.audit_types import Audit, Explain, Remeasure, Remeasured, RowVerdict, SegmentAudit, Verdict

__all__ = ["Audit", "Explain", "Remeasure", "Remeasured", "RowVerdict", "SegmentAudit", "Verdict", "audit"]

_FDR_SLACK = 0.8
"""The list is cut where the posterior's own false discovery rate reaches this share of what is promised."""
_GAIN_WIDENING = 1.3
"""The model's own interval for the total gain is too narrow when effects are not shaped like its components; in
simulation (``nox -s bench -- watch``) intervals widened by this cover what they promise."""
_ALL_STEPS = 20
_LAST_STEPS = 3
_MANY_KEEPS = 500
_PIECE_KEEPS = 4000
_ONE_SIDED_5_PERCENT = 1.645
_LARGEST = 1e150
_NOTHING = {
    Mark.SEED_ONLY: "it changed only the seed",
    Mark.COSMETIC: "it changed only comments or layout",
    Mark.SAME_TREE: "it measured the same tree again",
    Mark.REPLICATE: "it measured the same tree again",
}
_REPEATS = frozenset({Mark.COPY, Mark.REPLICATE, Mark.DETAIL})
_COMMITS_OF_HEAD = frozenset({"pi-autoresearch log", "autoresearch loop table"})
"""Formats whose discards carry the commit that was restored, not the one that was tried."""


def audit(
    history: History,
    *,
    sd: float | None = None,
    fdr: float = 0.1,
    remeasure: Remeasure | None = None,
    explain: Explain | None = None,
) -> Audit:
    """Audit a history.

    Args:
        history: what :func:`evalkit.interop.read_history` gave.
        sd: standard deviation of one measurement, where it is known; overrides what the file says.
        fdr: share of the survivors that may be false, 0 < fdr < 1.
        remeasure: measures a keep against its predecessor again; its answer replaces the model's.
        explain: reads kept commits from the repository, from :func:`evalkit.watch.audit_tree.tree_reader`.
    """
    tries = history.form not in _COMMITS_OF_HEAD
    if history.form == OWN:
        remeasure = _or_fresh_pairs(remeasure)
    grouped: dict[int, list[HistoryRow]] = {}
    for row in history.rows:
        grouped.setdefault(row.segment, []).append(_believable(row))
    done = tuple(
        _segment(history.segments[index], rows, tries=tries, sd=sd, fdr=fdr, remeasure=remeasure, explain=explain)
        for index, rows in sorted(grouped.items())
    )
    return Audit(history, done, fdr)


def _or_fresh_pairs(remeasure: Remeasure | None) -> Remeasure:
    """What was measured again, else what evalkit's own ledger says a keep was worth on fresh pairs."""

    def answer(keep: HistoryRow, before: HistoryRow) -> Remeasured | None:
        again = remeasure(keep, before) if remeasure is not None else None
        told = dict(keep.extra)
        if again is not None or "fresh_effect" not in told:
            return again
        return Remeasured(told["fresh_effect"], told["fresh_error"], int(told["fresh_pairs"]))

    return answer


def _believable(row: HistoryRow) -> HistoryRow:
    """Values whose squares overflow are no measurements."""
    if row.metric is None or abs(row.metric) < _LARGEST:
        return row
    return replace(row, metric=None, recorded=row.metric)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the model says of the keeps of one chain (by position in it), averaged over σ."""

    better: dict[int, float]
    effect: dict[int, float]
    level: dict[int, float]
    gain: float
    gain_variance: float


def _segment(
    segment: Segment,
    rows: list[HistoryRow],
    *,
    tries: bool,
    sd: float | None,
    fdr: float,
    remeasure: Remeasure | None,
    explain: Explain | None,
) -> SegmentAudit:
    sign = 1 if segment.goal == "maximize" else -1
    chains = arrange(rows, sign=sign, commits_are_tries=tries, explain=explain)
    noise, scales = estimate_noise(chains, sd if sd is not None else segment.noise_sd)
    if segment.goal is None:
        noise, scales = replace(noise, sd=None, sureness=Sureness.NONE, source="which way is better is unknown"), []
    judged = [_judge(chain, scales) for chain in chains] if scales else [None] * len(chains)
    verdicts = [
        _verdict(placed, chain, position, result)
        for chain, result in zip(chains, judged, strict=True)
        for position, placed in enumerate(chain.rows)
    ]
    if remeasure is not None:
        verdicts = _remeasured(verdicts, remeasure)
    final = tuple(_cut(verdicts, fdr))
    if sign < 0:
        final = tuple(row if row.level is None else replace(row, level=-row.level) for row in final)
    tested = [row for row in final if row.kept and row.probability is not None]
    known = [result for result in judged if result is not None]
    return SegmentAudit(
        segment=segment,
        noise=noise,
        rows=final,
        findings=find_all(chains, segment, noise),
        claimed_gain=_claimed(chains),
        true_gain=math.fsum(result.gain for result in known) if known else None,
        true_gain_sd=_GAIN_WIDENING * math.sqrt(math.fsum(result.gain_variance for result in known)) if known else None,
        expected_false_keeps=math.fsum(1 - (row.probability or 0.0) for row in tested) if known else None,
        tested=len(tested),
        chains=sum(bool(chain.measured) for chain in chains),
    )


def _judge(chain: Chain, scales: Sequence[Scale]) -> _Judged | None:
    """Ask the model about one chain; None where it has no measured row."""
    measured = [index for index, placed in enumerate(chain.rows) if placed.kind is not None]
    if not measured:
        return None
    values = np.array([chain.rows[index].gain for index in measured], dtype=np.float64)
    kinds = np.array([chain.rows[index].kind for index in measured], dtype=np.int64)
    keeps = np.flatnonzero((kinds == Kind.KEEP) | (kinds == Kind.SAME_KEPT))
    if keeps.size > _MANY_KEEPS:
        scales = [replace(max(scales, key=lambda scale: scale.weight), weight=1.0)]
    total = _Judged({}, {}, {}, 0.0, 0.0)
    for first in range(0, max(keeps.size - 1, 1), _PIECE_KEEPS):
        stop = first + _PIECE_KEEPS
        part = slice(int(keeps[first]), int(keeps[stop]) + 1 if stop < keeps.size else values.size)
        rows = [measured[index] for index in keeps[first : stop + 1]]
        piece = _judge_piece(values[part], kinds[part], rows, scales)
        gain, variance = total.gain + piece.gain, total.gain_variance + piece.gain_variance
        total = _Judged(
            total.better | piece.better, total.effect | piece.effect, piece.level | total.level, gain, variance
        )
    return total


def _judge_piece(
    values: NDArray[np.float64], kinds: NDArray[np.int64], rows: Sequence[int], scales: Sequence[Scale]
) -> _Judged:
    better, effect, level = np.zeros(len(rows) - 1), np.zeros(len(rows) - 1), np.zeros(len(rows))
    gain = square = 0.0
    for scale in scales:
        known = scale.mixture is not None
        iterations = (_LAST_STEPS if known else _ALL_STEPS) if len(rows) <= _MANY_KEEPS else 0
        start = scale.mixture if known or iterations else _learn(values, kinds, scale)
        fit = fit_chain(values, kinds, scale.sigma, weights=start, iterations=iterations)
        better += scale.weight * fit.better
        effect += scale.weight * fit.effect
        level += scale.weight * fit.level
        gain += scale.weight * fit.gain
        square += scale.weight * (fit.gain_sd**2 + fit.gain**2)
    return _Judged(
        better=dict(zip(rows[1:], better.tolist(), strict=True)),
        effect=dict(zip(rows[1:], effect.tolist(), strict=True)),
        level=dict(zip(rows, level.tolist(), strict=True)),
        gain=gain,
        gain_variance=max(square - gain**2, 0.0),
    )


def _learn(values: NDArray[np.float64], kinds: NDArray[np.int64], scale: Scale) -> NDArray[np.float64]:
    """Weights of the mixture from the first keeps of a long chain."""
    kept = np.flatnonzero((kinds == Kind.KEEP) | (kinds == Kind.SAME_KEPT))
    end = int(kept[_MANY_KEEPS])
    return fit_chain(values[:end], kinds[:end], scale.sigma, iterations=_ALL_STEPS).weights


def _claimed(chains: Sequence[Chain]) -> float | None:
    """Recorded value of the last keep minus that of the first, summed over the chains."""
    total, found = 0.0, False
    for chain in chains:
        gains = [placed.gain for placed in chain.rows if placed.kind in {Kind.KEEP, Kind.SAME_KEPT}]
        numbers = [gain for gain in gains if gain is not None]
        if numbers:
            total, found = total + numbers[-1] - numbers[0], True
    return total if found else None


def _verdict(placed: Placed, chain: Chain, position: int, judged: _Judged | None) -> RowVerdict:
    row = placed.row
    before = chain.rows[placed.incumbent] if placed.incumbent is not None else None
    standing = before.gain if before is not None else None
    claimed = placed.gain - standing if placed.gain is not None and standing is not None else None
    level = judged.level.get(position) if judged is not None else None
    if placed.kind not in {Kind.KEEP, Kind.SAME_KEPT}:
        known = RowVerdict(row, Verdict.DISCARDED, "", claimed=claimed, level=level, marks=placed.marks)
        return _not_kept(known, placed)
    if Mark.START in placed.marks:
        return RowVerdict(row, Verdict.START, "later rows stand on it", kept=True, level=level, marks=placed.marks)
    return _kept(_Known(row, claimed, level, placed.marks), placed, position, judged)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a kept row before it is judged."""

    row: HistoryRow
    claimed: float | None
    level: float | None
    marks: tuple[Mark, ...]

    def says(
        self, verdict: Verdict, reason: str, probability: float | None = None, effect: float | None = None
    ) -> RowVerdict:
        return RowVerdict(
            self.row,
            verdict,
            reason,
            kept=True,
            claimed=self.claimed,
            probability=probability,
            effect=effect,
            level=self.level,
            marks=self.marks,
        )


def _kept(known: _Known, placed: Placed, position: int, judged: _Judged | None) -> RowVerdict:
    claimed = known.claimed or 0.0
    if placed.kind is Kind.SAME_KEPT:
        why = next((words for mark, words in _NOTHING.items() if mark in placed.marks), "it changed nothing")
        return known.says(Verdict.SAME, f"{why}; whatever it shows is noise", 0.0, 0.0)
    if judged is None:
        return known.says(Verdict.UNKNOWABLE, "how noisy one run is can't be told from this file")
    probability, effect = judged.better[position], judged.effect[position]
    if claimed == 0:
        return known.says(Verdict.TIE, "recorded exactly as good as the keep before it", probability, effect)
    if claimed < 0:
        return known.says(Verdict.WORSE, "recorded worse than the keep before it", probability, effect)
    return known.says(Verdict.UNSURE, "", probability, effect)


def _not_kept(base: RowVerdict, placed: Placed) -> RowVerdict:
    row, marks = placed.row, placed.marks
    if Mark.ZERO in marks:
        return replace(base, verdict=Verdict.IMPLAUSIBLE, reason="0 is recorded where nothing near 0 was ever measured")
    if placed.kind is Kind.SAME or (marks and not _REPEATS.isdisjoint(marks)):
        return replace(base, verdict=Verdict.REPEAT, reason=", ".join(marks))
    if row.status is Status.CRASH:
        return replace(base, verdict=Verdict.CRASH, reason="nothing was measured", claimed=None)
    return (
        replace(base, verdict=Verdict.UNMEASURED, reason="kept without a number", kept=True)
        if (row.status is Status.KEEP)
        else _turned_down(base)
    )


def _turned_down(base: RowVerdict) -> RowVerdict:
    row = base.row
    if row.status is Status.UNKNOWN and row.status_text:
        return replace(base, verdict=Verdict.UNDECIDED, reason=f"the status {row.status_text[:40]!r} is not a decision")
    if base.claimed is not None and base.claimed > 0 and row.status is Status.DISCARD:
        return replace(base, verdict=Verdict.MISSED, reason="recorded better than the keep it was compared with")
    return base if base.claimed is not None else replace(base, reason="no number to compare")


def _remeasured(rows: list[RowVerdict], remeasure: Remeasure) -> list[RowVerdict]:
    """Measure every tested keep against the keep before it again."""
    out: list[RowVerdict] = []
    before: HistoryRow | None = None
    for row in rows:
        answer = remeasure(row.row, before) if row.kept and before is not None and row.claimed is not None else None
        out.append(row if answer is None else replace(row, remeasured=answer))
        if row.kept:
            before = row.row
    return out


def _cut(rows: Sequence[RowVerdict], fdr: float) -> list[RowVerdict]:
    """Turn probabilities into verdicts: the longest list of keeps whose expected share of false ones is small enough.

    The mean of (1 - probability) over a list is its posterior false discovery rate (Newton et al. 2004,
    *Detecting differential gene expression with a semiparametric hierarchical mixture method*, §3).
    """
    open_rows = [
        i for i, row in enumerate(rows) if row.verdict in {Verdict.UNSURE, Verdict.WORSE} and row.remeasured is None
    ]
    ranked = sorted(open_rows, key=lambda i: -(rows[i].probability or 0.0))
    surviving: set[int] = set()
    expected = 0.0
    for size, index in enumerate(ranked, start=1):
        expected += 1 - (rows[index].probability or 0.0)
        if expected > _FDR_SLACK * fdr * size:
            break
        surviving.add(index)
    return [_settle(row, survives=index in surviving) for index, row in enumerate(rows)]


def _settle(row: RowVerdict, *, survives: bool) -> RowVerdict:
    again = row.remeasured
    if again is not None:
        low = again.effect - _ONE_SIDED_5_PERCENT * again.standard_error
        verdict = Verdict.SURVIVES if low > 0 else (Verdict.UNSURE if again.effect > 0 else Verdict.NOISE)
        return replace(row, verdict=verdict, reason=f"measured again in {again.pairs} pairs: {again.effect:+.4g}")
    probability = row.probability
    if probability is None or row.verdict not in {Verdict.UNSURE, Verdict.WORSE}:
        return row
    chance = f"{100 * probability:.0f} % that it is a true improvement"
    if survives:
        return replace(row, verdict=Verdict.SURVIVES, reason=chance)
    if row.verdict is Verdict.WORSE:
        return replace(row, reason=f"{row.reason}; {chance}")
    even = 0.5
    return replace(row, verdict=Verdict.UNSURE if probability >= even else Verdict.NOISE, reason=chance)
