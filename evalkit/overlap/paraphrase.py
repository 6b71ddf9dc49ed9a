"""A review queue for paraphrases: texts whose rare words are an item's rare words.

Cosine of TF-IDF vectors over words (Salton and Buckley 1988, weighting ``ntc`` with logarithmic term frequency). It
sees most of what a language model rewrote where the content pins the words down (names, quantities), little where it
doesn't (definitions, code). So it sorts candidates for a person to read; it is no verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["DEFAULT_THRESHOLD", "Candidate", "ParaphraseIndex"]

DEFAULT_THRESHOLD = 0.53
_WORD = re.compile(r"[^\W_]+")
_BATCH = 512
_LEAST_WORDS = 5  # a text of fewer words is near anything that has one of them


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that may paraphrase an item.

    Attributes:
        text: number of the text, from 0.
        item: number of the item.
        cosine: in [0, 1].
    """

    text: int
    item: int
    cosine: float


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


class ParaphraseIndex:
    """TF-IDF vectors of items.

    Args:
        items: their texts.
        background: further texts from which word frequencies are learnt, such as a sample of the corpus. Without any,
            the items stand for it.
    """

    def __init__(self, items: Sequence[str], background: Iterable[str] = ()) -> None:
        self._vocabulary: dict[str, int] = {}
        documents = 0
        seen_in: dict[int, int] = {}
        for text in (*items, *background):
            documents += 1
            for word in {self._vocabulary.setdefault(word, len(self._vocabulary)) for word in _words(text)}:
                seen_in[word] = seen_in.get(word, 0) + 1
        frequencies = np.array([seen_in[word] for word in range(len(self._vocabulary))], np.float64)
        self._weight = np.log((1 + documents) / (1 + frequencies)) + 1
        self._unknown = 0.5 * float(np.log(1 + documents) + 1)
        self._items = self._vectors(items).T.tocsr()

    def candidates(self, texts: Iterable[str], threshold: float = DEFAULT_THRESHOLD) -> Iterator[Candidate]:
        """For every text, the item nearest to it, where that is at least ``threshold`` near.

        Args:
            texts: any number; read 512 at a time.
            threshold: cosine in (0, 1].
        """
        batch: list[str] = []
        start = 0
        for text in texts:
            batch.append(text)
            if len(batch) == _BATCH:
                yield from self._nearest(batch, start, threshold)
                start += len(batch)
                batch = []
        if batch:
            yield from self._nearest(batch, start, threshold)

    def _nearest(self, batch: list[str], start: int, threshold: float) -> Iterator[Candidate]:
        near = (self._vectors(batch) @ self._items).tocsr()
        for row in range(len(batch)):
            values: NDArray[np.float64] = near.data[near.indptr[row] : near.indptr[row + 1]]
            if len(values) and float(values.max()) >= threshold and len(_WORD.findall(batch[row])) >= _LEAST_WORDS:
                best = int(np.argmax(values))
                item = int(near.indices[near.indptr[row] + best])
                yield Candidate(start + row, item, round(float(values[best]), 4))

    def _vectors(self, texts: Sequence[str]) -> csr_array[Any, Any]:
        """One unit-length row a text; words that no item has lengthen it by half of what their rarity would."""
        from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import

        data: list[float] = []
        columns: list[int] = []
        ends = [0]
        for text in texts:
            counts: dict[int, int] = {}
            unknown: dict[str, int] = {}
            for word in _words(text):
                number = self._vocabulary.get(word)
                if number is None:
                    unknown[word] = unknown.get(word, 0) + 1
                else:
                    counts[number] = counts.get(number, 0) + 1
            weights = [(1 + np.log(count)) * self._weight[number] for number, count in counts.items()]
            strange = sum(((1 + np.log(count)) * self._unknown) ** 2 for count in unknown.values())
            length = float(np.sqrt(sum(weight * weight for weight in weights) + strange)) or 1.0
            data += [float(weight) / length for weight in weights]
            columns += counts
            ends.append(len(columns))
        return csr_array((data, columns, ends), shape=(len(texts), len(self._vocabulary)))
