"""Head against the frozen anchor, visit by visit: a pure state machine around the e-CUSUM.

A visit measures pairs of head and anchor side by side, so that a slower machine or a new driver moves both. It starts
with few pairs and goes on only while the evidence grows, so a visit costs little as long as nothing is wrong. Going on
is allowed at any time because what a visit adds is an e-process over its pairs (Ville's inequality; Shin, Ramdas &
Rinaldo 2024, *E-detectors*, NEJSDS 2, §2).

Nothing here measures anything: numbers go in, decisions come out, state is plain data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.stats.changepoint import ECusum
from evalkit.stats.evidence import ModeratedT, log_sum_exp
from evalkit.stats.noise import Noise

__all__ = ["DriftPolicy", "DriftWatch", "EnvironmentShift", "VisitReport", "environment_shift"]

_GRID = (0.25, 0.5, 1.0, 2.0)
_PRIOR_DF = 8.0
_Z_ENVIRONMENT = 4.0
_FEWEST_EARLIER = 3
_LARGEST_Z = 1e9


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """What a visit may cost and when it raises the alarm.

    Attributes:
        first_pairs: pairs of every visit.
        more_pairs: pairs that are added at a time while the evidence grows.
        max_pairs: pairs of one visit at most.
        curious: the evidence (as a factor) from which a visit goes on beyond ``first_pairs``.
        threshold: the evidence that raises the alarm; also the average number of visits without a loss between false
            alarms, at least. With several metrics each gets ``threshold`` times their number.
        every: keeps between two visits.
    """

    first_pairs: int = 6
    more_pairs: int = 2
    max_pairs: int = 48
    curious: float = 2.5
    threshold: float = 1000.0
    every: int = 5

    def __post_init__(self) -> None:
        if not (0 < self.first_pairs <= self.max_pairs and self.more_pairs > 0 and self.every > 0):
            raise ValueError("a visit needs 0 < first_pairs <= max_pairs, more_pairs > 0 and every > 0")
        if not 1 < self.curious <= self.threshold:
            raise ValueError("a visit needs 1 < curious <= threshold")


@dataclass(frozen=True, slots=True)
class VisitReport:
    """What a visit found.

    Attributes:
        visit: its number, from 1.
        pairs: how many were measured.
        change: mean of head minus anchor, oriented so that larger is better.
        interval: 95 % confidence sequence for it.
        evidence: log of the e-CUSUM's value.
        alarm: whether it reached the threshold.
        since: the visit after which the strongest evidence began to grow; a loss may be somewhat older.
    """

    visit: int
    pairs: int
    change: float
    interval: tuple[float, float]
    evidence: float
    alarm: bool
    since: int

    def as_json(self) -> dict[str, Any]:
        """Plain data; what is not finite is None."""
        low, high = (bound if math.isfinite(bound) else None for bound in self.interval)
        return {
            "visit": self.visit,
            "pairs": self.pairs,
            "change": self.change,
            "interval": [low, high],
            "evidence": self.evidence if math.isfinite(self.evidence) else None,
            "alarm": self.alarm,
            "since": self.since,
        }


class DriftWatch:
    """Watches one metric.

    Usage: while :meth:`needs_pair`, measure one pair and :meth:`observe` it; then :meth:`close` the visit and store
    :meth:`state`.

    Args:
        noise: of a paired difference of the metric, from calibration; its ``pilot_sd`` has to be above 0.
        tolerance: what may be lost against the anchor in total, in the metric's oriented unit, at least 0.
        policy: costs and threshold.
        metrics: how many metrics are watched beside one another; the threshold is multiplied by it.
        state: of an earlier watch, from :meth:`state`.
    """

    def __init__(
        self,
        noise: Noise,
        tolerance: float,
        policy: DriftPolicy | None = None,
        *,
        metrics: int = 1,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self._noise = noise
        self._policy = policy or DriftPolicy()
        self._threshold = self._policy.threshold * metrics
        self._tolerance = tolerance
        fresh = ECusum(threshold=self._threshold, tolerance=tolerance, grid=_GRID, prior_df=_PRIOR_DF)
        self._detector = fresh if state is None else ECusum.restore(state)
        self._begin()

    def _begin(self) -> None:
        self._differences: list[float] = []
        df = min(self._noise.pilot_df, _PRIOR_DF)
        self._bets = [ModeratedT(self._noise.pilot_sd, df, (g,), null=self._tolerance) for g in _GRID]
        self._before = [max(float(value), 0.0) for value in self._detector.state()["logs"]]

    def state(self) -> dict[str, Any]:
        """Plain data; of closed visits only."""
        return self._detector.state()

    @property
    def evidence(self) -> float:
        """Log of the e-CUSUM, with the pairs of the open visit."""
        logs = [before + bet.log_e for before, bet in zip(self._before, self._bets, strict=True)]
        return log_sum_exp(logs) - math.log(len(logs))

    def needs_pair(self) -> bool:
        """Whether the open visit wants another pair."""
        taken, policy = len(self._differences), self._policy
        if taken < policy.first_pairs:
            return True
        if (taken - policy.first_pairs) % policy.more_pairs:
            return taken < policy.max_pairs
        return taken < policy.max_pairs and math.log(policy.curious) <= self.evidence < math.log(self._threshold)

    def observe(self, head: float, anchor: float) -> None:
        """Take one pair, values oriented so that larger is better.

        Raises:
            ValueError: a value is not finite.
        """
        difference = head - anchor
        if not math.isfinite(difference):
            raise ValueError("a pair needs two finite values")
        for bet in self._bets:
            bet.update(-difference)
        self._differences.append(difference)

    def close(self) -> VisitReport:
        """End the visit: its pairs enter the e-CUSUM.

        Raises:
            ValueError: no pair was measured.
        """
        self._detector.visit(self._differences, self._noise)
        both = ModeratedT(self._noise.pilot_sd, min(self._noise.pilot_df, _PRIOR_DF))
        for difference in self._differences:
            both.update(difference)
        report = VisitReport(
            visit=self._detector.visits,
            pairs=len(self._differences),
            change=math.fsum(self._differences) / len(self._differences),
            interval=both.interval(),
            evidence=self._detector.log_m,
            alarm=self._detector.alarm,
            since=self._detector.since,
        )
        self._begin()
        return report


@dataclass(frozen=True, slots=True)
class EnvironmentShift:
    """The anchor itself measures differently than in earlier visits: the machine, the data or a driver changed.

    Attributes:
        before: mean of the anchor's values in earlier visits.
        now: its mean in this visit.
        z: the difference in standard errors; ±1e9 where nothing ever varied before.
    """

    before: float
    now: float
    z: float


def environment_shift(earlier: Sequence[Sequence[float]], now: Sequence[float]) -> EnvironmentShift | None:
    """Whether the anchor, whose tree never changes, moved between visits.

    Visits are compared by their means, so that what all pairs of one visit share counts once: with k earlier means
    of sd s, ``z = (now - mean)/(s·√(1 + 1/k))``. At least 3 earlier visits are needed.

    Args:
        earlier: the anchor's values, one sequence a visit.
        now: the anchor's values in this visit.
    """
    means = [math.fsum(values) / len(values) for values in earlier if values]
    if len(means) < _FEWEST_EARLIER or not now:
        return None
    center = math.fsum(means) / len(means)
    between = math.fsum((mean - center) ** 2 for mean in means) / (len(means) - 1)
    within = [_variance(values) / len(values) for values in [*earlier, now] if len(values) > 1]
    floor = math.fsum(within) / len(within) if within else 0.0
    spread = math.sqrt(max(between, floor) * (1 + 1 / len(means)))
    current = math.fsum(now) / len(now)
    if spread <= 0:
        z = math.copysign(_LARGEST_Z, current - center)
        return EnvironmentShift(center, current, z) if current != center else None
    z = (current - center) / spread
    return EnvironmentShift(center, current, z) if abs(z) >= _Z_ENVIRONMENT else None


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
