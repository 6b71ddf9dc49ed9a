"""Evidence for a scalar metric: an e-process over paired differences.

An e-process is a running product-like quantity that starts at 1 and, when the candidate is no better, has
expectation at most 1 whenever one stops. Ville's inequality then bounds the chance that it ever reaches ``1/α`` by α,
so one may look after every pair. See Ramdas, Grünwald, Vovk & Shafer (2023), "Game-theoretic statistics and safe
anytime-valid inference", Statistical Science 38(4).

The moderated t mixture
-----------------------
Let ``s0²`` be the mean square of ``ν`` A/A differences and ``u_i = d_i/s0``. If A/A and confirm differences are
Gaussian
with mean zero and one variance, ``u_1..u_n`` is multivariate t with ``ν`` degrees of freedom whatever that variance
is, with density proportional to ``(ν + Σu²)^(−(ν+n)/2)``. Shifting that density by ``g`` gives another density on the
same sequences, so their ratio is a likelihood ratio of two simple hypotheses and hence an exact test martingale::

    E_n(ν) = Σ_k w_k [ (ν + Σu²) / (ν + Σ(u − g_k)²) ]^((ν + n)/2)

This is the maximal-invariant construction of Pérez-Ortiz, Lardy, de Heide & Grünwald (2024), "E-statistics, group
invariance and anytime-valid testing", Annals of Statistics 52(4), with the A/A pairs as part of the sample.

The bracket
-----------
The evidence that decides is ``min(E(ν0), E(ν), E(∞))`` with few degrees of freedom ``ν0``, the pilot's own ``ν``,
and the
sd taken as known. Anything below an e-process is one too, so the bracket keeps the exact guarantee of its middle. Its
lower end can't mistake heavy tails or a candidate that varies more for an effect; its upper end can't mistake a lucky
calm stretch (few large losses between many small gains) for precision. ``docs/statistics.md`` has the figures.
"""

from __future__ import annotations

__all__ = [
    "DEFAULT_GRID",
    "DEFAULT_PRIOR_DF",
    "EARLY_PRIOR_SCALE",
    "Evidence",
    "ModeratedT",
    "RatioEvidence",
    "log_sum_exp",
    "normal_mixture_width",
]

import math
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_GRID = (0.35, 0.7, 1.4, 2.8)
DEFAULT_PRIOR_DF = 3.0
EARLY_PRIOR_SCALE = 3.0
"""Prior sd of the intervals that are shown, in noise sds.

With few degrees of freedom the likelihood ratio of any effect is bounded by ``(1+nκ²)^((ν0+n−1)/2)``. At κ = 1 that is
below 20 for one and two pairs, so that nothing is excluded; at κ = 3 every n excludes something, and from twelve pairs
on the interval is a tenth wider.
"""
_LARGEST = 1e100
"""Standardised differences are cut here: the evidence is already flat, and their squares must not overflow."""


@runtime_checkable
class Evidence(Protocol):
    """What every evidence has in common; ``x`` is one unit of data, oriented so that larger is better."""

    @property
    def n(self) -> int:
        """Units seen."""
        ...

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-process now."""
        ...

    def update(self, x: float, /) -> float:
        """Takes one more unit and returns :attr:`log_e`."""
        ...

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """A confidence sequence for the effect at this ``n``: valid at all n together with probability ``1 − α``."""
        ...


class ModeratedT:
    """The bracketed moderated t mixture for H0: mean difference ≤ ``null``; see the module for the theorem.

    Args:
        noise_sd: root mean square of the A/A differences, above 0.
        noise_df: how many A/A differences it was computed from, above 0.
        grid: effects to bet on, in units of ``noise_sd``, each above 0.
        null: the largest effect that is still "no better", in the metric's units.
        prior_df: ν0, the lower end of the bracket; None leaves the bare ``E(ν)``.
        weights: share of each bet, above 0; normalised; equal by default.
        prior_scale: sd of the Gaussian prior, in units of the noise sd, behind :meth:`interval`.
    """

    __slots__ = ("_dfs", "_grid", "_log_e", "_log_weights", "_n", "_null", "_prior", "_sd", "_square", "_sum")

    def __init__(
        self,
        noise_sd: float,
        noise_df: float,
        grid: Sequence[float] = DEFAULT_GRID,
        *,
        null: float = 0.0,
        prior_df: float | None = DEFAULT_PRIOR_DF,
        weights: Sequence[float] | None = None,
        prior_scale: float = 1.0,
    ) -> None:
        if not (math.isfinite(noise_sd) and noise_sd > 0.0 and noise_df > 0.0):
            raise ValueError("the moderated t needs a positive noise sd and positive degrees of freedom")
        if not grid or min(grid) <= 0.0:
            raise ValueError("the grid needs at least one effect, all above zero")
        if prior_df is not None and prior_df <= 0.0:
            raise ValueError("the bracket's degrees of freedom must be positive")
        self._log_weights = _log_weights(len(grid), weights)
        self._sd, self._grid, self._null = noise_sd, tuple(grid), null
        self._dfs = (noise_df,) if prior_df is None else (min(prior_df, noise_df), noise_df, math.inf)
        self._prior = prior_scale
        self._n, self._sum, self._square, self._log_e = 0, 0.0, 0.0, 0.0

    @property
    def n(self) -> int:
        """Pairs seen."""
        return self._n

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-process now."""
        return self._log_e

    @property
    def mean(self) -> float:
        """Mean difference so far, in the metric's units; 0 before the first pair."""
        return self._null + self._sd * self._sum / self._n if self._n else 0.0

    @property
    def mean_in_sd(self) -> float:
        """Mean difference beyond the null so far, in noise sds; 0 before the first pair."""
        return self._sum / self._n if self._n else 0.0

    def update(self, x: float, /) -> float:
        """Takes one difference ``candidate − incumbent``.

        Raises:
            ValueError: it is not finite.
        """
        if not math.isfinite(x):
            raise ValueError("a difference must be finite")
        u = max(-_LARGEST, min(_LARGEST, (x - self._null) / self._sd))
        self._n += 1
        self._sum += u
        self._square += u * u
        self._log_e = self._log_e_at(self._n, self._sum, self._square)
        return self._log_e

    def log_likelihood_ratio(self, effect: float) -> float:
        """Log-likelihood ratio of one effect (in noise sds) against none, at the bracket's lower end, for futility."""
        return _log_ratio(self._dfs[0], self._n, self._sum, self._square, effect)

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """The t-mixture confidence sequence (Wang & Ramdas 2025, "Anytime-valid t-tests", with an informative pilot).

        With a ``N(0, κσ²)`` prior on the effect the likelihood ratio at effect μ is
        ``(1+nκ)^(−1/2) [(A + t)/(A + t/(1+nκ))]^((ν0+n)/2)`` with ``t = n(ū − μ)²`` and ``A = ν0 + Σ(u − ū)²``; the
        interval holds every μ where it stays under ``1/α``. Unbounded while the data can't exclude anything; the wider
        of the bracket's lower end and middle.
        """
        if not 0.0 < alpha < 1.0:
            raise ValueError("alpha must lie in (0, 1)")
        if self._n == 0:
            return (-math.inf, math.inf)
        half = max(self._half_width(df, alpha) for df in self._dfs if df < math.inf)
        centre = self._null + self._sd * self._sum / self._n
        return (centre - self._sd * half, centre + self._sd * half)

    def _half_width(self, df: float, alpha: float) -> float:
        mean = self._sum / self._n
        residual = df + max(0.0, self._square - self._n * mean * mean)
        spread = 1.0 + self._n * self._prior**2
        log_bound = (0.5 * math.log(spread) - math.log(alpha)) * 2.0 / (df + self._n)
        if log_bound >= math.log(spread):
            return math.inf
        bound = math.exp(log_bound)
        return math.sqrt(residual * (bound - 1.0) / (1.0 - bound / spread) / self._n)

    def pairs_until(self, log_bar: float, limit: int = 10_000) -> int | None:
        """How many more pairs like those so far would lift ``log_e`` to ``log_bar``; None beyond ``limit``."""
        if self._n == 0:
            return None
        mean, square = self._sum / self._n, self._square / self._n

        def enough(total: int) -> bool:
            return self._log_e_at(total, mean * total, square * total) >= log_bar

        low, high = self._n, self._n + 1
        while not enough(high):
            low, high = high, 2 * high
            if low >= limit:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high - self._n

    def _log_e_at(self, n: int, total: float, square: float) -> float:
        return min(self._mixture(df, n, total, square) for df in self._dfs)

    def _mixture(self, df: float, n: int, total: float, square: float) -> float:
        bets = zip(self._log_weights, self._grid, strict=True)
        return log_sum_exp([w + _log_ratio(df, n, total, square, g) for w, g in bets])


def _log_ratio(df: float, n: int, total: float, square: float, g: float) -> float:
    """``(ν+n)/2 · log[(ν + Σu²)/(ν + Σ(u−g)²)]``, and its limit ``gΣu − ng²/2`` for a known sd."""
    gain = g * (2.0 * total - n * g)
    if df == math.inf:
        return 0.5 * gain
    top = df + square
    # The expansion of the square loses digits for huge u; the true value is never below ν.
    return 0.5 * (df + n) * math.log(top / max(df, top - gain))


class RatioEvidence:
    """Evidence for ratios such as speed-ups: the moderated t on log scale.

    Args:
        noise_log_sd: root mean square of A/A ``log(candidate/incumbent)``.
        noise_df: how many A/A pairs it counts for.
        grid: effects to bet on, in units of ``noise_log_sd``.
        null_ratio: the largest ratio that is still "no better", above 0.
    """

    __slots__ = ("_inner",)

    def __init__(
        self,
        noise_log_sd: float,
        noise_df: float,
        grid: Sequence[float] = DEFAULT_GRID,
        *,
        null_ratio: float = 1.0,
    ) -> None:
        if not null_ratio > 0.0:
            raise ValueError("a ratio must be above zero")
        self._inner = ModeratedT(noise_log_sd, noise_df, grid, null=math.log(null_ratio))

    @property
    def n(self) -> int:
        """Pairs seen."""
        return self._inner.n

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-process now."""
        return self._inner.log_e

    def update(self, x: float, /) -> float:
        """Takes one ratio ``candidate / incumbent``, oriented so that above 1 is better.

        Raises:
            ValueError: it is not finite and above zero.
        """
        if not (math.isfinite(x) and x > 0.0):
            raise ValueError("a ratio must be finite and above zero")
        return self._inner.update(math.log(x))

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """A confidence sequence for the ratio (of geometric means)."""
        low, high = self._inner.interval(alpha)
        return (math.exp(low) if low > -math.inf else 0.0, _exp(high))


def _log_weights(count: int, weights: Sequence[float] | None) -> tuple[float, ...]:
    if weights is None:
        return (-math.log(count),) * count
    if len(weights) != count or min(weights) <= 0.0:
        raise ValueError("every bet of the grid needs a weight above zero")
    total = math.fsum(weights)
    return tuple(math.log(w / total) for w in weights)


def normal_mixture_width(n: int, alpha: float = 0.05, prior_scale: float = 1.0) -> float:
    """Half-width, in noise sds, of the confidence sequence after n pairs if the noise sd were known.

    Robbins' normal mixture (Howard, Ramdas, McAuliffe & Sekhon 2021, eq. 14): the limit of
    :meth:`ModeratedT.interval` for many degrees of freedom.
    """
    if n < 1 or not 0.0 < alpha < 1.0:
        raise ValueError("needs at least one pair and alpha in (0, 1)")
    rho = 1.0 / prior_scale**2
    return math.sqrt((n + rho) * math.log((n + rho) / (rho * alpha * alpha))) / n


def _exp(x: float) -> float:
    return math.exp(x) if x < 700.0 else math.inf  # noqa: PLR2004 - beyond this a float overflows


def log_sum_exp(terms: Sequence[float]) -> float:
    """``log Σ exp(terms)`` without overflow."""
    largest = max(terms)
    if largest == -math.inf:
        return -math.inf
    return largest + math.log(math.fsum(math.exp(t - largest) for t in terms))
