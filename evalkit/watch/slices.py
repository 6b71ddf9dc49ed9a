"""Groups of cases that are worse although the whole is not (Simpson's paradox), from paired per-case values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from evalkit.contract import Metric
from evalkit.measure import Pair

__all__ = ["Slice", "worse_slices"]

_LEVEL = 0.001
_FEWEST_CASES = 5


@dataclass(frozen=True, slots=True)
class Slice:
    """A group of cases that head does worse on.

    Attributes:
        label: of the group, as the scorer names it.
        change: mean change per case, oriented so that larger is better.
        cases: in the group.
        z: the change in standard errors over the group's cases.
    """

    label: str
    change: float
    cases: int
    z: float


def worse_slices(pairs: Sequence[Pair], metric: Metric) -> tuple[Slice, ...]:
    """Groups whose mean change is below 0 by more than chance, where the metric as a whole did not get worse.

    A case counts once: its differences are averaged over the pairs that share its position. The level of .001 is
    divided by the number of groups (Bonferroni).

    Args:
        pairs: head as candidate, anchor as incumbent; only pairs whose values come case by case, with a label each.
        metric: gives the orientation.
    """
    grouped = _differences(pairs, metric)
    everything = [value for values in grouped.values() for value in values]
    if len(grouped) <= 1 or not everything or math.fsum(everything) < 0:
        return ()
    bar = NormalDist().inv_cdf(_LEVEL / len(grouped))
    found = []
    for label, values in grouped.items():
        if len(values) < _FEWEST_CASES:
            continue
        mean = math.fsum(values) / len(values)
        variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
        z = mean / math.sqrt(variance / len(values)) if variance > 0 else math.copysign(math.inf, mean) if mean else 0.0
        if z < bar:
            found.append(Slice(label, mean, len(values), max(z, -1e9)))
    return tuple(sorted(found, key=lambda item: item.z))


def _differences(pairs: Sequence[Pair], metric: Metric) -> dict[str, list[float]]:
    """Mean oriented difference of each case, by its label; pairs whose cases don't line up are left out."""
    sums: dict[tuple[str, int], tuple[float, int]] = {}
    for pair in pairs:
        head, anchor = pair.candidate.readings[metric.name], pair.incumbent.readings[metric.name]
        if not head.cases or len(head.cases) != len(anchor.cases) or head.clusters != anchor.clusters:
            continue
        for index, (label, new, old) in enumerate(zip(head.clusters, head.cases, anchor.cases, strict=False)):
            total, count = sums.get((label, index), (0.0, 0))
            sums[label, index] = (total + metric.sign * (new - old), count + 1)
    grouped: dict[str, list[float]] = {}
    for (label, _), (total, count) in sums.items():
        grouped.setdefault(label, []).append(total / count)
    return grouped
