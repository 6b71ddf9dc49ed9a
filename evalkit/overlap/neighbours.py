"""Near-duplicates within one set of texts: exact, verified pair by pair, and never chained through boilerplate.

Texts share windows; windows that too many texts share propose nothing; every proposed pair is measured over *all* its
windows. With the extra ``nearduplicates``, MinHash (Broder 1997) by rensa proposes the pairs instead: fewer of them,
and it misses pairs of unequal length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import DataError, UsageError
from evalkit.overlap.units import Units, collect_units
from evalkit.overlap.windows import Hasher, Window

__all__ = ["Pair", "clusters", "near_duplicates"]

_SHINGLE = Window(4, words=True)
_ROWS = 2048
_SEVEN = np.uint8(0x7F)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts that share much, ``first < second``.

    Attributes:
        first, second: numbers of the texts.
        containment: share of the smaller one's windows that the other one has, in [0, 1].
        jaccard: shared windows over all windows of both, in [0, 1].
    """

    first: int
    second: int
    containment: float
    jaccard: float


def near_duplicates(
    texts: Sequence[str],
    threshold: float = 0.5,
    *,
    common: int = 50,
    method: Literal["exact", "minhash"] = "exact",
) -> list[Pair]:
    """All pairs of texts with at least ``threshold`` containment.

    Texts with the same letters are paired in a star around the first of them. Texts with fewer than four words are
    compared whole only.

    Args:
        texts: the texts.
        threshold: least containment, in (0, 1].
        common: windows of four words that more texts than this share propose no pair.
        method: how pairs are proposed; both methods measure them the same way.

    Raises:
        UsageError: ``minhash`` was asked for and rensa is not installed.
    """
    units = collect_units(texts)
    matrix = _shingles(units)
    proposed = _shared(matrix, common) if method == "exact" else _minhash(matrix)
    first_text = np.full(units.count, len(texts), np.int64)
    np.minimum.at(first_text, units.of_text, np.arange(len(texts)))
    pairs = [
        Pair(
            min(int(first_text[a]), int(first_text[b])),
            max(int(first_text[a]), int(first_text[b])),
            containment,
            jaccard,
        )
        for a, b, containment, jaccard in _measured(matrix, proposed)
        if containment >= threshold
    ]
    has_letters = units.sizes > 0
    for text, unit in enumerate(units.of_text.tolist()):
        if first_text[unit] != text and has_letters[unit]:
            pairs.append(Pair(int(first_text[unit]), text, 1.0, 1.0))
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def _shingles(units: Units) -> Any:
    """Units by distinct windows, ones where a unit has a window (a scipy sparse matrix)."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import

    hasher = Hasher(_SHINGLE)
    rows: list[NDArray[np.int64]] = []
    hashes: list[NDArray[np.uint32]] = []
    for offset, marked in units.chunks():
        windows = hasher.windows(marked & _SEVEN, np.flatnonzero(marked > _SEVEN))
        owner = np.searchsorted(units.base, windows.first + offset, "right") - 1
        inside = windows.end + offset <= units.base.take(owner + 1)
        rows.append(owner[inside])
        hashes.append(windows.hashes[inside])
    row = np.concatenate([*rows, np.empty(0, np.int64)])
    values, column = np.unique(np.concatenate([*hashes, np.empty(0, np.uint32)]), return_inverse=True)
    pairs = np.unique(row * max(1, len(values)) + column)
    row, column = pairs // max(1, len(values)), pairs % max(1, len(values))
    ones = np.ones(len(pairs), np.int32)
    return csr_array((ones, (row, column)), shape=(units.count, max(1, len(values))))


def _shared(matrix: Any, common: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of units that share a window which few others have."""
    frequency = np.asarray(matrix.sum(axis=0)).ravel()
    rare = matrix[:, np.flatnonzero((frequency > 1) & (frequency <= common))].tocsr()
    turned = rare.T.tocsr()
    for low in range(0, rare.shape[0], _ROWS):
        near = (rare[low : low + _ROWS] @ turned).tocoo()
        above = near.col > near.row + low
        yield near.row[above].astype(np.int64) + low, near.col[above].astype(np.int64)


def _measured(
    matrix: Any, proposed: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> Iterator[tuple[int, int, float, float]]:
    """Every proposed pair with its containment and Jaccard similarity over all windows."""
    sizes = np.diff(matrix.indptr)
    for first, second in proposed:
        for low in range(0, len(first), 4096):
            a, b = first[low : low + 4096], second[low : low + 4096]
            both = np.asarray(matrix[a].multiply(matrix[b]).sum(axis=1)).ravel()
            smaller = np.maximum(1, np.minimum(sizes[a], sizes[b]))
            union = np.maximum(1, sizes[a] + sizes[b] - both)
            yield from zip(a.tolist(), b.tolist(), (both / smaller).tolist(), (both / union).tolist(), strict=True)


def _minhash(matrix: Any) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs whose MinHash signatures agree in a band (128 values, 32 bands of 4)."""
    try:
        from rensa import RMinHash  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError("MinHash needs rensa", "pip install 'evalkit-guards[nearduplicates]'") from error
    signatures = np.empty((matrix.shape[0], 128), np.uint32)
    for row in range(matrix.shape[0]):
        sketch = RMinHash(128, 42)
        sketch.update([str(column) for column in matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].tolist()])
        signatures[row] = sketch.digest()
    found: set[tuple[int, int]] = set()
    usable = np.flatnonzero(np.diff(matrix.indptr) > 0)
    for band in range(32):
        keys = np.ascontiguousarray(signatures[usable, band * 4 : band * 4 + 4]).view("V16").ravel()
        _, group = np.unique(keys, return_inverse=True)
        order = np.argsort(group, kind="stable")
        for members in np.split(usable[order], np.flatnonzero(np.diff(group[order])) + 1):
            head = members.tolist()[:200]
            found.update((a, b) for place, a in enumerate(head) for b in head[place + 1 :])
    pairs = np.array(sorted(found), np.int64).reshape(-1, 2)
    yield pairs[:, 0], pairs[:, 1]


def clusters(pairs: Sequence[Pair], count: int, *, largest: int | None = None) -> NDArray[np.int64]:
    """Group texts so that no verified pair is parted.

    Args:
        pairs: verified pairs.
        count: how many texts there are.
        largest: texts that one cluster may have; None for a twentieth of all, at least 50.

    Returns:
        For every text the smallest number in its cluster.

    Raises:
        DataError: a cluster is larger; such a cluster is nearly always boilerplate, and would void a split.
    """
    parent = np.arange(count)

    def root(text: int) -> int:
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = int(parent[text])
        return text

    for pair in pairs:
        a, b = root(pair.first), root(pair.second)
        parent[max(a, b)] = min(a, b)
    labels = np.array([root(text) for text in range(count)], np.int64)
    cap = largest if largest is not None else max(50, count // 20)
    sizes = np.bincount(labels, minlength=1)
    if len(sizes) and int(sizes.max()) > cap:
        raise DataError(
            f"{int(sizes.max())} of {count} texts are near-duplicates of each other (the first is number"
            f" {int(sizes.argmax())}); a group so large is a template, not a set of copies",
            "raise the threshold, strip the shared template from the texts, or split by a group field",
        )
    return labels
