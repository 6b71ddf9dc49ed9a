"""Lines of an untrusted file, one at a time, with caps; a line that is too long is named and read past."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from evalkit.errors import DataError

__all__ = ["MAX_FILE", "MAX_LINE", "Line", "open_bytes", "read_lines", "read_sample"]

MAX_LINE = 8 << 20
"""Bytes of one line at most; trace files carry prompts and programs."""
MAX_FILE = 4 << 30
"""Bytes of one file at most, after decompression."""
_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end.

    Attributes:
        number: 1-based.
        text: decoded; empty where ``fault`` is set.
        fault: why the line can't be read, or empty.
        complete: whether the line had an end (the last line of a file that is still written may not).
    """

    number: int
    text: str
    fault: str = ""
    complete: bool = True


def open_bytes(path: Path) -> IO[bytes]:
    """Open a plain or gzip-compressed file.

    Raises:
        DataError: when it is not a regular file or can't be opened.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file", "name a history file, or a folder that holds some")
    try:
        stream = path.open("rb")
        if stream.peek(2)[:2] != _GZIP:
            return stream
        stream.close()
        return cast("IO[bytes]", gzip.open(path, "rb"))
    except OSError as error:
        raise DataError(f"{path} can't be opened: {error.strerror}") from None


def read_sample(path: Path, size: int = 1 << 16) -> bytes:
    """The first bytes of a file, decompressed."""
    with open_bytes(path) as stream:
        try:
            return stream.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} can't be read: {error}") from None


def _physical(stream: IO[bytes], path: Path) -> Iterator[tuple[bytes, bool]]:
    """Lines with at most ``MAX_LINE`` bytes kept, and whether they were cut."""
    total = 0
    while True:
        try:
            line = stream.readline(MAX_LINE + 2)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} can't be read: {error}") from None
        if not line:
            return
        cut, piece = False, line
        total += len(line)
        while len(piece) == MAX_LINE + 2 and not piece.endswith(b"\n"):
            cut = True
            piece = stream.readline(MAX_LINE + 2)
            total += len(piece)
            if total > MAX_FILE:
                break
        if total > MAX_FILE:
            raise DataError(f"{path} has more than {MAX_FILE >> 30} GiB", "split it")
        yield (b"\n" if cut else line), cut


def read_lines(path: Path) -> Iterator[Line]:
    """Every line, with its number. A byte order mark and CRLF ends are taken off; a lone CR ends no line.

    A line that is too long, or holds bytes that are not UTF-8 or a NUL, comes back empty with its ``fault``.
    UTF-16 files (as some editors write them) are refused whole.

    Raises:
        DataError: when the file can't be read at all.
    """
    with open_bytes(path) as stream:
        for number, (raw, cut) in enumerate(_physical(stream, path), start=1):
            if number == 1 and raw[:2] in {b"\xff\xfe", b"\xfe\xff"}:
                raise DataError(f"{path} is UTF-16", "save it as UTF-8")
            yield _decode(number, raw, cut=cut)


def _decode(number: int, raw: bytes, *, cut: bool) -> Line:
    if cut:
        return Line(number, "", f"longer than {MAX_LINE >> 20} MiB")
    complete = raw.endswith(b"\n")
    raw = raw.rstrip(b"\n").removesuffix(b"\r")
    if number == 1:
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in raw:
        return Line(number, "", "holds NUL bytes", complete)
    try:
        return Line(number, raw.decode("utf-8"), "", complete)
    except UnicodeDecodeError as error:
        return Line(number, "", f"not UTF-8 at byte {error.start}", complete)
