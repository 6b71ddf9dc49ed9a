"""The containment index: which windows of which units occur in a block of text, exactly.

A block's windows pass a bitmap (two bits a window), then a sorted array of ``hash << 32 | place``, then a comparison of
the letters themselves, so no hit is a hash collision. Windows that more than ``common`` units share are kept apart:
they start no match.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import DataError
from evalkit.overlap.alignment import Aligner
from evalkit.overlap.units import Units, collect_units
from evalkit.overlap.windows import DEFAULT_WINDOW, Hasher, Window, Windows

__all__ = ["WHOLE_WEIGHT", "ContainmentIndex", "Hits"]

Ints = NDArray[np.int64]
_SEVEN = np.uint8(0x7F)
_THIRTY_TWO = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_SECOND_PROBE = np.uint32(0x85EBCA6B)
_FORMAT = 1
_PART = 1 << 17  # windows handled at a time while an index is built; keeps its peak near its size

WHOLE_WEIGHT = 1_000_000
"""Weight of a window that lies in one place only."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Windows of a block that are windows of units; one row a hit.

    Attributes:
        window: row in the block's windows.
        unit: number of the unit.
        offset: of the window in the unit, in letters.
        size: of the window, in letters.
        weight: how telling the window is: ``WHOLE_WEIGHT`` over the places that it has in all units; 0 for common ones.
    """

    window: Ints
    unit: Ints
    offset: Ints
    size: Ints
    weight: Ints

    def __len__(self) -> int:
        return len(self.window)


_NO_HITS = Hits(*(np.empty(0, np.int64) for _ in range(5)))


class _Filter:
    """A bitmap that says "perhaps" or "no" to a hash, two probes each."""

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        bits = min(26, max(16, int(np.ceil(np.log2(32 * max(1, len(keys)))))))
        self._shift = np.uint32(32 - bits)
        self._bytes = np.zeros(1 << (bits - 3), np.uint8)
        for low in range(0, len(keys), _PART):
            for probe in self._probes(_hashes(keys[low : low + _PART])):
                np.bitwise_or.at(self._bytes, probe >> np.uint32(3), self._bit(probe))

    def _probes(self, hashes: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        return hashes >> self._shift, (hashes * _SECOND_PROBE) >> self._shift

    @staticmethod
    def _bit(probe: NDArray[np.uint32]) -> NDArray[np.uint8]:
        return np.left_shift(np.uint8(1), (probe & np.uint32(7)).astype(np.uint8))

    def _test(self, probe: NDArray[np.uint32]) -> NDArray[np.bool_]:
        found = self._bytes.take((probe >> np.uint32(3)).astype(np.int64))
        found >>= (probe & np.uint32(7)).astype(np.uint8)
        return (found & np.uint8(1)).view(bool)

    def survivors(self, hashes: NDArray[np.uint32]) -> Ints:
        """Rows that may be in the set."""
        rows = np.flatnonzero(self._test(hashes >> self._shift))
        if not len(rows):
            return rows
        return rows[self._test((hashes.take(rows) * _SECOND_PROBE) >> self._shift)]


class ContainmentIndex:
    """Units, and where each of their windows lies.

    Args:
        units: the texts that are looked for.
        window: what is compared.
        common: windows in more places than this start no match.
    """

    def __init__(self, units: Units, window: Window = DEFAULT_WINDOW, common: int = 50) -> None:
        self.units = units
        self.window = window
        self.common = common
        keys = _sorted_keys(units, window)
        self._keys, self._common_keys = _split_common(keys, common)
        self._filter = _Filter(self._keys)
        self._common_places = np.sort((self._common_keys & _LOW_HALF) << _THIRTY_TWO | self._common_keys >> _THIRTY_TWO)

    @classmethod
    def of_texts(cls, texts: Iterable[str], window: Window = DEFAULT_WINDOW, common: int = 50) -> ContainmentIndex:
        """Index plain strings."""
        return cls(collect_units(texts), window, common)

    @functools.cached_property
    def window_counts(self) -> Ints:
        """Windows of every unit, common ones included."""
        return self._per_unit(self._keys) + self._per_unit(self._common_keys)

    @functools.cached_property
    def seed_counts(self) -> Ints:
        """Windows of every unit that can start a match."""
        return self._per_unit(self._keys)

    @functools.cached_property
    def aligner(self) -> Aligner:
        """Aligns texts with the units."""
        return Aligner(self.units)

    @functools.cached_property
    def hasher(self) -> Hasher:
        """A hasher for blocks that are looked up here; one for all, since an index is used by one thread at a time."""
        return Hasher(self.window)

    def look_up(self, codes: NDArray[np.uint8], windows: Windows) -> Hits:
        """All hits of a block; common windows count for units that another window of the block found."""
        rows = self._filter.survivors(windows.hashes)
        if not len(rows):
            return _NO_HITS
        hits = self._verified(codes, windows, *_expand(self._keys, rows, windows.hashes.take(rows)))
        if len(hits) and len(self._common_keys):
            return self._with_common(codes, windows, hits)
        return hits

    def _verified(self, codes: NDArray[np.uint8], windows: Windows, rows: Ints, places: Ints, weight: Ints) -> Hits:
        """Keep the proposals whose letters are the same."""
        if not len(rows):
            return _NO_HITS
        first = windows.first.take(rows)
        size = windows.end.take(rows) - first
        unit = np.searchsorted(self.units.base, places, "right") - 1
        same = places + size <= self.units.base.take(unit + 1)
        reach = np.arange(int(size.max()))
        for low in range(0, len(rows), 1 << 14):
            part = slice(low, low + (1 << 14))
            ours = codes.take(first[part, None] + reach, mode="clip")
            theirs = self.units.marked.take(places[part, None] + reach, mode="clip") & _SEVEN
            same[part] &= ((ours == theirs) | (reach >= size[part, None])).all(axis=1)
        unit = unit[same]
        return Hits(rows[same], unit, places[same] - self.units.base.take(unit), size[same], weight[same])

    def _with_common(self, codes: NDArray[np.uint8], windows: Windows, hits: Hits) -> Hits:
        found = [hits]
        edges = self.units.base.astype(np.uint64) << _THIRTY_TWO
        for unit in np.unique(hits.unit).tolist():
            low, high = np.searchsorted(self._common_places, edges[unit : unit + 2])
            if low == high:
                continue
            own = np.sort(self._common_places[low:high] << _THIRTY_TWO | self._common_places[low:high] >> _THIRTY_TWO)
            rows = np.flatnonzero(np.isin(windows.hashes, _hashes(own)))
            if len(rows):
                rows, places, weight = _expand(own, rows, windows.hashes.take(rows))
                found.append(self._verified(codes, windows, rows, places, weight * 0))
        return Hits(*(np.concatenate([getattr(f, name) for f in found]) for name in Hits.__slots__))

    @functools.cached_property
    def mean_weights(self) -> NDArray[np.float64]:
        """Average weight of every unit's windows, common ones included at 0."""
        total = np.zeros(self.units.count, np.float64)
        for low in range(0, len(self._keys), _PART):
            part = self._keys[low : low + _PART]
            _, inverse, count = np.unique(_hashes(part), return_inverse=True, return_counts=True)
            owners = np.searchsorted(self.units.base, (part & _LOW_HALF).astype(np.int64), "right") - 1
            total += np.bincount(owners, (WHOLE_WEIGHT // count)[inverse], self.units.count)
        return total / np.maximum(1, self.window_counts)

    def _per_unit(self, keys: NDArray[np.uint64]) -> Ints:
        counts = np.zeros(self.units.count, np.int64)
        for low in range(0, len(keys), _PART):
            places = (keys[low : low + _PART] & _LOW_HALF).astype(np.int64)
            owners = np.searchsorted(self.units.base, places, "right") - 1
            counts += np.bincount(owners, minlength=self.units.count)
        return counts

    def fingerprint(self) -> str:
        """SHA-256 over everything that decides what is found."""
        digest = hashlib.sha256(json.dumps([_FORMAT, self.window.name, self.common]).encode())
        digest.update(self.units.marked.tobytes())
        digest.update(self.units.base.tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the units; an index is quicker to build again than to read."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("marked", "base", "words", "of_text"):
            np.save(folder / f"{name}.npy", getattr(self.units, name), allow_pickle=False)
        settings = {"format": _FORMAT, "size": self.window.size, "words": self.window.words, "common": self.common}
        (folder / "index.json").write_text(json.dumps(settings))

    @classmethod
    def load(cls, folder: Path) -> ContainmentIndex:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: the folder holds no index, or one of another format.
        """
        try:
            settings = json.loads((folder / "index.json").read_text())
            names = ("marked", "base", "words", "of_text")
            arrays = [np.load(folder / f"{name}.npy", allow_pickle=False) for name in names]
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: no overlap index can be read there: {error}", "build it again") from error
        if settings.get("format") != _FORMAT:
            raise DataError(f"{folder}: an overlap index of another format", "build it again")
        return cls(Units(*arrays), Window(settings["size"], words=settings["words"]), settings["common"])


def _hashes(keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
    return (keys >> _THIRTY_TWO).astype(np.uint32)


def _sorted_keys(units: Units, window: Window) -> NDArray[np.uint64]:
    """``hash << 32 | place`` of every window of every unit, rising."""
    if len(units.marked) >= 1 << 32:
        raise DataError("more than 4 thousand million letters to look for", "split the holdout and check each part")
    keys = np.empty(int(units.words.sum()), np.uint64)
    filled = 0
    hasher = Hasher(window)
    for offset, marked in units.chunks():
        found = hasher.windows(marked & _SEVEN, np.flatnonzero(marked > _SEVEN))
        ends = units.base.take(np.searchsorted(units.base, found.first + offset, "right"))
        inside = found.end + offset <= ends
        fresh = found.hashes[inside].astype(np.uint64) << _THIRTY_TWO
        fresh |= (found.first[inside] + offset).astype(np.uint64)
        keys[filled : filled + len(fresh)] = fresh
        filled += len(fresh)
    keys = keys[:filled]
    keys.sort()
    return keys


def _split_common(keys: NDArray[np.uint64], common: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Take windows that lie in more than ``common`` places out of the array, in place."""
    if len(keys) <= common:
        return keys, keys[:0]
    shared: list[NDArray[np.uint32]] = []
    for low in range(0, len(keys) - common, _PART):
        high = min(low + _PART, len(keys) - common)
        early, late = _hashes(keys[low:high]), _hashes(keys[low + common : high + common])
        shared.append(np.unique(early[early == late]))
    everywhere = np.unique(np.concatenate(shared))
    if not len(everywhere):
        return keys, keys[:0]
    apart: list[NDArray[np.uint64]] = []
    filled = 0
    for low in range(0, len(keys), _PART):
        part = keys[low : low + _PART]
        is_common = np.isin(_hashes(part), everywhere)
        apart.append(part[is_common])
        rest = part[~is_common]
        keys[filled : filled + len(rest)] = rest
        filled += len(rest)
    return keys[:filled], np.concatenate(apart)


def _expand(keys: NDArray[np.uint64], rows: Ints, hashes: NDArray[np.uint32]) -> tuple[Ints, Ints, Ints]:
    """Every (row, place, weight) whose hash is in the sorted keys."""
    low_keys = hashes.astype(np.uint64) << _THIRTY_TWO
    low = np.searchsorted(keys, low_keys, "left")
    if not len(keys):
        return rows[:0], low, low
    near = keys.take(low, mode="clip") >> _THIRTY_TWO == hashes
    if not near.any():
        return rows[:0], low[:0], low[:0]
    rows, low, low_keys = rows[near], low[near], low_keys[near]
    count = np.searchsorted(keys, low_keys | _LOW_HALF, "right") - low
    total = np.cumsum(count)
    which = np.repeat(low - (total - count), count) + np.arange(total[-1])
    weight = np.repeat(WHOLE_WEIGHT // count, count)
    return np.repeat(rows, count), (keys.take(which) & _LOW_HALF).astype(np.int64), weight
