"""How often evidence reaches its level when there is nothing to find, under noises that its theorem doesn't cover."""

from __future__ import annotations

__all__ = ["DIFFERENCES", "Rate", "clopper_pearson", "crossing_rates", "null_differences"]

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.stats.special import beta_regularized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evalkit.stats.policies import Policy

Array = np.ndarray
DIFFERENCES = (
    "gaussian",
    "t3",
    "cauchy",
    "skewed right",
    "skewed left",
    "spread changed by a log-normal factor (.5)",
    "spread doubled",
    "AR(.5)",
)
"""Null paired differences, all with mean (Cauchy: median) zero."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a level was reached under the null.

    Attributes:
        level: the nominal level.
        hits: runs that reached it.
        runs: runs.
        low: lower 95 % Clopper–Pearson bound of the rate.
        high: upper bound.
    """

    level: float
    hits: int
    runs: int
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """Rate over level; at most 1 where the level holds."""
        return self.hits / self.runs / self.level


def null_differences(rng: np.random.Generator, name: str, runs: int, pairs: int) -> Array:
    """Null paired differences of one kind, runs × pairs, on the scale of A/A differences with sd 1."""
    shape = (runs, pairs)
    if name == "t3":
        return rng.standard_t(3.0, shape) / math.sqrt(3.0)
    if name == "cauchy":
        return rng.standard_cauchy(shape)
    if name in ("skewed right", "skewed left"):
        skewed: Array = (rng.exponential(1.0, shape) - 1.0) * (1.0 if name == "skewed right" else -1.0)
        return skewed
    noise = rng.standard_normal(shape)
    if name.startswith("spread changed"):
        return noise * np.exp(0.5 * rng.standard_normal((runs, 1)))
    if name == "spread doubled":
        return 2.0 * noise
    if name == "AR(.5)":
        for i in range(1, pairs):
            noise[:, i] = 0.5 * noise[:, i - 1] + math.sqrt(0.75) * noise[:, i]
    return noise


def crossing_rates(
    policy: Policy,
    name: str,
    *,
    levels: Sequence[float] = (0.05, 0.005, 0.0005),
    runs: int = 100_000,
    pilot: int = 20,
    seed: int = 0,
    aa_like_differences: bool = False,
) -> tuple[Rate, ...]:
    """How often the bare evidence (no screen, futility or diagnostics) reaches each level within ``max_pairs``.

    Args:
        policy: its grid, weights, bracket and limits.
        name: kind of null differences, from :data:`DIFFERENCES`.
        levels: nominal levels.
        runs: simulated experiments, each with a pilot of its own.
        pilot: A/A pairs.
        seed: of everything random.
        aa_like_differences: whether A/A differences have the same shape; otherwise they are Gaussian with sd 1.
    """
    rng = np.random.default_rng(seed)
    hits = np.zeros(len(levels), dtype=int)
    bars = -np.log(np.array(levels))
    chunk = 20_000
    for start in range(0, runs, chunk):
        size = min(chunk, runs - start)
        differences = null_differences(rng, name, size, policy.max_pairs)
        aa = null_differences(rng, name if aa_like_differences else "gaussian", size, pilot)
        scale = np.sqrt((aa**2).mean(axis=1))
        highest = _log_evidence(policy, differences / scale[:, None], pilot)[:, policy.min_pairs - 1 :].max(axis=1)
        hits += (highest[:, None] >= bars).sum(axis=0)
    return tuple(Rate(a, int(h), runs, *clopper_pearson(int(h), runs)) for a, h in zip(levels, hits, strict=True))


def _log_evidence(policy: Policy, u: Array, pilot: int) -> Array:
    n = np.arange(1, u.shape[1] + 1)
    total, square = u.cumsum(axis=1), (u * u).cumsum(axis=1)
    weights = np.array(policy.weights) / sum(policy.weights)
    out = np.full(u.shape, np.inf)
    for df in (min(policy.prior_df, float(pilot)), float(pilot), math.inf):
        mixed = np.full(u.shape, -np.inf)
        for g, w in zip(policy.grid, weights.tolist(), strict=True):
            gain = g * (2.0 * total - n * g)
            top = df + square
            term = 0.5 * gain if df == math.inf else 0.5 * (df + n) * np.log(top / np.maximum(df, top - gain))
            mixed = np.logaddexp(mixed, math.log(w) + term)
        out = np.minimum(out, mixed)
    return out


def clopper_pearson(hits: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval for a rate (Clopper & Pearson 1934)."""
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else _beta_quantile(tail, hits, runs - hits + 1.0)
    high = 1.0 if hits == runs else _beta_quantile(1.0 - tail, hits + 1.0, runs - hits)
    return low, high


def _beta_quantile(p: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beta_regularized(a, b, middle) < p else (low, middle)
    return 0.5 * (low + high)
