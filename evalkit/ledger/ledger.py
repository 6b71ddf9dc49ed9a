"""The ledger: records in, records out.

What is checked when: opening checks the last record that the index has seen, and every record after it; reading checks
the hash of each record that is read; :meth:`Ledger.verify` checks every byte. A change in the part before the index's
checkpoint is therefore found when that record is read or the whole is verified, not by opening.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from evalkit.errors import LedgerCorrupt, LedgerError
from evalkit.ledger.catalogue import START, Catalogue
from evalkit.ledger.chain import (
    MAX_LINE,
    Line,
    Problem,
    Record,
    corrupt,
    decode,
    encode,
    next_line,
    tail_of,
)
from evalkit.ledger.index import Checkpoint, Index, Place
from evalkit.ledger.verification import Verification, verify_file
from evalkit.ledger.writing import LedgerFile, Lock, ledger_error, sync_folder

__all__ = ["Ledger"]

_T = TypeVar("_T")
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FILE = "ledger.jsonl"
_LOST = "the index saw it, the file ends before it (if that is meant, delete index.sqlite)"
_BLOCK = 1 << 20


class Ledger:
    """An open ledger. Open one with :meth:`open`; it may be shared between threads.

    Attributes:
        folder: the folder that holds it.
        notices: what was repaired while opening, sentences for the user.
    """

    def __init__(self, folder: Path, file: LedgerFile, lock: Lock | None, clock: Callable[[], int]) -> None:
        self.folder = folder
        self.notices: tuple[str, ...] = ()
        self._path = folder / _FILE
        self._file = file
        self._lock = lock
        self._clock = clock
        self._mutex = threading.RLock()
        self._catalogue = Catalogue(self._path, write=lock is not None)
        self._at = START
        self._finalizer = weakref.finalize(self, _let_go, file, lock)

    @classmethod
    def open(cls, folder: Path, *, write: bool = True, clock: Callable[[], int] = time.time_ns) -> Self:
        """Open the ledger in ``folder``; for writing, it is created where it is not there.

        Args:
            folder: the folder.
            write: whether to write; one process at a time can. Reading needs no lock.
            clock: wall time in nanoseconds since 1970.

        Raises:
            LedgerLocked: another process is writing; names it.
            LedgerCorrupt: a record is not what was written, or records are gone; names it.
            LedgerError: it can't be read or written.
        """
        folder = Path(folder)
        lock: Lock | None = None
        try:
            if write:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = Lock(folder / "lock")
            file = LedgerFile(folder / _FILE, write=write)
        except OSError as error:
            if lock is not None:
                lock.release()
            raise ledger_error(f"opened in {folder}", error) from error
        ledger = cls(folder, file, lock, clock)
        try:
            ledger._start()
        except BaseException:
            ledger.close()
            raise
        return ledger

    @property
    def head(self) -> str:
        """The hash of the last record, sixty-four zeros where there is none."""
        return self._at.head

    @property
    def count(self) -> int:
        """How many records there are."""
        return self._at.count

    def append(self, kind: str, body: Mapping[str, Any]) -> Record:
        """Write a record; when this returns it is on the disk.

        Args:
            kind: lower-case letters, digits, ``_``, ``.`` and ``-``, at most 64.
            body: plain JSON values; no NaN, no infinity.

        Raises:
            LedgerError: no room, or not open for writing. The ledger is as it was, and usable when there is room again.
            ValueError: ``kind`` or a value is not allowed.
            TypeError: a value is not plain JSON.
        """
        if not _KIND.fullmatch(kind):
            raise ValueError(f"{kind!r} can't be the kind of a record")
        with self._mutex:
            self._see_that_it_is_open()
            if self._lock is None:
                raise LedgerError(f"the ledger in {self.folder} is open for reading only")
            seq, prev, at = self._at.count, self._at.head, self._now()
            line, digest = encode(seq, kind, dict(body), at, prev)
            offset = self._file.append(line)
            self._at = Checkpoint(seq + 1, offset + len(line), offset, digest)
            self._catalogue.note(Place(seq, offset, len(line)), kind, body, digest)
            return Record(seq, kind, body, at, prev, digest)

    def records(self, kind: str | None = None, start: int = 0) -> Iterator[Record]:
        """Records that are there now, in order, a few at a time in memory.

        Args:
            kind: only these.
            start: from this number on.

        Raises:
            LedgerCorrupt: one is not what was written.
        """
        end = self._at
        if kind is not None:
            yield from self._pages(lambda index, first, last: index.of_kind(kind, first, last), start)
            return
        if start >= end.count:
            return
        offset = self._fetch_place(start)
        with self._path.open("rb", buffering=_BLOCK) as file:
            file.seek(offset)
            for seq in range(start, end.count):
                line = file.readline(MAX_LINE + 1)
                yield decode(line, offset, seq)
                offset += len(line)

    def _pages(self, query: Callable[[Index, int, int], list[Place]], start: int = 0) -> Iterator[Record]:
        """What the index finds among the records that are there now, a page at a time in memory."""
        end = self.count

        def page(index: Index) -> list[Place]:
            return query(index, start, end)

        while found := self._fetch(page):
            yield from found
            start = found[-1].seq + 1

    def _fetch_place(self, seq: int) -> int:
        """The offset of a record, seen to be there."""
        if seq == 0:
            return 0
        self._fetch(lambda index: index.place(seq))
        return self._ask(lambda index: index.place(seq))[0].offset

    def get(self, seq: int) -> Record:
        """The record with this number.

        Raises:
            LedgerError: there is none.
            LedgerCorrupt: it is not what was written.
        """
        if not 0 <= seq < self.count:
            raise LedgerError(f"there is no record {seq}; the ledger holds {self.count}", "numbers begin at 0")
        return self._fetch(lambda index: index.place(seq))[0]

    def latest(self, kind: str) -> Record | None:
        """The last record of a kind, None where there is none."""
        return next(iter(self._fetch(lambda index: index.latest(kind))), None)

    def by_experiment(self, number: int) -> list[Record]:
        """Every record whose body has this ``experiment`` number."""
        return list(self._pages(lambda index, start, end: index.with_key(number, "experiment", start, end)))

    def by_tree(self, tree: str, field: str | None = None) -> Iterator[Record]:
        """Every record whose body names this object id, in ``field`` (such as ``candidate``) or anywhere, in order."""
        return self._pages(lambda index, start, end: index.with_key(tree, field, start, end))

    def last_experiment(self) -> int | None:
        """The highest experiment number, None where there is none."""
        return self._ask(lambda index: index.largest_experiment())

    def counts(self) -> dict[str, int]:
        """How many records of each kind there are."""
        return self._ask(lambda index: index.counts())

    def verify(self, *, expected_head: str | None = None) -> Verification:
        """Check every byte. See :func:`evalkit.ledger.verification.verify_file`.

        Args:
            expected_head: a head that was seen before; without it, the one known since this ledger was opened counts.
        """
        with self._mutex:
            known = self.head if expected_head is None else expected_head
            return verify_file(self._path, expected_head=known)

    def flush(self) -> None:
        """Write the index up to the last record; the records themselves are on the disk already."""
        self._ask(lambda index: index.flush())

    def close(self) -> None:
        """Let go of the file and the lock."""
        with self._mutex:
            self._catalogue.close()
            self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        """See that file and index agree, read on from there, repair a torn end."""
        at = self._catalogue.open()
        self._file.see_size()
        if at is not None and at.offset > self._file.size:
            raise corrupt(Problem(at.count - 1, self._file.size, f"it and perhaps others are gone: {_LOST}"))
        if at is not None and not self._agrees(at):
            self._at = self._catalogue.rebuild(None)
        else:
            self._at = self._catalogue.follow(at or START)
        self._repair()

    def _agrees(self, at: Checkpoint) -> bool:
        """Whether the checkpoint's last record stands where it says."""
        if not 0 <= at.last < at.offset <= at.last + MAX_LINE:
            return False
        line = self._file.read(at.last, at.offset - at.last)
        tail = tail_of(line)
        return tail is not None and tail.hash == at.head and next_line(line, at.count - 1, tail.prev) == at.head

    def _repair(self) -> None:
        """Deal with bytes after the last newline: a write that never finished, or a newline that got lost."""
        at = self._at
        rest = self._file.read(at.offset, self._file.size - at.offset)
        if not rest or self._lock is None:
            self.notices += ("the last line is not complete and was left out",) if rest else ()
            return
        try:
            for whole in (rest + b"\n", rest[:-1] + b"\n"):
                digest = next_line(whole, at.count, at.head)
                if digest is not None:
                    self._file.replace_end(at.offset, whole)
                    self._at = self._catalogue.take(Line(at.offset, at.count, digest, whole))
                    self.notices += (f"the end of record {at.count} was damaged and was repaired; nothing is lost",)
                    return
            aside = self._put_aside(rest)
            self._file.replace_end(at.offset, b"")
        except OSError as error:
            raise ledger_error("repaired", error) from error
        what = f"record {at.count} was torn ({len(rest)} bytes, a write that never finished) and was removed"
        self.notices += (f"{what}; its bytes are kept in {aside}",)

    def _put_aside(self, rest: bytes) -> Path:
        aside = self.folder / f"torn-{self._at.count}-{hashlib.sha256(rest).hexdigest()[:8]}"
        with aside.open("wb") as file:
            file.write(rest)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.folder)
        return aside

    def _ask(self, query: Callable[[Index], _T]) -> _T:
        with self._mutex:
            self._see_that_it_is_open()
            return self._catalogue.ask(query, self._at.offset)

    def _see_that_it_is_open(self) -> None:
        if not self._finalizer.alive:
            raise LedgerError(f"the ledger in {self.folder} was closed", "open it again")

    def _fetch(self, query: Callable[[Index], list[Place]]) -> list[Record]:
        """The records that the index names, each read and checked; with a new index if one is not there."""
        with self._mutex:
            try:
                return [self._read(place) for place in self._ask(query)]
            except LedgerCorrupt:
                self._catalogue.rebuild(self._at.offset)  # raises where it is the file that is damaged
                return [self._read(place) for place in self._ask(query)]

    def _read(self, place: Place) -> Record:
        return decode(self._file.read(place.offset, place.size), place.offset, place.seq)

    def _now(self) -> str:
        moment = _EPOCH + timedelta(microseconds=self._clock() // 1000)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _let_go(file: LedgerFile, lock: Lock | None) -> None:
    file.close()
    if lock is not None:
        lock.release()
