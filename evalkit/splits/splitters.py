"""Splitters of scikit-learn's protocol: ``split(X, y, groups)`` and ``get_n_splits``, without scikit-learn."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import UsageError
from evalkit.splits.assign import Plan, assign
from evalkit.splits.cases import cases_from_arrays
from evalkit.splits.keyed import keyed_numbers, make_key

__all__ = ["GroupStratifiedFolds", "HoldoutSplit", "KeyedFolds", "TimeFolds"]

Ints = NDArray[np.int64]
Fold = tuple[Ints, Ints]


def _count(X: Any) -> int:  # noqa: N803 - the name that scikit-learn uses
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


class _Folds:
    """What the splitters with folds share."""

    def __init__(self, n_splits: int = 5, key: bytes = b"") -> None:
        if isinstance(n_splits, bool) or not isinstance(n_splits, int) or n_splits < 2:  # noqa: PLR2004
            raise UsageError(f"{n_splits!r} folds", "n_splits is a whole number of at least 2")
        self.n_splits = n_splits
        self.key = key

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002, N803
        """How many folds there are."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Fold]:  # noqa: N803
        """Train and test rows, fold by fold; every row is tested once, and no fold is empty."""
        fold = self._fold_of(X, y, groups)
        for number in range(self.n_splits):
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)

    def _fold_of(self, X: Any, y: Any, groups: Any) -> Ints:  # noqa: N803
        raise NotImplementedError

    def _check(self, blocks: int) -> None:
        if blocks < self.n_splits:
            raise UsageError(f"{self.n_splits} folds of {blocks} rows or groups", "ask for fewer folds")


class KeyedFolds(_Folds):
    """Folds by a keyed order of rows, or of groups where there are any."""

    def _fold_of(self, X: Any, y: Any, groups: Sequence[Hashable] | None) -> Ints:  # noqa: ARG002, N803
        names = [str(n) for n in range(_count(X))] if groups is None else [str(group) for group in groups]
        if len(names) != _count(X):
            raise UsageError(f"{_count(X)} rows but {len(names)} groups", "give one group for every row")
        distinct, inverse = np.unique(names, return_inverse=True)
        self._check(len(distinct))
        order = np.argsort(keyed_numbers(make_key(self.key), distinct.tolist()), kind="stable")
        fold = np.empty(len(distinct), np.int64)
        fold[order] = np.arange(len(distinct)) % self.n_splits
        return fold[inverse]


class GroupStratifiedFolds(_Folds):
    """Folds with balanced classes that keep groups whole."""

    def _fold_of(self, X: Any, y: Any, groups: Any) -> Ints:  # noqa: N803
        if y is None:
            raise UsageError("stratified folds need y", "pass the classes")
        cases = cases_from_arrays(X, y, groups)
        self._check(len(set(cases.groups or cases.ids)))
        shares = {str(number): 1.0 for number in range(self.n_splits)}
        return assign(cases, Plan(shares, "stratified"), make_key(self.key)).split


class TimeFolds(_Folds):
    """Rows in the order of time: each fold is tested on what comes after its training rows.

    Args:
        n_splits: folds.
        times: when every row happened; None for rows that are in order already.
        gap: time, before the test rows, that is not trained on.
    """

    def __init__(self, n_splits: int = 5, times: Sequence[float] | None = None, gap: float = 0.0) -> None:
        super().__init__(n_splits)
        self.times = times
        self.gap = gap

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Fold]:  # noqa: ARG002, N803
        """Train and test rows, fold by fold; equal times never part."""
        times = np.arange(_count(X), dtype=float) if self.times is None else np.asarray(self.times, float)
        if len(times) != _count(X):
            raise UsageError(f"{_count(X)} rows but {len(times)} times", "give one time for every row")
        moments = np.unique(times)
        self._check(len(moments) - 1)
        edges = [moments[len(moments) * number // (self.n_splits + 1)] for number in range(1, self.n_splits + 1)]
        for number, start in enumerate(edges):
            end = edges[number + 1] if number + 1 < len(edges) else np.inf
            train = np.flatnonzero(times < start - self.gap)
            if not len(train):
                raise UsageError(
                    f"fold {number + 1} has nothing to train on", "shorten the gap, or ask for fewer folds"
                )
            yield train, np.flatnonzero((times >= start) & (times < end))


class HoldoutSplit:
    """One split into training rows (``dev``) and held-out rows, by a plan.

    Args:
        plan: with ``dev`` among its splits.
        key: secret bytes.
        times: when every row happened, for splits by time.
    """

    def __init__(self, plan: Plan, key: bytes, times: Sequence[float] | None = None) -> None:
        self.plan = plan
        self.key = key
        self.times = times

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002, N803
        """Always one."""
        return 1

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Fold]:  # noqa: N803
        """Rows of the first split of the plan, and of all others."""
        found = assign(cases_from_arrays(X, y, groups, self.times), self.plan, make_key(self.key)).split
        yield np.flatnonzero(found == 0), np.flatnonzero(found > 0)
