"""Metrics without noise, such as bytes or instruction counts: compared exactly, without spending error budget."""

from __future__ import annotations

__all__ = ["ExactTest"]

import math
from typing import TYPE_CHECKING

from evalkit.stats.protocols import Decision, Need, Observation, Value

if TYPE_CHECKING:
    from evalkit.stats.protocols import Outcome


class ExactTest:
    """One experiment on a number that does not vary between runs of the same tree.

    That the candidate is as deterministic as the incumbent was is checked, not assumed: all its values must agree, and
    so must the incumbent's.

    Args:
        min_effect: the gain that a keep must exceed, at least 0.
        pairs: how many pairs have to agree, at least 2.
    """

    def __init__(self, *, min_effect: float = 0.0, pairs: int = 2) -> None:
        if not (math.isfinite(min_effect) and min_effect >= 0.0 and pairs >= 2):  # noqa: PLR2004
            raise ValueError("an exact test needs min_effect ≥ 0 and at least two pairs")
        self._min_effect, self._wanted = min_effect, pairs
        self._pairs: list[tuple[float, float]] = []
        self._ended: tuple[Outcome, str] | None = None

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Everything it was told, in order."""
        return tuple(Observation(Need.CONFIRM_PAIR, c, i) for c, i in self._pairs)

    @property
    def confirming(self) -> bool:
        """Always False: an exact comparison spends no level, so its place in the run can be given back."""
        return False

    def need(self) -> Need | None:
        """A confirm pair, until the pairs agree, disagree or show no gain."""
        return None if self._ended else Need.CONFIRM_PAIR

    def observe(self, need: Need, candidate: Value, incumbent: Value | None = None) -> None:
        """Tells it one pair.

        Raises:
            ValueError: it is decided already, or a value is not a finite number.
        """
        if need != self.need():
            raise ValueError(f"the experiment needs {self.need() or 'nothing more'}, not {need}")
        if not isinstance(candidate, float | int) or not isinstance(incumbent, float | int):
            raise ValueError("an exact test takes one number a trial")  # noqa: TRY004 - one error for bad values
        if not (math.isfinite(candidate) and math.isfinite(incumbent)):
            raise ValueError("a trial's value must be finite")
        self._pairs.append((float(candidate), float(incumbent)))
        self._judge()

    def _judge(self) -> None:
        first = self._pairs[0]
        gain = first[0] - first[1]
        if any(pair != first for pair in self._pairs):
            self._ended = ("inconclusive", "not-exact")
        elif gain <= self._min_effect:
            self._ended = ("reject", "exact-not-better")
        elif len(self._pairs) >= self._wanted:
            self._ended = ("keep", "exact-better")

    def residuals(self) -> tuple[float, float, float]:
        """Nothing: there is no noise to learn."""
        return (0.0, 0.0, 0.0)

    def decision(self) -> Decision:
        """How it stands; final once :meth:`need` is None."""
        outcome, reason = self._ended or ("inconclusive", "unfinished")
        gains = [c - i for c, i in self._pairs]
        n = len(gains)
        mean = math.fsum(gains) / n if n else None
        settled = reason in ("exact-better", "exact-not-better")
        return Decision(
            outcome=outcome,
            reason=reason,
            message=self._message(reason, mean),
            stage="done" if self._ended else "confirm",
            level=None,
            log_e=0.0,
            pairs=n,
            screens=0,
            sum=math.fsum(gains),
            sum_of_squares=math.fsum(g * g for g in gains),
            mean=mean,
            interval=(mean, mean) if settled else (None, None),
            more_pairs=None if self._ended else self._wanted - n,
        )

    def _message(self, reason: str, mean: float | None) -> str:
        gain = 0.0 if mean is None else mean
        return {
            "exact-better": f"better by exactly {gain:g} (more than {self._min_effect:g} is asked)",
            "exact-not-better": f"gains {gain:g}, and more than {self._min_effect:g} is asked",
            "not-exact": "the metric was exact in calibration but varies here: calibrate again with more A/A pairs",
            "unfinished": "still measuring",
        }[reason]
