"""Other change detectors on the same series; runs under a Python that has them, and needs nothing of evalkit.

``PYTHON watch_peers.py NAME < series.json`` reads a list of series and prints, for each, the index of its first alarm
or null. ``adwin`` needs river, ``pelt`` ruptures, ``otava`` apache-otava (which wants an environment of its own). The
other two stand here because they are a few lines.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Callable, Sequence

__all__ = ["PLAIN", "cusum_raw", "main", "page_hinkley"]

_REFERENCE = 10
_Detector = Callable[[Sequence[float]], "int | None"]


def cusum_raw(series: Sequence[float]) -> int | None:
    """One-sided CUSUM for a loss (k = .25, h = 8 sd) against the mean of the first 10 values; unit sd."""
    level = math.fsum(series[:_REFERENCE]) / _REFERENCE
    total = 0.0
    for index, value in enumerate(series[_REFERENCE:], start=_REFERENCE):
        total = max(0.0, total - (value - level) - 0.25)
        if total > 8:  # noqa: PLR2004 - h
            return index
    return None


def page_hinkley(series: Sequence[float]) -> int | None:
    """Page-Hinkley for a loss with δ = .05 and λ = 20 (unit sd), as streaming libraries have it."""
    mean = total = lowest = 0.0
    for index, value in enumerate(series):
        mean += (value - mean) / (index + 1)
        total += mean - value - 0.05
        lowest = min(lowest, total)
        if total - lowest > 20:  # noqa: PLR2004 - λ
            return index
    return None


def _adwin(series: Sequence[float]) -> int | None:
    detector = importlib.import_module("river.drift").ADWIN()
    for index, value in enumerate(series):
        detector.update(value)
        if detector.drift_detected:
            return index
    return None


def _pelt(series: Sequence[float]) -> int | None:
    array = importlib.import_module("numpy").array(series)
    penalty = 3 * math.log(len(series))
    found = importlib.import_module("ruptures").Pelt(model="l2", min_size=5).fit(array).predict(pen=penalty)
    return int(found[0]) if found[0] < len(series) else None


def _otava(series: Sequence[float]) -> int | None:
    module = importlib.import_module("otava.series")
    made = module.Series(
        test_name="x",
        branch=None,
        time=list(range(len(series))),
        metrics={"m": module.Metric(1, 1.0)},
        data={"m": list(series)},
        attributes={},
    )
    points = made.analyze().change_points["m"]
    return int(points[0].index) if points else None


PLAIN: dict[str, _Detector] = {"cusum": cusum_raw, "page-hinkley": page_hinkley}
_ALL: dict[str, _Detector] = {**PLAIN, "adwin": _adwin, "pelt": _pelt, "otava": _otava}


def main() -> None:
    """Read series, write alarms."""
    detector = _ALL[sys.argv[1]]
    json.dump([detector(series) for series in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
