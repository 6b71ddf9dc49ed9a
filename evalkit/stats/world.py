"""Simulated worlds: how noisy trials are, and what a proposer brings. For planning, simulation and the bench."""

from __future__ import annotations

__all__ = ["Draws", "Population", "Shape", "World", "unit_noise"]

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Shape = Literal["gaussian", "t3", "cauchy", "skewed"]
Array = np.ndarray


@dataclass(frozen=True, slots=True)
class World:
    """How trials vary.

    A trial's value is its tree's level plus what its pair shares plus its own noise. Pairs share a part of the
    variance, so
    that values within a pair correlate by ``rho``.

    Attributes:
        sd: standard deviation of a paired difference (for Cauchy noise its scale), above 0.
        rho: correlation within a pair, in [0, 1).
        shape: of a trial's own noise.
        spread: sd of the logarithm of the factor by which a candidate's own noise differs from the incumbent's.
        factor: that factor's median.
        memory: AR(1) coefficient of successive paired differences, in [0, 1).
    """

    sd: float = 1.0
    rho: float = 0.5
    shape: Shape = "gaussian"
    spread: float = 0.0
    factor: float = 1.0
    memory: float = 0.0

    @property
    def single_sd(self) -> float:
        """Standard deviation of one trial."""
        return self.sd / math.sqrt(2.0 * (1.0 - self.rho))


@dataclass(frozen=True, slots=True)
class Population:
    """What a proposer brings, in units of the paired sd.

    Attributes:
        improving: share of proposals that are real improvements.
        harmful: share that are harmful; the rest do exactly nothing.
        median: median size of an improvement, and of a harm.
    """

    improving: float = 0.03
    harmful: float = 0.40
    median: float = 1.0

    def draw(self, rng: np.random.Generator, runs: int, proposals: int) -> Array:
        """Effects, runs × proposals: log-normal sizes, sd of the log .75 for gains (0.1 to 4 medians), 1 for harms."""
        kind = rng.random((runs, proposals))
        gain = np.clip(np.exp(0.75 * rng.standard_normal((runs, proposals))), 0.1, 4.0)
        harm = np.clip(np.exp(rng.standard_normal((runs, proposals))), 0.04, 20.0)
        effects = np.where(kind < self.improving, gain, 0.0)
        effects = np.where((kind >= self.improving) & (kind < self.improving + self.harmful), -harm, effects)
        result: Array = self.median * effects
        return result


def unit_noise(rng: np.random.Generator, shape: Shape, size: int | tuple[int, ...]) -> Array:
    """Noise with mean 0 and variance 1 (Cauchy: location 0 and scale 1)."""
    if shape == "gaussian":
        return rng.standard_normal(size)
    if shape == "t3":
        return rng.standard_t(3.0, size) / math.sqrt(3.0)
    if shape == "cauchy":
        return rng.standard_cauchy(size)
    return rng.exponential(1.0, size) - 1.0


class Draws:
    """Random trials of one world; the order of calls is all that its numbers depend on.

    Args:
        rng: where randomness comes from.
        world: how trials vary.
        runs: how many runs are simulated side by side.
    """

    def __init__(self, rng: np.random.Generator, world: World, runs: int) -> None:
        self._rng, self._world = rng, world
        self._shared = math.sqrt(world.rho) * world.single_sd
        self._own = math.sqrt(1.0 - world.rho) * world.single_sd
        self._factor = np.full(runs, world.factor)
        self._last = np.zeros(runs)

    def next_proposal(self, runs: int) -> None:
        """A new candidate in every run, with its own spread."""
        if self._world.spread:
            self._factor = self._world.factor * np.exp(self._world.spread * self._rng.standard_normal(runs))

    def _noise(self, count: int) -> Array:
        return self._own * unit_noise(self._rng, self._world.shape, count)

    def calibration(self, runs: int, pairs: int) -> tuple[Array, Array]:
        """Both arms of the A/A pairs, runs × pairs."""
        shared = self._shared * self._rng.standard_normal((runs, pairs))
        if self._world.memory:
            steps = np.stack([self._correlated(np.arange(runs)) for _ in range(pairs)], axis=1)
            return shared - 0.5 * steps, shared + 0.5 * steps
        first = shared + self._own * unit_noise(self._rng, self._world.shape, (runs, pairs))
        return first, shared + self._own * unit_noise(self._rng, self._world.shape, (runs, pairs))

    def single(self, which: Array) -> Array:
        """Noise of one candidate trial on its own, in each of these runs."""
        shared = self._shared * self._rng.standard_normal(which.size)
        result: Array = shared + self._factor[which] * self._noise(which.size)
        return result

    def pair(self, which: Array) -> tuple[Array, Array]:
        """Noise of the candidate's and the incumbent's trial of one pair."""
        shared = self._shared * self._rng.standard_normal(which.size)
        if self._world.memory:
            step = self._correlated(which)
            return shared + 0.5 * step, shared - 0.5 * step
        return shared + self._factor[which] * self._noise(which.size), shared + self._noise(which.size)

    def _correlated(self, which: Array) -> Array:
        """The next paired difference of each run, which remembers the one before."""
        memory = self._world.memory
        fresh = math.sqrt(2.0) * self._noise(which.size)
        self._last[which] = memory * self._last[which] + math.sqrt(1.0 - memory * memory) * fresh
        step: Array = self._last[which]
        return step
