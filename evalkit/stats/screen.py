"""Screening: cheap looks that only ever reject, so they spend no error budget.

Screen measurements are never reused to confirm: confirmation draws fresh seeds. That is what makes any screen rule
safe, however it was tuned; it can cost power, never validity.
"""

from __future__ import annotations

__all__ = ["Baseline", "screen_verdict", "uses_pairs"]

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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

    def after_keep(
        self, candidate: Sequence[float], incumbent: Sequence[float], noise: Noise, *, shrink: float = 0.2
    ) -> Baseline:
        """The baseline of the new incumbent, from the confirm pairs that its keep rests on.

        Its mean is corrected twice: by ``ρ`` times what the old incumbent's values in the same pairs were off its own
        long-run mean (a control variate), and downwards for having been kept on lucky data. Add the fresh trials of the
        estimate with :meth:`including` as soon as they are there.

        Args:
            candidate: the kept candidate's confirm values, at least one.
            incumbent: the old incumbent's, pair by pair.
            noise: the noise model.
            shrink: standard errors to take off.
        """
        n = len(candidate)
        if n == 0 or n != len(incumbent):
            raise ValueError("a new baseline needs the confirm pairs of the candidate that was kept")
        rho = max(0.0, min(0.95, noise.rho))
        shift = rho * (math.fsum(incumbent) / n - self.mean)
        mean = math.fsum(candidate) / n - shift - shrink * noise.sd / math.sqrt(n)
        return Baseline(mean, min(n / (1.0 - rho * rho), _MEMORY))

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


def screen_verdict(
    thresholds: Sequence[float], promote: float, differences: Sequence[float], sd: float
) -> Literal["reject", "more", "confirm"]:
    """What follows from the looks so far, by ``z = mean·√i / sd``.

    Args:
        thresholds: one a look; at or below it the candidate is rejected, above the last one it is confirmed.
        promote: above it the candidate is confirmed at once.
        differences: what was seen: at least one, at most one a threshold.
        sd: standard deviation of one such difference, above 0.
    """
    i = len(differences)
    z = math.fsum(differences) / math.sqrt(i) / sd
    if not z > thresholds[i - 1]:
        return "reject"
    return "confirm" if z > promote or i == len(thresholds) else "more"
