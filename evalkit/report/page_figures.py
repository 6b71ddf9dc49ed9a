"""What follows from a run's records: gains on fresh pairs, a keep-if-better loop's beliefs, what can be seen at all."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.report.page_data import Run, oriented_value
from evalkit.stats.protocols import Need
from evalkit.stats.sequential import experiment
from evalkit.verify.rules import Rules

__all__ = ["Belief", "Gain", "believed", "gains", "reasons", "smallest_step"]

_POWER = 0.8
_CANDIDATES = 30
_HALVINGS = 7
_LARGEST = 8.0


@dataclass(frozen=True, slots=True)
class Gain:
    """Where the run stands after a keep: the sum of all keeps' estimates on fresh pairs so far.

    Attributes:
        number: of the experiment that was kept.
        total: oriented, on the objective's scale.
        half: half-width of its interval: the estimates rest on different pairs, so their half-widths add in quadrature.
    """

    number: int
    total: float
    half: float

    @property
    def low(self) -> float:
        """Lower end."""
        return self.total - self.half

    @property
    def high(self) -> float:
        """Upper end."""
        return self.total + self.half


@dataclass(frozen=True, slots=True)
class Belief:
    """What a loop that keeps whatever scores better once would have made of the same candidates.

    Attributes:
        steps: number of each experiment that it would have kept, and the gain over the anchor it would then believe in.
        unverified: how many of them evalkit did not keep.
    """

    steps: tuple[tuple[int, float], ...]
    unverified: int

    @property
    def total(self) -> float:
        """The gain it would believe in at the end."""
        return self.steps[-1][1] if self.steps else 0.0


def gains(run: Run) -> tuple[Gain, ...]:
    """The cumulative gain after each keep that has an estimate."""
    out: list[Gain] = []
    total = square = 0.0
    for kept in run.keeps:
        found = kept.estimates.get(run.objective.name)
        if found is None:
            continue
        total += found.centre
        if found.low is not None and found.high is not None:
            square += ((found.high - found.low) / 2.0) ** 2
        out.append(Gain(kept.number, total, math.sqrt(square)))
    return tuple(out)


def believed(run: Run) -> Belief:
    """Each candidate's first value against the best first value so far, from the anchor's first one on."""
    if run.first_value is None:
        return Belief((), 0)
    best, steps, unverified = run.first_value, [], 0
    for one in run.experiments:
        value = oriented_value(run.objective, one.trials[0].candidate) if one.trials else None
        if value is not None and value > best:
            best = value
            unverified += one.decision != "KEEP"
            steps.append((one.number, best - run.first_value))
    return Belief(tuple(steps), unverified)


def reasons(run: Run) -> tuple[tuple[str, str, int], ...]:
    """Why things were not kept: decision, reason code and how often, most frequent first."""
    counted = Counter((one.decision, one.verdict["reason"]) for one in run.experiments if one.decision != "KEEP")
    return tuple((decision, reason, count) for (decision, reason), count in counted.most_common())


def smallest_step(rules: Mapping[str, Any] | None) -> float | None:
    """About the smallest effect that is kept four times out of five, at the level that the run has reached.

    Simulated with the machine that decides: thirty candidates with the noise of the calibration, the same for every
    size, and bisection on the size. The screen counts, guarded metrics do not.

    Args:
        rules: of the last experiment, as recorded.

    Returns:
        In oriented units of the objective's scale; None where there is no noise, or nothing up to 8 sd is kept.
    """
    if rules is None:
        return None
    try:
        known = Rules.from_json(rules)
    except (KeyError, TypeError, ValueError):  # rules of another version: they can be shown, not driven
        return None
    sd = known.objective.noise.sd
    if sd <= 0.0 or not _often_kept(known, _LARGEST * sd):
        return None
    low, high = 0.0, _LARGEST * sd
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if _often_kept(known, middle) else (middle, high)
    return high


def _often_kept(rules: Rules, effect: float) -> bool:
    may_fail = _CANDIDATES - math.ceil(_POWER * _CANDIDATES)
    for seed in range(_CANDIDATES):
        may_fail -= not _kept(rules, effect, seed)
        if may_fail < 0:
            return False
    return True


def _kept(rules: Rules, effect: float, seed: int) -> bool:
    draw = random.Random(seed)  # noqa: S311 - a simulation
    noise, least = rules.objective.noise, rules.objective.min_effect
    own = noise.sd * math.sqrt(0.5)  # a pair's difference then has the paired sd
    level = rules.baseline.mean if rules.baseline else 0.0
    test = experiment(rules.policy, noise, rules.level, baseline=rules.baseline, null=least, min_effect=least)
    while (need := test.need()) is not None:
        spread = noise.single_sd if need is Need.SCREEN_SINGLE else own
        candidate = level + effect + draw.gauss(0.0, spread)
        test.observe(need, candidate, None if need is Need.SCREEN_SINGLE else level + draw.gauss(0.0, own))
    return test.decision().outcome == "keep"
