"""What a visit notices besides its metrics' levels: values that scatter more, trials that cost more. No alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evalkit.measure import Pair
from evalkit.stats.special import student_quantile, student_survival

__all__ = ["cost_ratio", "spread_ratio"]

_LEVEL = 0.001
_FEWEST = 6
_WORTH_SAYING = 1.1
_Values = Sequence[float]


def spread_ratio(visits: Sequence[tuple[_Values, _Values]]) -> float | None:
    """How much wider head's values scatter than the anchor's: the ratio of standard deviations, or None.

    None unless head's are wider by more than chance, at a level of .001. Seeds are shared, so the two sides are
    correlated; equal variances mean that sums and differences of a pair are not (Pitman 1939, Morgan 1939, *Biometrika*
    31, 9-19). Values are centred within each visit.

    Args:
        visits: of each visit head's values and the anchor's, pair by pair.
    """
    heads, anchors, df = [], [], -1
    for head, anchor in visits:
        heads += _centred(head)
        anchors += _centred(anchor)
        df += len(head) - 1
    if df < _FEWEST:
        return None
    sums = [head + anchor for head, anchor in zip(heads, anchors, strict=True)]
    differences = [head - anchor for head, anchor in zip(heads, anchors, strict=True)]
    product = _dot(sums, differences)
    scale = math.sqrt(_dot(sums, sums) * _dot(differences, differences))
    if scale <= 0 or product <= 0:
        return None
    correlation = min(product / scale, 1 - 1e-12)
    t = correlation * math.sqrt(df / (1 - correlation**2))
    if student_survival(t, df) > _LEVEL:
        return None
    quiet = _dot(anchors, anchors)
    return math.sqrt(_dot(heads, heads) / quiet) if quiet > 0 else math.inf


def _dot(first: _Values, second: _Values) -> float:
    return math.fsum(one * other for one, other in zip(first, second, strict=True))


def _centred(values: _Values) -> list[float]:
    mean = math.fsum(values) / len(values) if values else 0.0
    return [value - mean for value in values]


def cost_ratio(pairs: Sequence[Pair]) -> float | None:
    """How much more CPU a trial of head takes than one of the anchor, on the same cases; or None.

    None unless it takes over 10 % more and that is beyond chance (t of the log ratios, at a level of .001).
    """
    ratios = [
        math.log(pair.candidate.candidate_cpu / pair.incumbent.candidate_cpu)
        for pair in pairs
        if pair.candidate.candidate_cpu and pair.incumbent.candidate_cpu
    ]
    count = len(ratios)
    if count < _FEWEST:
        return None
    mean = math.fsum(ratios) / count
    error = math.sqrt(math.fsum((ratio - mean) ** 2 for ratio in ratios) / (count - 1) / count)
    if mean < math.log(_WORTH_SAYING) or mean < student_quantile(_LEVEL, count - 1) * error:
        return None
    return math.exp(mean)
