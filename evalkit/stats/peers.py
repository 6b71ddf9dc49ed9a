"""Rules that other loops keep by, for comparison on the same simulated proposals.

Each takes the effects (runs × proposals) and a world, and returns which were kept, the trials of each run, and the
sum of
the gains that each run would claim. Unpaired rules see single trials; paired ones see differences of sd ``world.sd``.
"""

from __future__ import annotations

__all__ = ["PEERS", "Outcome", "Peer"]

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evalkit.stats.investing import LordPlusPlus, Settled
from evalkit.stats.world import Draws, World

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule did.

    Attributes:
        kept: runs × proposals.
        cost: trials of each run.
        claimed: sum of claimed gains of each run.
    """

    kept: Array
    cost: Array
    claimed: Array


@dataclass(frozen=True, slots=True)
class Peer:
    """A rule with its name and where it is in use."""

    name: str
    rule: Callable[[Array, World, np.random.Generator], Outcome]


class _Single:
    """Single trials of an incumbent whose level moves with every keep."""

    def __init__(self, effects: Array, world: World, rng: np.random.Generator) -> None:
        self.runs, self.proposals = effects.shape
        self.effects, self.level = effects, np.zeros(self.runs)
        self._draws, self._which = Draws(rng, world, self.runs), np.arange(self.runs)
        self.cost, self.claimed = np.zeros(self.runs), np.zeros(self.runs)
        self.kept = np.zeros(effects.shape, dtype=bool)

    def trials(self, effect: Array | float, count: int) -> Array:
        """Values of ``count`` trials in every run, runs × count."""
        noise = np.stack([self._draws.single(self._which) for _ in range(count)], axis=1)
        result: Array = (self.level + effect)[:, None] + noise
        return result

    def keep(self, t: int, which: Array, claim: Array) -> None:
        """Keeps proposal t in these runs."""
        self.kept[:, t] = which
        self.claimed += np.where(which, claim, 0.0)
        self.level += np.where(which, self.effects[:, t], 0.0)

    def outcome(self) -> Outcome:
        """What happened."""
        return Outcome(self.kept, self.cost, self.claimed)


def _best_so_far(
    effects: Array,
    world: World,
    rng: np.random.Generator,
    *,
    trials: int = 1,
    floor_from_two: bool = False,
    mads: float = 0.0,
) -> Outcome:
    """Keep if the median of a few trials beats the stored best by a floor."""
    loop = _Single(effects, world, rng)
    first = loop.trials(0.0, max(trials, 2))
    best = np.median(first[:, :trials], axis=1)
    floor = 2.0 * np.abs(first[:, 0] - first[:, 1]) if floor_from_two else np.zeros(loop.runs)
    loop.cost += max(trials, 2) if floor_from_two else trials
    seen = [best]
    for t in range(loop.proposals):
        value = np.median(loop.trials(effects[:, t], trials), axis=1)
        loop.cost += trials
        seen.append(value)
        if mads:
            recent = np.array(seen[-200:])
            spread = np.median(np.abs(recent - np.median(recent, axis=0)), axis=0)
            floor = mads * spread if len(seen) > 3 else np.full(loop.runs, math.inf)  # noqa: PLR2004
        better = value - best > floor
        loop.keep(t, better, value - best)
        best = np.where(better, value, best)
    return loop.outcome()


def _bootstrap(effects: Array, world: World, rng: np.random.Generator) -> Outcome:
    """Up to three seeds, the first of which must beat the mean; keep if the bootstrap says P(better) ≥ .95."""
    loop = _Single(effects, world, rng)
    resamples = np.array(list(itertools.product(range(3), repeat=3)))
    best = loop.trials(0.0, 3)
    loop.cost += 3.0
    for t in range(loop.proposals):
        values = loop.trials(effects[:, t], 3)
        alive = values[:, 0] > best.mean(axis=1)
        loop.cost += np.where(alive, 3.0, 1.0)
        ours, theirs = values[:, resamples].mean(axis=2), best[:, resamples].mean(axis=2)
        better = alive & ((ours[:, :, None] > theirs[:, None, :]).mean(axis=(1, 2)) >= 0.95)  # noqa: PLR2004
        loop.keep(t, better, values.mean(axis=1) - best.mean(axis=1))
        best = np.where(better[:, None], values, best)
    return loop.outcome()


def _differences(effects: Array, world: World, rng: np.random.Generator, pairs: int) -> Array:
    runs, proposals = effects.shape
    draws, every = Draws(rng, world, runs), np.arange(runs)
    out = np.empty((runs, proposals, pairs))
    for t in range(proposals):
        draws.next_proposal(runs)
        for k in range(pairs):
            ours, theirs = draws.pair(every)
            out[:, t, k] = effects[:, t] + ours - theirs
    return out


def _paired(effects: Array, world: World, rng: np.random.Generator, *, pairs: int, errors: float) -> Outcome:
    """Keep if the mean of a few pairs is above so many standard errors."""
    d = _differences(effects, world, rng, pairs)
    mean, error = d.mean(axis=2), d.std(axis=2, ddof=1) / math.sqrt(pairs)
    return _fixed(mean > errors * error, mean, pairs)


def _t_test(effects: Array, world: World, rng: np.random.Generator, *, pairs: int, lord: bool) -> Outcome:
    """Paired t-test at .05, alone or with LORD++ over the run."""
    from scipy.special import stdtr  # noqa: PLC0415 - heavy, and only the comparison needs it

    d = _differences(effects, world, rng, pairs)
    mean = d.mean(axis=2)
    p = stdtr(pairs - 1, -mean / (d.std(axis=2, ddof=1) / math.sqrt(pairs)))
    kept = np.stack([_lord(row) for row in p]) if lord else p <= 0.05  # noqa: PLR2004
    return _fixed(kept, mean, pairs)


def _fixed(kept: Array, mean: Array, pairs: int) -> Outcome:
    cost = np.full(kept.shape[0], 2.0 * pairs * kept.shape[1])
    return Outcome(kept, cost, (mean * kept).sum(axis=1))


def _lord(p_values: Array) -> Array:
    rule = LordPlusPlus()
    keeps: list[Settled] = []
    for t, p in enumerate(p_values.tolist(), 1):
        if p <= rule.next_level(t, tuple(keeps), {}):
            keeps.append(Settled(t, 0.0, 0, True, 0.0))
    kept = np.zeros(p_values.size, dtype=bool)
    kept[[k.index - 1 for k in keeps]] = True
    return kept


PEERS = (
    Peer("single run, keep if better than the stored best", _best_so_far),
    Peer("2·|y1−y2| floor from two baseline runs", lambda e, w, r: _best_so_far(e, w, r, floor_from_two=True)),
    Peer("2·MAD noise floor", lambda e, w, r: _best_so_far(e, w, r, mads=2.0)),
    Peer("median of 3, keep if better", lambda e, w, r: _best_so_far(e, w, r, trials=3)),
    Peer("3 seeds, bootstrap P(better) ≥ .95", _bootstrap),
    Peer("mean of 4 pairs > 2 SE", lambda e, w, r: _paired(e, w, r, pairs=4, errors=2.0)),
    Peer("paired t-test, n = 4, p < .05", lambda e, w, r: _t_test(e, w, r, pairs=4, lord=False)),
    Peer("paired t-test + LORD++, n = 8", lambda e, w, r: _t_test(e, w, r, pairs=8, lord=True)),
)
