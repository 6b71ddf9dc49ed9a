"""A second look at weak matches: do the item's telling words stand around the window, in order?

One window of a short item proves little: *which of the following is an example of* stands in a hundred items and a
thousand pages. So the words around it are aligned with the item's (weighted longest common subsequence), each weighing
what it tells: its length times its rarity among the items.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from evalkit.overlap.units import START, Units

__all__ = ["Aligner"]

_LEAST_WORD = 3
_LONGEST_WORD = 8
_REST = 0.25  # of a unit's weight; less than that outside the window says little
_WHOLE = 0.9  # of a unit's letters; such a window is the unit
_ROOM = 1.3
_SLACK = 24
_MOST_WORDS = 200
_SEVEN = np.uint8(0x7F)


class Aligner:
    """Aligns texts with units.

    Args:
        units: what is looked for; their words are counted when the first alignment is asked for.
    """

    def __init__(self, units: Units) -> None:
        self._units = units
        self._holders: Counter[bytes] | None = None

    def share(
        self, unit: int, codes: NDArray[np.uint8], starts: NDArray[np.int64], first: int, matched: tuple[int, int]
    ) -> tuple[float, float]:
        """How much of a unit, by weight, stands around a window, in order.

        Args:
            unit: number of the unit.
            codes: letters of the text.
            starts: first letters of its words.
            first: the window's first letter in the text.
            matched: the window's first letter in the unit, and its letters.

        Returns:
            The share of the whole unit, and of what lies outside the window; both in [0, 1].
        """
        offset, size = matched
        marked = self._units.marked[self._units.base[unit] : self._units.base[unit + 1]]
        ours = _words(marked & _SEVEN, np.flatnonzero(marked & START))
        low = first - int(offset * _ROOM) - _SLACK
        high = first + int((len(marked) - offset) * _ROOM) + _SLACK
        near = starts[np.searchsorted(starts, low) : np.searchsorted(starts, high)]
        if not len(near):
            return 0.0, 0.0
        end = int(starts[np.searchsorted(starts, high)]) if high <= int(starts[-1]) else len(codes)
        theirs = _words(codes[:end], near)
        weights = [self._weight(word) for _, word in ours]
        inside = sum(weight for (at, _), weight in zip(ours, weights, strict=True) if offset <= at < offset + size)
        total = sum(weights)
        aligned = _aligned([word for _, word in ours], weights, [word for _, word in theirs])
        if total <= 0:
            return 0.0, 0.0
        rest = total - inside
        outside = max(0.0, aligned - inside) / rest if rest > 0 else 1.0
        if rest < total * _REST:
            outside /= 2  # so little can be there by chance
        return aligned / total, 1.0 if size >= _WHOLE * len(marked) else outside

    def _weight(self, word: bytes) -> float:
        if self._holders is None:
            self._holders = self._count()
        rarity = math.log(1 + self._units.count / max(1, self._holders[word]))
        return rarity * min(len(word), _LONGEST_WORD)

    def _count(self) -> Counter[bytes]:
        holders: Counter[bytes] = Counter()
        for unit in range(self._units.count):
            marked = self._units.marked[self._units.base[unit] : self._units.base[unit + 1]]
            holders.update({word for _, word in _words(marked & _SEVEN, np.flatnonzero(marked & START))})
        return holders


def _words(codes: NDArray[np.uint8], starts: NDArray[np.int64]) -> list[tuple[int, bytes]]:
    """Numbers, and words of three letters or more, with their places; at most 200."""
    raw = codes.tobytes()
    ends = [*starts[1:].tolist(), len(raw)]
    words = ((start, raw[start:end]) for start, end in zip(starts.tolist(), ends, strict=True))
    return [(at, word) for at, word in words if len(word) >= _LEAST_WORD or word.isdigit()][:_MOST_WORDS]


def _aligned(ours: list[bytes], weights: list[float], theirs: list[bytes]) -> float:
    """Weight of the heaviest common subsequence."""
    wanted = set(ours)
    row = [0.0] * (len(ours) + 1)
    for word in theirs:
        if word not in wanted:
            continue
        corner = 0.0
        for place, own in enumerate(ours, 1):
            above = row[place]
            row[place] = corner + weights[place - 1] if own == word else max(above, row[place - 1])
            corner = above
    return row[-1]
