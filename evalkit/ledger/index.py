"""The index: where each record is, what it speaks of, and how far the chain was seen. Rebuildable at any time.

The ledger file alone is the truth. The index is written behind it without syncing; when it is lost, old or broken it is
made again from the file, and no answer of it is believed before the record it points to was read and its hash checked.

Indexed are, of each record: its kind; the top-level ``experiment`` number; and every 40-digit object id among the
values of the body and of the objects directly inside it, by field (``candidate``, or ``trees.candidate``).
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

__all__ = ["PAGE", "Checkpoint", "Index", "Place"]

_SCHEMA_VERSION = 1
_FLUSH_EVERY = 256
_ID = re.compile(r"[0-9a-f]{40}")
PAGE = 16
"""Records that are in memory at once while many are read."""
_LARGEST = 2**63 - 1

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records (seq INTEGER PRIMARY KEY, offset INTEGER NOT NULL, size INTEGER NOT NULL, kind TEXT NOT NULL);
CREATE INDEX records_by_kind ON records (kind, seq);
-- BLOB is the one declared type that leaves text as text and numbers as numbers.
CREATE TABLE keys (value BLOB, seq INTEGER, field TEXT, PRIMARY KEY (value, seq, field)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far the chain was seen.

    Attributes:
        count: records.
        offset: of the first byte after the last of them.
        last: offset of the last one's first byte.
        head: its hash.
    """

    count: int
    offset: int
    last: int
    head: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is."""

    seq: int
    offset: int
    size: int


class Index:
    """A sqlite file, or memory where no file can be written.

    Every method may raise :class:`sqlite3.Error`; the caller then makes the index anew.

    Args:
        path: the file, created where it is not there; None for memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._pending: list[tuple[Place, str, list[tuple[str | int, str]]]] = []
        self._checkpoint: Checkpoint | None = None
        self._db = sqlite3.connect(":memory:" if path is None else path, check_same_thread=False, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    @classmethod
    def copy_of(cls, path: Path) -> Self:
        """An index in memory that begins as a copy of the file, which is only read."""
        copy = cls(None)
        try:
            with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source:
                source.backup(copy._db)
            copy._prepare()
        except BaseException:
            copy.discard()
            raise
        return copy

    def _prepare(self) -> None:
        self._db.execute("PRAGMA busy_timeout = 5000")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        self._db.execute("PRAGMA synchronous = OFF")
        if version == 0:
            self._db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {_SCHEMA_VERSION};COMMIT;")
        elif version != _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"an index of version {version}")

    def checkpoint(self) -> Checkpoint | None:
        """How far the chain was seen when the index was last written."""
        found = dict(self._db.execute("SELECT name, value FROM meta"))
        if "head" not in found:
            return None
        try:
            return Checkpoint(int(found["count"]), int(found["offset"]), int(found["last"]), str(found["head"]))
        except (KeyError, ValueError):
            raise sqlite3.DatabaseError("a checkpoint that is not one") from None

    def add(self, place: Place, kind: str, body: Mapping[str, Any], head: str) -> None:
        """Take in one record; written in batches."""
        self._pending.append((place, kind, list(_keys(body))))
        self._checkpoint = Checkpoint(place.seq + 1, place.offset + place.size, place.offset, head)
        if len(self._pending) >= _FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what is pending, in one transaction."""
        if not self._pending or self._checkpoint is None:
            return
        at = self._checkpoint
        meta = {"count": at.count, "offset": at.offset, "last": at.last, "head": at.head}
        records = [(place.seq, place.offset, place.size, kind) for place, kind, _ in self._pending]
        keys = [(value, place.seq, field) for place, _, found in self._pending for value, field in found]
        self._db.execute("BEGIN")
        try:
            self._db.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", records)
            self._db.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", keys)
            self._db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", [(name, str(value)) for name, value in meta.items()]
            )
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._pending.clear()

    def place(self, seq: int) -> list[Place]:
        """Where the record ``seq`` is, a list of one."""
        found = self._places("SELECT seq, offset, size FROM records WHERE seq = ?", (seq,))
        if not found:
            raise sqlite3.DatabaseError(f"no record {seq}")
        return found

    def of_kind(self, kind: str, start: int, end: int) -> list[Place]:
        """The first records of a kind among ``start`` to ``end`` (exclusive), at most :data:`PAGE`."""
        query = "SELECT seq, offset, size FROM records WHERE kind = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT ?"
        return self._places(query, (kind, start, end, PAGE))

    def latest(self, kind: str) -> list[Place]:
        """The last record of a kind, a list of at most one."""
        query = "SELECT seq, offset, size FROM records WHERE kind = ? ORDER BY seq DESC LIMIT 1"
        return self._places(query, (kind,))

    def with_key(self, value: str | int, field: str | None, start: int, end: int) -> list[Place]:
        """The first records that hold ``value`` in ``field``, or anywhere; as :meth:`of_kind`."""
        query = (
            "SELECT DISTINCT r.seq, r.offset, r.size FROM keys k JOIN records r ON r.seq = k.seq"
            " WHERE k.value = ? AND k.seq >= ? AND k.seq < ? AND (? IS NULL OR k.field = ?) ORDER BY r.seq LIMIT ?"
        )
        return self._places(query, (value, start, end, field, field, PAGE))

    def largest_experiment(self) -> int | None:
        """The highest experiment number, None where there is none."""
        self.flush()
        query = "SELECT value FROM keys WHERE typeof(value) = 'integer' ORDER BY value DESC LIMIT 1"
        found = self._db.execute(query).fetchone()
        return None if found is None else int(found[0])

    def counts(self) -> dict[str, int]:
        """Records by kind."""
        self.flush()
        return dict(self._db.execute("SELECT kind, count(*) FROM records GROUP BY kind ORDER BY kind"))

    def _places(self, query: str, values: tuple[object, ...]) -> list[Place]:
        self.flush()
        return [Place(*row) for row in self._db.execute(query, values)]

    def close(self) -> None:
        """Write what is pending and let go of the file."""
        try:
            self.flush()
        finally:
            self._db.close()

    def discard(self) -> None:
        """Let go of the file without writing what is pending."""
        self._db.close()


def _keys(body: Mapping[str, Any]) -> Iterator[tuple[str | int, str]]:
    number = body.get("experiment")
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _LARGEST:
        yield number, "experiment"
    for field, value in body.items():
        below = (
            {f"{field}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {field: value}
        )
        for name, inner in below.items():
            if isinstance(inner, str) and _ID.fullmatch(inner):
                yield inner, name.encode("utf-8", "backslashreplace").decode()
