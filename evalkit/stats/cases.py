"""The statistics of one experiment on a metric with one value per case."""

from __future__ import annotations

__all__ = ["CasesTest"]

import math
from typing import TYPE_CHECKING

import numpy as np

from evalkit.stats.bounded import BettingEvidence
from evalkit.stats.choice import kind_of_cases
from evalkit.stats.discrete import BinaryEvidence
from evalkit.stats.percase import PerCaseEvidence
from evalkit.stats.protocols import Decision, Need, Observation, Outcome, Value, bounds

if TYPE_CHECKING:
    from evalkit.stats.policies import Policy

_HOPELESS = -4.0
"""Cases stop being worth their price when the mean difference lies this many standard errors below zero … """
_SCREEN_Z = 0.0
"""… and a screen on visible cases has to show a mean difference above this many standard errors."""


class CasesTest:
    """One experiment with a score in [0, 1] for each case, larger is better.

    The screen is one pair on visible (dev) cases. Confirmation goes pair by pair over cases from the confirm pool:
    with ``fresh`` each pair brings cases that this test hasn't seen (rotated items; clusters averaged beforehand),
    and each
    is a unit. Without it every pair brings the same cases with a new seed, and ``PerCaseEvidence`` averages over seeds.

    Args:
        policy: how much to spend; ``max_pairs`` bounds the confirm pairs.
        level: α_t in (0, 1].
        null: largest mean difference that is still "no better", in [0, 1).
        fresh: whether confirm pairs bring new cases.
        screen: whether to screen first.
    """

    def __init__(
        self, policy: Policy, level: float, *, null: float = 0.0, fresh: bool = True, screen: bool = True
    ) -> None:
        if not 0.0 < level <= 1.0:
            raise ValueError("the level must lie in (0, 1]")
        if not 0.0 <= null < 1.0:
            raise ValueError("the null effect of a score in [0, 1] must lie in [0, 1)")
        self._policy, self._level, self._null, self._fresh = policy, level, null, fresh
        self._stage = "screen" if screen else "confirm"
        self._observations: list[Observation] = []
        self._screens = self._pairs = 0
        self._seen = _Moments(fresh=fresh)
        self._evidence: BinaryEvidence | BettingEvidence | PerCaseEvidence | None = None
        self._interval = BettingEvidence(null=null)
        self._ended: tuple[Outcome, str] | None = None

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Everything it was told, in order."""
        return tuple(self._observations)

    @property
    def confirming(self) -> bool:
        """Whether any confirm data were seen, so that its level is spent."""
        return self._pairs > 0

    def need(self) -> Need | None:
        """A screen pair, then confirm pairs; None when it is decided."""
        if self._ended is not None:
            return None
        return Need.SCREEN_PAIR if self._stage == "screen" else Need.CONFIRM_PAIR

    def observe(self, need: Need, candidate: Value, incumbent: Value | None = None) -> None:
        """Tells it one pair: a score for each case, in the same order for both.

        Raises:
            ValueError: it didn't ask for that, lengths differ, or a score is not a number in [0, 1].
        """
        if need != self.need():
            raise ValueError(f"the experiment needs {self.need() or 'nothing more'}, not {need}")
        ours, theirs = _scores(candidate), _scores(incumbent)
        if ours.size != theirs.size:
            raise ValueError("both arms need a score for the same cases")
        self._observations.append(Observation(need, _tuple(candidate), _tuple(incumbent)))
        if need == Need.SCREEN_PAIR:
            self._screens += 1
            screened = _Moments(fresh=True)
            screened.add(ours - theirs)
            passed = screened.z(self._null) > _SCREEN_Z
            self._stage, self._ended = ("confirm", None) if passed else ("done", ("reject", "screen"))
            return
        if self._evidence is None:
            binary = kind_of_cases(ours) == "binary" == kind_of_cases(theirs)
            self._evidence = self._choose(binary=binary)
        self._confirm(ours - theirs)

    def _confirm(self, difference: np.ndarray) -> None:
        log_e = self._take(difference)
        self._seen.add(difference)
        self._pairs += 1
        if log_e >= -math.log(self._level):
            self._end("keep", "evidence")
        elif self._seen.z(self._null) < _HOPELESS or self._hopeless():
            self._end("reject", "futility")
        elif self._pairs >= self._policy.max_pairs:
            self._end("inconclusive", "cases-exhausted" if self._fresh else "pairs-exhausted")

    def _choose(self, *, binary: bool) -> BinaryEvidence | BettingEvidence | PerCaseEvidence:
        if not self._fresh:
            return PerCaseEvidence(null=self._null)
        if binary and self._null == 0.0:
            return BinaryEvidence()
        return BettingEvidence(null=self._null)

    def _take(self, difference: np.ndarray) -> float:
        evidence = self._evidence
        if isinstance(evidence, BinaryEvidence):
            if not np.isin(difference, (-1.0, 0.0, 1.0)).all():
                raise ValueError("scores were right or wrong so far, and now they are not")
            wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
            evidence.add(wins=wins, losses=losses, ties=difference.size - wins - losses)
        elif isinstance(evidence, BettingEvidence):
            evidence.add(difference)
        elif evidence is not None:
            evidence.update(difference)
        if self._fresh:
            self._interval.add(difference)
        return evidence.log_e if evidence is not None else 0.0

    def _hopeless(self) -> bool:
        """After half of the pairs, evidence that points the wrong way."""
        return 2 * self._pairs >= self._policy.max_pairs and self._seen.mean <= self._null

    def _end(self, outcome: Outcome, reason: str) -> None:
        self._ended, self._stage = (outcome, reason), "done"

    def residuals(self) -> tuple[float, float, float]:
        """Nothing: spread over cases says nothing about a scalar noise model."""
        return (0.0, 0.0, 0.0)

    def decision(self) -> Decision:
        """How it stands; final once :meth:`need` is None."""
        outcome, reason = self._ended or ("inconclusive", "unfinished")
        seen = self._seen
        evidence = self._evidence
        log_e = evidence.log_e if evidence is not None else 0.0
        source = evidence if isinstance(evidence, PerCaseEvidence) else self._interval
        return Decision(
            outcome=outcome,
            reason=reason,
            message=self._message(reason, log_e, seen.size),
            stage=self._stage,
            level=self._level,
            log_e=log_e,
            pairs=seen.size,
            screens=self._screens,
            sum=seen.total,
            sum_of_squares=seen.square,
            mean=seen.mean if seen.size else None,
            interval=bounds(source.interval(0.05)) if seen.size else (None, None),
            more_pairs=self._more_pairs(outcome, log_e),
            unit="case",
        )

    def _more_pairs(self, outcome: Outcome, log_e: float) -> int | None:
        """Evidence grows about linearly with cases: how many more pairs at the pace so far."""
        if outcome != "inconclusive" or self._pairs == 0 or log_e <= 0.0:
            return None
        return max(1, math.ceil(self._pairs * (-math.log(self._level) / log_e - 1.0)))

    def _message(self, reason: str, log_e: float, cases: int) -> str:
        have = f"log evidence {log_e:.2f} of {-math.log(self._level):.2f} needed over {cases} cases"
        return {
            "screen": "no better on the visible cases; no error budget spent",
            "evidence": f"better: {have}",
            "futility": f"no better on the confirm cases: {have}",
            "cases-exhausted": f"not decided: {have}",
            "pairs-exhausted": f"not decided: {have}",
            "unfinished": f"still measuring: {have}" if cases else "still screening",
        }[reason]


class _Moments:
    """Count, sum and sum of squares of the case differences: of all of them, or of each case's mean over pairs."""

    def __init__(self, *, fresh: bool) -> None:
        self._fresh, self._pairs = fresh, 0
        self._sums = np.zeros(0)
        self.size, self.total, self.square = 0, 0.0, 0.0

    def add(self, difference: np.ndarray) -> None:
        """One more pair."""
        self._pairs += 1
        if self._fresh:
            self.size += int(difference.size)
            self.total += float(difference.sum())
            self.square += float(difference @ difference)
            return
        self._sums = difference + self._sums if self._pairs > 1 else difference
        mean = self._sums / self._pairs
        self.size, self.total, self.square = int(mean.size), float(mean.sum()), float(mean @ mean)

    @property
    def mean(self) -> float:
        """Mean difference; 0 before the first case."""
        return self.total / self.size if self.size else 0.0

    def z(self, null: float) -> float:
        """Mean over its standard error; a constant difference counts by its sign."""
        gain = self.mean - null
        variance = max(0.0, self.square / self.size - self.mean**2)
        if variance <= 1e-15 * self.square / self.size:
            return math.copysign(math.inf, gain) if gain else 0.0
        return gain / math.sqrt(variance / self.size)


def _scores(value: Value | None) -> np.ndarray:
    if not isinstance(value, tuple | list) or not value:
        raise ValueError("a trial needs one score per case")
    scores = np.asarray(value, dtype=float)
    if scores.ndim != 1 or not (scores.min() >= 0.0 and scores.max() <= 1.0):
        raise ValueError("a score must be a number from 0 to 1")
    return scores


def _tuple(value: Value | None) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else tuple(value) if isinstance(value, list) else ()
