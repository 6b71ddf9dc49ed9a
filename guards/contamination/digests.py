"""Tables keyed by digests of the questions: the items themselves stand nowhere, and are recognised all the same."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from evalkit.overlap import Item

__all__ = ["DigestTable"]

_SHOWN = 8
_SURE = 16
_LEAST = 2
_HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s", "sha3_256")
_LONGEST = 128
_CLASS = np.array([1 if chr(byte) in "0123456789abcdefABCDEF" else 0 for byte in range(256)], np.int8)
_LENGTHS = {16, 20, 28, 32, 48, 64}


def _variants(item: Item) -> set[str]:
    """The spellings that are likely to be hashed: every part as is, stripped, and in lower case."""
    texts = {text for _, text in item.parts}
    return {form for text in texts for form in (text, text.strip(), text.lower(), text.strip().lower())}


class DigestTable:
    """Digests of every item's texts.

    Args:
        items: the holdout's items.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._by_head: dict[str, list[tuple[str, int]]] = {}
        self._numbers: dict[int, int] = {}
        for number, item in enumerate(items):
            for form in _variants(item):
                self._add(form.encode("utf-8", "replace"), number)

    def _add(self, raw: bytes, number: int) -> None:
        for name in _HASHES:
            digest = hashlib.new(name, raw, usedforsecurity=False).hexdigest()
            self._by_head.setdefault(digest[:_SHOWN], []).append((digest, number))
        for checksum in (zlib.crc32(raw), zlib.adler32(raw)):
            self._numbers[checksum] = number
            self._by_head.setdefault(f"{checksum:08x}", []).append((f"{checksum:08x}", number))

    def find(self, source: str, blobs: Iterable[bytes] = ()) -> dict[int, int]:
        """Items whose digest stands in a source, with the line.

        One digest of 16 digits is enough; shorter ones count when two of them turn up.

        Args:
            source: the text.
            blobs: decoded literals, looked at as raw digests.
        """
        sure: dict[int, int] = {}
        weak: dict[int, int] = {}
        for place, digits in _found(source):
            for number, strong in self._match(digits):
                (sure if strong else weak).setdefault(number, place)
        for blob in blobs:
            if len(blob) in _LENGTHS:
                for number, _ in self._match(blob.hex()):
                    sure.setdefault(number, 0)
        if sure or len(weak) >= _LEAST:
            lines = {number: source.count("\n", 0, place) + 1 for number, place in (weak | sure).items()}
            return dict(sorted(lines.items()))
        return {}

    def _match(self, digits: str) -> Iterator[tuple[int, bool]]:
        low = digits.lower()
        for digest, number in self._by_head.get(low[:_SHOWN], ()):
            if digest.startswith(low):
                yield number, len(low) >= _SURE
        if digits.isdecimal():
            value = int(digits)
            if value in self._numbers:
                yield self._numbers[value], False
            hexadecimal = f"{value:x}"
            if len(hexadecimal) >= _SURE:
                for digest, number in self._by_head.get(hexadecimal[:_SHOWN], ()):
                    if digest.startswith(hexadecimal):
                        yield number, True


def _found(source: str) -> Iterator[tuple[int, str]]:
    """Runs of 8 to 128 hexadecimal digits that no other letter or digit touches."""
    data = np.frombuffer(source.encode("ascii", "replace"), np.uint8)
    edges = np.flatnonzero(np.diff(_CLASS.take(data), prepend=0, append=0))
    starts, ends = edges[:-1], edges[1:]
    long = (ends - starts >= _SHOWN) & (ends - starts <= _LONGEST)
    for start, end in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
        run = source[start:end]
        if _CLASS[data[start]] == 1 and not (source[start - 1 : start].isalnum() or source[end : end + 1].isalnum()):
            yield start, run
