"""The texts that are looked for, as letters: compact, joined, cut at unit boundaries."""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.overlap.letters import read_letters

__all__ = ["START", "Units", "collect_units"]

START = np.uint8(0x80)
"""Bit of a stored letter that starts a word."""
_BATCH = 512


@dataclass(frozen=True, slots=True)
class Units:
    """Distinct texts as letters.

    Attributes:
        marked: all letters of all units, one after another, with bit 7 set where a word starts.
        base: offset of every unit in ``marked``, and the end; length ``units + 1``.
        words: words of every unit.
        of_text: unit of every text given, in order.
    """

    marked: NDArray[np.uint8]
    base: NDArray[np.int64]
    words: NDArray[np.int32]
    of_text: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many distinct units there are."""
        return len(self.base) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Letters of every unit."""
        return np.diff(self.base)

    def codes(self, unit: int) -> NDArray[np.uint8]:
        """The letters of one unit."""
        return self.marked[self.base[unit] : self.base[unit + 1]] & np.uint8(0x7F)

    def chunks(self, letters: int = 1 << 18) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Pieces of ``marked`` that cut no unit, with their offsets."""
        cuts = [0]
        while cuts[-1] < self.count:
            cut = int(np.searchsorted(self.base, self.base[cuts[-1]] + letters, "right")) - 1
            cuts.append(max(cut, cuts[-1] + 1))
        for low, high in itertools.pairwise(cuts):
            yield int(self.base[low]), self.marked[self.base[low] : self.base[high]]


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch


def _marked_batch(batch: list[str]) -> list[NDArray[np.uint8]]:
    """Letters of every text of a batch, read in one go."""
    raw = "\n".join(text.replace("\n", " ") for text in batch).encode("utf-8", "replace")
    letters = read_letters(raw, escaped=False)
    marked = letters.codes
    marked[letters.starts] |= START
    breaks = np.flatnonzero(np.frombuffer(raw, np.uint8) == np.uint8(10))
    return np.split(marked, np.searchsorted(letters.positions(), breaks))


def collect_units(texts: Iterable[str]) -> Units:
    """Read texts into units; texts with the same letters share one.

    Args:
        texts: any number of strings; only their letters are kept.
    """
    joined = bytearray()
    digests, sizes, words = array("Q"), array("q"), array("i")
    for batch in _batches(texts):
        for marked in _marked_batch(batch):
            digest = hashlib.blake2b((marked & np.uint8(0x7F)).tobytes(), digest_size=8).digest()
            digests.append(int.from_bytes(digest))
            sizes.append(len(marked))
            words.append(int(np.count_nonzero(marked & START)))
            joined += marked.tobytes()
    base = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(np.array(sizes, np.int64), out=base[1:])
    return _distinct(np.frombuffer(joined, np.uint8), base, np.array(words, np.int32), np.array(digests, np.uint64))


def _distinct(
    joined: NDArray[np.uint8], base: NDArray[np.int64], words: NDArray[np.int32], digests: NDArray[np.uint64]
) -> Units:
    """Keep the first of the texts with the same letters."""
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    kept = first[order]
    if len(kept) == len(words):
        return Units(joined, base, words, rank[inverse])
    ends = np.zeros(len(kept) + 1, np.int64)
    np.cumsum(np.diff(base)[kept], out=ends[1:])
    letters = np.concatenate([*(joined[base[text] : base[text + 1]] for text in kept.tolist()), np.empty(0, np.uint8)])
    return Units(letters, ends, words[kept], rank[inverse])
