"""From windows that were found to matches: how much of which unit lies where in a document."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.overlap.rules import Rule

__all__ = ["Groups", "Sightings", "group", "passes", "reach"]

Ints = NDArray[np.int64]


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
    """

    document: Ints
    line: Ints
    at: Ints
    until: Ints
    unit: Ints
    offset: Ints
    size: Ints

    def __len__(self) -> int:
        return len(self.document)

    def columns(self) -> tuple[Ints, ...]:
        """The columns in order."""
        return self.document, self.line, self.at, self.until, self.unit, self.offset, self.size

    def __getitem__(self, rows: NDArray[np.bool_] | Ints) -> Sightings:
        return Sightings(*(column[rows] for column in self.columns()))

    @staticmethod
    def none() -> Sightings:
        """No sightings."""
        return Sightings(*(np.empty(0, np.int64) for _ in range(7)))

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
        at, until: bytes of the stream that hold the group.
        of_row: group of every sighting.
    """

    document: Ints
    unit: Ints
    line: Ints
    letters: Ints
    windows: Ints
    longest: Ints
    at: Ints
    until: Ints
    of_row: Ints

    def __len__(self) -> int:
        return len(self.document)


def reach(sizes: Ints) -> Ints:
    """Bytes that may lie between two sightings of one unit that belong together, by the unit's letters."""
    return 2000 + 8 * sizes


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
    letters, windows, longest = _extent(label, rows.offset, rows.size, len(first))
    of_row = np.empty(len(rows), np.int64)
    of_row[order] = label
    return Groups(
        rows.document[first],
        rows.unit[first],
        rows.line[first],
        letters,
        windows,
        longest,
        rows.at[first],
        np.maximum.reduceat(rows.until, first),
        of_row,
    )


def _extent(label: Ints, offset: Ints, size: Ints, groups: int) -> tuple[Ints, Ints, Ints]:
    """Letters covered, distinct windows and the longest run of every group."""
    order = np.lexsort((size, offset, label))
    label, offset, size = label[order], offset[order], size[order]
    last = np.ones(len(label), bool)  # of the windows with one offset, the longest
    last[:-1] = (label[1:] != label[:-1]) | (offset[1:] != offset[:-1])
    label, offset, size = label[last], offset[last], size[last]
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
    return letters, windows, longest


def passes(groups: Groups, rule: Rule, sizes: Ints, window_counts: Ints) -> NDArray[np.bool_]:
    """Which groups the rule calls a match.

    Args:
        groups: measured groups.
        rule: what is asked of them.
        sizes: letters of every unit.
        window_counts: windows of every unit.
    """
    size = np.maximum(1, sizes[groups.unit])
    if rule.measure == "windows":
        share = groups.windows / np.maximum(1, window_counts[groups.unit])
    else:
        share = groups.letters / size
    good = share >= rule.coverage
    if rule.run is not None:
        good |= groups.longest >= rule.run
    return good & (groups.letters >= np.minimum(rule.least, size))
