"""A stream of any size as chunks of bounded size, cut where nothing is lost."""
# ruff: noqa: PLR2004 - the constants are those of UTF-8 and of JSON escapes

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["BLOCK", "OVERLAP", "Chunk", "Reader", "read_chunks"]

BLOCK = 1 << 18
"""Bytes read at a time; measured best between 64 KiB and 1 MiB."""
OVERLAP = 1 << 10
"""Bytes, at the least, that a chunk repeats of the one before where one document spans both; twice that at the most."""
_LONG_LINE = 4 * BLOCK


class Reader(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; empty at the end."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a stream.

    Attributes:
        raw: its bytes; no character, escape sequence or word is cut by its ends, where the text has spaces at all.
        offset: of the first byte in the (decompressed) stream.
        line: number of the first line, from 1.
        by_line: whether each line is a document; else the stream is one.
        escaped: whether the bytes are JSON.
        more: whether the last document goes on in the next chunk.
    """

    raw: bytes
    offset: int
    line: int
    by_line: bool
    escaped: bool
    more: bool

    @property
    def newlines(self) -> int:
        """Line ends in it."""
        return _newlines(self.raw)


def _newlines(raw: bytes) -> int:
    """Counts line ends, ten times as fast as ``bytes.count`` where there are many."""
    return int(np.count_nonzero(np.frombuffer(raw, np.uint8) == np.uint8(10)))


def _safe_cut(raw: bytes, at: int) -> int:
    """A place at or a little before ``at`` that splits no word, or at least no character and no escape sequence."""
    low = max(1, at - OVERLAP)
    space = max(raw.rfind(b" ", low, at), raw.rfind(b"\n", low, at), raw.rfind(b"\t", low, at))
    if space >= low:
        return space + 1
    slash = raw.rfind(b"\\", max(0, at - 12), at)
    while slash > 0 and raw[slash - 1] == 0x5C:
        slash -= 1
    if slash > 0:
        return slash
    while at > low and raw[at] & 0xC0 == 0x80:
        at -= 1
    return at


def read_chunks(
    reader: Reader, *, by_line: bool, escaped: bool, offset: int = 0, line: int = 1, block: int = BLOCK
) -> Iterator[Chunk]:
    """Cut a stream into chunks. Memory stays below about 5 blocks, however long the lines are.

    Args:
        reader: the stream, read from where it stands.
        by_line: whether each line is a document.
        escaped: whether the bytes are JSON.
        offset: of the reader's position in the stream.
        line: number of the line that the reader stands in.
        block: bytes to read at a time.
    """
    rest = b""
    while True:
        try:
            data = reader.read(block)
        except Exception:
            if rest:
                yield Chunk(rest, offset, line, by_line, escaped, more=False)  # what came before the break counts
            raise
        buffer = rest + data
        if not data:
            if buffer:
                yield Chunk(buffer, offset, line, by_line, escaped, more=False)
            return
        cut, resume = _cut(buffer, by_line=by_line)
        if not cut:
            rest = buffer
            continue
        yield Chunk(buffer[:cut], offset, line, by_line, escaped, more=resume < cut)
        line += _newlines(buffer[:resume])
        offset += resume
        rest = buffer[resume:]


def _cut(buffer: bytes, *, by_line: bool) -> tuple[int, int]:
    """Where the chunk ends and where the next begins; (0, 0) to read on first."""
    newline = buffer.rfind(b"\n") + 1
    if by_line and newline:
        return newline, newline
    if by_line and len(buffer) < _LONG_LINE:
        return 0, 0
    if len(buffer) <= 3 * OVERLAP:
        return 0, 0
    cut = _safe_cut(buffer, len(buffer) - 1)
    return cut, _safe_cut(buffer, cut - OVERLAP)
