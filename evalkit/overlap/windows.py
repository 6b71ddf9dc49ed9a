"""Windows over letters and their hashes.

A window starts at the first letter of a word and runs over the next ``K`` letters, or over ``N`` whole words, whatever
spaces, line breaks and punctuation lie between. Hashes are polynomial (Karp and Rabin 1987) modulo 2³², taken as
differences of one running sum, so a block costs a multiplication and a cumulative sum. A hash only proposes: every
proposal is compared letter by letter afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEFAULT_WINDOW", "Hasher", "Window", "Windows"]

_BASE = 0x9E3779B1
_INVERSE = pow(_BASE, -1, 1 << 32)


@dataclass(frozen=True, slots=True)
class Window:
    """What is compared: ``size`` letters from a word's start, or ``size`` whole words.

    Attributes:
        size: letters (≥ 4) or words (≥ 1).
        words: whether ``size`` counts words.
    """

    size: int
    words: bool = False

    def __post_init__(self) -> None:
        """Refuse windows that would match by accident everywhere."""
        if self.size < (1 if self.words else 4):
            raise ValueError(f"a window of {self.size} {'words' if self.words else 'letters'} is too small")

    @property
    def name(self) -> str:
        """``24 letters``, ``13 words``."""
        return f"{self.size} {'words' if self.words else 'letters'}"


DEFAULT_WINDOW = Window(24)


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a block: first letter, one past the last letter, hash; one row a window, in order."""

    first: NDArray[np.int64]
    end: NDArray[np.int64]
    hashes: NDArray[np.uint32]


def _powers(base: int, count: int) -> NDArray[np.uint32]:
    powers = np.empty(count, np.uint32)
    powers[0] = 1
    done = 1
    while done < count:
        step = min(done, count - done)
        np.multiply(powers[:step], np.uint32(pow(base, done, 1 << 32)), out=powers[done : done + step])
        done += step
    return powers


class Hasher:
    """Hashes windows; keeps its work space between blocks. Not safe to share between threads."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._room = 0
        self._grow(1 << 17)

    def _grow(self, letters: int) -> None:
        self._room = letters + (letters >> 2) + 1
        self._rising = _powers(_BASE, self._room)
        self._falling = _powers(_INVERSE, self._room)
        self._sums = np.zeros(self._room + 1, np.uint32)
        self._terms = np.empty(self._room, np.uint32)

    def windows(self, codes: NDArray[np.uint8], starts: NDArray[np.int64]) -> Windows:
        """All windows that lie whole in ``codes``.

        Args:
            codes: letters.
            starts: index of every word's first letter, rising.
        """
        count = len(codes)
        if count > self._room:
            self._grow(count)
        first, end = self._bounds(starts, count)
        terms, sums = self._terms[:count], self._sums
        np.multiply(codes, self._rising[:count], out=terms, dtype=np.uint32, casting="unsafe")
        np.cumsum(terms, out=sums[1 : count + 1])
        hashes = sums.take(end)
        hashes -= sums.take(first)
        hashes *= self._falling.take(first)
        return Windows(first, end, hashes)

    def heads(self, first: NDArray[np.int64], size: int) -> NDArray[np.uint32]:
        """Hashes of the ``size`` letters from each place on, in the block that :meth:`windows` was last called with."""
        hashes = self._sums.take(first + size)
        hashes -= self._sums.take(first)
        hashes *= self._falling.take(first)
        return hashes

    def _bounds(self, starts: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        size = self.window.size
        if not self.window.words:
            first = starts[: np.searchsorted(starts, count - size, "right")]
            return first, first + size
        ends = np.append(starts[1:], count)
        whole = max(0, len(starts) - size + 1)
        return starts[:whole], ends[size - 1 : size - 1 + whole]
