"""Evidence when one trial gives a value per case: clusters as units, and repeated seeds on the same cases."""

from __future__ import annotations

__all__ = ["ClusteredEvidence", "PerCaseEvidence", "cluster_means"]

import math
from typing import TYPE_CHECKING

import numpy as np

from evalkit.stats.bounded import BettingEvidence

if TYPE_CHECKING:
    from collections.abc import Sequence


def cluster_means(values: Sequence[float] | np.ndarray, clusters: Sequence[object]) -> np.ndarray:
    """The mean of each cluster, in order of first appearance: several items of one document count as one unit.

    Args:
        values: one a case.
        clusters: the cluster of each case, hashable; same length.
    """
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or x.size != len(clusters):
        raise ValueError("every case needs a cluster")
    index: dict[object, int] = {}
    codes = np.array([index.setdefault(c, len(index)) for c in clusters], dtype=np.intp)
    sums = np.bincount(codes, weights=x, minlength=len(index))
    means: np.ndarray = sums / np.bincount(codes, minlength=max(1, len(index)))[: len(index)]
    return means


class ClusteredEvidence:
    """Betting evidence over clusters of cases, for H0: the mean over clusters ≤ ``null``.

    Cases of one cluster may depend on each other in any way; clusters must be exchangeable draws. A cluster may not be
    spread over two calls.

    Args:
        low: smallest possible difference of a case.
        high: largest possible difference of a case.
        null: largest mean that is still "no better".
    """

    __slots__ = ("_inner",)

    def __init__(self, low: float = -1.0, high: float = 1.0, *, null: float = 0.0) -> None:
        self._inner = BettingEvidence(low, high, null=null)

    @property
    def n(self) -> int:
        """Clusters seen."""
        return self._inner.n

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-process now."""
        return self._inner.log_e

    def update(self, x: float, /) -> float:
        """Takes the mean of one whole cluster."""
        return self._inner.update(x)

    def add(self, values: Sequence[float] | np.ndarray, clusters: Sequence[object]) -> float:
        """Takes whole clusters, case by case."""
        return self._inner.add(cluster_means(values, clusters))

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """A confidence sequence for the mean over clusters."""
        return self._inner.interval(alpha)


class PerCaseEvidence:
    """Pairs over cases and seeds together: the same cases measured again with further seeds.

    A case is one unit however often it is measured; further seeds only make its mean difference less noisy. After
    look j there is a fresh e-value ``E_j`` for H0 "the mean over the population of cases is ≤ null", computed from the
    case means so far, and ``M_j = Σ_{i≤j} w_i·E_i`` with ``Σw = 1``. Whenever one stops, M is at most the whole
    weighted
    sum, whose expectation is at most 1: an e-process, however the looks depend on each other.

    It needs noise that is independent between cases, given the case (a model sampled per case). Where one seed moves
    all cases together (a training run), the unit is the pair and ``ModeratedT`` on pair means is right; see
    ``shared_seed_effect``.

    Args:
        low: smallest possible difference of a case.
        high: largest possible difference of a case.
        null: largest mean that is still "no better".
    """

    __slots__ = ("_high", "_log_e", "_looks", "_low", "_null", "_pairs", "_sums", "_units")

    def __init__(self, low: float = -1.0, high: float = 1.0, *, null: float = 0.0) -> None:
        self._low, self._high, self._null = low, high, null
        self._pairs = self._looks = 0
        self._sums = np.zeros(0)
        self._units = BettingEvidence(low, high, null=null)
        self._log_e = -math.inf

    @property
    def n(self) -> int:
        """Pairs (seeds) seen."""
        return self._pairs

    @property
    def cases(self) -> int:
        """Cases."""
        return int(self._sums.size)

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-process now; 0 before the first pair."""
        return self._log_e if self._looks else 0.0

    def update(self, x: Sequence[float] | np.ndarray, /) -> float:
        """Takes one pair: a difference for each case, always in the same order.

        Looks are taken after pairs 1, 2, 4, 8, …: the j-th with weight ``1/(j(j+1))``.

        Raises:
            ValueError: another number of cases than before, or a difference outside the bounds.
        """
        values = np.asarray(x, dtype=float)
        if self._pairs and values.size != self._sums.size:
            raise ValueError(f"every pair must bring the same {self._sums.size} cases")
        self._sums = values + self._sums if self._pairs else values.copy()
        self._pairs += 1
        if self._pairs & (self._pairs - 1) == 0:
            self._look()
        return self.log_e

    def _look(self) -> None:
        self._units = BettingEvidence(self._low, self._high, null=self._null)
        fresh = self._units.add(np.clip(self._sums / self._pairs, self._low, self._high))
        self._looks += 1
        self._log_e = float(np.logaddexp(self._log_e, fresh - math.log(self._looks * (self._looks + 1))))

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """A confidence interval for the mean over cases, as of the last look, valid over all looks together."""
        share = alpha / (self._looks * (self._looks + 1)) if self._looks else alpha
        return self._units.interval(share)


def shared_seed_effect(differences: Sequence[Sequence[float]] | np.ndarray) -> float:
    """How much more pair means vary than independent cases would make them: about 1 when cases vary on their own.

    The variance of pair means (over A/A pairs), over the mean variance of a case divided by the number of cases.

    Args:
        differences: A/A differences, pairs × cases, at least two of each.
    """
    d = np.asarray(differences, dtype=float)
    if d.ndim != 2 or min(d.shape) < 2:  # noqa: PLR2004
        raise ValueError("needs at least two pairs of at least two cases")
    alone = float(d.var(axis=0, ddof=1).mean()) / d.shape[1]
    together = float(d.mean(axis=1).var(ddof=1))
    if alone == 0.0:
        return 1.0
    return float(together / alone)
