"""From windows that were found to matches: how much of which unit lies where in a document."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.overlap.chunks import OVERLAP
from evalkit.overlap.rules import Rule

__all__ = ["Groups", "Sightings", "explained", "group", "passes", "reach"]

Ints = NDArray[np.int64]
_WHOLE, _FAR_BETTER = 0.4, 0.15
_SLACK = 16


@dataclass(frozen=True, slots=True)
class Sightings:
    """Windows of units seen in documents; one row a sighting.

    Attributes:
        document: number of the document.
        line: of the window's first letter.
        at: byte offset of the window's first letter in the stream.
        until: byte offset just past its last letter.
        unit: number of the unit.
        offset: of the window in the unit, in letters.
        size: of the window, in letters.
        weight: how telling the window is.
    """

    document: Ints
    line: Ints
    at: Ints
    until: Ints
    unit: Ints
    offset: Ints
    size: Ints
    weight: Ints

    def __len__(self) -> int:
        return len(self.document)

    def columns(self) -> tuple[Ints, ...]:
        """The columns in order."""
        return self.document, self.line, self.at, self.until, self.unit, self.offset, self.size, self.weight

    def __getitem__(self, rows: NDArray[np.bool_] | Ints) -> Sightings:
        return Sightings(*(column[rows] for column in self.columns()))

    @staticmethod
    def none() -> Sightings:
        """No sightings."""
        return Sightings(*(np.empty(0, np.int64) for _ in range(8)))

    def plus(self, other: Sightings) -> Sightings:
        """These and the others."""
        if not len(self):
            return other
        pairs = zip(self.columns(), other.columns(), strict=True)
        return Sightings(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True, slots=True)
class Groups:
    """Sightings of one unit near each other in one document; one row a group.

    Attributes:
        document, unit: which.
        line: of the first sighting.
        letters: of the unit that were seen.
        windows: of the unit that were seen.
        longest: letters of the longest unbroken run.
        weight: average of the windows that were seen.
        offset: of the group's first window in the unit.
        at, until: bytes of the stream that hold the group.
        of_row: group of every sighting.
    """

    document: Ints
    unit: Ints
    line: Ints
    letters: Ints
    windows: Ints
    longest: Ints
    weight: NDArray[np.float64]
    offset: Ints
    at: Ints
    until: Ints
    of_row: Ints

    def __len__(self) -> int:
        return len(self.document)


def reach(sizes: Ints) -> Ints:
    """Bytes that may lie between two sightings of one unit that belong together, by the unit's letters.

    More than chunks overlap, so that a group is never settled while a chunk to come could show part of it again.
    """
    return 4 * OVERLAP + 8 * sizes


def group(seen: Sightings, sizes: Ints) -> Groups:
    """Gather sightings into groups and measure them.

    Letters seen twice count once. Time and space are linear in the sightings, but for two sorts.

    Args:
        seen: sightings in any order, at least one.
        sizes: letters of every unit.
    """
    order = np.lexsort((seen.at, seen.unit, seen.document))
    rows = seen[order]
    new = np.ones(len(rows), bool)
    new[1:] = (rows.document[1:] != rows.document[:-1]) | (rows.unit[1:] != rows.unit[:-1])
    new[1:] |= rows.at[1:] - rows.at[:-1] > reach(sizes[rows.unit[1:]])
    label = np.cumsum(new) - 1
    first = np.flatnonzero(new)
    letters, windows, longest, weight = _extent(label, rows, len(first))
    of_row = np.empty(len(rows), np.int64)
    of_row[order] = label
    return Groups(
        rows.document[first],
        rows.unit[first],
        rows.line[first],
        letters,
        windows,
        longest,
        weight,
        rows.offset[first],
        rows.at[first],
        np.maximum.reduceat(rows.until, first),
        of_row,
    )


def _extent(label: Ints, rows: Sightings, groups: int) -> tuple[Ints, Ints, Ints, NDArray[np.float64]]:
    """Letters covered, distinct windows, the longest run and the average weight of every group."""
    order = np.lexsort((rows.size, rows.offset, label))
    label, offset, size, weight = label[order], rows.offset[order], rows.size[order], rows.weight[order]
    last = np.ones(len(label), bool)  # of the windows with one offset, the longest
    last[:-1] = (label[1:] != label[:-1]) | (offset[1:] != offset[:-1])
    label, offset, size, weight = label[last], offset[last], size[last], weight[last]
    ends = np.ones(len(label), bool)
    ends[:-1] = label[1:] != label[:-1]
    gap = np.where(ends, size, np.append(offset[1:], 0) - offset)
    added = np.minimum(gap, size)
    letters = np.bincount(label, added, groups).astype(np.int64)
    windows = np.bincount(label, minlength=groups)
    breaks = np.ones(len(label), bool)
    breaks[1:] = ends[:-1] | (gap[:-1] > size[:-1])
    run = np.flatnonzero(breaks)
    longest = np.zeros(groups, np.int64)
    np.maximum.at(longest, label[run], np.add.reduceat(added, run))
    return letters, windows, longest, np.bincount(label, weight, groups) / np.maximum(1, windows)


def explained(groups: Groups, good: NDArray[np.bool_], sizes: Ints) -> NDArray[np.bool_]:
    """Groups that lie inside a passage which another unit explains far better.

    Items from one template share sentences; where one of them stands whole, its siblings don't stand there too.

    Args:
        groups: measured groups.
        good: which of them a rule calls a match.
        sizes: letters of every unit.
    """
    away = np.zeros(len(groups), bool)
    rows = np.flatnonzero(good)
    share = groups.letters / np.maximum(1, sizes[groups.unit])
    whole = rows[share[rows] >= _WHOLE]
    for row in whole.tolist():
        inside = rows[(groups.document[rows] == groups.document[row]) & (groups.at[rows] >= groups.at[row] - _SLACK)]
        inside = inside[groups.until[inside] <= groups.until[row] + _SLACK]
        away[inside[share[inside] < share[row] - _FAR_BETTER]] = True
    return away


def passes(
    groups: Groups, rule: Rule, sizes: Ints, window_counts: Ints, mean_weights: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which groups the rule calls a match.

    Args:
        groups: measured groups.
        rule: what is asked of them.
        sizes: letters of every unit.
        window_counts: windows of every unit.
        mean_weights: average weight of every unit's windows.
    """
    size = np.maximum(1, sizes[groups.unit])
    if rule.measure == "windows":
        share = groups.windows / np.maximum(1, window_counts[groups.unit])
    else:
        share = groups.letters / size
    good = share >= rule.coverage
    if rule.run is not None:
        good |= groups.longest >= rule.run
    good &= groups.weight >= rule.distinctive * mean_weights[groups.unit]
    return good & (groups.letters >= rule.least)
