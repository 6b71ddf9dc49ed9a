"""Has head lost something on the way? The e-CUSUM of head against the frozen anchor; and change points in a series.

The e-CUSUM decides. It sees paired differences of head and anchor, measured in the same visit, so a slower machine
or a new
driver moves both. The other two read one raw series, which can't tell the environment from the code: diagnosis only.
"""

from __future__ import annotations

__all__ = ["ChangePoint", "ECusum", "cusum", "e_divisive"]

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.stats.evidence import DEFAULT_PRIOR_DF, ModeratedT, log_sum_exp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evalkit.stats.noise import Noise

_GRID = (0.25, 0.5, 1.0, 2.0)
_MAX_POINTS = 1000


class ECusum:
    """An e-detector for "head is worse than the anchor by more than the tolerance".

    Each bet g keeps ``M_k = max(M_{k−1}, 1)·e_k`` over visits, with ``e_k`` the moderated t likelihood ratio of the
    visit's
    pairs; the alarm is on the average over bets. Under "never worse" its average run length is at least the threshold,
    in visits, and the chance of any alarm within K visits is at most ``K/threshold`` (Shin, Ramdas & Rinaldo 2024,
    "E-detectors:
    a nonparametric framework for sequential change detection", NEJSDS, Theorem 2.4 and its proof).

    Args:
        threshold: alarm at this value; also the guaranteed average run length, above 1.
        tolerance: loss against the anchor that is still allowed, in the metric's oriented units, at least 0.
        grid: losses to bet on beyond the tolerance, in units of the noise sd.
        prior_df: lower end of the evidence's bracket.
    """

    def __init__(
        self,
        *,
        threshold: float = 1000.0,
        tolerance: float = 0.0,
        grid: Sequence[float] = _GRID,
        prior_df: float = DEFAULT_PRIOR_DF,
    ) -> None:
        if not (threshold > 1.0 and tolerance >= 0.0 and grid and min(grid) > 0.0):
            raise ValueError("an e-CUSUM needs a threshold above 1, a tolerance of at least 0 and bets above 0")
        self._threshold, self._tolerance, self._grid, self._prior_df = threshold, tolerance, tuple(grid), prior_df
        self._logs = [0.0] * len(self._grid)
        self._starts = [0] * len(self._grid)
        self._visits = 0

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> ECusum:
        """The inverse of :meth:`state`."""
        detector = cls(
            threshold=state["threshold"],
            tolerance=state["tolerance"],
            grid=tuple(state["grid"]),
            prior_df=state["prior_df"],
        )
        detector._logs = [float(x) for x in state["logs"]]
        detector._starts = [int(x) for x in state["starts"]]
        detector._visits = int(state["visits"])
        return detector

    def state(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "threshold": self._threshold,
            "tolerance": self._tolerance,
            "grid": list(self._grid),
            "prior_df": self._prior_df,
            "logs": list(self._logs),
            "starts": list(self._starts),
            "visits": self._visits,
        }

    @property
    def visits(self) -> int:
        """Visits so far."""
        return self._visits

    @property
    def log_m(self) -> float:
        """Logarithm of the statistic now."""
        return log_sum_exp(self._logs) - math.log(len(self._logs))

    @property
    def alarm(self) -> bool:
        """Whether the statistic has reached the threshold."""
        return self._visits > 0 and self.log_m >= math.log(self._threshold)

    @property
    def since(self) -> int:
        """The last visit before the evidence began to grow (0: before the first): where to start a bisection."""
        strongest = max(range(len(self._logs)), key=self._logs.__getitem__)
        return self._starts[strongest]

    def visit(self, differences: Sequence[float], noise: Noise) -> float:
        """Takes one visit's pairs and returns the logarithm of the statistic.

        Args:
            differences: ``head − anchor``, oriented so that larger is better; at least one, finite.
            noise: the noise model; its A/A sd must be above 0.
        """
        if not differences:
            raise ValueError("a visit needs at least one pair")
        for k, g in enumerate(self._grid):
            bet = ModeratedT(noise.pilot_sd, noise.pilot_df, (g,), null=self._tolerance, prior_df=self._prior_df)
            for d in differences:
                bet.update(-d)
            if self._logs[k] <= 0.0:
                self._starts[k] = self._visits
            self._logs[k] = max(self._logs[k], 0.0) + bet.log_e
        self._visits += 1
        return self.log_m


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """One change in a series.

    Attributes:
        index: first position after the change.
        before: mean of the segment before it.
        after: mean of the segment after it.
        p_value: of the permutation test; None where there is none.
    """

    index: int
    before: float
    after: float
    p_value: float | None = None


def e_divisive(
    series: Sequence[float], *, significance: float = 0.01, permutations: int = 199, min_segment: int = 5, seed: int = 0
) -> tuple[ChangePoint, ...]:
    """Change points by E-divisive (Matteson & James 2014, JASA 109, §2): energy distance, permutation tests.

    The series is bisected at the point of largest scaled energy distance for as long as the best split beats
    the best splits of shuffled segments. Assumes independent values; a drifting or autocorrelated series yields
    changes that
    no commit made. Values are averaged to at most 1,000 points first.

    Args:
        series: finite values in order.
        significance: of each permutation test, in (0, 1).
        permutations: shuffles a test.
        min_segment: shortest segment, at least 2.
        seed: of the shuffles.
    """
    values = np.asarray(series, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("a series must be a list of finite numbers")
    if not (0.0 < significance < 1.0 and permutations >= 1 and min_segment >= 2):  # noqa: PLR2004
        raise ValueError("e_divisive needs significance in (0, 1), permutations ≥ 1 and segments of at least 2")
    width = max(1, math.ceil(values.size / _MAX_POINTS))
    points = _binned(values, width)
    rng = np.random.default_rng(seed)
    found: dict[int, float] = {}
    open_segments = [(0, points.size)]
    while open_segments:
        start, end = open_segments.pop(0)
        segment = points[start:end]
        if segment.size < 2 * min_segment:
            continue
        split, strength = _best_split(segment, min_segment)
        beaten = sum(_best_split(rng.permutation(segment), min_segment)[1] >= strength for _ in range(permutations))
        p_value = (beaten + 1) / (permutations + 1)
        if p_value <= significance:
            found[start + split] = p_value
            open_segments += [(start, start + split), (start + split, end)]
    edges = [0, *sorted(found), points.size]
    return tuple(
        ChangePoint(b * width, float(points[a:b].mean()), float(points[b:c].mean()), found[b])
        for a, b, c in zip(edges, edges[1:], edges[2:], strict=False)
    )


def _binned(values: np.ndarray, width: int) -> np.ndarray:
    if width == 1:
        return values
    starts = np.arange(0, values.size, width)
    means: np.ndarray = np.add.reduceat(values, starts) / np.diff(np.append(starts, values.size))
    return means


def _best_split(x: np.ndarray, min_segment: int) -> tuple[int, float]:
    """The split τ with the largest ``mn/(m+n)·(2·E|X−Y| − E|X−X'| − E|Y−Y'|)``, and that value."""
    n = x.size
    distance = np.abs(x[:, None] - x[None, :])
    lower = np.tril(distance).sum(axis=1)
    upper = np.triu(distance).sum(axis=1)
    left = np.concatenate([[0.0], np.cumsum(lower)])
    right = np.concatenate([np.cumsum(upper[::-1])[::-1], [0.0]])
    total = left[-1]
    tau = np.arange(min_segment, n - min_segment + 1)
    m, k = tau.astype(float), (n - tau).astype(float)
    between = (total - left[tau] - right[tau]) / (m * k)
    within = left[tau] / (m * (m - 1) / 2.0) + right[tau] / (k * (k - 1) / 2.0)
    strength = m * k / n * (2.0 * between - within)
    best = int(np.argmax(strength))
    return int(tau[best]), float(strength[best])


def cusum(
    series: Sequence[float], *, reference: int = 10, slack: float = 0.5, limit: float = 8.0
) -> tuple[ChangePoint, ...]:
    """Change points by Page's two-sided CUSUM (Page 1954), started again after each alarm.

    Args:
        series: finite values in order.
        reference: how many values after each start define the level that later ones are compared with.
        slack: drift per value that is ignored, in sd.
        limit: alarm at this cumulated deviation, in sd.
    """
    values = [float(v) for v in series]
    if not all(math.isfinite(v) for v in values) or reference < 2:  # noqa: PLR2004
        raise ValueError("cusum needs finite values and at least two reference values")
    found: list[ChangePoint] = []
    sd = _difference_sd(values)
    start = 0
    while sd > 0.0 and start + reference < len(values):
        alarm = _first_alarm(values[start:], reference, sd, slack=slack, limit=limit)
        if alarm is None:
            break
        window = values[start : start + alarm + 1]
        split = _steepest_split(window)
        before, after = window[:split], window[split:]
        found.append(ChangePoint(start + split, math.fsum(before) / split, math.fsum(after) / len(after)))
        start += split
    return tuple(found)


def _difference_sd(values: list[float]) -> float:
    """A noise sd that level shifts hardly touch: median absolute first difference / (0.6745·√2)."""
    steps = sorted(abs(b - a) for a, b in itertools.pairwise(values))
    return steps[len(steps) // 2] / (0.6745 * math.sqrt(2.0)) if steps else 0.0


def _first_alarm(values: list[float], reference: int, sd: float, *, slack: float, limit: float) -> int | None:
    """Where either sum first crosses the limit."""
    level = math.fsum(values[:reference]) / reference
    up = down = 0.0
    for i in range(reference, len(values)):
        z = (values[i] - level) / sd
        up, down = max(0.0, up + z - slack), max(0.0, down - z - slack)
        if max(up, down) > limit:
            return i
    return None


def _steepest_split(values: list[float]) -> int:
    """The split that leaves the least squared error in two constant pieces."""
    total, left, best, where = math.fsum(values), 0.0, -math.inf, 1
    for i in range(1, len(values)):
        left += values[i - 1]
        explained = left * left / i + (total - left) ** 2 / (len(values) - i)
        if explained > best:
            best, where = explained, i
    return where
