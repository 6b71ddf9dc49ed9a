"""The chain: how a record is a line, how lines hang together, and how to see that one was touched.

A line is the canonical JSON of ``at``, ``body``, ``kind``, ``prev``, ``seq`` and, last, ``sha256``: the SHA-256 of the
same line without that member. ``prev`` is the ``sha256`` of the line before, sixty-four zeros in the first. Everything
that ties a line to its neighbours stands at its end in fixed form, so a chain is verified without parsing any JSON.

What this can show: any change inside the file, and a removed or reordered record. What it can't show alone: that the
last records were cut off, or that the whole file was written anew. For that, keep the head somewhere else and give it
to :func:`evalkit.ledger.verification.verify_file`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from evalkit.errors import LedgerCorrupt
from evalkit.ledger.canonical import canonical

__all__ = [
    "GENESIS",
    "MAX_LINE",
    "Line",
    "Problem",
    "Record",
    "Tail",
    "corrupt",
    "decode",
    "digest_of",
    "encode",
    "next_line",
    "scan",
    "tail_of",
    "what_is_wrong",
]

GENESIS = "0" * 64
MAX_LINE = 64 << 20
"""Bytes of one record; a longer line was not written by us."""

_END = 3  # `"}\n`
_HASH = 64
_MEMBER = b',"sha256":"'
_TAIL = re.compile(rb',"prev":"([0-9a-f]{64})","seq":(\d{1,18}),"sha256":"([0-9a-f]{64})"\}\n\Z')
_KNOWN_TAIL = 240


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        seq: from 0, without gaps.
        kind: what it is about.
        body: plain JSON values.
        at: wall time, ISO 8601 in UTC. For people: nothing depends on it, and it may go backwards.
        prev: hash of the record before.
        hash: SHA-256 of this one.
    """

    seq: int
    kind: str
    body: Mapping[str, Any]
    at: str
    prev: str
    hash: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a ledger.

    Attributes:
        seq: the record's number; by position where its own number can't be read.
        offset: of the line's first byte in the file.
        what: one sentence.
    """

    seq: int
    offset: int
    what: str

    def __str__(self) -> str:
        return f"record {self.seq} (at byte {self.offset}): {self.what}"


class Tail(NamedTuple):
    """What the end of a line says."""

    prev: str
    seq: int
    hash: str


class Line(NamedTuple):
    """A line that was read: where it is, its number and its hash as written, and its bytes."""

    offset: int
    seq: int
    hash: str
    data: bytes


def encode(seq: int, kind: str, body: Mapping[str, Any], at: str, prev: str) -> tuple[bytes, str]:
    """The line of a record, with its newline, and its hash.

    Raises:
        ValueError: see :func:`evalkit.ledger.canonical.canonical`; or it is longer than :data:`MAX_LINE`.
        TypeError: see there.
    """
    payload = canonical({"at": at, "body": body, "kind": kind, "prev": prev, "seq": seq})
    digest = hashlib.sha256(payload).hexdigest()
    line = payload[:-1] + _MEMBER + digest.encode() + b'"}\n'
    if len(line) > MAX_LINE:
        raise ValueError(f"the record has {len(line)} bytes, at most {MAX_LINE} are allowed")
    return line, digest


def digest_of(line: bytes) -> str:
    """What the hash of a complete line should be."""
    digest = hashlib.sha256(memoryview(line)[: -(_END + _HASH + len(_MEMBER))])
    digest.update(b"}")
    return digest.hexdigest()


def tail_of(line: bytes) -> Tail | None:
    """What the end of a complete line says, None where it says nothing in the right form."""
    found = _TAIL.search(line, max(0, len(line) - _KNOWN_TAIL))
    return Tail(found[1].decode(), int(found[2]), found[3].decode()) if found else None


def next_line(line: bytes, seq: int, prev: str) -> str | None:
    """The hash of ``line`` if it is exactly the record ``seq`` after ``prev``, else None."""
    tail = b',"prev":"%s","seq":%d,"sha256":"' % (prev.encode(), seq)
    if not (line.endswith(b'"}\n') and line.endswith(tail, 0, len(line) - _END - _HASH)):
        return None
    digest = digest_of(line)
    return digest if line[-(_END + _HASH) : -_END] == digest.encode() else None


def decode(line: bytes, offset: int, seq: int | None = None) -> Record:
    """The record of a line, its own hash checked.

    Raises:
        LedgerCorrupt: the line is not what was written.
    """
    tail = tail_of(line)
    if tail is None or digest_of(line) != tail.hash:
        raise corrupt(Problem(tail.seq if tail else seq or 0, offset, what_is_wrong(line)))
    try:
        members = json.loads(line)
        found = Record(
            seq=members["seq"],
            kind=members["kind"],
            body=members["body"],
            at=members["at"],
            prev=members["prev"],
            hash=members["sha256"],
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise corrupt(Problem(seq or 0, offset, "it is not a record")) from None
    if seq is not None and found.seq != seq:
        raise corrupt(Problem(seq, offset, f"the record {found.seq} stands there"))
    return found


def corrupt(problem: Problem) -> LedgerCorrupt:
    """The error for a problem."""
    return LedgerCorrupt(
        f"the ledger is damaged: {problem}",
        "restore the file from a copy; `evalkit verify` lists everything that is wrong",
    )


def scan(file: IO[bytes], offset: int, seq: int, prev: str) -> Iterator[Line]:
    """Lines from ``offset`` on, each checked against the one before; ends before a last line without newline.

    Raises:
        LedgerCorrupt: a line is not the record it should be.
    """
    file.seek(offset)
    while line := file.readline(MAX_LINE + 1):
        if not line.endswith(b"\n") and len(line) <= MAX_LINE:
            return
        digest = next_line(line, seq, prev)
        if digest is None:
            raise corrupt(Problem(seq, offset, what_is_wrong(line, seq, (prev,))))
        yield Line(offset, seq, digest, line)
        offset, seq, prev = offset + len(line), seq + 1, digest


def what_is_wrong(line: bytes, seq: int | None = None, prevs: tuple[str, ...] = ()) -> str:
    """What is wrong with a line, in words.

    Args:
        line: the line.
        seq: the number that belongs there, if known.
        prevs: what it may follow, if known.
    """
    if not line.endswith(b"\n"):
        return "its line is not ended" if len(line) <= MAX_LINE else f"its line is longer than {MAX_LINE} bytes"
    tail = tail_of(line)
    if tail is None:
        return "its end, with the hash, is not what was written"
    digest = digest_of(line)
    if digest != tail.hash:
        return f"its bytes hash to {digest[:16]}…, it says {tail.hash[:16]}…"
    if seq is not None and tail.seq != seq:
        return f"it has the number {tail.seq} where {seq} belongs; records were removed, added or moved"
    if prevs and tail.prev not in prevs:
        return f"it follows {tail.prev[:16]}…, but the record before is {prevs[0][:16]}…"
    return "it is not what was written"
