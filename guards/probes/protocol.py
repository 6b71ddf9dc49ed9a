"""What a probe is and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from evalkit.guarding import Finding, Severity

__all__ = ["Outcome", "Probe", "Verdict"]


class Verdict(StrEnum):
    """What a probe found."""

    CAUGHT = "caught"
    """The number is not what it claims."""
    CLEAR = "clear"
    """Nothing of the kind, as far as this probe can see."""
    UNDECIDED = "undecided"
    """Too little to say; ``needs`` tells how much more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one probe says.

    Attributes:
        probe: its name.
        verdict: see :class:`Verdict`.
        sentence: for a person.
        p_value: under the hypothesis that the candidate is honest; None where the condition is exact.
        cost: trials that it took.
        needs: further trials that would decide, where it is undecided.
        mechanism: the number of the gaming mechanism in ``docs/guards.md``.
    """

    probe: str
    verdict: Verdict
    sentence: str
    p_value: float | None = None
    cost: int = 0
    needs: int = 0
    mechanism: int = 0

    def finding(self) -> Finding | None:
        """A blocking finding (``EK5xx`` by the mechanism) where something was caught, else None."""
        if self.verdict is not Verdict.CAUGHT:
            return None
        advice = "the result does not hold under the probe; see docs/guards.md"
        return Finding(f"EK5{self.mechanism:02d}", Severity.BLOCK, f"{self.probe}: {self.sentence}", advice=advice)


@runtime_checkable
class Probe(Protocol):
    """A behavioural check that needs trials.

    ``run`` is given a function that scores the candidate under a named variation of its inputs and returns one value a
    trial; the probe decides how many it asks for.
    """

    name: str
    mechanism: int

    def run(self, score: Callable[[Mapping[str, object], int], Sequence[float]]) -> Outcome:
        """Ask for trials and decide."""
