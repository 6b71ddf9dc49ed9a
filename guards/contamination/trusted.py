"""The vault's items and marks, read on the trusted side and kept for the next check of the same vault."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from evalkit.overlap import Item, Problems
from evalkit.overlap.items import items_of
from evalkit.overlap.rows import Row, rows_of
from evalkit.splits.canaries import FIELD
from guards.contamination.canaries import marks_in
from guards.contamination.hardcoded import SourceChecker

__all__ = ["Trusted", "trusted"]

_ROWS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".md")
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Trusted:
    """What checks need of one vault.

    Attributes:
        visible: looks for items of the first split, which proposers may read; None where there are none.
        hidden: looks for items of the others; None where there are none.
        marks: canaries and what they stand for.
    """

    visible: SourceChecker | None
    hidden: SourceChecker | None
    marks: dict[str, str]


_known: dict[bytes, Trusted] = {}


def trusted(files: Iterable[tuple[str, bytes]], screen: str) -> Trusted:
    """Read a vault's files.

    Args:
        files: names (``confirm/cases.jsonl``) and contents.
        screen: name of the split that proposers may read.
    """
    listed = sorted(files)
    digest = hashlib.blake2b(screen.encode())
    for name, raw in listed:
        digest.update(f"{name}\x00{len(raw)}\x00".encode() + raw)
    key = digest.digest()
    if key not in _known:
        while len(_known) >= _KEPT:
            _known.pop(next(iter(_known)))
        _known[key] = _read(listed, screen)
    return _known[key]


def _read(files: list[tuple[str, bytes]], screen: str) -> Trusted:
    problems = Problems(keep_going=True)
    rows: dict[bool, list[Row]] = {True: [], False: []}
    marks: dict[str, str] = {}
    for name, raw in files:
        marks |= marks_in(name, raw)
        if name.endswith(_ROWS) and FIELD not in name and not name.endswith("manifest.json"):
            found = rows_of(name, raw, problems)
            plain = (replace(row, data={k: v for k, v in row.data.items() if k != FIELD}) for row in found)
            rows[name.split("/", 1)[0] == screen] += plain
    checkers = {side: _checker(items_of(listed, problems)) for side, listed in rows.items()}
    return Trusted(checkers[True], checkers[False], marks)


def _checker(items: list[Item]) -> SourceChecker | None:
    return SourceChecker(items) if items else None
