"""Small data files, row by row and strictly: what is wrong, in which file and line, and what to do."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.overlap.chunks import Reader
from evalkit.overlap.sources import find_files, open_stream, sniff_kind

__all__ = ["Problems", "Row", "read_rows", "rows_of"]

_LONGEST_LINE = 64 << 20
_HEADER_CELL = re.compile(r"[A-Za-z_][\w .\-/]{0,40}")
_BROKEN_STREAM = (EOFError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data file.

    Attributes:
        path: the file.
        line: where the row begins, from 1 (for parquet, the row's number).
        data: its fields.
    """

    path: str
    line: int
    data: Mapping[str, Any]

    @property
    def where(self) -> str:
        """``file:line``."""
        return f"{self.path}:{self.line}"


@dataclass(slots=True)
class Problems:
    """Takes what is wrong with data: raises at once, or collects while reading goes on.

    Attributes:
        keep_going: collect instead of raise.
        found: what was collected, as ``file:line: what; what to do``.
    """

    keep_going: bool = False
    found: list[str] = field(default_factory=list)

    def add(self, message: str, way_out: str) -> None:
        """Note a problem.

        Raises:
            DataError: unless going on was asked for.
        """
        if not self.keep_going:
            raise DataError(message, f"{way_out}; or pass --keep-going to leave it out")
        self.found.append(f"{message}; {way_out}")


def read_rows(path: Path | str, problems: Problems) -> Iterator[Row]:
    """Rows of JSON lines, a JSON list, CSV, TSV, parquet, text files or a folder of any of these.

    A text file is one row with the fields ``id`` (its path below the folder) and ``text``.

    Args:
        path: the file or folder; compressed files are read too.
        problems: takes what is wrong.
    """
    root = Path(path)
    for file in find_files([root]):
        name = str(file)
        try:
            yield from _file_rows(file, root, problems)
        except (RecursionError, *_BROKEN_STREAM) as error:
            reason = str(error) or type(error).__name__
            problems.add(f"{name}: can't be read to its end: {reason}", "write or fetch the file again")


def rows_of(name: str, raw: bytes, problems: Problems) -> Iterator[Row]:
    """Rows of one file that is in memory already; not for parquet.

    Args:
        name: decides how the bytes are read, and stands in messages.
        raw: uncompressed bytes.
        problems: takes what is wrong.
    """
    try:
        yield from _stream_rows(name, name, _Rest(b"", io.BytesIO(raw)), raw[: 1 << 16], problems)
    except RecursionError:
        problems.add(f"{name}: nested too deep to read", "flatten the rows")


def _file_rows(file: Path, root: Path, problems: Problems) -> Iterator[Row]:
    name = str(file)
    with open_stream(name) as stream:
        head = stream.read(1 << 16)
        shown = str(file.relative_to(root)) if root.is_dir() else file.name
        yield from _stream_rows(name, shown, _Rest(head, stream), head, problems)


def _stream_rows(name: str, shown: str, rest: _Rest, head: bytes, problems: Problems) -> Iterator[Row]:
    kind = sniff_kind(name, head)
    suffixes = {suffix.lower() for suffix in Path(name).suffixes}
    if kind == "parquet":
        yield from _parquet_rows(name)
    elif kind == "lines":
        yield from _json_line_rows(name, rest, problems)
    elif kind == "json":
        yield from _json_rows(name, rest, problems)
    elif suffixes & {".csv", ".tsv"}:
        yield from _csv_rows(name, rest, "\t" if ".tsv" in suffixes else ",", problems)
    else:
        yield Row(name, 1, {"id": shown, "text": _decoded(rest.everything())})


class _Rest:
    """A stream with its first bytes put back, line by line or whole."""

    def __init__(self, head: bytes, stream: Reader) -> None:
        self._head = head
        self._stream = stream

    def everything(self) -> bytes:
        """All that is left."""
        parts = [self._head]
        while part := self._stream.read(1 << 20):
            parts.append(part)
        return b"".join(parts)

    def lines(self) -> Iterator[bytes]:
        """Lines with their ends; a line beyond the cap comes cut, without an end."""
        rest = self._head
        while part := self._stream.read(1 << 20):
            whole, newline, rest = (rest + part).rpartition(b"\n")
            yield from io.BytesIO(whole + newline)
            if len(rest) > _LONGEST_LINE:
                yield rest
                rest = b""
        yield from io.BytesIO(rest)


def _decoded(raw: bytes) -> str:
    """UTF-8, or Windows-1252 where it isn't."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _parsed(raw: bytes, where: str, problems: Problems) -> Any:
    """One JSON value, or None with the problem noted."""
    try:
        return json.loads(_decoded(raw))
    except RecursionError:
        problems.add(f"{where}: JSON nested too deep to read", "flatten the row")
    except ValueError as error:
        problems.add(f"{where}: not JSON: {error}", "one JSON object a line is expected")
    return None


def _json_line_rows(name: str, rest: _Rest, problems: Problems) -> Iterator[Row]:
    for line, raw in enumerate(rest.lines(), 1):
        if len(raw) > _LONGEST_LINE:
            problems.add(f"{name}:{line}: a line of more than {_LONGEST_LINE >> 20} MiB", "split the row")
        elif raw.strip():
            yield from _as_row(name, line, _parsed(raw, f"{name}:{line}", problems), problems)


def _json_rows(name: str, rest: _Rest, problems: Problems) -> Iterator[Row]:
    value = _parsed(rest.everything(), name, problems)
    values = value if isinstance(value, list) else [value]
    for number, row in enumerate(values, 1):
        yield from _as_row(name, number, row, problems)


def _as_row(name: str, line: int, value: Any, problems: Problems) -> Iterator[Row]:
    if isinstance(value, dict):
        yield Row(name, line, value)
    elif isinstance(value, str):
        yield Row(name, line, {"text": value})
    elif value is not None:
        kind = type(value).__name__
        problems.add(f"{name}:{line}: a JSON {kind} stands where a row was expected", "write an object a row")


def _csv_rows(name: str, rest: _Rest, delimiter: str, problems: Problems) -> Iterator[Row]:
    text = io.StringIO(_decoded(rest.everything()), newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(f"{name}:{line}: not CSV: {error}", "quote cells that hold quotes or line breaks")
            line = reader.line_num + 1
            continue
        if header is None:
            header, is_header = _header(cells)
            if is_header:
                line = reader.line_num + 1
                continue
        if cells and len(cells) != len(header):
            problems.add(f"{name}:{line}: {len(cells)} cells where {len(header)} were expected", "complete the row")
        elif cells:
            yield Row(name, line, dict(zip(header, cells, strict=True)))
        line = reader.line_num + 1


def _header(cells: list[str]) -> tuple[list[str], bool]:
    """Column names, and whether the first row held them: short, distinct, name-like cells are taken for a header."""
    names = [cell.strip() for cell in cells]
    few_words = all(_HEADER_CELL.fullmatch(name) and len(name.split()) <= 3 for name in names)  # noqa: PLR2004
    if few_words and len(set(names)) == len(names):
        return names, True
    return [f"column{number}" for number in range(1, len(cells) + 1)], False


def _parquet_rows(name: str) -> Iterator[Row]:
    try:
        import pyarrow.lib  # noqa: PLC0415 - an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise DataError(f"{name}: parquet", "pip install 'evalkit-guards[parquet]'") from error
    line = 1
    try:
        with pyarrow.parquet.ParquetFile(name) as file:
            for batch in file.iter_batches(batch_size=1024):
                for data in batch.to_pylist():
                    yield Row(name, line, data)
                    line += 1
    except pyarrow.lib.ArrowException as error:
        raise ValueError(f"broken parquet after row {line - 1}: {error}") from error
