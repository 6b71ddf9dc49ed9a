"""Reusing a holdout: for reporting, with every query counted; and rotated items for gating.

Ladder and Thresholdout make a *reported* score trustworthy for longer. At the sizes that loops have (n ≤ 5,000) they
don't
protect a hill-climb enough to gate on: a gate needs items that the search has not been selected on, which is
what :class:`Rotation` hands out.
"""

from __future__ import annotations

__all__ = ["Answer", "Ladder", "Rotation", "Thresholdout"]

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query may say.

    Attributes:
        score: the reported score.
        from_holdout: whether it carries new information about the holdout.
        queries: queries so far, this one included.
    """

    score: float
    from_holdout: bool
    queries: int


class Ladder:
    """The parameter-free Ladder (Blum & Hardt 2015, "The Ladder", ICML, Figure 2): reports only clear new bests.

    A submission's mean score is released, rounded to ``1/n``, when it beats the best so far by more than one
    standard error of
    the per-case difference; otherwise the best so far is repeated.

    Args:
        state: what :meth:`state` gave; None starts a new one.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self._best: float | None = None if state is None else state["best"]
        self._scores = np.zeros(0) if state is None else np.asarray(state["scores"], dtype=float)
        self._queries = 0 if state is None else int(state["queries"])

    def state(self) -> dict[str, Any]:
        """Plain data; holds per-case scores, so it belongs in the vault."""
        return {"best": self._best, "scores": self._scores.tolist(), "queries": self._queries}

    @property
    def queries(self) -> int:
        """Queries so far."""
        return self._queries

    def submit(self, scores: Sequence[float]) -> Answer:
        """Asks for the score of one submission.

        Args:
            scores: one a case, larger is better, always for the same cases in the same order.
        """
        x = np.asarray(scores, dtype=float)
        if x.ndim != 1 or x.size < 2 or not np.isfinite(x).all():  # noqa: PLR2004
            raise ValueError("a submission needs at least two finite scores")
        if self._best is not None and x.size != self._scores.size:
            raise ValueError("every submission must cover the same cases")
        self._queries += 1
        mean = float(x.mean())
        if self._best is None:
            clear = True
        else:
            error = float((x - self._scores).std(ddof=1)) / math.sqrt(x.size)
            clear = mean > self._best + error
        if clear:
            self._best, self._scores = round(mean * x.size) / x.size, x
        return Answer(self._best if self._best is not None else mean, clear, self._queries)


class Thresholdout:
    """Thresholdout (Dwork, Feldman, Hardt, Pitassi, Reingold & Roth 2015, Science 349, Figure 1).

    Answers with the dev score unless dev and holdout disagree by more than a noisy threshold; then with the holdout
    score
    plus Laplace noise, which costs one unit of the budget. When the budget is gone it answers nothing.

    Args:
        threshold: how far dev and holdout may differ before the holdout is consulted, above 0.
        scale: of the noise, above 0; the paper's σ.
        budget: how many times the holdout may be consulted.
        seed: of the noise; secret from whoever asks.
    """

    def __init__(self, *, threshold: float, scale: float, budget: int, seed: int) -> None:
        if not (threshold > 0.0 and scale > 0.0 and budget >= 0):
            raise ValueError("Thresholdout needs a threshold and a scale above 0 and a budget of at least 0")
        self._threshold, self._scale, self._left, self._seed = threshold, scale, budget, seed
        self._queries = self._refreshes = 0

    @property
    def queries(self) -> int:
        """Queries so far."""
        return self._queries

    @property
    def left(self) -> int:
        """How many times the holdout may still be consulted."""
        return self._left

    def state(self) -> dict[str, Any]:
        """Plain data; the seed stays with whoever keeps the vault."""
        return {"queries": self._queries, "left": self._left, "refreshes": self._refreshes}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Continues from :meth:`state`, with the same arguments and seed."""
        self._queries, self._left = int(state["queries"]), int(state["left"])
        self._refreshes = int(state["refreshes"])

    def query(self, dev: float, holdout: float) -> Answer | None:
        """Asks for one score, given both means; None when the budget is spent.

        Noise depends on the seed and on how many queries there were, so a resumed run answers the same.
        """
        if not (math.isfinite(dev) and math.isfinite(holdout)):
            raise ValueError("scores must be finite")
        if self._left <= 0:
            return None
        self._queries += 1
        gate = np.random.default_rng([self._seed, 0, self._refreshes]).laplace(0.0, 2.0 * self._scale)
        own = np.random.default_rng([self._seed, 1, self._queries])
        if abs(holdout - dev) <= self._threshold + gate + own.laplace(0.0, 4.0 * self._scale):
            return Answer(dev, from_holdout=False, queries=self._queries)
        self._left -= 1
        self._refreshes += 1
        return Answer(holdout + own.laplace(0.0, self._scale), from_holdout=True, queries=self._queries)


class Rotation:
    """Hands out confirm items so that each is used as rarely as possible, in an order that nobody can foresee.

    Args:
        items: the pool's item ids, unique.
        key: secret of whoever keeps the vault; decides the order.
        uses: how often each item was used so far; missing ones count as never.
    """

    def __init__(self, items: Sequence[str], *, key: bytes, uses: Mapping[str, int] | None = None) -> None:
        if len(set(items)) != len(items):
            raise ValueError("item ids must be unique")
        self._items, self._key = tuple(items), key
        self._uses = {i: int((uses or {}).get(i, 0)) for i in items}

    @property
    def uses(self) -> dict[str, int]:
        """How often each item was used."""
        return dict(self._uses)

    @property
    def unused(self) -> int:
        """Items that no verdict has rested on yet."""
        return sum(n == 0 for n in self._uses.values())

    def draw(self, size: int) -> tuple[str, ...]:
        """The next items: the least used ones, in keyed order within each count.

        Raises:
            ValueError: more than the pool holds.
        """
        if not 0 < size <= len(self._items):
            raise ValueError(f"the pool holds {len(self._items)} items, {size} were asked for")
        chosen = sorted(self._items, key=lambda item: (self._uses[item], self._rank(item)))[:size]
        for item in chosen:
            self._uses[item] += 1
        return tuple(chosen)

    def _rank(self, item: str) -> bytes:
        text = f"{self._uses[item]}:{item}".encode()
        return hashlib.blake2b(text, key=self._key[:64], digest_size=16).digest()
