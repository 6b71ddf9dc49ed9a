"""Evidence for bounded scores: betting on their mean, with no assumption about their shape.

For ``x`` in [low, high] with conditional mean at most m, ``1 + λ(x − m)`` has conditional expectation at most 1 for
every
λ in [0, 1/(m − low)], so its running product is an e-process (Waudby-Smith & Ramdas 2024, "Estimating means of bounded
random variables by betting", JRSS B 86(1), §4). We average the products over a fixed grid of λ, which needs no
tuning and
doesn't depend on the order of the units.
"""

from __future__ import annotations

__all__ = ["BettingEvidence"]

import math
from typing import TYPE_CHECKING

import numpy as np

from evalkit.stats.evidence import log_sum_exp

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHARES = np.array([0.005, 0.01, 0.02, 0.04, 0.075, 0.13, 0.21, 0.32, 0.46, 0.62, 0.8, 0.95])
"""Shares of the capital that are at stake, from cautious to bold; never all of it."""


class BettingEvidence:
    """The betting e-process for H0: mean ≤ ``null``.

    Args:
        low: smallest possible value; for differences of scores in [0, 1] it is −1.
        high: largest possible value.
        null: largest mean that is still "no better", in (low, high).
    """

    __slots__ = ("_high", "_log_capital", "_low", "_n", "_null", "_sum", "_tracker", "_waiting")

    def __init__(self, low: float = -1.0, high: float = 1.0, *, null: float = 0.0) -> None:
        if not (math.isfinite(low) and math.isfinite(high) and low < null < high):
            raise ValueError("betting needs finite bounds with low < null < high")
        self._low, self._high, self._null = low, high, null
        self._log_capital = np.zeros(_SHARES.size)
        self._n, self._sum = 0, 0.0
        self._tracker = _EmpiricalBernstein()
        self._waiting: list[np.ndarray] = []

    @property
    def n(self) -> int:
        """Units seen."""
        return self._n

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-process now."""
        return log_sum_exp(self._log_capital.tolist()) - math.log(_SHARES.size) if self._n else 0.0

    def update(self, x: float, /) -> float:
        """Takes one value.

        Raises:
            ValueError: it is outside the bounds or not finite.
        """
        return self.add([x])

    def add(self, values: Sequence[float] | np.ndarray) -> float:
        """Takes many values at once; the same as one by one, up to rounding.

        Raises:
            ValueError: one of them is outside the bounds or not finite.
        """
        x = np.asarray(values, dtype=float)
        if x.ndim != 1 or not np.isfinite(x).all() or (x.size and (x.min() < self._low or x.max() > self._high)):
            raise ValueError(f"values must be numbers from {self._low:g} to {self._high:g}")
        stakes = _SHARES / (self._null - self._low)
        self._log_capital = self._log_capital + _sum_logs(x - self._null, stakes)
        self._n += int(x.size)
        self._sum += float(x.sum())
        self._waiting.append(x)
        return self.log_e

    @property
    def mean(self) -> float:
        """Mean so far; 0 before the first value."""
        return self._sum / self._n if self._n else 0.0

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """The predictable plug-in empirical Bernstein confidence sequence (Waudby-Smith & Ramdas 2024, Theorem 2).

        Tuned for 95 %; valid at every alpha.
        """
        if not 0.0 < alpha < 1.0:
            raise ValueError("alpha must lie in (0, 1)")
        width = self._high - self._low
        for x in self._waiting:
            self._tracker.add((x - self._low) / width)
        self._waiting.clear()
        low, high = self._tracker.interval(alpha)
        return (self._low + width * low, self._low + width * high)


def _sum_logs(x: np.ndarray, stakes: np.ndarray) -> np.ndarray:
    """``Σ_i log(1 + λ_k x_i)`` for each k.

    Products of 8 factors are taken before the logarithm, which costs more than 8 products: each factor lies between
    0.05 and ``1 + λ·(high − null)``, so they can't underflow, and overflow only for bounds 1e38 times wider on one
    side.
    """
    group = 8
    padded = np.zeros(-(-x.size // group) * group)
    padded[: x.size] = x
    columns = padded.reshape(group, -1)
    products = 1.0 + np.multiply.outer(stakes, columns[0])
    for column in columns[1:]:
        products *= 1.0 + np.multiply.outer(stakes, column)
    total: np.ndarray = np.log(products).sum(axis=1)
    return total


class _EmpiricalBernstein:
    """Running sums of the predictable plug-in empirical Bernstein sequence on values in [0, 1]."""

    __slots__ = ("_count", "_log", "_mass", "_sum", "_variance", "_weighted", "_width")

    def __init__(self) -> None:
        self._count = 0
        self._sum, self._variance = 0.0, 0.25
        self._mass = self._weighted = self._width = 0.0

    def add(self, x: np.ndarray) -> None:
        if x.size == 0:
            return
        t = self._count + np.arange(1, x.size + 1)
        means = (0.5 + self._sum + np.cumsum(x)) / (t + 1)
        before = np.concatenate([[(0.5 + self._sum) / (self._count + 1)], means[:-1]])
        squares = self._variance + np.cumsum((x - means) ** 2)
        variance_before = np.concatenate([[self._variance], squares[:-1]]) / t
        stakes = np.minimum(np.sqrt(2.0 * math.log(2.0 / 0.05) / (variance_before * t * np.log1p(t))), 0.5)
        self._mass += float(stakes.sum())
        self._weighted += float(stakes @ x)
        self._width += float(((x - before) ** 2) @ (-np.log1p(-stakes) - stakes))
        self._count += int(x.size)
        self._sum += float(x.sum())
        self._variance = float(squares[-1])

    def interval(self, alpha: float) -> tuple[float, float]:
        if self._count == 0:
            return (0.0, 1.0)
        centre = self._weighted / self._mass
        half = (math.log(2.0 / alpha) + self._width) / self._mass
        return (max(0.0, centre - half), min(1.0, centre + half))
