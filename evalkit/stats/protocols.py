"""What all experiments have in common: what they need next, what they saw, how they end."""

from __future__ import annotations

__all__ = ["Decision", "ExperimentTest", "Need", "Observation", "Outcome", "Value", "bounds", "replay"]

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from evalkit.stats.diagnostics import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Outcome = Literal["keep", "reject", "inconclusive"]
Value = float | tuple[float, ...]
"""One trial's value: a number, or one number a case."""


class Need(StrEnum):
    """What an experiment has to see next."""

    SCREEN_SINGLE = "screen single"
    SCREEN_PAIR = "screen pair"
    CONFIRM_PAIR = "confirm pair"


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that an experiment was told, exactly as it was told.

    Attributes:
        need: what it answers.
        candidate: the candidate's value, or one a case.
        incumbent: the incumbent's, in the same order; None for a single screen trial.
    """

    need: Need
    candidate: Value
    incumbent: Value | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"need": self.need.value, "candidate": _plain(self.candidate), "incumbent": _plain(self.incumbent)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Observation:
        """The inverse of :meth:`to_dict`."""
        incumbent = data["incumbent"]
        return cls(Need(data["need"]), _value(data["candidate"]), None if incumbent is None else _value(incumbent))


@dataclass(frozen=True, slots=True)
class Decision:
    """How an experiment stands, or ended.

    Attributes:
        outcome: ``keep``, ``reject`` or ``inconclusive``.
        reason: a code: ``evidence``, ``screen``, ``futility``, ``pairs-exhausted``, ``cases-exhausted``,
            ``exact-better``, ``exact-not-better``, ``not-exact``, ``diagnostic``, ``unfinished``.
        message: one sentence for people.
        stage: ``screen``, ``confirm`` or ``done``.
        level: the level α_t that evidence had to reach, as ``log_e ≥ −log α_t``; None where no level is spent.
        log_e: log of the e-process.
        pairs: confirm pairs (or cases, see ``unit``) behind ``log_e``.
        screens: screen observations.
        sum: sum of the confirm differences.
        sum_of_squares: sum of their squares.
        mean: their mean; None before the first.
        interval: 95 % confidence sequence for the effect; an end is None where it is unbounded.
        more_pairs: pairs that would probably decide, if the effect is what it looks like; None where that is unknown or
            nothing is missing.
        unit: what ``pairs`` counts: ``pair`` or ``case``.
        diagnostics: what speaks against a claim.
    """

    outcome: Outcome
    reason: str
    message: str
    stage: str
    level: float | None
    log_e: float
    pairs: int
    screens: int
    sum: float
    sum_of_squares: float
    mean: float | None
    interval: tuple[float | None, float | None]
    more_pairs: int | None = None
    unit: str = "pair"
    diagnostics: tuple[Diagnostic, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, finite numbers only, so that it is JSON everywhere."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["interval"] = list(self.interval)
        plain["diagnostics"] = [d.to_dict() for d in self.diagnostics]
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """The inverse of :meth:`to_dict`."""
        plain = dict(data)
        low, high = plain["interval"]
        plain["interval"] = (low, high)
        plain["diagnostics"] = tuple(Diagnostic.from_dict(d) for d in plain["diagnostics"])
        return cls(**plain)


class ExperimentTest(Protocol):
    """The statistics of one experiment: asks, is told, decides. Deterministic and replayable."""

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Everything it was told, in order."""
        ...

    @property
    def confirming(self) -> bool:
        """Whether any confirm data were seen, so that its level is spent."""
        ...

    def need(self) -> Need | None:
        """What it has to see next; None when it is decided."""
        ...

    def observe(self, need: Need, candidate: Value, incumbent: Value | None = None) -> None:
        """Tells it what it asked for.

        Raises:
            ValueError: it didn't ask for that, or a value is not finite.
        """
        ...

    def decision(self) -> Decision:
        """How it stands; final once :meth:`need` is None."""
        ...

    def residuals(self) -> tuple[float, float, float]:
        """What the confirm differences say about noise: the arguments of ``pooled`` after the noise model."""
        ...


def replay(test: ExperimentTest, observations: Iterable[Observation]) -> Decision:
    """Feeds recorded observations to a fresh test and returns what it decides."""
    for seen in observations:
        test.observe(seen.need, seen.candidate, seen.incumbent)
    return test.decision()


def bounds(interval: tuple[float, float]) -> tuple[float | None, float | None]:
    """An interval with None for an infinite end."""
    low, high = interval
    return (low if math.isfinite(low) else None, high if math.isfinite(high) else None)


def _plain(value: Value | None) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _value(data: Any) -> Value:
    return tuple(float(x) for x in data) if isinstance(data, list | tuple) else float(data)
