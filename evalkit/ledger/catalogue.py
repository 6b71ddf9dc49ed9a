"""Keeps an index at hand for a ledger file: opens it, follows the file, makes it anew when it is lost or wrong."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from evalkit.errors import LedgerError
from evalkit.ledger.chain import GENESIS, Line, decode, scan
from evalkit.ledger.index import Checkpoint, Index, Place
from evalkit.ledger.writing import ledger_error

__all__ = ["START", "Catalogue"]

START = Checkpoint(0, 0, 0, GENESIS)
"""Before the first record."""

_T = TypeVar("_T")
_NAME = "index.sqlite"
_BLOCK = 1 << 20


class Catalogue:
    """The index of one ledger file.

    Args:
        path: the ledger file; the index lives beside it.
        write: whether the index may be written; otherwise it is followed in memory.
    """

    def __init__(self, path: Path, *, write: bool) -> None:
        self._path = path
        self._write = write
        self._index: Index | None = None

    def open(self) -> Checkpoint | None:
        """Open the index that is there; how far it saw, None where there is none that can be used."""
        file = self._path.with_name(_NAME)
        try:
            if self._write:
                self._index = Index(file)
            elif file.exists():
                self._index = Index.copy_of(file)
            return None if self._index is None else self._index.checkpoint()
        except sqlite3.Error:
            self._drop()
            return None

    def follow(self, at: Checkpoint) -> Checkpoint:
        """Take in everything after ``at``; where the chain ends.

        Raises:
            LedgerCorrupt: a record is not what was written.
            LedgerError: the file can't be read.
        """
        if self._index is None:
            return self.rebuild(None)
        try:
            return self._read_on(self._index, at, None)
        except sqlite3.Error:
            return self.rebuild(None)

    def take(self, line: Line) -> Checkpoint:
        """Take in one more line; where the chain ends then. An index that fails is dropped, never a record."""
        record = decode(line.data, line.offset, line.seq)
        self.note(Place(line.seq, line.offset, len(line.data)), record.kind, record.body, line.hash)
        return Checkpoint(line.seq + 1, line.offset + len(line.data), line.offset, line.hash)

    def note(self, place: Place, kind: str, body: Mapping[str, Any], digest: str) -> None:
        """The same for a record that was just written."""
        if self._index is not None:
            try:
                self._index.add(place, kind, body, digest)
            except sqlite3.Error:
                self._drop()

    def ask(self, query: Callable[[Index], _T], until: int) -> _T:
        """The answer of the index, which is made anew, up to the offset ``until``, if it fails."""
        if self._index is not None:
            try:
                return query(self._index)
            except sqlite3.Error:
                self._drop()
        self.rebuild(until)
        return query(self._made())

    def rebuild(self, until: int | None) -> Checkpoint:
        """Make the index anew from the file; where the chain ends.

        The index that was there is given up only when the file was read to its end: where it is the file that is
        damaged, that is raised, and what the old index knows stays known.

        Raises:
            LedgerCorrupt: a record is not what was written.
            LedgerError: the file can't be read.
        """
        if self._write:
            try:
                return self._rebuild_file(until)
            except (sqlite3.Error, OSError):  # no room for it on the disk: memory will do
                self._drop()
        fresh = Index(None)
        try:
            at = self._read_on(fresh, START, until)
        except BaseException:
            fresh.discard()
            raise
        self._drop()
        self._index = fresh
        return at

    def _rebuild_file(self, until: int | None) -> Checkpoint:
        file, fresh_file = self._path.with_name(_NAME), self._path.with_name(f"{_NAME}.new")
        self._unlink(f"{_NAME}.new*")
        fresh = Index(fresh_file)
        try:
            at = self._read_on(fresh, START, until)
            fresh.flush()
        finally:
            fresh.discard()
        self._drop()
        self._unlink(f"{_NAME}-*")  # a journal of the old one would be taken for the new one's
        fresh_file.replace(file)
        self._index = Index(file)
        return at

    def _unlink(self, pattern: str) -> None:
        for stale in self._path.parent.glob(pattern):
            stale.unlink()

    def _read_on(self, index: Index, at: Checkpoint, until: int | None) -> Checkpoint:
        try:
            file = self._path.open("rb", buffering=_BLOCK)
        except OSError as error:
            raise ledger_error("read", error) from error
        with file:
            for line in scan(file, at.offset, at.count, at.head):
                if until is not None and line.offset >= until:
                    break
                record = decode(line.data, line.offset, line.seq)
                index.add(Place(line.seq, line.offset, len(line.data)), record.kind, record.body, line.hash)
                at = Checkpoint(line.seq + 1, line.offset + len(line.data), line.offset, line.hash)
        return at

    def _made(self) -> Index:
        if self._index is None:
            raise LedgerError("the ledger's index can't be made", "see whether the disk is full")
        return self._index

    def _drop(self) -> None:
        index, self._index = self._index, None
        if index is not None:
            with contextlib.suppress(sqlite3.Error):
                index.discard()

    def close(self) -> None:
        """Write what is pending and let go of the index."""
        index, self._index = self._index, None
        if index is not None:
            with contextlib.suppress(sqlite3.Error):  # it is made anew when it is needed
                index.close()
