"""What A/A pairs say about a metric: how large noise is, and whether there is any.

Calibration runs the incumbent against itself, interleaved. Both arms are the same tree, and the order within a pair
is random, so the differences are symmetric about zero: their mean is known, and ``n`` pairs give ``n`` degrees of
freedom, not ``n − 1``.
"""

from __future__ import annotations

__all__ = ["Noise", "NoiseKind", "calibrate", "lag_products", "pooled"]

import itertools
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NoiseKind = Literal["noisy", "exact", "coarse"]

_EXACT_NEEDS_PAIRS = 5
"""Fewer identical pairs than this only look deterministic: a flip of probability 0.2 hides in 4 pairs 17 % of the
time."""
_COARSE_TIE_SHARE = 0.5
_COARSE_DISTINCT = 3


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of one metric, in the metric's own (oriented) units.

    Attributes:
        sd: standard deviation of a paired difference; 0 where no difference was ever seen.
        df: degrees of freedom of ``sd``: A/A pairs, plus what ``pooled`` added.
        pilot_sd: ``sd`` of the A/A pairs alone.
        pilot_df: number of A/A pairs behind ``pilot_sd``.
        rho: correlation of incumbent and candidate value within a pair, in [-1, 1].
        lag1: lag-1 autocorrelation of the differences, in run order, corrected for its bias, in [-1, 1].
        lag_df: neighbouring pairs of differences behind ``lag1``.
        mean: mean of all single values.
        single_sd: standard deviation of a single value between pairs.
        cost: trials spent (two a pair).
        distinct: number of distinct single values.
        resolution: smallest gap between two distinct values; 0 with one distinct value.
        ties: share of pairs whose difference is exactly zero, in [0, 1].
        kind: ``exact``: no difference in enough pairs; ``coarse``: rounding or few levels dominate, or too few
            repeats to call it exact; ``noisy``: neither.
    """

    sd: float
    df: float
    pilot_sd: float
    pilot_df: float
    rho: float
    lag1: float
    lag_df: float
    mean: float
    single_sd: float
    cost: int
    distinct: int
    resolution: float
    ties: float
    kind: NoiseKind

    def to_dict(self) -> dict[str, Any]:
        """Plain data; floats survive JSON exactly because Python writes the shortest text that reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Noise:
        """The inverse of :meth:`to_dict`."""
        return cls(**data)

    @property
    def why(self) -> str:
        """One sentence that says which kind it is and what showed it."""
        pairs = int(self.pilot_df)
        if self.kind == "exact":
            return f"exact: all {pairs} A/A pairs gave the same value"
        if self.kind == "coarse" and self.sd == 0.0:
            return (
                f"coarse: {pairs} A/A pairs never differed, but {_EXACT_NEEDS_PAIRS} are needed to call a metric exact"
            )
        if self.kind == "coarse":
            return (
                f"coarse: {self.distinct} distinct values, {self.ties:.0%} of A/A pairs tied "
                f"(steps of {self.resolution:g})"
            )
        return f"noisy: sd {self.sd:.4g} of a paired difference, from {pairs} A/A pairs"


def calibrate(incumbent: Sequence[float], candidate: Sequence[float]) -> Noise:
    """The noise model from A/A pairs: the same tree in both arms, in run order.

    Args:
        incumbent: values of one arm; at least two, finite.
        candidate: values of the other arm, pair by pair; same length.

    Raises:
        ValueError: fewer than two pairs, unequal lengths, or a value that is not finite.
    """
    first, second = [float(x) for x in incumbent], [float(x) for x in candidate]
    if len(first) != len(second) or len(first) < 2:  # noqa: PLR2004
        raise ValueError("calibration needs at least two complete A/A pairs")
    values = first + second
    if not all(math.isfinite(x) for x in values):
        raise ValueError("calibration values must be finite")
    differences = [b - a for a, b in zip(first, second, strict=True)]
    pairs = len(differences)
    sd = _root_mean_square(differences)
    levels = sorted(set(values))
    gaps = [b - a for a, b in itertools.pairwise(levels)]
    ties = sum(d == 0.0 for d in differences) / pairs
    mean, single_sd = _mean_sd(values)
    return Noise(
        sd=sd,
        df=float(pairs),
        pilot_sd=sd,
        pilot_df=float(pairs),
        rho=_correlation(first, second),
        lag1=_clip(lag_products([d / sd for d in differences]) / (pairs - 1)) if sd > 0.0 else 0.0,
        lag_df=float(pairs - 1),
        mean=mean,
        single_sd=single_sd,
        cost=2 * pairs,
        distinct=len(levels),
        resolution=min(gaps, default=0.0),
        ties=ties,
        kind=_kind(pairs, len(levels), ties, sd),
    )


def pooled(noise: Noise, sum_of_squares: float, df: float, lag_products: float = 0.0) -> Noise:
    """Adds variance seen inside later experiments (about their own means) to the noise model.

    The pilot's own ``pilot_sd`` and ``pilot_df`` stay: the error guarantee rests on them alone, because an experiment
    that stopped early has residuals which its stopping rule selected.

    Args:
        noise: the model so far; returned as it is when nothing new was seen.
        sum_of_squares: residual sum of squares, at least 0.
        df: its degrees of freedom, at least 0.
        lag_products: see :func:`lag_products`; taken over ``df`` neighbours.
    """
    if not (math.isfinite(sum_of_squares) and sum_of_squares >= 0.0 and df >= 0.0):
        raise ValueError("pooled needs a finite, non-negative sum of squares and degrees of freedom")
    if df == 0.0:
        return noise
    total, lags = noise.df + df, noise.lag_df + df
    variance = (noise.df * noise.sd**2 + sum_of_squares) / total
    products = noise.lag1 * noise.sd**2 * noise.lag_df + lag_products
    lag1 = _clip(products / (lags * variance)) if variance > 0.0 else 0.0
    return replace(noise, sd=math.sqrt(variance), df=total, lag1=lag1, lag_df=lags)


def lag_products(differences: Sequence[float]) -> float:
    """``Σ(d_i − m)(d_{i+1} − m)`` over neighbours, plus what centring takes away when they are independent.

    Centring n independent values at their own mean lowers the expected sum by ``σ²·(n−1)/n`` (Marriott & Pope 1954), so
    that much is added back with the sample variance; the result divided by ``(n−1)·variance`` is the autocorrelation.
    """
    n = len(differences)
    if n < 2:  # noqa: PLR2004
        return 0.0
    mean = math.fsum(differences) / n
    centred = [x - mean for x in differences]
    squares = math.fsum(x * x for x in centred)
    return math.fsum(a * b for a, b in itertools.pairwise(centred)) + squares / n


def _clip(x: float) -> float:
    return max(-1.0, min(1.0, x))


def _kind(pairs: int, distinct: int, ties: float, sd: float) -> NoiseKind:
    if sd == 0.0:
        return "exact" if distinct == 1 and pairs >= _EXACT_NEEDS_PAIRS else "coarse"
    if ties >= _COARSE_TIE_SHARE or distinct <= _COARSE_DISTINCT:
        return "coarse"
    return "noisy"


def _root_mean_square(values: Sequence[float]) -> float:
    largest = max(abs(x) for x in values)
    if largest == 0.0:
        return 0.0
    return largest * math.sqrt(math.fsum((x / largest) ** 2 for x in values) / len(values))


def _mean_sd(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, _root_mean_square([x - mean for x in values]) * math.sqrt(len(values) / (len(values) - 1))


def _correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Intraclass correlation of the two arms, which are exchangeable (Fisher 1925, §38), in [-1, 1]."""
    mean = math.fsum([*first, *second]) / (2 * len(first))
    between = math.fsum((a - mean) * (b - mean) for a, b in zip(first, second, strict=True))
    total = math.fsum((x - mean) ** 2 for x in [*first, *second]) / 2
    return 0.0 if total == 0.0 else _clip(between / total)
