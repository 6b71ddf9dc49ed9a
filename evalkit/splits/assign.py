"""Which split every case goes to."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import DataError, UsageError
from evalkit.overlap.neighbours import clusters, near_duplicates
from evalkit.splits.cases import Cases
from evalkit.splits.keyed import hash_split, keyed_numbers

__all__ = ["DEFAULT_SHARES", "UNUSED", "Assignment", "Plan", "assign"]

DEFAULT_SHARES: Mapping[str, float] = {"dev": 0.5, "confirm": 0.3, "sealed": 0.2}
UNUSED = -1
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plan:
    """How cases are split.

    Attributes:
        shares: of every split, positive; they are scaled to sum to 1.
        method: ``hash`` (by id or group; nothing moves on append), ``stratified`` (classes balanced, groups kept whole
            where there are any) or ``time`` (earliest first).
        duplicates: near-duplicates with at least this containment never part; None to not look for any.
        gap: time before a boundary that is left unused, in the unit of the times (seconds for dates).
        embargo: time after a boundary that is left unused.
    """

    shares: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_SHARES))
    method: Literal["hash", "stratified", "time"] = "hash"
    duplicates: float | None = None
    gap: float = 0.0
    embargo: float = 0.0

    def __post_init__(self) -> None:
        """Refuse shares that make no sense."""
        if not self.shares or any(not share > 0 or math.isinf(share) for share in self.shares.values()):
            raise UsageError("every split needs a positive share", "for example dev=0.5,confirm=0.3,sealed=0.2")
        if self.gap < 0 or self.embargo < 0:
            raise UsageError("gap and embargo can't be negative", "give a span of time, or leave them out")

    @property
    def names(self) -> tuple[str, ...]:
        """The splits in order."""
        return tuple(self.shares)

    @property
    def fractions(self) -> list[float]:
        """Shares that sum to 1."""
        total = sum(self.shares.values())
        return [share / total for share in self.shares.values()]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where every case went.

    Attributes:
        names: of the splits.
        split: number of every case's split; ``UNUSED`` for cases left out.
        block: of every case the first case that it may not be parted from.
        why_unused: reasons by case number.
    """

    names: tuple[str, ...]
    split: Ints
    block: Ints
    why_unused: Mapping[int, str]

    def members(self, name: str) -> list[int]:
        """Numbers of the cases in one split."""
        return np.flatnonzero(self.split == self.names.index(name)).tolist()


def assign(cases: Cases, plan: Plan, key: bytes, previous: Mapping[str, str] | None = None) -> Assignment:
    """Split cases.

    Args:
        cases: what is split.
        plan: how.
        key: 32 secret bytes; the same key gives the same split.
        previous: an earlier split by id. Its cases stay where they are; new ones join their group or near-duplicates,
            and are left out where those lie in different splits.

    Raises:
        DataError: a split would be empty, or the data can't be split this way.
    """
    block = _blocks(cases, plan)
    why: dict[int, str] = {}
    if plan.method == "time":
        split = _by_time(cases, plan, block, why)
    elif plan.method == "stratified":
        split = _stratified(cases, plan, key, block)
    else:
        split = hash_split(key, [cases.groups[b] if cases.groups else cases.ids[b] for b in block], plan.fractions)
    if previous:
        split = _keep_previous(cases, plan, block, split, previous, why)
    result = Assignment(plan.names, split, block, why)
    _refuse(cases, result)
    return result


def _blocks(cases: Cases, plan: Plan) -> Ints:
    """For every case the first case of its block: groups and near-duplicates joined."""
    block = np.arange(len(cases))
    if cases.groups:
        first: dict[str, int] = {}
        block = np.array([first.setdefault(group, number) for number, group in enumerate(cases.groups)])
    if plan.duplicates is None:
        return block
    if cases.texts is None:
        raise UsageError("near-duplicates need texts, and these cases have none", "leave --duplicates out")
    copies = clusters(near_duplicates(cases.texts, plan.duplicates), len(cases))
    return _joined(block, copies)


def _joined(one: Ints, other: Ints) -> Ints:
    """The finest blocks that part neither the one nor the other."""
    parent = np.arange(len(one))

    def root(case: int) -> int:
        while parent[case] != case:
            parent[case] = parent[parent[case]]
            case = int(parent[case])
        return case

    for labels in (one, other):
        for case, label in enumerate(labels.tolist()):
            a, b = root(case), root(label)
            parent[max(a, b)] = min(a, b)
    return np.array([root(case) for case in range(len(one))], np.int64)


def _stratified(cases: Cases, plan: Plan, key: bytes, block: Ints) -> Ints:
    """Balance classes over splits, whole blocks at a time.

    Blocks go, largest class imbalance first, to the split that lacks their classes most (the idea of scikit-learn's
    StratifiedGroupKFold, with targets for unequal shares, and with a last step that leaves no split empty).
    """
    if cases.labels is None:
        raise UsageError("a stratified split needs a class for every case", "name the label field, or use hash")
    classes = {label: number for number, label in enumerate(dict.fromkeys(cases.labels))}
    label = np.array([classes[name] for name in cases.labels])
    first, inverse = np.unique(block, return_inverse=True)
    counts = np.zeros((len(first), len(classes)))
    np.add.at(counts, (inverse, label), 1)
    fractions = np.array(plan.fractions)
    tie = keyed_numbers(key, [cases.groups[b] if cases.groups else cases.ids[b] for b in first.tolist()])
    order = np.lexsort((tie, -counts.sum(axis=1), -counts.std(axis=1)))
    target = fractions[:, None] * counts.sum(axis=0)
    filled = np.zeros_like(target)
    chosen = np.zeros(len(first), np.int64)
    size = np.maximum(1.0, counts.sum(axis=0))
    for number in order.tolist():
        missing = (target - filled) / fractions[:, None] / size
        gain = missing @ counts[number]
        room = (fractions * len(cases) - filled.sum(axis=1)) / fractions
        best = max(range(len(fractions)), key=lambda s: (round(float(gain[s]), 9), float(room[s])))
        chosen[number] = best
        filled[best] += counts[number]
    _fill_empty(chosen, counts, len(fractions))
    return chosen[inverse]


def _fill_empty(chosen: Ints, counts: NDArray[np.float64], splits: int) -> None:
    """Give an empty split the smallest block of the split with most blocks."""
    for split in range(splits):
        if (chosen == split).any():
            continue
        donor = int(np.bincount(chosen, minlength=splits).argmax())
        blocks = np.flatnonzero(chosen == donor)
        if len(blocks) > 1:
            chosen[blocks[np.argmin(counts[blocks].sum(axis=1))]] = split


def _by_time(cases: Cases, plan: Plan, block: Ints, why: dict[int, str]) -> Ints:
    """Earliest cases first; equal times never part; blocks that cross a boundary keep to the later side."""
    if cases.times is None:
        raise UsageError("a split by time needs a time for every case", "name the time field")
    times = np.array(cases.times)
    ordered = np.sort(times)
    places = [round(share * len(times)) for share in np.cumsum(plan.fractions)[:-1]]
    bounds = np.array([ordered[min(place, len(times) - 1)] for place in places])
    split = np.searchsorted(bounds, times, "right")
    last: defaultdict[int, int] = defaultdict(int)
    for first, number in zip(block.tolist(), split.tolist(), strict=True):
        last[first] = max(last[first], number)
    for case in range(len(times)):
        if split[case] != last[int(block[case])]:
            why[case] = "its group goes on in a later split"
    for bound in bounds:
        for case in np.flatnonzero((times < bound) & (times >= bound - plan.gap)).tolist():
            why.setdefault(case, "in the gap before a later split")
        for case in np.flatnonzero((times >= bound) & (times < bound + plan.embargo)).tolist():
            why.setdefault(case, "in the embargo after an earlier split")
    split[list(why)] = UNUSED
    return split


def _keep_previous(  # noqa: PLR0917 - private, called once
    cases: Cases, plan: Plan, block: Ints, split: Ints, previous: Mapping[str, str], why: dict[int, str]
) -> Ints:
    """Cases of an earlier split stay; new ones follow their block."""
    numbers = {name: number for number, name in enumerate(plan.names)}
    if unknown := sorted(set(previous.values()) - set(numbers) - {"unused"}):
        raise UsageError(f"the earlier split has {unknown[0]!r}, this plan does not", "keep the names of the splits")
    kept = np.array([numbers.get(previous.get(name, ""), UNUSED) for name in cases.ids])
    homes: defaultdict[int, set[int]] = defaultdict(set)
    for first, home in zip(block.tolist(), kept.tolist(), strict=True):
        if home != UNUSED:
            homes[first].add(home)
    result = split.copy()
    for case, name in enumerate(cases.ids):
        home = homes[int(block[case])]
        if name in previous:
            result[case] = kept[case]
            if kept[case] == UNUSED:
                why.setdefault(case, "unused before")
        elif len(home) == 1:
            result[case] = next(iter(home))
        elif len(home) > 1:
            result[case] = UNUSED
            why[case] = "related to cases of different splits"
    return result


def _refuse(cases: Cases, result: Assignment) -> None:
    """No empty split; no block in two splits unless an earlier split put it there."""
    counts = Counter(result.split.tolist())
    empty = [name for number, name in enumerate(result.names) if not counts[number]]
    if empty:
        blocks = len(np.unique(result.block))
        raise DataError(
            f"the split {empty[0]!r} would be empty: {len(cases)} cases in {blocks} group(s) that may not part",
            "give it a larger share, use more cases, a finer group field, or another method",
        )


def classes_by_split(labels: Sequence[str], split: Ints, names: Sequence[str]) -> dict[str, Counter[str]]:
    """Cases of every class in every split."""
    found: dict[str, Counter[str]] = {name: Counter() for name in names}
    for label, number in zip(labels, split.tolist(), strict=True):
        if number != UNUSED:
            found[names[number]][label] += 1
    return found
