"""From recorded rows to an effect with its uncertainty: units, clusters, intervals, and how many more would do.

A *unit* is what varies independently. Where the cases (or their clusters) are enough to speak about cases that were
not seen, they are the units and trials only make each less noisy; otherwise the cases are taken as fixed and the trials
are the units. Standard errors over clusters are those of Miller (2024), "Adding error bars to evals", §2.2, with equal
weight a cluster and Student's t instead of the normal, which matters below thirty clusters.

Several looks (``--evalkit-continue``) share one error level: look ``j`` gets ``α·w_j`` with ``w = 3/4, 3/16, …``, which
sums to α, so that adding trials to the same evidence stays within it (Bonferroni over a fixed schedule).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalkit.stats.special import beta_regularized, student_quantile
from evalkit.suite.gates import PassAll, PassAt
from evalkit.suite.records import Row

__all__ = [
    "Estimate",
    "EvidenceError",
    "Units",
    "differences",
    "estimate",
    "level_of_look",
    "more_trials",
    "pass_rate",
    "values",
]

_ENOUGH_CLUSTERS = 5
_FIRST_SHARE = 0.75
_LIMIT = 100_000
_REFINEMENTS = 3


class EvidenceError(Exception):
    """The rows don't hold what a gate needs; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Units:
    """Independent values of one quantity.

    Attributes:
        values: one a unit.
        what: ``case``, ``cluster`` or ``trial``.
        within: variance of one trial's value within a unit, 0 where there is one trial or trials are the units.
        trials: trials behind each value.
        share: whether the values are shares of something, from 0 to 1, and not differences.
    """

    values: tuple[float, ...]
    what: str
    within: float
    trials: int
    share: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with one-sided bounds.

    Attributes:
        mean: of the units.
        low, high: one-sided bounds, each at ``level``; infinite where one unit is all there is.
        level: chance that the mean lies below ``low`` (and above ``high``).
        units, what, trials: as in :class:`Units`.
    """

    mean: float
    low: float
    high: float
    level: float
    units: int
    what: str
    trials: int

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; infinite bounds are None."""

        def plain(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "mean": self.mean,
            "low": plain(self.low),
            "high": plain(self.high),
            "level": self.level,
            "units": self.units,
            "what": self.what,
            "trials": self.trials,
        }


def level_of_look(alpha: float, look: int) -> float:
    """What a look may spend of ``alpha``; look counts from 1, and all of them together spend no more than it."""
    return alpha * _FIRST_SHARE * (1.0 - _FIRST_SHARE) ** (look - 1)


def values(rows: Iterable[Row], metric: str, arm: str) -> Units:
    """One arm's values of a metric.

    Raises:
        EvidenceError: there are none, or a trial has two.
    """
    table = _table(rows, metric, arm)
    clusters = _clusters(rows, metric)
    units = _units({unit: list(trials.values()) for unit, trials in table.items()}, table, clusters)
    return replace(units, share=all(0.0 <= value <= 1.0 for value in units.values))


def differences(rows: Sequence[Row], metric: str, sign: int, *, relative: bool) -> Units:
    """Paired differences candidate − baseline (of logarithms where ``relative``), larger is better.

    Args:
        rows: of one scope.
        metric: its name.
        sign: +1 where larger is better, −1 where smaller is.
        relative: compare ratios.

    Raises:
        EvidenceError: a value has no partner, there are none, or a ratio is not positive.
    """
    ours, theirs = _table(rows, metric, "candidate"), _table(rows, metric, "baseline")
    alone = {(u, t) for u in ours for t in ours[u]} ^ {(u, t) for u in theirs for t in theirs[u]}
    if alone:
        unit, trial = min(alone)
        raise EvidenceError(f"{metric!r} has no partner for trial {trial} of {unit or 'the eval'}")
    table = {
        unit: {t: sign * (_scaled(v, metric, relative) - _scaled(theirs[unit][t], metric, relative))
               for t, v in trials.items()}
        for unit, trials in ours.items()
    }  # fmt: skip
    return _units({unit: list(trials.values()) for unit, trials in table.items()}, table, _clusters(rows, metric))


def pass_rate(rows: Sequence[Row], wanted: PassAt | PassAll) -> Units:
    """Per case, the unbiased estimate of pass@k (Chen et al. 2021, eq. 1) or of pass^k (``C(c,k)/C(n,k)``).

    Raises:
        EvidenceError: a value is neither 0 nor 1, or a case has fewer than k trials.
    """
    table = _table(rows, wanted.metric, "candidate")
    rates: dict[str, list[float]] = {}
    for unit, trials in table.items():
        n, passed = len(trials), sum(trials.values())
        if any(value not in (0.0, 1.0) for value in trials.values()):
            raise EvidenceError(f"{wanted} needs a metric of zeros and ones")
        if n < wanted.k:
            raise EvidenceError(f"{wanted} needs {wanted.k} trials of every case; {unit or 'the eval'} has {n}")
        hits = int(passed)
        if isinstance(wanted, PassAt):
            rates[unit] = [1.0 - math.comb(n - hits, wanted.k) / math.comb(n, wanted.k)]
        else:
            rates[unit] = [math.comb(hits, wanted.k) / math.comb(n, wanted.k)]
    clusters = _clusters(rows, wanted.metric)
    grouped = _grouped({unit: rate[0] for unit, rate in rates.items()}, clusters)
    what = "case" if len(grouped) == len(rates) else "cluster"
    return Units(tuple(grouped), what, 0.0, min(len(trials) for trials in table.values()), share=True)


def estimate(units: Units, level: float) -> Estimate:
    """The mean and its one-sided bounds.

    Shares that are all zeros and ones get the exact bounds of Clopper & Pearson (1934), anything else Student's t;
    units that never differ are taken as exact from two of them on.

    Args:
        units: at least one.
        level: of each bound, in (0, 0.5).
    """
    n = len(units.values)
    mean = math.fsum(units.values) / n
    if n == 1:
        low, high = -math.inf, math.inf
    elif units.share and all(value in (0.0, 1.0) for value in units.values):
        low, high = _clopper_pearson(round(mean * n), n, level)
    else:
        half = student_quantile(level, n - 1) * _standard_error(units.values, mean)
        low, high = mean - half, mean + half
    return Estimate(mean, low, high, level, n, units.what, units.trials)


def more_trials(units: Units, bar: float, level: float) -> int | None:
    """How many more trials would probably bring the lower bound above ``bar``.

    Returns:
        None where no number would: the mean lies below, it is the cases that vary, or it is beyond any budget.
    """
    n = len(units.values)
    gap = math.fsum(units.values) / n - bar
    if gap <= 0.0 or n < 2:  # noqa: PLR2004 - a spread needs two
        return None
    if units.what == "trial":
        variance = n * _standard_error(units.values, bar + gap) ** 2
        wanted = n
        for _ in range(_REFINEMENTS):  # a longer run has thinner tails, so fewer trials than the first guess
            wanted = max(2, math.ceil(variance * (student_quantile(level, wanted - 1) / gap) ** 2))
            if wanted > _LIMIT:
                return None
        return max(1, wanted - n)
    between = max(0.0, n * _standard_error(units.values, bar + gap) ** 2 - units.within / units.trials)
    room = n * (gap / student_quantile(level, n - 1)) ** 2 - between
    if room <= 0.0 or units.within == 0.0:
        return None
    wanted = math.ceil(units.within / room)
    return max(1, wanted - units.trials) if wanted < _LIMIT else None


def _table(rows: Iterable[Row], metric: str, arm: str) -> dict[str, dict[int, float]]:
    """Unit → trial → value. Units of different evals stay apart."""
    table: dict[str, dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row.metric != metric or row.arm != arm:
            continue
        trials = table[_unit(row)]
        if row.trial in trials:
            raise EvidenceError(f"{metric!r} has two values for trial {row.trial} of {_unit(row)}")
        trials[row.trial] = row.value
    if not table:
        raise EvidenceError(f"no {arm} trial recorded {metric!r}")
    counts = {len(trials) for trials in table.values()}
    if len(counts) > 1:
        raise EvidenceError(f"{metric!r} has {min(counts)} to {max(counts)} trials a case; every case needs the same")
    return dict(table)


def _unit(row: Row) -> str:
    return f"{row.evaluation}[{row.unit}]"


def _clusters(rows: Iterable[Row], metric: str) -> dict[str, str]:
    return {_unit(row): f"{row.evaluation}[{row.cluster}]" for row in rows if row.metric == metric}


def _scaled(value: float, metric: str, relative: bool) -> float:
    if not relative:
        return value
    if value <= 0.0:
        raise EvidenceError(f"{metric!r} is {value:g}; a relative comparison needs positive values")
    return math.log(value)


def _grouped(means: Mapping[str, float], clusters: Mapping[str, str]) -> list[float]:
    groups: dict[str, list[float]] = defaultdict(list)
    for unit, mean in means.items():
        groups[clusters[unit]].append(mean)
    return [math.fsum(members) / len(members) for members in groups.values()]


def _units(
    found: Mapping[str, list[float]], table: Mapping[str, Mapping[int, float]], clusters: Mapping[str, str]
) -> Units:
    trials = len(next(iter(found.values())))
    grouped = _grouped({unit: math.fsum(column) / len(column) for unit, column in found.items()}, clusters)
    if len(grouped) < _ENOUGH_CLUSTERS <= trials or len(grouped) == 1:
        numbers = sorted({trial for column in table.values() for trial in column})
        means = [math.fsum(column[t] for column in table.values()) / len(table) for t in numbers]
        return Units(tuple(means), "trial", 0.0, trials)
    within = 0.0
    if trials > 1:
        squares = [
            math.fsum((x - math.fsum(column) / trials) ** 2 for x in column) / (trials - 1) for column in found.values()
        ]
        # A cluster's mean over c cases has a c-th of one case's variance.
        within = math.fsum(squares) / len(squares) * len(grouped) / len(found)
    return Units(tuple(grouped), "case" if len(grouped) == len(found) else "cluster", within, trials)


def _standard_error(sample: Sequence[float], mean: float) -> float:
    n = len(sample)
    return math.sqrt(math.fsum((x - mean) ** 2 for x in sample) / (n - 1) / n)


def _clopper_pearson(hits: int, n: int, level: float) -> tuple[float, float]:
    def solve(a: float, b: float, target: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if beta_regularized(a, b, middle) < target else (low, middle)
        return 0.5 * (low + high)

    lower = 0.0 if hits == 0 else solve(hits, n - hits + 1, level)
    upper = 1.0 if hits == n else solve(hits + 1, n - hits, 1.0 - level)
    return lower, upper
