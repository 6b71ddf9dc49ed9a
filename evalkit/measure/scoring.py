"""From what was seen of a program's phases to the readings that the contract asks for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evalkit.contract import Metric, Trust
from evalkit.measure.observation import Reading
from evalkit.measure.relay import ScorerResult
from evalkit.sandbox.interface import Usage

__all__ = ["ReadingError", "Seen", "read_metrics"]


_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""What programs print; ``float`` also reads ``1_000``, ``infinity`` and the digits of other scripts."""


class ReadingError(Exception):
    """A metric has no value, or not exactly one finite value; the message names it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one program in one trial.

    Attributes:
        usage: by phase (``run``, ``serve``).
        latency: seconds that queries were outstanding, summed.
        queries: how many were answered.
        artifact_bytes: sum over the artefacts.
        result: of the scorer.
        stdout: what ``run`` printed, as text.
    """

    usage: Mapping[str, Usage]
    latency: float
    queries: int
    artifact_bytes: int
    result: ScorerResult | None
    stdout: str


def read_metrics(metrics: Iterable[Metric], seen: Seen) -> dict[str, Reading]:
    """One reading for every metric.

    Raises:
        ReadingError: a value is missing, not finite, or stands there twice.
    """
    return {metric.name: _READERS[metric.trust](metric, seen) for metric in metrics}


def _scored(metric: Metric, seen: Seen) -> Reading:
    if seen.result is None:
        raise ReadingError(f"the scorer reported nothing, so {metric.name!r} has no value")
    if metric.name not in seen.result.metrics:
        known = ", ".join(sorted(seen.result.metrics)) or "nothing"
        raise ReadingError(f"the scorer reported {known}, but not {metric.name!r}")
    cases = seen.result.cases.get(metric.name, ())
    clusters = seen.result.clusters if cases else ()
    if clusters and len(clusters) != len(cases):
        raise ReadingError(f"{metric.name!r} has {len(cases)} cases, but there are {len(clusters)} cluster labels")
    return _reading(metric, seen.result.metrics[metric.name], cases, clusters)


def _measured(metric: Metric, seen: Seen) -> Reading:
    phases = ("run", "serve") if metric.phase == "all" else (metric.phase,)
    usages = [seen.usage[phase] for phase in phases if phase in seen.usage]
    if not usages:
        raise ReadingError(f"{metric.name!r} is measured over {metric.phase!r}, which this program does not have")
    values: list[float | None]
    match metric.measure:
        case "wall":
            # While serving, only the time in which an answer was owed counts: the rest is the scorer's.
            values = [
                seen.latency if phase == "serve" else seen.usage[phase].wall for phase in phases if phase in seen.usage
            ]
        case "cpu":
            values = [usage.cpu for usage in usages]
        case "memory":
            values = [_largest(usage.peak_memory for usage in usages)]
        case "instructions":
            values = [usage.instructions for usage in usages]
        case "bytes":
            values = [seen.artifact_bytes]
        case _:
            values = [seen.latency / seen.queries if seen.queries else None]
    if any(value is None for value in values):
        raise ReadingError(f"{metric.measure} can't be measured on this machine, so {metric.name!r} has no value")
    return _reading(metric, float(sum(value for value in values if value is not None)), (), ())


def _largest(values: Iterable[int | None]) -> float | None:
    known = list(values)
    return None if any(value is None for value in known) else max(value for value in known if value is not None)


def _reported(metric: Metric, seen: Seen) -> Reading:
    pattern = metric.report or rf"^METRIC\s+{re.escape(metric.name)}=(\S+)\s*$"
    found = re.findall(pattern, seen.stdout, flags=re.MULTILINE)
    if len(found) != 1:
        count = "nowhere" if not found else f"{len(found)} times"
        raise ReadingError(f"{metric.name!r} stands {count} in the program's output; it must stand there once")
    if not _NUMBER.fullmatch(found[0]):
        raise ReadingError(f"{metric.name!r} is {found[0][:40]!r}, not a number")
    return _reading(metric, float(found[0]), (), ())


def _reading(metric: Metric, value: float, cases: tuple[float, ...], clusters: tuple[str, ...]) -> Reading:
    if not math.isfinite(value) or not all(map(math.isfinite, cases)):
        raise ReadingError(f"{metric.name!r} is not finite")
    return Reading(value, metric.trust, cases, clusters)


_READERS = {Trust.SCORED: _scored, Trust.MEASURED: _measured, Trust.REPORTED: _reported}
