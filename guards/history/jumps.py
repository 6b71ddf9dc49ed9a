"""When a gain is out of all proportion to what the run has seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

__all__ = ["FACTOR", "LEAST", "is_implausible", "kept_gains", "records"]

FACTOR = 4.0
"""How many typical gains a single one may be worth."""
LEAST = 3
"""Gains that have to be known before one is called implausible."""


def is_implausible(gain: float, kept: Sequence[float]) -> bool:
    """Whether a gain is larger than every earlier one, and several times the typical one.

    Gains of optimisation runs are heavy-tailed and shrink over time, so both conditions are asked: the median times
    :data:`FACTOR` alone would flag a large early step, the maximum alone would flag every new record.

    Args:
        gain: of the new result over the best so far, positive is better.
        kept: gains of earlier results that were kept, each over the best before it.
    """
    earlier = [value for value in kept if value > 0 and math.isfinite(value)]
    if len(earlier) < LEAST or not math.isfinite(gain):
        return False
    return gain > max(earlier) and gain > FACTOR * median(earlier)


def records(values: Iterable[float], *, sign: int) -> tuple[float, list[float]]:
    """The best of a sequence of accepted results, and by how much each record beat the one before.

    Args:
        values: results in the order in which they were accepted.
        sign: +1 where larger is better, −1 where smaller is.

    Returns:
        The best value (NaN where there is none), and the gains in their order.
    """
    best, gains = math.nan, []
    for value in values:
        if not math.isfinite(value):
            continue
        if math.isnan(best):
            best = value
        elif sign * (value - best) > 0:
            gains.append(sign * (value - best))
            best = value
    return best, gains


def kept_gains(history: Iterable[Mapping[str, Any]]) -> list[float]:
    """Effects of the keeps among a run's decided experiments (``decision`` and ``effect.mean`` of each record)."""
    gains: list[float] = []
    for record in history:
        if str(record.get("decision", record.get("status", ""))).upper() != "KEEP":
            continue
        effect = record.get("effect")
        mean = effect.get("mean") if isinstance(effect, Mapping) else effect
        if isinstance(mean, int | float) and not isinstance(mean, bool):
            gains.append(float(mean))
    return gains
