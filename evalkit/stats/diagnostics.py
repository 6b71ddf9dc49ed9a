"""What speaks against a claim although its evidence is strong enough.

The evidence assumes that paired differences are independent, that their spread is that of A/A pairs, and that no
single one carries the claim. Each check looks at one way in which that fails. None of them can create a keep; each
can turn
one into INCONCLUSIVE, with the reason and what to do.
"""

from __future__ import annotations

__all__ = ["Diagnostic", "diagnose"]

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.stats.noise import lag_products
from evalkit.stats.special import f_survival, student_survival

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evalkit.stats.noise import Noise

_RARE = 0.001
"""How often the F test may stop a sound claim; the evidence itself tolerates twice the spread."""
_LAG_LIMIT = 2.6
"""Standard errors of the run's lag-1 autocorrelation; exceeded by chance in 1 of 200 looks."""
_LAG_LIMIT_HERE = 3.5
"""The same within one experiment, whose few differences have a long upper tail."""
_MIN_FOR_LAG = 6
_MIN_FOR_DRIFT = 6
_MIN_FOR_OUTLIER = 3
_DRIFT_RARE = 1e-4
_OUTLIER_SHARE = 0.8
_TIE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One reason not to claim.

    Attributes:
        code: ``autocorrelation``, ``variance-ratio``, ``drift``, ``ties``, ``resolution`` or ``outlier``.
        message: what was seen, with its numbers.
        advice: what to do about it.
    """

    code: str
    message: str
    advice: str

    def to_dict(self) -> dict[str, str]:
        """Plain data."""
        return {"code": self.code, "message": self.message, "advice": self.advice}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> Diagnostic:
        """The inverse of :meth:`to_dict`."""
        return cls(data["code"], data["message"], data["advice"])


def diagnose(candidate: Sequence[float], incumbent: Sequence[float], noise: Noise) -> tuple[Diagnostic, ...]:
    """Every check on the confirm pairs of one experiment, in run order.

    Args:
        candidate: the candidate's values, pair by pair.
        incumbent: the incumbent's, same length.
        noise: the noise model, with everything that earlier experiments pooled into it.
    """
    differences = [c - i for c, i in zip(candidate, incumbent, strict=True)]
    if not differences:
        return ()
    found = (
        autocorrelation(differences, noise),
        variance_ratio(differences, noise),
        drift(incumbent),
        ties(differences),
        resolution(differences, noise),
        outlier(differences, noise),
    )
    return tuple(d for d in found if d is not None)


def autocorrelation(differences: Sequence[float], noise: Noise) -> Diagnostic | None:
    """Neighbouring differences move together: in this experiment, or over everything the noise model has seen."""
    n = len(differences)
    variance = noise.sd**2
    if variance == 0.0:
        return None
    here = lag_products(differences) / ((n - 1) * variance) if n >= _MIN_FOR_LAG else 0.0
    if here * math.sqrt(n - 1) <= _LAG_LIMIT_HERE and noise.lag1 * math.sqrt(noise.lag_df) <= _LAG_LIMIT:
        return None
    where = f"{here:.2f} over {n} pairs" if here > noise.lag1 else f"{noise.lag1:.2f} over the run so far"
    return Diagnostic(
        "autocorrelation",
        f"successive differences are correlated (lag 1: {where}), so pairs count for less than they seem to",
        "let the machine settle between pairs (longer warm-up, a pause, fixed clocks), then calibrate again",
    )


def variance_ratio(differences: Sequence[float], noise: Noise) -> Diagnostic | None:
    """The candidate's differences spread more than A/A differences do (one-sided F test)."""
    n = len(differences)
    if n < 2 or noise.sd == 0.0:  # noqa: PLR2004
        return None
    mean = math.fsum(differences) / n
    ratio = math.fsum((d - mean) ** 2 for d in differences) / (n - 1) / noise.sd**2
    if f_survival(ratio, n - 1, noise.df) > _RARE:
        return None
    return Diagnostic(
        "variance-ratio",
        f"differences spread {math.sqrt(ratio):.1f} times as much as A/A pairs did",
        "the candidate is less stable than the incumbent: calibrate again with the candidate in both arms, "
        "or gate on a steadier metric",
    )


def drift(incumbent: Sequence[float]) -> Diagnostic | None:
    """The incumbent itself climbed or fell during the experiment (t test of a straight line)."""
    n = len(incumbent)
    if n < _MIN_FOR_DRIFT:
        return None
    middle, mean = (n - 1) / 2.0, math.fsum(incumbent) / n
    sxx = n * (n * n - 1) / 12.0
    syy = math.fsum((y - mean) ** 2 for y in incumbent)
    slope = math.fsum((i - middle) * (y - mean) for i, y in enumerate(incumbent)) / sxx
    left = syy - slope * slope * sxx
    if syy == 0.0:
        return None
    t = abs(slope) * math.sqrt(sxx * (n - 2) / left) if left > syy * 1e-15 else math.inf
    if t < math.inf and 2.0 * student_survival(t, n - 2) > _DRIFT_RARE:
        return None
    return Diagnostic(
        "drift",
        f"the incumbent moved by {slope * (n - 1):+.3g} while it was being measured",
        "something else is changing (heat, load, cache, a filling disk): find it, or wait until it is over",
    )


def ties(differences: Sequence[float]) -> Diagnostic | None:
    """Half of the pairs or more are exactly equal."""
    n = len(differences)
    tied = sum(d == 0.0 for d in differences)
    if tied < max(2, math.ceil(_TIE_SHARE * n)):
        return None
    return Diagnostic(
        "ties",
        f"{tied} of {n} pairs are exactly equal, so a few pairs carry the whole claim",
        "record the metric with more digits, or declare values per case",
    )


def resolution(differences: Sequence[float], noise: Noise) -> Diagnostic | None:
    """Differences take one or two values, or the effect is below one step of the metric."""
    n = len(differences)
    if n < _MIN_FOR_OUTLIER or noise.kind != "coarse":
        return None
    mean = math.fsum(differences) / n
    distinct = len(set(differences))
    if distinct > 2 and abs(mean) >= noise.resolution:  # noqa: PLR2004
        return None
    return Diagnostic(
        "resolution",
        f"{n} differences take {distinct} distinct values in steps of {noise.resolution:g}, too coarse for "
        "the noise model",
        "record the metric with more digits, or declare values per case",
    )


def outlier(differences: Sequence[float], noise: Noise) -> Diagnostic | None:
    """One pair carries nearly the whole effect and lies far from the others."""
    n = len(differences)
    total = math.fsum(differences)
    largest = max(differences)
    if n < _MIN_FOR_OUTLIER or total <= 0.0 or largest <= _OUTLIER_SHARE * total:
        return None
    rest = (total - largest) / (n - 1)
    if largest - rest <= 4.0 * noise.sd:
        return None
    return Diagnostic(
        "outlier",
        f"one pair of {n} contributes {largest / total:.0%} of the effect",
        "look at that trial's log; measure more pairs, or use a metric with fewer extremes",
    )
