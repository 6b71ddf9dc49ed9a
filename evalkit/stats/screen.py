"""Screening: cheap looks that only ever reject, so they spend no error budget.

Screen measurements are never reused to confirm: confirmation draws fresh seeds. That is what makes any screen rule
safe, however it was tuned; it can cost power, never validity.
"""

from __future__ import annotations

__all__ = ["Baseline", "screen_passes", "uses_pairs"]

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evalkit.stats.noise import Noise
    from evalkit.stats.policies import Policy

_MEMORY = 60.0
"""Incumbent values that a baseline remembers; older ones fade, so that slow drift can't pile up."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The running mean of recent incumbent values, which a single screen trial is compared with.

    Attributes:
        mean: the mean, in the metric's oriented units.
        count: how many values it stands for, at most 60.
    """

    mean: float
    count: float

    def including(self, values: Iterable[float]) -> Baseline:
        """With further values of the same incumbent."""
        fresh = list(values)
        if not fresh:
            return self
        total = self.count + len(fresh)
        mean = (self.mean * self.count + math.fsum(fresh)) / total
        return Baseline(mean, min(total, _MEMORY))

    @classmethod
    def of(cls, values: Iterable[float]) -> Baseline:
        """From values of a new incumbent, such as the confirm trials of the candidate that was just kept."""
        fresh = list(values)
        if not fresh:
            raise ValueError("a baseline needs at least one value")
        return cls(math.fsum(fresh) / len(fresh), min(float(len(fresh)), _MEMORY))

    def to_dict(self) -> dict[str, float]:
        """Plain data."""
        return {"mean": self.mean, "count": self.count}

    @classmethod
    def from_dict(cls, data: Mapping[str, float]) -> Baseline:
        """The inverse of :meth:`to_dict`."""
        return cls(data["mean"], data["count"])


def uses_pairs(policy: Policy, noise: Noise, baseline: Baseline | None) -> bool:
    """Whether to screen by pairs: when pairing removes most of the noise, or there is nothing to compare a single with.

    A pair costs two trials and has variance ``2(1−ρ)σ²``; a single costs one and has ``σ²`` (plus the baseline's
    own error): per trial they break even at ρ = 0.75.
    """
    return baseline is None or noise.rho >= policy.paired_screen_rho or noise.single_sd == 0.0


def screen_passes(thresholds: Sequence[float], differences: Sequence[float], sd: float) -> bool:
    """Whether the screen goes on after the looks so far: ``mean·√i / sd > threshold_i``.

    Args:
        thresholds: one a look.
        differences: what was seen, at most one a threshold.
        sd: standard deviation of one such difference, above 0.
    """
    i = len(differences)
    return math.fsum(differences) / math.sqrt(i) / sd > thresholds[i - 1]
