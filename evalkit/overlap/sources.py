"""Where corpora lie: files, folders and streams; plain, compressed or parquet; as shards that are read side by side."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from evalkit.errors import DataError
from evalkit.overlap.chunks import OVERLAP, Chunk, Reader, read_chunks

__all__ = ["Kind", "Shard", "find_files", "open_stream", "plan_shards", "shard_chunks", "sniff_kind"]

Kind = Literal["lines", "json", "text", "parquet"]
"""JSON lines; one JSON document; plain text; parquet."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
)
_SUFFIXES = {".gz", ".bz2", ".xz", ".zst", ".zstd", ".lzma"}
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)
_SHARD = 128 << 20
_SKIPPED_FOLDERS = {".git", ".evalkit", "__pycache__", ".venv", "node_modules"}


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a corpus that one worker reads.

    Attributes:
        path: the file; ``-`` for standard input.
        start, end: bytes of a plain file; ``end`` is None for a stream, which is read whole.
        kind: how it is read.
        compression: found by its first bytes; empty for none.
    """

    path: str
    start: int
    end: int | None
    kind: Kind
    compression: str = ""


def find_files(paths: Iterable[Path | str]) -> list[Path]:
    """All files below the given files and folders, in a fixed order; hidden build and git folders are passed over.

    Raises:
        DataError: a path isn't there.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if str(path) == "-" or path.is_file():
            found.append(path)
        elif path.is_dir():
            found += _below(path)
        else:
            raise DataError(f"{path}: no such file or folder", "check the path; '-' reads standard input")
    return found


def _below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        yield from (Path(root, name) for name in sorted(files) if Path(root, name).is_file())


def _compression(head: bytes) -> str:
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "")


def sniff_kind(name: str, head: bytes) -> Kind:
    """How a file is read, by its name and, where that says nothing, by its first (decompressed) bytes."""
    path = Path(name)
    suffix = (path.with_suffix("") if path.suffix in _SUFFIXES else path).suffix.lower()
    if suffix == ".parquet" or head.startswith(b"PAR1"):
        return "parquet"
    if suffix in {".jsonl", ".ndjson"}:
        return "lines"
    first = head.lstrip()[:1]
    if suffix == ".json" or (not suffix and first == b"{"):
        line = head.split(b"\n", 1)[0].strip()
        return "lines" if line.startswith(b"{") and line.endswith(b"}") and b"\n" in head else "json"
    return "text"


@contextmanager
def open_stream(path: str) -> Iterator[Reader]:
    """A file's decompressed bytes; UTF-16 and UTF-32 with a byte order mark come as UTF-8.

    Raises:
        DataError: it can't be opened, or its compression needs a package that isn't installed.
    """
    try:
        raw = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "check the path and its permissions") from error
    try:
        buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
        opened = _decompressed(path, buffered, _compression(buffered.peek(8)[:8]))
        yield _as_utf8(opened)
    finally:
        if path != "-":
            raw.close()


def _decompressed(path: str, raw: io.BufferedReader, compression: str) -> Reader:
    match compression:
        case "gzip":
            return _Patient(gzip.GzipFile(fileobj=raw).read1)
        case "bzip2":
            return _Patient(bz2.BZ2File(raw).read1)
        case "xz":
            return _Patient(lzma.LZMAFile(raw).read1)
        case "zstandard":
            return _zstandard(path, raw)
    return cast("Reader", raw)


def _zstandard(path: str, raw: IO[bytes]) -> Reader:
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise DataError(f"{path}: zstandard data", "pip install 'evalkit-guards[compressed]'") from error
    return _Patient(_Zstandard(raw, zstandard.ZstdDecompressor()).read1)


class _Zstandard:
    """Frames one after another; unlike the package's own reader, it notices when the last one breaks off."""

    def __init__(self, raw: IO[bytes], decompressor: Any) -> None:
        self._raw = raw
        self._decompressor = decompressor
        self._frame: Any = None

    def read1(self, size: int, /) -> bytes:
        while True:
            packed = self._raw.read(max(1 << 14, size // 4))
            if not packed:
                if self._frame is not None:
                    raise EOFError("the last zstandard frame breaks off")
                return b""
            if data := self._unpacked(packed):
                return data

    def _unpacked(self, packed: bytes) -> bytes:
        parts: list[bytes] = []
        while packed:
            if self._frame is None:
                self._frame = self._decompressor.decompressobj()
            parts.append(self._frame.decompress(packed))
            packed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        return b"".join(parts)


class _Patient:
    """Full reads from a decompressor; what it gave before it failed is not lost."""

    def __init__(self, read1: Callable[[int], bytes]) -> None:
        self._read1 = read1
        self._failure: Exception | None = None

    def read(self, size: int, /) -> bytes:
        if self._failure:
            raise self._failure
        parts: list[bytes] = []
        wanted = size
        while wanted > 0:
            try:
                part = self._read1(wanted)
            except Exception as error:
                if not parts:
                    raise
                self._failure = error
                break
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)


class _Peeked:
    """A reader whose first bytes have been looked at."""

    def __init__(self, head: bytes, reader: Reader) -> None:
        self._head = head
        self._reader = reader

    def read(self, size: int, /) -> bytes:
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        return self._reader.read(size)


class _Transcoded:
    """UTF-16 or UTF-32 as UTF-8."""

    def __init__(self, encoding: str, reader: Reader) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._reader = reader

    def read(self, size: int, /) -> bytes:
        while True:
            raw = self._reader.read(size)
            text = self._decoder.decode(raw, final=not raw)
            if text or not raw:
                return text.encode("utf-8", "replace")


def _as_utf8(reader: Reader) -> Reader:
    head = reader.read(4)
    peeked = _Peeked(head, reader)
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return _Transcoded("utf-32", peeked)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _Transcoded("utf-16", peeked)
    return peeked


def plan_shards(paths: Iterable[Path | str], shard_size: int = _SHARD) -> list[Shard]:
    """Cut a corpus into shards: plain files by size, everything else file by file.

    Raises:
        DataError: a path isn't there or can't be read.
    """
    shards: list[Shard] = []
    for path in find_files(paths):
        name = str(path)
        if name == "-":
            shards.append(Shard(name, 0, None, "lines"))
            continue
        compression, head = _head(name)
        kind = sniff_kind(name, head)
        size = path.stat().st_size
        if compression or kind in {"parquet", "json"} or head[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            shards.append(Shard(name, 0, None, kind, compression))
        else:
            shards += [Shard(name, at, min(at + shard_size, size), kind) for at in range(0, size, shard_size)]
    return shards


def _head(name: str) -> tuple[str, bytes]:
    """Compression and first decompressed bytes; broken compression shows when the file is read."""
    try:
        with Path(name).open("rb") as file:
            first = file.read(1 << 16)
    except OSError as error:
        raise DataError(f"{name}: {error.strerror}", "check its permissions") from error
    compression = _compression(first)
    if not compression:
        return "", first
    try:
        with open_stream(name) as stream:
            return compression, stream.read(1 << 16)
    except _BROKEN:
        return compression, b""


class _Range:
    """Bytes ``start … end`` of a plain file: the lines that begin there, or for text a little more than that."""

    def __init__(self, file: IO[bytes], start: int, end: int, kind: Kind) -> None:
        self._file = file
        self._lines = kind == "lines"
        self._end = end if self._lines else end + OVERLAP
        file.seek(max(0, start - 1) if self._lines else start)
        if start and self._lines:
            self._finish_line()
        self.offset = file.tell()
        self._inside = self.offset < self._end

    def _finish_line(self) -> None:
        while (piece := self._file.readline(1 << 20)) and not piece.endswith(b"\n"):
            pass

    def read(self, size: int, /) -> bytes:
        if not self._inside:
            return b""
        left = self._end - self._file.tell()
        if left > 0:
            data = self._file.read(min(size, left))
            self._inside = bool(data) and (left > len(data) or (self._lines and not data.endswith(b"\n")))
        else:
            data = self._file.readline(size)
            self._inside = bool(data) and not data.endswith(b"\n")
        return data


def shard_chunks(shard: Shard) -> Iterator[Chunk]:
    """The chunks of one shard; lines are counted from 1 at the shard's own first line.

    Raises:
        DataError: the data break off or aren't what their first bytes promised; says where.
    """
    if shard.kind == "parquet":
        yield from _parquet_chunks(shard.path)
        return
    by_line, escaped = shard.kind == "lines", shard.kind in {"lines", "json"}
    last: Chunk | None = None
    try:
        if shard.end is not None:
            with Path(shard.path).open("rb") as file:
                part = _Range(file, shard.start, shard.end, shard.kind)
                for last in read_chunks(part, by_line=by_line, escaped=escaped, offset=part.offset):
                    yield last
            return
        with open_stream(shard.path) as stream:
            for last in read_chunks(stream, by_line=by_line, escaped=escaped):
                yield last
    except _BROKEN as error:
        line = last.line + last.newlines if last else 1
        raise DataError(
            f"{shard.path}: broken {shard.compression or 'data'} after line {line}: {error or type(error).__name__}",
            "fetch the file again, or pass --keep-going to count what could be read",
        ) from error


def _parquet_chunks(path: str) -> Iterator[Chunk]:
    """Every row a line, its string columns side by side."""
    try:
        import pyarrow.lib  # noqa: PLC0415 - an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise DataError(f"{path}: parquet", "pip install 'evalkit-guards[parquet]'") from error
    offset, line = 0, 1
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                rows = (" ".join(_strings(list(row.values()))).replace("\n", " ") for row in batch.to_pylist())
                raw = "".join(f"{row}\n" for row in rows).encode("utf-8", "replace")
                yield Chunk(raw, offset, line, by_line=True, escaped=False, more=False)
                offset += len(raw)
                line += batch.num_rows
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise DataError(f"{path}: broken parquet after row {line - 1}: {error}", "write the file again") from error


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)
    elif value is not None:
        yield str(value)
