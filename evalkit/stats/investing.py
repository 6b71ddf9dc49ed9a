"""Rules that hand out test levels, all in one shape: the next level, given how earlier confirmations ended.

p-value rules (LORD++, SAFFRON) read ``p = min(1, 1/e)``, which is a p-value by Markov's inequality. They need p-values
that are valid given the past; e-LOND needs less, which is why it is the default (see :mod:`evalkit.stats.online`).

With parallel experiments, one that is still open counts as spent and as no discovery: the asynchronous versions of
Zrnic, Ramdas & Jordan (2021), "Asynchronous online testing of multiple hypotheses", JMLR 22.
"""

from __future__ import annotations

__all__ = ["ELord", "ESaffron", "LordPlusPlus", "Rule", "Saffron", "Settled", "lord_gamma", "saffron_gamma"]

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Settled:
    """How one confirmation ended.

    Attributes:
        index: its place in the sequence, from 1 on.
        level: the level it was given.
        keeps_before: keeps that were known when the level was fixed.
        keep: whether it was kept.
        log_e: log of the e-process when it stopped.
    """

    index: int
    level: float
    keeps_before: int
    keep: bool
    log_e: float

    @property
    def p_value(self) -> float:
        """``min(1, 1/e)``."""
        return math.exp(-self.log_e) if self.log_e > 0.0 else 1.0


class Rule(Protocol):
    """A rule for the next level."""

    name: str
    alpha: float

    def next_level(self, index: int, history: tuple[Settled, ...], open_levels: Mapping[int, OpenLevel]) -> float:
        """The level of test ``index``; it may depend on nothing but what is passed."""
        ...


@dataclass(frozen=True, slots=True)
class OpenLevel:
    """A level that was handed out to an experiment which isn't decided yet."""

    level: float
    keeps_before: int


def lord_gamma(j: int) -> float:
    """``0.07720838·log(max(j,2)) / (j·e^√log j)`` (Javanmard & Montanari 2018, eq. 31); sums to at most 1."""
    if j < 1:
        return 0.0
    return 0.07720838 * math.log(max(j, 2)) / (j * math.exp(math.sqrt(math.log(j))))


def saffron_gamma(j: int) -> float:
    """``0.4374901658·j^−1.6``: the sequence of Ramdas et al. (2018), §4; sums to 1."""
    return 0.4374901658 * j**-1.6 if j >= 1 else 0.0


class LordPlusPlus:
    """LORD++ (Ramdas, Yang, Wainwright & Jordan 2017, "Online control of the FDR with decaying memory", §3).

    ``α_t = W0·γ_t + (α − W0)·γ_{t−τ1} + α·Σ_{j≥2} γ_{t−τj}`` with τ the indices of the keeps.

    Args:
        alpha: false discovery rate to hold.
        wealth: W0, in (0, alpha).
        gamma: non-increasing weights that sum to at most 1.
    """

    name = "lord++"

    def __init__(
        self, alpha: float = 0.05, wealth: float | None = None, gamma: Callable[[int], float] = lord_gamma
    ) -> None:
        self.alpha, self._wealth, self._gamma = alpha, _wealth(alpha, wealth), gamma

    def next_level(self, index: int, history: tuple[Settled, ...], open_levels: Mapping[int, OpenLevel]) -> float:
        """The next level; keeps of tests that started later don't count for it."""
        del open_levels
        keeps = sorted(s.index for s in history if s.keep and s.index < index)
        level = self._wealth * self._gamma(index)
        for rank, tau in enumerate(keeps):
            level += (self.alpha - (self._wealth if rank == 0 else 0.0)) * self._gamma(index - tau)
        return min(1.0, level)


class Saffron:
    """SAFFRON (Ramdas, Zrnic, Wainwright & Jordan 2018, Algorithm 1).

    As LORD++, but time only passes for tests that are no candidates (``p > λ``), and levels are at most λ.

    Args:
        alpha: false discovery rate to hold.
        wealth: W0, in (0, alpha).
        candidate: λ, in (0, 1).
        gamma: non-increasing weights that sum to at most 1.
    """

    name = "saffron"

    def __init__(
        self,
        alpha: float = 0.05,
        wealth: float | None = None,
        candidate: float = 0.5,
        gamma: Callable[[int], float] = saffron_gamma,
    ) -> None:
        if not 0.0 < candidate < 1.0:
            raise ValueError("the candidate threshold must lie in (0, 1)")
        self.alpha, self._wealth, self._lambda, self._gamma = alpha, _wealth(alpha, wealth), candidate, gamma

    def next_level(self, index: int, history: tuple[Settled, ...], open_levels: Mapping[int, OpenLevel]) -> float:
        """The next level; open tests count as no candidates."""
        del open_levels
        before = [s for s in history if s.index < index]
        candidates = [s.index for s in before if s.p_value <= self._lambda]
        keeps = sorted(s.index for s in before if s.keep)
        level = self._wealth * self._gamma(index - len(candidates))
        for rank, tau in enumerate(keeps):
            since = index - tau - sum(c > tau for c in candidates)
            level += (self.alpha - (self._wealth if rank == 0 else 0.0)) * self._gamma(since)
        return min(self._lambda, (1.0 - self._lambda) * level)


class ELord:
    """e-LORD (Zhang, Wei, Ren & Zou 2025, "e-GAI", §3), with a constant share of what is left.

    ``α_t = ω·(α − Σ_{j<t} α_j/(R_j+1))·(R+1)`` with ``R_j`` the keeps known when ``α_j`` was fixed. The sum of all
    shares
    stays below α, so the budget shrinks but never ends.

    Args:
        alpha: false discovery rate to hold.
        share: ω, in (0, 1).
    """

    name = "e-lord"

    def __init__(self, alpha: float = 0.05, share: float = 1.0 / 60.0) -> None:
        if not 0.0 < share < 1.0:
            raise ValueError("the share must lie in (0, 1)")
        self.alpha, self._share = alpha, share

    def next_level(self, index: int, history: tuple[Settled, ...], open_levels: Mapping[int, OpenLevel]) -> float:
        """The next level; open tests count as spent."""
        del index
        spent = math.fsum(s.level / (s.keeps_before + 1) for s in history)
        spent += math.fsum(o.level / (o.keeps_before + 1) for o in open_levels.values())
        keeps = sum(s.keep for s in history)
        return min(1.0, self._share * max(0.0, self.alpha - spent) * (keeps + 1))


class ESaffron:
    """e-SAFFRON (Zhang, Wei, Ren & Zou 2025, "e-GAI", §4), with a constant share of what is left.

    As e-LORD with the budget ``α·(1 − λ)``, of which a test with ``e ≥ 1/λ`` spends nothing.

    Args:
        alpha: false discovery rate to hold.
        share: ω, in (0, 1).
        candidate: λ, in (0, 1).
    """

    name = "e-saffron"

    def __init__(self, alpha: float = 0.05, share: float = 1.0 / 60.0, candidate: float = 0.1) -> None:
        if not (0.0 < share < 1.0 and 0.0 < candidate < 1.0):
            raise ValueError("the share and the candidate threshold must lie in (0, 1)")
        self.alpha, self._share, self._lambda = alpha, share, candidate

    def next_level(self, index: int, history: tuple[Settled, ...], open_levels: Mapping[int, OpenLevel]) -> float:
        """The next level; open tests count as spent."""
        del index
        bar = -math.log(self._lambda)
        spent = math.fsum(s.level / (s.keeps_before + 1) for s in history if s.log_e < bar)
        spent += math.fsum(o.level / (o.keeps_before + 1) for o in open_levels.values())
        left = max(0.0, self.alpha * (1.0 - self._lambda) - spent)
        return min(self._lambda, self._share * left * (sum(s.keep for s in history) + 1))


def _wealth(alpha: float, wealth: float | None) -> float:
    if not 0.0 < alpha < 1.0:
        raise ValueError("alpha must lie in (0, 1)")
    chosen = alpha / 2.0 if wealth is None else wealth
    if not 0.0 < chosen < alpha:
        raise ValueError("the initial wealth must lie in (0, alpha)")
    return chosen
