"""Which of the keeps lost it? A bisection whose every step is a sequential test; a pure state machine.

The trees stand in a row: 0 is the last one known to be good, n is head. A step compares the tree in the middle with
tree 0, side by side: either nothing is lost yet or the whole loss is there. Each step is a sequential probability
ratio test between these two (Wald 1945, eq. 3:31-3:34), with the noise estimated along the way (the moderated t
likelihood ratio of :mod:`evalkit.stats.evidence`). A last step compares the named tree with the one before it; if
that keep alone does not carry the loss, it was lost gradually, and that is said instead of a name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from evalkit.stats.evidence import ModeratedT
from evalkit.stats.noise import Noise

__all__ = ["Bisection", "Comparison", "Cost", "Finding", "Outcome", "predict_cost"]

_PRIOR_DF = 8.0
_FEWEST_PAIRS = 4
_BELIEVED = 0.8
"""Share of the estimated loss that the tests look for: an estimate at an alarm is too large (winner's curse)."""


class Outcome(StrEnum):
    """How a bisection ended."""

    NAMED = "named"
    """One keep carries the loss."""
    GRADUAL = "gradual"
    """The loss is there, but no single keep carries most of it."""
    UNDECIDED = "undecided"
    """The pairs that were allowed did not suffice."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What to measure next: pairs of tree ``newer`` and tree ``older`` (0 is the good one, n is head)."""

    newer: int
    older: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a bisection will cost, predicted.

    Attributes:
        decisions: sequential tests, the last one included.
        pairs: expected pairs in all.
        most: pairs at most.
    """

    decisions: int
    pairs: int
    most: int


@dataclass(frozen=True, slots=True)
class Finding:
    """The end of a bisection.

    Attributes:
        outcome: see :class:`Outcome`.
        keep: 1-based number of the keep that lost it (tree ``keep`` against tree ``keep - 1``); for ``GRADUAL`` the
            keep by which about half of it was lost.
        good: the newest tree that was found as good as tree 0; a rollback to it is safe as far as was tested.
        change: mean difference of the last comparison, oriented so that larger is better.
        decisions: tests that were made.
        pairs: pairs that were measured.
    """

    outcome: Outcome
    keep: int
    good: int
    change: float
    decisions: int
    pairs: int


def _bar(decisions: int, error: float) -> float:
    """Log of the odds at which one test stops, so that all together err with at most ``error``."""
    each = error / decisions
    return math.log((1 - each) / each)


def _decisions(keeps: int) -> int:
    return math.ceil(math.log2(keeps)) + 1 if keeps > 1 else 1


def predict_cost(keeps: int, loss: float, sd: float, *, error: float = 0.05, max_pairs: int = 128) -> Cost:
    """Decisions and pairs of a bisection over ``keeps`` keeps, before it starts.

    A test between 0 and a loss of δ gains ``δ²/(2sd²)`` of log likelihood a pair, so it ends after about
    ``2·sd²·log((1-ε)/ε)/δ²`` pairs (Wald 1945, eq. 3:57).

    Args:
        keeps: how many, at least 1.
        loss: the estimated loss, above 0.
        sd: of a paired difference.
        error: probability of naming a wrong keep, at most.
        max_pairs: of one test.
    """
    if keeps < 1 or not loss > 0 or not sd > 0:
        raise ValueError("a bisection needs at least one keep, a loss above 0 and a noise above 0")
    decisions = _decisions(keeps)
    each = 2 * (sd / (_BELIEVED * loss)) ** 2 * _bar(decisions, error)
    pairs = min(max(math.ceil(each), _FEWEST_PAIRS), max_pairs)
    return Cost(decisions, decisions * pairs, decisions * max_pairs)


class Bisection:
    """The state machine: ask :meth:`next`, measure, :meth:`observe`, until :meth:`next` is None.

    Args:
        keeps: number of keeps between the good tree and head, at least 1.
        loss: the estimated loss of head, above 0, in the metric's oriented unit.
        noise: of a paired difference; its ``pilot_sd`` has to be above 0.
        error: probability of naming a wrong keep, at most, when one keep carries the loss.
        max_pairs: pairs of one test at most; what is likelier then counts.
        first: tree to look at first (a keep that a guard points at), or None for the middle.
    """

    def __init__(
        self,
        keeps: int,
        loss: float,
        noise: Noise,
        *,
        error: float = 0.05,
        max_pairs: int = 128,
        first: int | None = None,
    ) -> None:
        predict_cost(keeps, loss, noise.pilot_sd, error=error)
        self._low, self._high = 0, keeps
        self._loss, self._noise, self._max_pairs = _BELIEVED * loss, noise, max_pairs
        self._bar = _bar(_decisions(keeps), error)
        self._first = first if first is not None and 0 < first < keeps else None
        self._decisions = self._pairs = 0
        self._finding: Finding | None = None
        self._begin()

    def _begin(self) -> None:
        scale = self._noise.pilot_sd
        self._test = ModeratedT(scale, min(self._noise.pilot_df, _PRIOR_DF), (self._loss / scale,))
        self._sum = 0.0

    def next(self) -> Comparison | None:
        """The pair to measure now, or None when the search has ended."""
        if self._finding is not None:
            return None
        if self._high - self._low == 1:
            return Comparison(self._high, self._low)
        if self._first is not None:
            return Comparison(self._first, 0)
        return Comparison((self._low + self._high) // 2, 0)

    def observe(self, newer: float, older: float) -> None:
        """Take one pair of the comparison that :meth:`next` asked for, values oriented so that larger is better.

        Raises:
            ValueError: a value is not finite, or the search has ended.
        """
        asked = self.next()
        if asked is None:
            raise ValueError("the search has ended")
        self._test.update(older - newer)
        self._sum += newer - older
        self._pairs += 1
        self._settle(asked)

    def _settle(self, asked: Comparison) -> None:
        """End the test when its evidence, or its pairs, suffice."""
        against = self._test.log_likelihood_ratio(self._loss / self._noise.pilot_sd)
        taken = self._test.n
        if taken < _FEWEST_PAIRS or (abs(against) < self._bar and taken < self._max_pairs):
            return
        self._decisions += 1
        mean = self._sum / taken
        last = self._high - self._low == 1
        if last:
            self._conclude(against, mean)
            return
        lost = against > 0
        if lost:
            self._high = asked.newer
        else:
            self._low = asked.newer
        self._first = None
        self._begin()

    def _conclude(self, against: float, mean: float) -> None:
        if against >= self._bar:
            outcome = Outcome.NAMED
        else:
            outcome = Outcome.GRADUAL if against <= -self._bar else Outcome.UNDECIDED
        self._finding = Finding(outcome, self._high, self._low, mean, self._decisions, self._pairs)

    @property
    def finding(self) -> Finding | None:
        """What was found; None while the search goes on."""
        return self._finding

    @property
    def progress(self) -> Mapping[str, Any]:
        """Plain data for a progress line."""
        return {"between": [self._low, self._high], "decisions": self._decisions, "pairs": self._pairs}
