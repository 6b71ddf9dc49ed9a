"""How noisy one measurement is, which rows say so, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from evalkit.watch.audit_model import ChainFit, Kind, fit_chain, log_likelihood
from evalkit.watch.audit_rows import Chain, Mark

__all__ = ["Noise", "Scale", "Sureness", "estimate_noise"]

_MAX_FIT_KEEPS = 60
_MAX_FIT_ROWS = 5000
_FEWEST_NULL_ROWS = 10.0
_ENOUGH_REPLICATES = 5
_COARSE = 9
_ROUGH_STEPS = 5
_FINE_STEPS = 12
_FINE = (0.5, 0.6, 0.71, 0.84, 1.0, 1.19, 1.41, 1.68, 2.0)
_WORTH_A_PASS = 0.02
_Piece = tuple[NDArray[np.float64], NDArray[np.int64]]
_Fits = dict[float, tuple[float, list[ChainFit]]]


class Sureness(StrEnum):
    """How far a noise estimate can be trusted."""

    STATED = "as sure as whoever stated it"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviation of one measurement.

    Attributes:
        sd: in the metric's unit; None where nothing in the file says what it is.
        low: lower end of a 90 % range, or None.
        high: upper end.
        source: which rows say so, in words.
        sureness: how far to trust it.
        same_rows: rows that measured the incumbent again (replicates, A/A, seed only).
        replicate_df: degrees of freedom of replicates of other trees.
        null_rows: expected number of tried changes that did nothing, under the model.
    """

    sd: float | None
    low: float | None
    high: float | None
    source: str
    sureness: Sureness
    same_rows: int
    replicate_df: int
    null_rows: float


@dataclass(frozen=True, slots=True)
class Scale:
    """One value that σ may have.

    Attributes:
        sigma: in the metric's unit.
        weight: how believable it is; those of a history sum to 1.
        mixture: weights of the effects' components that fit best with it, or None where nothing was fitted.
    """

    sigma: float
    weight: float
    mixture: NDArray[np.float64] | None


def estimate_noise(chains: Sequence[Chain], stated: float | None) -> tuple[Noise, list[Scale]]:
    """Estimate σ from everything that bears on it: replicates, repeated measurements, and the bulk of dull changes.

    Args:
        chains: of one segment; only measured rows count.
        stated: σ as the file or the user states it, in the metric's unit; overrides everything.

    Returns:
        the estimate, and the values of σ over which the verdicts are averaged (empty where it is unknown).
    """
    total, freedom = _replicates(chains)
    kinds = [placed.kind for chain in chains for placed in chain.measured]
    same = sum(kind in {Kind.SAME, Kind.SAME_KEPT} for kind in kinds)
    if stated is not None:
        noise = Noise(stated, stated, stated, "stated", Sureness.STATED, same, freedom, math.nan)
        return noise, [Scale(stated, 1.0, None)]
    pieces = _pieces(chains)
    guess = _first_guess(pieces, total, freedom)
    if guess is None:
        return _unknown("no two rows can be compared", same, freedom), []
    fits = _search(pieces, guess, total, freedom)
    weighted = _weigh(fits)
    null_rows = sum(weight * _null_rows(pieces, fits[sigma][1]) for sigma, weight in weighted)
    direct = same + freedom
    if not direct and null_rows < _FEWEST_NULL_ROWS:
        return _unknown("no row repeats another one, and too few changes look like no change", same, freedom), []
    low, high = _range(weighted)
    mean = math.exp(sum(weight * math.log(sigma) for sigma, weight in weighted))
    source, sureness = _words(chains, direct, null_rows)
    scales = [Scale(sigma, weight, _mixture(pieces, fits[sigma][1])) for sigma, weight in weighted]
    return Noise(mean, low, high, source, sureness, same, freedom, null_rows), scales


def _mixture(pieces: Sequence[_Piece], fits: Sequence[ChainFit]) -> NDArray[np.float64]:
    """One mixture for all chains: the mean of theirs, by their number of rows."""
    sizes = np.array([values.size for values, _ in pieces], dtype=np.float64)
    mixed: NDArray[np.float64] = np.average([fit.weights for fit in fits], axis=0, weights=sizes)
    return mixed


def _unknown(why: str, same: int, freedom: int) -> Noise:
    return Noise(None, None, None, why, Sureness.NONE, same, freedom, 0.0)


def _words(chains: Sequence[Chain], direct: int, null_rows: float) -> tuple[str, Sureness]:
    marks = [mark for chain in chains for placed in chain.measured for mark in placed.marks]
    groups = sum(len(group) - 1 for chain in chains for group in chain.replicates)
    named = [
        (groups + marks.count(Mark.REPLICATE), "replicate rows"),
        (marks.count(Mark.SAME_TREE), "A/A rows"),
        (marks.count(Mark.SEED_ONLY), "seed-only rows"),
        (marks.count(Mark.COSMETIC), "cosmetic changes"),
    ]
    said = ", ".join(f"{count} {name}" for count, name in named if count)
    bulk = f"about {null_rows:.0f} changes that look like no change"
    if not direct:
        return f"only {bulk}; no row repeats another one", Sureness.LOW
    sureness = Sureness.HIGH if direct >= _ENOUGH_REPLICATES else Sureness.MEDIUM
    return f"{said} together with {bulk}", sureness


def _replicates(chains: Sequence[Chain]) -> tuple[float, int]:
    """Sum of squares around the groups' means, and its degrees of freedom."""
    total, freedom = 0.0, 0
    for group in (group for chain in chains for group in chain.replicates):
        values = np.asarray(group)
        total += float(((values - values.mean()) ** 2).sum())
        freedom += values.size - 1
    return total, freedom


def _pieces(chains: Sequence[Chain]) -> list[_Piece]:
    """Values and kinds of the chains, cut off after enough keeps to learn the noise from."""
    pieces: list[_Piece] = []
    keeps = 0
    for chain in chains:
        taken = chain.measured
        values = np.array([placed.gain for placed in taken], dtype=np.float64)
        kinds = np.array([placed.kind for placed in taken], dtype=np.int64)
        kept = np.cumsum((kinds == Kind.KEEP) | (kinds == Kind.SAME_KEPT)) + keeps
        end = min(int(np.searchsorted(kept, _MAX_FIT_KEEPS, side="right")), _MAX_FIT_ROWS)
        if end > 1:
            pieces.append((values[:end], kinds[:end]))
            keeps = int(kept[end - 1])
    return pieces


def _first_guess(pieces: Sequence[_Piece], total: float, freedom: int) -> float | None:
    """A σ of the right order: from replicates, else from how far tries are from the keep they stand on."""
    if freedom and total > 0:
        return math.sqrt(total / freedom)
    steps: list[float] = []
    for values, kinds in pieces:
        standing = values[0]
        for value, kind in zip(values[1:], kinds[1:], strict=True):
            steps.append(abs(float(value - standing)))
            if kind in {Kind.KEEP, Kind.SAME_KEPT}:
                standing = value
    nonzero = sorted(step for step in steps if step > 0)
    return nonzero[len(nonzero) // 3] if nonzero else None


def _search(pieces: Sequence[_Piece], guess: float, total: float, freedom: int) -> _Fits:
    """Log likelihood and fits at a coarse grid of σ, then at a finer one around the best."""
    floor = _resolution(pieces) / 3
    start: list[NDArray[np.float64] | None] = [None] * len(pieces)

    def visit(sigma: float, iterations: int) -> tuple[float, list[ChainFit]]:
        found = [
            fit_chain(values, kinds, sigma, weights=weights, iterations=iterations)
            for (values, kinds), weights in zip(pieces, start, strict=True)
        ]
        likelihood = sum(fit.log_likelihood for fit in found)
        return likelihood + (log_likelihood(sigma, total, freedom) if freedom else 0.0), found

    coarse = [max(guess * 2.0 ** float(exponent), floor) for exponent in np.linspace(-3, 2, _COARSE)]
    rough = {sigma: visit(sigma, _ROUGH_STEPS) for sigma in coarse}
    best = max(rough, key=lambda sigma: rough[sigma][0])
    start = [fit.weights for fit in rough[best][1]]
    return {sigma: visit(sigma, _FINE_STEPS) for sigma in {max(best * factor, floor) for factor in _FINE}}


def _resolution(pieces: Sequence[_Piece]) -> float:
    """The smallest step between two different recorded values."""
    values = np.unique(np.concatenate([piece[0] for piece in pieces]))
    steps = np.diff(values)
    return float(steps.min()) if steps.size else 0.0


def _weigh(fits: _Fits) -> list[tuple[float, float]]:
    best = max(likelihood for likelihood, _ in fits.values())
    raw = {sigma: math.exp(likelihood - best) for sigma, (likelihood, _) in fits.items()}
    kept = {sigma: weight for sigma, weight in raw.items() if weight >= _WORTH_A_PASS * sum(raw.values())}
    mass = sum(kept.values())
    return [(sigma, weight / mass) for sigma, weight in sorted(kept.items())]


def _null_rows(pieces: Sequence[_Piece], fits: Sequence[ChainFit]) -> float:
    return sum(
        float(found.weights[0]) * int((kinds == Kind.TRY).sum()) for found, (_, kinds) in zip(fits, pieces, strict=True)
    )


def _range(weighted: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """A 90 % range, widened by the grid's own step."""
    running, low, high = 0.0, weighted[0][0], weighted[-1][0]
    for sigma, weight in weighted:
        if running < 0.05 <= running + weight:  # noqa: PLR2004 - the tails of a 90 % range
            low = sigma
        if running < 0.95 <= running + weight:  # noqa: PLR2004
            high = sigma
        running += weight
    return low * 0.91, high * 1.09
