"""Which keeps of a one-run-per-row history are real: a hidden chain of true levels, seen through noise.

The loop stands at a true level μ and tries changes. Row t shows x_t = μ + δ_t + ε_t with ε_t ~ N(0, σ²); a keep moves
the level to μ + δ_t, anything else leaves it. δ_t is 0 for most changes, else an improvement or a harm: a mixture of
a point at 0 and one-sided components of fixed shapes, whose weights are estimated (empirical Bayes as in Stephens
2017, *False discovery rates: a new deal*, Biostatistics 18(2), §2.1 and §3.2: penalised EM that favours the point at
0; here along a chain, by the forward-backward recursions of Rabiner 1989, eq. 19-27, on a lattice of σ/6).

Why this and not a test per keep: a loop keeps what looks best, so the recorded value of the incumbent is too good
(the winner's curse), and every comparison with it is off. Selection that depends on recorded values alone drops out of
the posterior (it is ignorable: Rubin 1976), and the rows that come after a keep show its true level: when a lucky
keep is followed by twenty harmless changes that all fall short of it by the same amount, it was luck.

All values are "gain" (larger is better); everything inside is in units of σ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChainFit", "Kind", "fit_chain", "log_likelihood"]

_Floats = NDArray[np.float64]
_PER_SIGMA = 6
"""Lattice points in one σ."""
_RADIUS = 7 * _PER_SIGMA
"""Half the window of true levels around a keep's recorded value."""
_REACH = 60 * _PER_SIGMA
"""Distances beyond this many points carry no information about the level."""
_NEAR = _REACH - _RADIUS
_BETTER = (("exponential", 1.0), ("exponential", 3.0), ("pareto", 6.0))
_WORSE = (("exponential", 1.0), ("exponential", 3.0), ("exponential", 10.0), ("pareto", 20.0))
_SHAPES = (*_BETTER, *_WORSE)
_COMPONENTS = 1 + len(_SHAPES)
_BETTER_SLICE = slice(1, 1 + len(_BETTER))
_PRIOR_ROWS = (4.0, 1.0, 4.0)
"""Rows without effect, better and worse that are taken as seen beforehand."""
_PRIOR = np.repeat(np.array(_PRIOR_ROWS) / (1, len(_BETTER), len(_WORSE)), (1, len(_BETTER), len(_WORSE)))
_CHUNK = 1 << 14
_FARTHEST = 2.0**50
_CONVERGED = 0.02
"""Log likelihood gained by an EM step that is not worth another one."""
_TINY = 1e-300


class Kind(IntEnum):
    """What a row is to the chain."""

    TRY = 0
    """A change that was not kept."""
    KEEP = 1
    """A change that was kept: the level moves by its effect."""
    SAME = 2
    """Another measurement of the incumbent (a replicate, an A/A row, a change of seed that was not kept)."""
    SAME_KEPT = 3
    """A change that can't have an effect (a seed), kept."""


@dataclass(frozen=True, slots=True)
class ChainFit:
    """What the chain says for one σ.

    Attributes:
        sigma: standard deviation of one measurement, in the unit of the values.
        log_likelihood: penalised marginal log likelihood of the values under that σ.
        weights: of the point at 0, the improvements' and the harms' components; sums to 1.
        better: per kept row after the first, P(true effect > 0 | everything), in order.
        effect: per kept row after the first, posterior mean of its true effect.
        level: per kept row, posterior mean of the true level after it.
        gain: posterior mean of (last level - first level).
        gain_sd: posterior standard deviation of that.
    """

    sigma: float
    log_likelihood: float
    weights: _Floats
    better: _Floats
    effect: _Floats
    level: _Floats
    gain: float
    gain_sd: float


def _density(shape: tuple[str, float], distance: _Floats) -> _Floats:
    name, scale = shape
    if name == "exponential":
        density: _Floats = np.exp(-distance / scale) / scale
    else:
        density = 1.0 / (scale * (1.0 + distance / scale) ** 2)
    return density


def _kernels(offsets: NDArray[np.int64]) -> _Floats:
    """Probability of each effect (in lattice points) under each component; shape (components, offsets)."""
    out = np.zeros((_COMPONENTS, offsets.size))
    out[0] = offsets == 0
    distance = np.abs(offsets) / _PER_SIGMA
    for index, shape in enumerate(_SHAPES, start=1):
        side = offsets > 0 if index <= len(_BETTER) else offsets < 0
        out[index] = np.where(side, _density(shape, distance), 0.0) / _PER_SIGMA
    return out


@lru_cache(maxsize=1)
def _tables() -> tuple[_Floats, _Floats, _Floats]:
    """Noise on the window; density of x - μ per component at every distance within reach; kernels twice as wide."""
    window = np.arange(-_RADIUS, _RADIUS + 1) / _PER_SIGMA
    noise: _Floats = np.exp(-0.5 * window**2) / math.sqrt(2 * math.pi)
    wide = _kernels(np.arange(-2 * _REACH, 2 * _REACH + 1))
    smooth = np.array([np.convolve(kernel, noise, "same") for kernel in wide])[:, _REACH : 3 * _REACH + 1]
    return noise, smooth, wide


@dataclass(frozen=True, slots=True)
class _Rows:
    """Equal rows on one keep, counted; only near ones.

    Attributes:
        segment: which keep they stand on, ascending.
        offset: distance to its recorded value in lattice points.
        count: how many.
    """

    segment: NDArray[np.int64]
    offset: NDArray[np.int64]
    count: _Floats

    def log_likelihood(self, log_density: _Floats, segments: int) -> _Floats:
        """Sum of log densities over the rows of each segment, as a function of the level; (segments, window)."""
        out = np.zeros((segments, 2 * _RADIUS + 1))
        for start in range(0, self.segment.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            values = log_density[self._index(part)] * self.count[part, None]
            chosen, first = np.unique(self.segment[part], return_index=True)
            out[chosen] += np.add.reduceat(values, first, axis=0)
        return out

    def distances(self, levels: _Floats) -> _Floats:
        """Expected number of rows at each distance from the true level they were measured at."""
        out = np.zeros(2 * _REACH + 1)
        for start in range(0, self.segment.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            weight = levels[self.segment[part]] * self.count[part, None]
            out += np.bincount(self._index(part).ravel(), weights=weight.ravel(), minlength=out.size)
        return out

    def _index(self, part: slice) -> NDArray[np.int64]:
        index: NDArray[np.int64] = self.offset[part, None] - np.arange(-_RADIUS, _RADIUS + 1)[None, :] + _REACH
        return index


@dataclass(frozen=True, slots=True)
class _Lattice:
    """The rows on the lattice of one σ, gathered by the keep that they stand on."""

    centers: NDArray[np.int64]
    tried: _Rows
    same: _Rows
    null_kept: NDArray[np.bool_]
    far: _Floats


def _gather(values: _Floats, kinds: NDArray[np.int64], sigma: float) -> _Lattice:
    with np.errstate(over="ignore"):
        points = np.rint(np.clip(values / sigma * _PER_SIGMA, -_FARTHEST, _FARTHEST)).astype(np.int64)
    kept = np.flatnonzero((kinds == Kind.KEEP) | (kinds == Kind.SAME_KEPT))
    centers = points[kept]
    segment = np.searchsorted(kept, np.arange(values.size), side="right") - 1
    offset = points - centers[segment]
    near = np.abs(offset) <= _NEAR
    counted = []
    for kind in (Kind.TRY, Kind.SAME):
        chosen = (kinds == kind) & near
        code, count = np.unique(segment[chosen] * (4 * _REACH) + offset[chosen] + 2 * _REACH, return_counts=True)
        counted.append(_Rows(code // (4 * _REACH), code % (4 * _REACH) - 2 * _REACH, count.astype(np.float64)))
    far = offset[(kinds == Kind.TRY) & ~near] / _PER_SIGMA
    return _Lattice(centers, counted[0], counted[1], kinds[kept] == Kind.SAME_KEPT, far)


def _between(wide: _Floats, shift: int) -> _Floats:
    """Columns of ``wide`` (or its likes) at the effects that lead from one keep's window to the next one's."""
    low = shift - 2 * _RADIUS + 2 * _REACH
    return wide[..., low : low + 4 * _RADIUS + 1]


def _is_far(shift: int) -> bool:
    return abs(shift) + 2 * _RADIUS > 2 * _REACH


def _far_kernels(shift: int) -> _Floats:
    low = shift - 2 * _RADIUS
    return _kernels(np.arange(low, low + 4 * _RADIUS + 1))


@dataclass(frozen=True, slots=True)
class _Pass:
    """Results of one forward-backward pass over a chain."""

    log_likelihood: float
    levels: _Floats
    counts: _Floats
    better: _Floats
    gain: float
    gain_sd: float


def _far_densities(far: _Floats) -> _Floats:
    out = np.zeros((_COMPONENTS, far.size))
    for index, shape in enumerate(_SHAPES, start=1):
        side = far > 0 if index <= len(_BETTER) else far < 0
        out[index] = np.where(side, _density(shape, np.abs(far)), 0.0)
    return out


def _run(lattice: _Lattice, weights: _Floats, *, with_gain: bool = False) -> _Pass:
    """Forward-backward over the keeps; the rows between two keeps enter as one likelihood over the level."""
    _, smooth, _ = _tables()
    keeps = lattice.centers.size
    mixed = weights @ smooth + _TINY
    log_rows = lattice.tried.log_likelihood(np.log(mixed), keeps)
    log_rows += lattice.same.log_likelihood(np.log(smooth[0] + _TINY), keeps)
    peaks = log_rows.max(axis=1)
    rows = np.exp(log_rows - peaks[:, None])
    far = _far_densities(lattice.far)
    total = float(peaks.sum() + np.log(weights @ far + _TINY).sum())
    steps = np.diff(lattice.centers)
    moves = _moves(lattice, weights, steps)
    forward, last, logs = _forward(moves, rows, with_gain=with_gain)
    levels, counts, better = _backward(lattice, weights, forward, moves, rows)
    gain, gain_sd = _gain(last, lattice) if with_gain else (math.nan, math.nan)
    counts = counts + weights * (smooth @ (lattice.tried.distances(levels) / mixed))
    counts = counts + ((weights[:, None] * far) / (weights @ far + _TINY)).sum(axis=1)
    return _Pass(total + logs, levels, counts, better, gain, gain_sd)


def _moves(lattice: _Lattice, weights: _Floats, steps: NDArray[np.int64]) -> list[_Floats]:
    """Per keep after the first, the probability of each effect that leads to its window."""
    _, _, wide = _tables()
    mixed, null = weights @ wide, wide[0]
    moves: list[_Floats] = []
    for step, null_kept in zip(steps.tolist(), lattice.null_kept[1:].tolist(), strict=True):
        if _is_far(step):
            kernels = _far_kernels(step)
            moves.append(kernels[0] if null_kept else weights @ kernels)
        else:
            moves.append(_between(null if null_kept else mixed, step))
    return moves


def _forward(moves: list[_Floats], rows: _Floats, *, with_gain: bool) -> tuple[_Floats, _Floats, float]:
    """Filtered levels, the last message, and the log likelihood.

    Channel 0 of a message is the density of the level; 1 and 2 are the same times the first level and its square,
    from which the gain of the whole chain follows.
    """
    noise, _, _ = _tables()
    window = np.arange(-_RADIUS, _RADIUS + 1) / _PER_SIGMA
    first = noise / _PER_SIGMA
    message = np.stack([first, first * window, first * window**2]) if with_gain else first[None, :]
    forward = np.zeros_like(rows)
    total = 0.0
    for k in range(rows.shape[0]):
        if k:
            message = np.array([np.convolve(part, moves[k - 1], "valid") for part in message]) * noise
        message = message * rows[k]
        scale = float(message[0].sum()) + _TINY
        total += math.log(scale)
        message /= scale
        forward[k] = message[0]
    return forward, message, total


def _backward(
    lattice: _Lattice, weights: _Floats, forward: _Floats, moves: list[_Floats], rows: _Floats
) -> tuple[_Floats, _Floats, _Floats]:
    """Posterior of each level, expected counts of the components among keeps, P(effect > 0) of each."""
    noise, _, wide = _tables()
    keeps, width = forward.shape
    levels = np.zeros((keeps, width))
    better = np.zeros(keeps - 1)
    counts = np.zeros(_COMPONENTS)
    later = np.ones(width)
    for k in range(keeps - 1, -1, -1):
        level = forward[k] * later
        levels[k] = level / (level.sum() + _TINY)
        if not k:
            break
        seen = noise * rows[k] * later
        if not lattice.null_kept[k]:
            step = int(lattice.centers[k] - lattice.centers[k - 1])
            kernels = _far_kernels(step) if _is_far(step) else _between(wide, step)
            effects = np.convolve(seen, forward[k - 1][::-1], "full")
            share = weights * (kernels @ effects)
            share /= share.sum() + _TINY
            better[k - 1] = float(share[_BETTER_SLICE].sum())
            counts += share
        later = np.convolve(seen, moves[k - 1][::-1], "valid")
        later /= later.max() + _TINY
    return levels, counts, better


def _gain(message: _Floats, lattice: _Lattice) -> tuple[float, float]:
    """Mean and standard deviation of (last level - first level), in σ, from the final forward message."""
    window = np.arange(-_RADIUS, _RADIUS + 1) / _PER_SIGMA
    last, first = lattice.centers[-1] / _PER_SIGMA, lattice.centers[0] / _PER_SIGMA
    mass = float(message[0].sum())
    end = window + last
    first_mean = float(message[1].sum()) / mass
    first_square = float(message[2].sum()) / mass
    end_mean = float(end @ message[0]) / mass
    end_square = float(end**2 @ message[0]) / mass
    cross = float(end @ message[1]) / mass
    mean = end_mean - (first_mean + first)
    variance = (end_square - end_mean**2) + (first_square - first_mean**2) - 2 * (cross - end_mean * first_mean)
    return mean, math.sqrt(max(variance, 0.0))


def _initial_weights() -> _Floats:
    better, worse = len(_BETTER), len(_WORSE)
    return np.array([0.6, *([0.15 / better] * better), *([0.25 / worse] * worse)])


def log_likelihood(sigma: float, replicate_sum: float, replicate_df: int) -> float:
    """Log likelihood of σ from the sum of squares of replicates around their own means (χ² with ``df``)."""
    return -replicate_df * math.log(sigma) - replicate_sum / (2 * sigma * sigma)


def fit_chain(
    values: Sequence[float] | _Floats,
    kinds: Sequence[Kind] | NDArray[np.int64],
    sigma: float,
    *,
    weights: _Floats | None = None,
    iterations: int = 25,
) -> ChainFit:
    """Fit the weights of the mixture for one σ and read off what is known of each keep.

    Args:
        values: recorded values, larger is better, in order; shape (n,). The first row has to be kept.
        kinds: what each row is; shape (n,).
        sigma: standard deviation of one measurement, > 0.
        weights: where the EM starts; ``iterations=0`` uses them as they are.
        iterations: EM steps at most.

    Raises:
        ValueError: when the first row is not kept, or σ is not a positive number.
    """
    data, marks = np.asarray(values, dtype=np.float64), np.asarray(kinds, dtype=np.int64)
    if not sigma > 0 or not math.isfinite(sigma):
        raise ValueError("sigma has to be a positive number")
    if not data.size or marks[0] != Kind.KEEP:
        raise ValueError("a chain starts with a kept row")
    middle = float(np.median(data))
    lattice = _gather(data - middle, marks, sigma)
    current = _initial_weights() if weights is None else weights
    before = -math.inf
    for _ in range(iterations):
        done = _run(lattice, current)
        penalised = done.log_likelihood + float(_PRIOR @ np.log(current))
        if penalised - before < _CONVERGED:
            break
        before = penalised
        current = done.counts + _PRIOR
        current = current / current.sum()
    done = _run(lattice, current, with_gain=True)
    centers = lattice.centers / _PER_SIGMA
    means = done.levels @ (np.arange(-_RADIUS, _RADIUS + 1) / _PER_SIGMA) + centers
    fitted = done.log_likelihood + float(_PRIOR @ np.log(current))
    return ChainFit(
        sigma=sigma,
        log_likelihood=fitted - data.size * math.log(sigma),
        weights=current,
        better=done.better,
        effect=np.diff(means) * sigma,
        level=means * sigma + middle,
        gain=done.gain * sigma,
        gain_sd=done.gain_sd * sigma,
    )
