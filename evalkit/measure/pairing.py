"""Pairs: an incumbent trial and a candidate trial with the same seed, next to each other, in random order.

Random order within the pair keeps a drifting machine from favouring one arm: at a nominal 5 % the false positives
under linear drift are 91.5 % for AAAABBBB, 10.5 % for ABAB and 4.9 % for random order (``docs/statistics.md``).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

from evalkit.measure.observation import Fault, Observation
from evalkit.measure.trial import TrialRunner

__all__ = ["Pair", "Pairing"]

_SEED_BITS = 31
_RETRIES = 2
"""Trials that failed through our own fault are run again this often; results never are."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two trials with the same seed on the same split.

    Attributes:
        incumbent, candidate: what each yielded; ``candidate`` may be invalid, ``incumbent`` too.
        first: which ran first.
    """

    incumbent: Observation
    candidate: Observation
    first: Literal["incumbent", "candidate"]

    @property
    def valid(self) -> bool:
        """Whether both trials have values."""
        return self.incumbent.valid and self.candidate.valid

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values for the ledger."""
        return {
            "incumbent": self.incumbent.as_json(),
            "candidate": self.candidate.as_json(),
            "first": self.first,
        }


class Pairing:
    """Chooses seeds and orders, and runs pairs.

    Args:
        runner: runs the trials.
        entropy: for tests; None takes the operating system's, which no proposer can predict.
    """

    def __init__(self, runner: TrialRunner, *, entropy: int | None = None) -> None:
        self._runner = runner
        self._random: random.Random = random.SystemRandom() if entropy is None else random.Random(entropy)  # noqa: S311

    def fresh_seed(self) -> int:
        """A seed that nobody has seen."""
        return self._random.getrandbits(_SEED_BITS)

    def single(self, tree: str, *, split: str) -> Observation:
        """One trial with a fresh seed; run again, with another, where it failed through our own fault."""
        for _ in range(_RETRIES):
            trial = self._runner.run(tree, seed=self.fresh_seed(), split=split)
            if trial.fault is not Fault.OURS:
                return trial
        return self._runner.run(tree, seed=self.fresh_seed(), split=split)

    def pair(self, incumbent: str, candidate: str, *, split: str) -> Pair:
        """One pair with a fresh seed; both trials are run again where either failed through our own fault."""
        return self._until_ours_is_right(incumbent, candidate, split, same_seed=True)

    def null_pair(self, tree: str, *, split: str) -> Pair:
        """An A/A pair: one tree against itself, with a seed of its own for each arm.

        With the same seed in both arms a program that depends on nothing else would differ by exactly zero, while any
        change to it, even one that improves nothing, draws its random numbers in another order and differs by the
        noise between seeds. That noise is what calibration has to see. The scorer's seed is the same in both arms.
        """
        return self._until_ours_is_right(tree, tree, split, same_seed=False)

    def _until_ours_is_right(self, incumbent: str, candidate: str, split: str, *, same_seed: bool) -> Pair:
        for _ in range(_RETRIES):
            pair = self._pair(incumbent, candidate, split, same_seed=same_seed)
            if Fault.OURS not in {pair.incumbent.fault, pair.candidate.fault}:
                return pair
        return self._pair(incumbent, candidate, split, same_seed=same_seed)

    def _pair(self, incumbent: str, candidate: str, split: str, *, same_seed: bool) -> Pair:
        seed = self.fresh_seed()
        other = seed if same_seed else self.fresh_seed()

        def trial(tree: str, own: int) -> Observation:
            return self._runner.run(tree, seed=own, split=split, scoring_seed=seed)

        if self._random.getrandbits(1):
            first = trial(incumbent, seed)
            return Pair(first, trial(candidate, other), "incumbent")
        second = trial(candidate, other)
        return Pair(trial(incumbent, seed), second, "candidate")
