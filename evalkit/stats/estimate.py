"""What a keep is worth: estimated on fresh pairs, because the data that decided are the lucky ones.

The mean at the moment of stopping is inflated (the winner's curse). Pairs that were measured after the decision, in
a number
fixed beforehand, know nothing of it, so their mean is unbiased whatever decided.
"""

from __future__ import annotations

__all__ = ["Estimate", "estimate_effect"]

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from evalkit.stats.special import student_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evalkit.stats.noise import Noise


@dataclass(frozen=True, slots=True)
class Estimate:
    """An effect with its uncertainty.

    Attributes:
        effect: mean difference over the fresh pairs, in the metric's oriented units.
        low: lower end of the confidence interval.
        high: upper end.
        confidence: its coverage, in (0, 1).
        pairs: fresh pairs behind it.
    """

    effect: float
    low: float
    high: float
    confidence: float
    pairs: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Estimate:
        """The inverse of :meth:`to_dict`."""
        return cls(**data)


def estimate_effect(differences: Sequence[float], noise: Noise, *, confidence: float = 0.95) -> Estimate:
    """The effect and its moderated t interval.

    The variance pools the fresh pairs' own residuals with the noise model (Smyth 2004, eq. 5): few pairs alone would
    give a uselessly wide interval. With Gaussian differences of the A/A variance it has exactly its coverage.

    Args:
        differences: ``candidate − incumbent`` of pairs measured after the decision; at least one.
        noise: the noise model.
        confidence: coverage, in (0, 1).

    Raises:
        ValueError: no pairs, a difference that is not finite, or a confidence outside (0, 1).
    """
    d = [float(x) for x in differences]
    n = len(d)
    if n == 0 or not all(math.isfinite(x) for x in d):
        raise ValueError("an estimate needs at least one finite difference")
    if not 0.0 < confidence < 1.0:
        raise ValueError("confidence must lie in (0, 1)")
    mean = math.fsum(d) / n
    residual = math.fsum((x - mean) ** 2 for x in d)
    df = noise.df + n - 1
    error = math.sqrt((noise.df * noise.sd**2 + residual) / df / n)
    half = student_quantile((1.0 - confidence) / 2.0, df) * error if error > 0.0 else 0.0
    return Estimate(mean, mean - half, mean + half, confidence, n)
