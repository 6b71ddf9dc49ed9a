"""A second look at weak matches: do the item's telling words stand around the window, in order?

One window of a short item proves little: *which of the following is an example of* stands in a hundred items and a
thousand pages. So the words around it are aligned with the item's (weighted longest common subsequence), each weighing
what it tells: its length times its rarity among the items.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.overlap.units import START, Units

__all__ = ["Aligner", "Passage"]

_LEAST_WORD = 3
_LONGEST_WORD = 8
_REST = 0.25  # of a unit's weight; less than that outside the window says little
_WHOLE = 0.9  # of a unit's letters; such a window is the unit
_ROOM = 1.3
_SLACK = 24
_MOST_WORDS = 200
_MOST_KNOWN = 4096
_SEVEN = np.uint8(0x7F)


@dataclass(frozen=True, slots=True)
class Passage:
    """A place in a text.

    Attributes:
        codes: letters of the text.
        starts: first letters of its words, rising.
        first: letter at which the window begins.
        low, high: letters between which the document lies.
    """

    codes: NDArray[np.uint8]
    starts: NDArray[np.int64]
    first: int
    low: int
    high: int

    def words(self, before: int, after: int) -> list[bytes]:
        """The telling words from ``before`` to ``after`` letters from the window's first."""
        low, high = max(self.low, self.first + before), min(self.high, self.first + after)
        edges = np.searchsorted(self.starts, (low, high))
        near = self.starts[edges[0] : edges[1]]
        if not len(near):
            return []
        end = int(self.starts[edges[1]]) if edges[1] < len(self.starts) else len(self.codes)
        begin = int(near[0])
        return [word for _, word in _words(self.codes[begin:end].tobytes(), near - begin)]


@dataclass(frozen=True, slots=True)
class _Weighed:
    """The telling words of a unit: where each begins, what it is, what it weighs."""

    places: tuple[int, ...]
    words: tuple[bytes, ...]
    weights: tuple[float, ...]


class Aligner:
    """Aligns texts with units.

    Args:
        units: what is looked for; their words are counted when the first alignment is asked for.
    """

    def __init__(self, units: Units) -> None:
        self._units = units
        self._holders: Counter[bytes] | None = None
        self._known: dict[int, _Weighed] = {}

    def share(self, unit: int, text: Passage, matched: tuple[int, int]) -> tuple[float, float]:
        """How much of a unit, by weight, stands around a window, in order.

        Args:
            unit: number of the unit.
            text: what stands around the window.
            matched: the window's first letter in the unit, and its letters.

        Returns:
            The share of the whole unit, and of what lies outside the window; both in [0, 1].
        """
        offset, size = matched
        ours = self._weighed(unit)
        length = int(self._units.base[unit + 1] - self._units.base[unit])
        total = sum(ours.weights)
        theirs = text.words(-int(offset * _ROOM) - _SLACK, int((length - offset) * _ROOM) + _SLACK)
        if total <= 0 or not theirs:
            return 0.0, 0.0
        placed = zip(ours.places, ours.weights, strict=True)
        inside = sum(weight for at, weight in placed if offset <= at < offset + size)
        aligned = _aligned(ours, theirs)
        rest = total - inside
        outside = max(0.0, aligned - inside) / rest if rest > 0 else 1.0
        if rest < total * _REST:
            outside /= 2  # so little can be there by chance
        return aligned / total, 1.0 if size >= _WHOLE * length else outside

    def _weighed(self, unit: int) -> _Weighed:
        known = self._known.get(unit)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            marked = self._units.marked[self._units.base[unit] : self._units.base[unit + 1]]
            words = _words((marked & _SEVEN).tobytes(), np.flatnonzero(marked & START))
            weights = tuple(self._weight(word) for _, word in words)
            known = _Weighed(tuple(at for at, _ in words), tuple(word for _, word in words), weights)
            self._known[unit] = known
        return known

    def _weight(self, word: bytes) -> float:
        if self._holders is None:
            self._holders = self._count()
        rarity = math.log(1 + self._units.count / max(1, self._holders[word]))
        return rarity * min(len(word), _LONGEST_WORD)

    def _count(self) -> Counter[bytes]:
        holders: Counter[bytes] = Counter()
        for unit in range(self._units.count):
            marked = self._units.marked[self._units.base[unit] : self._units.base[unit + 1]]
            holders.update({word for _, word in _words((marked & _SEVEN).tobytes(), np.flatnonzero(marked & START))})
        return holders


def _words(raw: bytes, starts: NDArray[np.int64]) -> list[tuple[int, bytes]]:
    """Numbers, and words of three letters or more, with their places; at most 200."""
    ends = [*starts[1:].tolist(), len(raw)]
    words = ((start, raw[start:end]) for start, end in zip(starts.tolist(), ends, strict=True))
    return [(at, word) for at, word in words if len(word) >= _LEAST_WORD or word.isdigit()][:_MOST_WORDS]


def _aligned(ours: _Weighed, theirs: list[bytes]) -> float:
    """Weight of the heaviest common subsequence."""
    wanted = set(ours.words)
    row = [0.0] * (len(ours.words) + 1)
    for word in theirs:
        if word not in wanted:
            continue
        corner = 0.0
        for place, own in enumerate(ours.words, 1):
            above = row[place]
            row[place] = corner + ours.weights[place - 1] if own == word else max(above, row[place - 1])
            corner = above
    return row[-1]
