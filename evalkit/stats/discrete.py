"""Evidence for cases that are right or wrong, and the sign-flip check."""

from __future__ import annotations

__all__ = ["BinaryEvidence", "sign_flip_p_value"]

import math
from typing import TYPE_CHECKING

import numpy as np

from evalkit.stats.special import beta_regularized, log_beta

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_EXACT_UP_TO = 16
"""Signs flipped exhaustively up to this many differences (65,536 sign patterns)."""


class BinaryEvidence:
    """Wins against losses over cases that are right or wrong.

    Under H0 a case on which the two disagree is a win with probability at most 1/2, given everything before. With a
    uniform prior over win probabilities in (1/2, 1] the likelihood ratio after b wins and q losses is
    ``E = 2^(b+q+1)·B(b+1, q+1)·(1 − I_½(b+1, q+1))`` (Robbins 1970; the sequential McNemar test). Cases on which
    they agree
    leave it as it is. Each case must be a unit of its own: average clusters first (``ClusteredEvidence``).
    """

    __slots__ = ("_log_e", "_losses", "_ties", "_wins")

    def __init__(self) -> None:
        self._wins = self._losses = self._ties = 0
        self._log_e = 0.0

    @property
    def n(self) -> int:
        """Cases seen, ties included."""
        return self._wins + self._losses + self._ties

    @property
    def wins(self) -> int:
        """Cases that only the candidate got right."""
        return self._wins

    @property
    def losses(self) -> int:
        """Cases that only the incumbent got right."""
        return self._losses

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-process now."""
        return self._log_e

    def update(self, x: float, /) -> float:
        """Takes one case: 1 win, −1 loss, 0 tie.

        Raises:
            ValueError: any other number.
        """
        if x not in (-1.0, 0.0, 1.0):
            raise ValueError("a binary case is a win (1), a loss (-1) or a tie (0)")
        return self.add(wins=int(x == 1.0), losses=int(x == -1.0), ties=int(x == 0.0))

    def add(self, *, wins: int, losses: int, ties: int = 0) -> float:
        """Takes many cases at once."""
        if min(wins, losses, ties) < 0:
            raise ValueError("counts must not be negative")
        self._wins, self._losses, self._ties = self._wins + wins, self._losses + losses, self._ties + ties
        self._log_e = _log_half_beta(self._wins, self._losses) if self._wins + self._losses else 0.0
        return self._log_e

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """A confidence sequence for the win probability among disagreements.

        Every p where the two-sided mixture ``B(b+1,q+1) / (p^b (1−p)^q)`` stays under ``1/α``.
        """
        if not 0.0 < alpha < 1.0:
            raise ValueError("alpha must lie in (0, 1)")
        b, q = self._wins, self._losses
        if b + q == 0:
            return (0.0, 1.0)
        top = log_beta(b + 1.0, q + 1.0) + math.log(alpha)
        peak = b / (b + q)

        def inside(p: float) -> bool:
            return top < (b * math.log(p) if b else 0.0) + (q * math.log1p(-p) if q else 0.0)

        low = 0.0 if b == 0 else _edge(inside, peak if q else 1.0 - 1e-16, 0.0)
        high = 1.0 if q == 0 else _edge(inside, peak if b else 1e-16, 1.0)
        return (low, high)


def _edge(inside: Callable[[float], bool], start: float, end: float) -> float:
    """Bisects between a point inside the interval and an end of [0, 1] that is outside it; the outer bound."""
    for _ in range(60):
        middle = 0.5 * (start + end)
        start, end = (middle, end) if inside(middle) else (start, middle)
    return end


def _log_half_beta(b: int, q: int) -> float:
    """``log(2^(b+q+1)·B(b+1, q+1)·(1 − I_½(b+1, q+1)))``."""
    upper = beta_regularized(q + 1.0, b + 1.0, 0.5)
    n = b + q + 1
    if upper > 1e-280:  # noqa: PLR2004 - below this the float's own digits run out
        return n * math.log(2.0) + log_beta(b + 1.0, q + 1.0) + math.log(upper)
    return _log_tail_series(b, q)


def _log_tail_series(b: int, q: int) -> float:
    """The same where far more was lost than won: ``E = Σ_{j≤b} …`` as a short series in ``b/(q+j)``.

    ``2∫_½^1 (2p)^b (2(1−p))^q dp = (1/(q+1))·Σ_{j=0}^{b} Π_{i<j} (b−i)/(q+2+i)``, by integrating by parts.
    """
    term, total = 1.0, 1.0
    for i in range(b):
        term *= (b - i) / (q + 2.0 + i)
        total += term
        if term < total * 1e-17:
            break
    return math.log(total) - math.log(q + 1.0)


def sign_flip_p_value(differences: Sequence[float], *, seed: int = 0, draws: int = 100_000) -> float:
    """One-sided sign-flip permutation p-value of the mean: an opt-in check that assumes symmetry alone.

    Exhaustive up to 16 differences, then Monte Carlo with the observed pattern counted (Phipson & Smyth 2010). It is
    for a
    fixed number of pairs, not for stopping early, and never below ``2^−n``: no use as the only evidence at few pairs.

    Args:
        differences: ``candidate − incumbent``, finite, at least one.
        seed: of the random sign patterns, where there are too many to try all.
        draws: how many of them.
    """
    d = np.asarray(differences, dtype=float)
    if d.ndim != 1 or d.size == 0 or not np.isfinite(d).all():
        raise ValueError("the sign-flip test needs a list of finite differences")
    observed = float(d.sum())
    slack = 1e-12 * float(np.abs(d).sum())
    if d.size <= _EXACT_UP_TO:
        patterns = ((np.arange(1 << d.size)[:, None] >> np.arange(d.size)) & 1) * 2 - 1
        return float(np.mean(patterns @ d >= observed - slack))
    rng = np.random.default_rng(seed)
    hits = sum(
        int(np.count_nonzero((rng.integers(0, 2, (1000, d.size)) * 2 - 1) @ d >= observed - slack))
        for _ in range(draws // 1000)
    )
    return (hits + 1) / (1000 * (draws // 1000) + 1)
