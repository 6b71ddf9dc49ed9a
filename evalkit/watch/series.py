"""Measured series from elsewhere, and where they change: a diagnosis, never a verdict.

A raw series can't tell the code from the machine it ran on, so change points say where to look. Read here: CSV with a
header, JSON lines, pytest-benchmark's JSON (``--benchmark-json``, one run with its commit; a folder of them is a
series), and results of asv (``results/MACHINE/COMMIT-ENV.json``; a folder of them is a series).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.interop.lines import MAX_LINE, read_lines, read_sample
from evalkit.interop.records import RecordError, number_of, parse_record, text_of
from evalkit.interop.values import parse_number, parse_time
from evalkit.stats.changepoint import ChangePoint, cusum, e_divisive

__all__ = ["Change", "Point", "Series", "changes", "read_series"]

_MAX_DOCUMENT = 256 << 20
_MAX_POINTS = 100_000
_MAX_SERIES = 10_000
_FEWEST_POINTS = 10
_TIME_COLUMNS = ("timestamp", "time", "date", "datetime", "commit_time", "when")
_COMMIT_COLUMNS = ("commit", "sha", "revision", "commit_hash", "hash", "version")
_NAME_COLUMNS = ("benchmark", "test", "name", "metric")
_VALUE_COLUMNS = ("value", "mean", "median", "result", "score")


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: its value, when it was made (seconds since 1970, or None) and of which commit."""

    value: float
    time: float | None = None
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Measurements of one thing, in order of time where times are known, else of the file."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """Where a series changes.

    Attributes:
        index: of the first point after the change.
        commit: of that point, and ``previous`` of the one before it.
        previous: see ``commit``.
        time: of the first point after the change, or None.
        before: mean of the segment before it.
        after: mean of the segment after it.
        methods: which methods see it: ``e-divisive``, ``cusum`` (within two points of each other).
        p_value: of the permutation test, or None.
    """

    index: int
    commit: str
    previous: str
    time: float | None
    before: float
    after: float
    methods: tuple[str, ...]
    p_value: float | None

    @property
    def relative(self) -> float | None:
        """The change as a share of the level before it; None where that is 0."""
        return (self.after - self.before) / abs(self.before) if self.before else None


def read_series(path: str | Path) -> tuple[Series, ...]:
    """Read every series of a file, or of a folder of pytest-benchmark or asv results.

    Raises:
        DataError: when there is none.
    """
    path = Path(path)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    gathered: dict[str, list[Point]] = {}
    for file in files:
        for name, point in _points(file, in_folder=path.is_dir()):
            if name not in gathered and len(gathered) >= _MAX_SERIES:
                raise DataError(f"{path} has more than {_MAX_SERIES} series", "split it")
            gathered.setdefault(name, []).append(point)
            if len(gathered[name]) > _MAX_POINTS:
                raise DataError(f"{name!r} has more than {_MAX_POINTS} points", "split the file")
    found = tuple(Series(name, _in_order(points)) for name, points in gathered.items())
    if not found:
        raise DataError(
            f"{path} holds no series that is known", "CSV with a header, JSON lines, pytest-benchmark or asv results"
        )
    return found


def _in_order(points: list[Point]) -> tuple[Point, ...]:
    if all(point.time is not None for point in points):
        return tuple(sorted(points, key=lambda point: point.time or 0.0))
    return tuple(points)


def _points(file: Path, *, in_folder: bool) -> Iterable[tuple[str, Point]]:
    head = read_sample(file, 4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head.startswith(b"{"):
        return [] if in_folder else _csv(file)
    first = head.splitlines()[0].strip()
    if not in_folder and first.endswith(b"}") and first != b"{}" and b'"benchmarks"' not in first:
        return _json_lines(file)
    try:
        document = parse_record(_text(file))
    except RecordError as error:
        if in_folder:
            return []
        try:
            return _json_lines(file)
        except DataError:
            raise DataError(f"{file} is not JSON: {error}") from None
    return _document(document)


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX_DOCUMENT:
            raise DataError(f"{file} has more than {_MAX_DOCUMENT >> 20} MiB")
        return file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} can't be read: {error}") from None


def _document(document: Mapping[str, Any]) -> Iterable[tuple[str, Point]]:
    if isinstance(document.get("benchmarks"), list):
        return _pytest_benchmark(document)
    if isinstance(document.get("results"), dict) and "commit_hash" in document:
        return _asv(document)
    return []


def _pytest_benchmark(document: Mapping[str, Any]) -> Iterable[tuple[str, Point]]:
    """One run: the median of each benchmark, with the commit and the time of the run."""
    told = document.get("commit_info")
    info = told if isinstance(told, dict) else {}
    time = parse_time(info.get("time")) or parse_time(document.get("datetime"))
    commit = text_of(info.get("id"), 80)
    for bench in document["benchmarks"]:
        if not isinstance(bench, dict) or not isinstance(bench.get("stats"), dict):
            continue
        value = number_of(bench["stats"].get("median", bench["stats"].get("mean")))
        name = text_of(bench.get("fullname") or bench.get("name"), 400)
        if value is not None and name:
            yield name, Point(value, time, commit)


def _asv(document: Mapping[str, Any]) -> Iterable[tuple[str, Point]]:
    """One commit: ``results`` maps a benchmark to its value(s), plain or as the first of ``result_columns``."""
    time, commit = parse_time(document.get("date")), text_of(document["commit_hash"], 80)
    columns = document.get("result_columns")
    place = columns.index("result") if isinstance(columns, list) and "result" in columns else 0
    machine = text_of(
        (document.get("params") or {}).get("machine") if isinstance(document.get("params"), dict) else "", 80
    )
    for name, result in document["results"].items():
        if isinstance(result, list):
            result = result[place] if len(result) > place else None  # noqa: PLW2901
        values = result if isinstance(result, list) else [result]
        for index, raw in enumerate(values):
            value = number_of(raw)
            if value is not None:
                label = f"{str(name)[:400]}[{index}]" if len(values) > 1 else str(name)[:400]
                yield (f"{machine}: {label}" if machine else label), Point(value, time, commit)


def _json_lines(file: Path) -> Iterable[tuple[str, Point]]:
    """A point per line and numeric field; a field called ``value`` belongs to the series that ``name`` names."""
    found: list[tuple[str, Point]] = []
    for line in read_lines(file):
        if line.fault or not line.text.strip():
            continue
        try:
            record = parse_record(line.text)
        except RecordError:
            continue
        texts = {key: text_of(value, 200) for key, value in record.items()}
        numbers = {key: number for key, value in record.items() if (number := number_of(value)) is not None}
        found += _from_fields(texts, numbers, record)
    if not found:
        raise DataError(f"{file} holds no numbers by name", "JSON lines with a value per line")
    return found


def _csv(file: Path) -> Iterable[tuple[str, Point]]:
    lines = [line.text for line in read_lines(file) if not line.fault and line.text.strip()]
    if not lines or len(lines[0]) > MAX_LINE:
        raise DataError(f"{file} is empty")
    delimiter = max(",;\t", key=lines[0].count)
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{file} is not CSV: {error}") from None
    header = [cell.strip().lower() for cell in rows[0]]
    if all(parse_number(cell) is not None for cell in rows[0]):
        header, rows = [f"column {index + 1}" for index in range(len(rows[0]))], [[], *rows]
    found: list[tuple[str, Point]] = []
    for row in rows[1:]:
        if len(row) != len(header):
            continue
        texts = dict(zip(header, (cell.strip() for cell in row), strict=True))
        numbers = {name: value for name, cell in texts.items() if (value := parse_number(cell)) is not None}
        found += _from_fields(texts, numbers, texts)
    if not found:
        raise DataError(f"{file} holds no numbers under its header", "a header, then a row per measurement")
    return found


def _from_fields(
    texts: Mapping[str, str], numbers: Mapping[str, float], raw: Mapping[str, Any]
) -> list[tuple[str, Point]]:
    """Points of one row."""
    time_name = next((name for name in _TIME_COLUMNS if name in raw and parse_time(raw[name]) is not None), None)
    commit_name = next((name for name in _COMMIT_COLUMNS if texts.get(name)), None)
    named = next((name for name in _NAME_COLUMNS if texts.get(name) and name not in numbers), None)
    time = parse_time(raw[time_name]) if time_name else None
    commit = texts[commit_name] if commit_name else ""
    if named is not None:
        value_name = next((name for name in _VALUE_COLUMNS if name in numbers), None)
        return [(texts[named], Point(numbers[value_name], time, commit))] if value_name else []
    skipped = {time_name, commit_name, *_TIME_COLUMNS[:1]}
    return [(name, Point(value, time, commit)) for name, value in numbers.items() if name not in skipped]


def changes(series: Series, *, significance: float = 0.01, permutations: int = 199) -> tuple[Change, ...]:
    """Change points by E-divisive with permutation tests, with what CUSUM sees beside them.

    Args:
        series: at least 10 points, else nothing is found.
        significance: of each permutation test.
        permutations: of each test.
    """
    values = [point.value for point in series.points]
    if len(values) < _FEWEST_POINTS:
        return ()
    divisive = e_divisive(values, significance=significance, permutations=permutations)
    summed = cusum(values)
    merged: dict[int, list[tuple[str, ChangePoint]]] = {}
    for method, points in (("e-divisive", divisive), ("cusum", summed)):
        for point in points:
            near = next((index for index in merged if abs(index - point.index) <= 2), point.index)  # noqa: PLR2004
            merged.setdefault(near, []).append((method, point))
    edges = [0, *sorted(merged), len(values)]
    return tuple(
        _change(series.points, index, merged[index], edges[place], edges[place + 2])
        for place, index in enumerate(sorted(merged))
    )


def _change(
    points: Sequence[Point], index: int, seen: Sequence[tuple[str, ChangePoint]], start: int, end: int
) -> Change:
    before = [point.value for point in points[start:index]]
    after = [point.value for point in points[index:end]]
    return Change(
        index=index,
        commit=points[index].commit,
        previous=points[index - 1].commit,
        time=points[index].time,
        before=math.fsum(before) / len(before),
        after=math.fsum(after) / len(after),
        methods=tuple(dict.fromkeys(method for method, _ in seen)),
        p_value=next((point.p_value for _, point in seen if point.p_value is not None), None),
    )
