"""Units too short for a window: the whole phrase, word boundary to word boundary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evalkit.overlap.index import WHOLE_WEIGHT, Hits
from evalkit.overlap.units import Units
from evalkit.overlap.windows import Hasher, Window

__all__ = ["LEAST_LETTERS", "LEAST_WORDS", "PhraseIndex", "checkable"]

LEAST_LETTERS = 12
"""A phrase with fewer letters says nothing when it is found."""
LEAST_WORDS = 3
"""A phrase with fewer words says nothing either, unless its script writes no spaces."""
_SEVEN = np.uint8(0x7F)


class PhraseIndex:
    """Finds whole units of ``LEAST_LETTERS`` up to (not including) ``below`` letters.

    Args:
        units: all units; those that are too long or too short are passed over.
        below: letters from which a unit has windows of its own.
    """

    def __init__(self, units: Units, below: int) -> None:
        sizes = units.sizes
        fits = (sizes >= LEAST_LETTERS) & (sizes < below) & (units.words >= LEAST_WORDS)
        self.numbers = np.flatnonzero(fits)
        self._sizes = sizes[self.numbers]
        self._letters = np.zeros((len(self.numbers), below), np.uint8)
        for row, unit in enumerate(self.numbers.tolist()):
            self._letters[row, : sizes[unit]] = units.marked[units.base[unit] : units.base[unit + 1]] & _SEVEN
        self._hashes = self._hash_heads()
        order = np.argsort(self._hashes, kind="stable")
        self.numbers, self._sizes = self.numbers[order], self._sizes[order]
        self._letters, self._hashes = self._letters[order], self._hashes[order]
        self._coarse = np.zeros(1 << 16, bool)
        self._coarse[self._hashes >> np.uint32(16)] = True

    def _hash_heads(self) -> NDArray[np.uint32]:
        heads = np.ascontiguousarray(self._letters[:, :LEAST_LETTERS]).ravel()
        starts = np.arange(len(self.numbers), dtype=np.int64) * LEAST_LETTERS
        return Hasher(Window(LEAST_LETTERS)).windows(heads, starts).hashes

    def __len__(self) -> int:
        return len(self.numbers)

    def look_up(
        self, codes: NDArray[np.uint8], starts: NDArray[np.int64], hasher: Hasher
    ) -> tuple[Hits, NDArray[np.int64]]:
        """Whole phrases in a block of letters.

        Args:
            codes: letters of the block.
            starts: first letters of its words.
            hasher: one that was just given this block.

        Returns:
            The hits (their ``window`` is a row of ``starts``) and the first letter of each.
        """
        heads = starts[: np.searchsorted(starts, len(codes) - LEAST_LETTERS, "right")]
        hashes = hasher.heads(heads, LEAST_LETTERS)
        rows = np.flatnonzero(self._coarse.take((hashes >> np.uint32(16)).astype(np.int64)))
        hashes = hashes.take(rows)
        low = np.searchsorted(self._hashes, hashes, "left")
        count = np.searchsorted(self._hashes, hashes, "right") - low
        which = np.repeat(low - np.cumsum(count) + count, count) + np.arange(int(count.sum()))
        rows = np.repeat(rows, count)
        first = heads[rows]
        good = self._whole(codes, starts, first, which)
        rows, which, first = rows[good], which[good], first[good]
        zeros = np.zeros(len(rows), np.int64)
        return Hits(rows, self.numbers[which], zeros, self._sizes[which], zeros + WHOLE_WEIGHT), first

    def _whole(
        self, codes: NDArray[np.uint8], starts: NDArray[np.int64], first: NDArray[np.int64], which: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """The letters agree and a word ends where the phrase ends."""
        if not len(first):
            return np.zeros(0, bool)
        size = self._sizes[which]
        end = first + size
        near = np.arange(self._letters.shape[1])
        ours = codes.take(first[:, None] + near, mode="clip")
        same = ((ours == self._letters[which]) | (near >= size[:, None])).all(axis=1)
        boundary = starts.take(np.searchsorted(starts, end), mode="clip") == end
        whole: NDArray[np.bool_] = same & (end <= len(codes)) & (boundary | (end == len(codes)))
        return whole


def checkable(units: Units) -> NDArray[np.bool_]:
    """Units long enough for the phrase path, if not for windows."""
    return (units.sizes >= LEAST_LETTERS) & (units.words >= LEAST_WORDS)
