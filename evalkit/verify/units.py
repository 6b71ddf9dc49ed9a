"""What counts as one unit of evidence for a metric: a trial's number, or each of its cases.

Chosen once, from the calibration's A/A pairs and the contract, and recorded with its reason before any experiment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from evalkit.contract import Metric
from evalkit.errors import TrialError
from evalkit.measure import Reading
from evalkit.stats.noise import Noise
from evalkit.verify.rules import scale_of

__all__ = ["CasesError", "EvidenceKind", "Units", "choose_units", "units_of"]

EvidenceKind = Literal["scalar", "exact", "cases", "cases-once"]
"""``scalar``: a noisy number a trial. ``exact``: a number without noise. ``cases``: case by case, over several seeds.
``cases-once``: case by case in one pair, since seeds change nothing."""

_FEWEST_CASES = 20
"""Fewer cases could not reach any level of a run even if all of them improved; declared kinds are believed anyway."""
_FEWEST_PAIRS = 8
"""Fewer A/A pairs can't show whether one seed moves all cases together."""
_SAME_MEAN = 1e-6


class CasesError(TrialError):
    """A trial's cases are missing, or no scores from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Units:
    """The choice for one metric.

    Attributes:
        kind: which evidence.
        why: in one sentence, for the verdict.
    """

    kind: EvidenceKind = "scalar"
    why: str = "one number per trial"

    @property
    def by_case(self) -> bool:
        """Whether cases are the units."""
        return self.kind in {"cases", "cases-once"}

    def as_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any] | None) -> Units:
        """The inverse of :meth:`as_json`; None, as in old records, is one number per trial."""
        return cls(**plain) if plain else cls()


def units_of(reading: Reading, sign: int) -> tuple[float, ...]:
    """A trial's scores in [0, 1], larger is better: one a case, or the mean of each cluster.

    Raises:
        CasesError: there are none, or one lies outside [0, 1].
    """
    from evalkit.stats.percase import cluster_means  # noqa: PLC0415 - numpy loads late

    if not reading.cases:
        raise CasesError("the scorer reported no cases")
    if min(reading.cases) < 0.0 or max(reading.cases) > 1.0:
        raise CasesError("a case's score lies outside 0 to 1")
    oriented = reading.cases if sign > 0 else tuple(1.0 - case for case in reading.cases)
    if not reading.clusters:
        return oriented
    # Means of numbers in [0, 1] may leave it by rounding.
    return tuple(min(1.0, max(0.0, mean)) for mean in cluster_means(oriented, reading.clusters).tolist())


def choose_units(metric: Metric, noise: Noise, pairs: Sequence[Mapping[str, Any]]) -> Units:
    """The evidence for a metric.

    Args:
        metric: its declared kind is believed where the data allow it.
        noise: from calibration.
        pairs: the A/A pairs as recorded; at least one.
    """
    if metric.kind in {"scalar", "ratio", "exact"} or scale_of(metric) == "log":
        return _number(noise, f"declared {metric.kind}" if metric.kind != "auto" else "a measured number per trial")
    declared = metric.kind != "auto"
    arms = [[Reading.from_json(pair[arm]["readings"][metric.name]) for pair in pairs] for arm in _ARMS]
    try:
        vectors = [[units_of(reading, metric.sign) for reading in arm] for arm in arms]
    except CasesError as error:
        return _number(noise, f"declared {metric.kind}, but {error.message}" if declared else error.message)
    problem = _unfit(metric, [*arms[0], *arms[1]], [*vectors[0], *vectors[1]])
    return _number(noise, problem) if problem else _by_case(noise, vectors, declared=metric.kind if declared else "")


_ARMS = ("incumbent", "candidate")


def _number(noise: Noise, why: str) -> Units:
    return Units("exact" if noise.sd == 0.0 else "scalar", f"{why}; {noise.why}")


def _unfit(metric: Metric, readings: Sequence[Reading], vectors: Sequence[tuple[float, ...]]) -> str:
    """Why cases can't be the units, or the empty string."""
    if len({len(vector) for vector in vectors}) > 1:
        return "the number of cases differs between trials"
    if metric.kind == "auto" and len(vectors[0]) < _FEWEST_CASES:
        return f"{len(vectors[0])} cases are too few to be units"
    for reading in readings:
        mean = math.fsum(reading.cases) / len(reading.cases)
        if abs(mean - reading.value) > _SAME_MEAN * max(1.0, abs(reading.value)):
            return f"the value ({reading.value:.6g}) is not the mean of its cases ({mean:.6g})"
    return "min_effect leaves nothing that a score could gain" if metric.min_effect >= 1.0 else ""


def _by_case(noise: Noise, vectors: Sequence[Sequence[tuple[float, ...]]], *, declared: str) -> Units:
    from evalkit.stats.choice import SHARED_SEED  # noqa: PLC0415 - numpy loads late
    from evalkit.stats.percase import shared_seed_effect  # noqa: PLC0415

    count, pairs = len(vectors[0][0]), len(vectors[0])
    said = f"declared {declared}; " if declared else ""
    if len({*vectors[0], *vectors[1]}) == 1:
        return Units("cases-once", f"{said}all {2 * pairs} A/A trials agree on each of {count} cases")
    if pairs < _FEWEST_PAIRS:
        return _number(noise, f"{said}{pairs} A/A pairs can't show that cases vary on their own")
    differences = [[ours - theirs for ours, theirs in zip(*arms, strict=True)] for arms in zip(*vectors, strict=True)]
    ratio = shared_seed_effect(differences)
    if ratio > SHARED_SEED:
        return _number(noise, f"{said}pair means vary {ratio:.1f} times as much as {count} independent cases would")
    return Units("cases", f"{said}{count} cases vary on their own (ratio {ratio:.1f})")
