"""Head against the anchor on fresh pairs: what the whole run is worth, measured and not summed up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from evalkit.contract import Metric
from evalkit.errors import TrialError
from evalkit.measure import Pair
from evalkit.stats.estimate import estimate_effect
from evalkit.stats.noise import Noise
from evalkit.stats.special import student_quantile
from evalkit.verify.rules import oriented, scale_of
from evalkit.verify.workbench import Workbench

__all__ = ["compare_with_anchor"]

_CONFIDENCE = 0.95


def compare_with_anchor(
    bench: Workbench, pairs: int, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Measure fresh pairs of the anchor and the present incumbent, record and return what they say.

    The seeds are new, the cases are the confirm split's; nothing that decided a keep is used again.

    Args:
        bench: the open, calibrated run.
        pairs: how many, at least 2.
        progress: called with how many pairs are measured and how many are wanted.

    Raises:
        TrialError: no pair is valid.
    """
    seen: list[Pair] = []
    for index in range(pairs):
        if progress:
            progress(index, pairs)
        seen.append(bench.pairing.pair(bench.book.anchor, bench.book.incumbent, split=bench.contract.splits.confirm))
    valid = [pair for pair in seen if pair.valid]
    if len(valid) < 2:  # noqa: PLR2004 - an interval needs two
        raise TrialError("anchor and head could not be compared: fewer than two pairs have values")
    body = {
        "anchor": bench.book.anchor,
        "head": bench.book.incumbent,
        "pairs": len(valid),
        "effects": {m.name: _effect(m, bench.book.noise[m.name], valid) for m in bench.contract.metrics},
        "values": {m.name: _values(m, valid) for m in bench.contract.metrics},
    }
    bench.record("compared", body)
    return body


def _effect(metric: Metric, noise: Noise, pairs: list[Pair]) -> dict[str, Any]:
    scale = scale_of(metric)

    def value(pair: Pair, arm: str) -> float:
        return oriented(getattr(pair, arm).readings[metric.name].value, metric.sign, scale, metric.name)

    differences = [value(pair, "candidate") - value(pair, "incumbent") for pair in pairs]
    return estimate_effect(differences, noise, confidence=_CONFIDENCE).to_dict()


def _values(metric: Metric, pairs: list[Pair]) -> dict[str, Any]:
    """Each arm's mean in the metric's own unit, with Student's interval."""

    def interval(arm: str) -> dict[str, float]:
        values = [getattr(pair, arm).readings[metric.name].value for pair in pairs]
        n = len(values)
        mean = math.fsum(values) / n
        sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
        half = student_quantile((1.0 - _CONFIDENCE) / 2.0, n - 1) * sd / math.sqrt(n)
        return {"mean": mean, "low": mean - half, "high": mean + half}

    return {"anchor": interval("incumbent"), "head": interval("candidate")}
