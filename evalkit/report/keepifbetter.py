"""What a loop that keeps whatever looks better once would have kept from the same stream.

It runs each candidate once and compares with the best value it has stored. That rule is applied here to the first
value that was measured of each candidate, so it even gets a scorer that can't be forged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evalkit.contract import Metric

__all__ = ["keep_if_better"]


def keep_if_better(metric: Metric, first_value: float, trials: Iterable[Mapping[str, Any]]) -> list[int]:
    """The experiments that such a loop would have kept.

    Args:
        metric: the objective.
        first_value: its value in the anchor's first trial, which such a loop starts from.
        trials: the bodies of the run's ``measured`` records, in order.
    """
    best, kept, seen = first_value, [], set()
    for trial in trials:
        number = trial["experiment"]
        reading = trial["candidate"]["readings"].get(metric.name)
        if number in seen or reading is None:
            continue
        seen.add(number)
        if metric.sign * (reading["value"] - best) > 0.0:
            best = reading["value"]
            kept.append(number)
    return kept
