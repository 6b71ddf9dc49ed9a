"""Results tables: karpathy's ``results.tsv`` and its variants, autoagent's, uditgoenka's and leo's, and CSV.

Shapes seen in public repositories and read here:

- ``commit val_bpb memory_gb status description``, with further columns anywhere;
- ``experiment_id status val_bpb memory_gb description``;
- ``commit avg_score passed task_scores cost_usd status description``;
- ``# metric_direction: lower`` and then ``iteration [timestamp] commit metric delta guard status description``,
  with rows ``5a``, ``5b`` of a parallel batch before its row ``5``;
- the first of these without a header.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from evalkit.contract import Goal
from evalkit.errors import DataError
from evalkit.interop.columns import Columns, find_columns, is_header
from evalkit.interop.history import History, HistoryRow, Problem, Segment, Status
from evalkit.interop.lines import Line, read_lines
from evalkit.interop.values import is_baseline, parse_fraction, parse_number, parse_status, parse_time

__all__ = ["MAX_ROWS", "read_table"]

MAX_ROWS = 2_000_000
"""Rows of one history at most."""
_SAMPLE = 64
_DEFAULT_HEADER = ("commit", "val_bpb", "memory_gb", "status", "description")
_COMMENT = re.compile(r"#\s*([A-Za-z_ -]{1,40}?)\s*:\s*(.{1,200})")
_WORKER = re.compile(r"[0-9]{1,9}[a-z]")
_CASE = re.compile(r"\s*([^\s:=,;]{1,80})\s*[:=]\s*(-?[0-9.eE+-]{1,32})\s*")
_DIGIT = re.compile(r"[0-9]")
_MAX_CASES = 100_000
_FEWEST_DELIMITERS = 2
_DIRECTIONS: dict[str, Goal] = {
    **dict.fromkeys(("higher", "higher_is_better", "maximize", "max", "up"), "maximize"),
    **dict.fromkeys(("lower", "lower_is_better", "minimize", "min", "down"), "minimize"),
}
_Cells = tuple[Line, list[str]]


@dataclass(slots=True)
class _State:
    """What has been read so far."""

    delimiter: str
    columns: Columns | None = None
    header: tuple[str, ...] = ()
    comments: dict[str, str] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    rows: list[HistoryRow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, line: int, text: str, *, dropped: bool = True) -> None:
        self.problems.append(Problem(line, text, dropped))


def read_table(path: Path, delimiter: str = "\t") -> History:
    """Read a results table, row by row.

    Raises:
        DataError: when the file can't be read, or no row of it has a metric column.
    """
    state = _State(delimiter)
    lines = _split(read_lines(path), state)
    for line, cells in lines:
        if len(state.rows) >= MAX_ROWS:
            raise DataError(f"{path} has more than {MAX_ROWS} rows", "split it")
        if state.columns is None:
            lines = _begin(path, state, line, cells, lines)
            break
    for line, cells in lines:
        if len(state.rows) >= MAX_ROWS:
            raise DataError(f"{path} has more than {MAX_ROWS} rows", "split it")
        _take(state, line, cells)
    if state.columns is None:
        raise DataError(f"{path} holds no table", "the first line of a results table names its columns")
    return History(str(path), _form(state), tuple(state.segments), tuple(state.rows), tuple(state.problems))


def _split(lines: Iterable[Line], state: _State) -> Iterator[_Cells]:
    """Cells of the lines that hold some; comments and unreadable lines are noted in ``state``."""
    for line in lines:
        if line.fault:
            state.problem(line.number, f"{line.fault}; left out")
            continue
        if not line.text.strip():
            continue
        if line.text.lstrip().startswith("#") and line.text.count(state.delimiter) < _FEWEST_DELIMITERS:
            if match := _COMMENT.match(line.text.lstrip()):
                state.comments[match[1].strip().lower().replace(" ", "_")] = match[2].strip()
            continue
        cells = _cells(line, state)
        if cells is not None:
            yield line, cells


def _cells(line: Line, state: _State) -> list[str] | None:
    if state.delimiter == "\t":
        return line.text.split("\t")
    try:
        return next(csv.reader([line.text], delimiter=state.delimiter, strict=True))
    except csv.Error as error:
        state.problem(line.number, f"not a row of comma-separated values ({error}); left out")
        return None


def _begin(path: Path, state: _State, line: Line, cells: list[str], rest: Iterator[_Cells]) -> Iterator[_Cells]:
    """Find the columns from the first row and a sample below it; returns the rows still to be taken."""
    sample = list(islice(rest, _SAMPLE))
    if is_header(cells):
        _use_header(state, cells, [row for _, row in sample], line.number)
    elif len(cells) >= len(_DEFAULT_HEADER) - 1 and any(
        parse_status(row[3]) is not Status.UNKNOWN
        for _, row in [(line, cells), *sample]
        if len(row) > 3  # noqa: PLR2004
    ):
        state.problem(line.number, f"no header; read as {' '.join(_DEFAULT_HEADER)}", dropped=False)
        sample.insert(0, (line, cells))
        _use_header(state, list(_DEFAULT_HEADER), [row for _, row in sample], line.number)
    if state.columns is None:
        raise DataError(
            f"{path}, line {line.number}: these are not the columns of a results table: {line.text[:120]!r}",
            "a results table names a metric and, if it has one, a status column (keep, discard, crash)",
        )
    return chain(sample, rest)


def _use_header(state: _State, cells: list[str], sample: list[list[str]], number: int) -> None:
    columns = find_columns(cells, [row for row in sample if not is_header(row)])
    if columns is None:
        state.problem(number, "a second header without a metric column; the first one stays")
        return
    previous = state.columns
    state.columns, state.header = columns, tuple(cell.strip() for cell in cells)
    if previous is None or previous.metric_name != columns.metric_name:
        state.segments.append(_segment(state, columns))


def _segment(state: _State, columns: Columns) -> Segment:
    said = state.comments.get("metric_direction", "").lower()
    goal = _DIRECTIONS.get(said)
    name = (
        state.comments.get("metric_name", state.comments.get("metric", "")) if columns.metric_name == "metric" else ""
    )
    stated = state.comments.get("noise_sd", state.comments.get("noise_floor", ""))
    return Segment(
        metric=name[:80] or columns.metric_name,
        goal=goal,
        goal_source="stated by the file" if goal else "",
        unit=state.comments.get("unit", "")[:20],
        noise_sd=_positive(parse_number(stated)),
        name=state.comments.get("run_tag", "")[:80],
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _take(state: _State, line: Line, cells: list[str]) -> None:
    columns = state.columns
    if columns is None:  # pragma: no cover - _begin set it or raised
        return
    if _may_be_header(columns, cells) and is_header(cells):
        _second_header(state, line, cells)
        return
    fitted = _fit(state, columns, line, cells)
    if fitted is not None:
        state.rows.append(_row(state, columns, line, fitted))


def _may_be_header(columns: Columns, cells: list[str]) -> bool:
    """Whether it is worth a closer look: where the metric should be there is no digit at all."""
    return columns.metric >= len(cells) or _DIGIT.search(cells[columns.metric]) is None


def _second_header(state: _State, line: Line, cells: list[str]) -> None:
    if tuple(cell.strip() for cell in cells) == state.header:
        state.problem(line.number, "the header again; left out")
        return
    state.problem(line.number, "another header; the rows below are read by it")
    _use_header(state, cells, [], line.number)


def _fit(state: _State, columns: Columns, line: Line, cells: list[str]) -> list[str] | None:
    """The row with as many cells as the header, or None where it is not clear what they are."""
    expected = len(columns.names)
    if len(cells) == expected:
        return cells
    text_is_last = columns.text == expected - 1
    if len(cells) > expected:
        believable = text_is_last and _believable(columns, cells)
        if believable:
            state.problem(line.number, "tabs in the description; joined", dropped=False)
            return [*cells[: expected - 1], " ".join(cells[expected - 1 :])]
        state.problem(line.number, f"{len(cells)} cells where the header has {expected}; left out")
        return None
    if len(cells) == expected - 1 and text_is_last and line.complete and _believable(columns, cells):
        state.problem(line.number, "no description", dropped=False)
        return [*cells, ""]
    torn = "" if line.complete else " (the file ends inside it)"
    state.problem(line.number, f"{len(cells)} cells where the header has {expected}{torn}; left out")
    return None


def _believable(columns: Columns, cells: list[str]) -> bool:
    status = columns.status
    if status is None or status >= len(cells) or columns.metric >= len(cells):
        return False
    return parse_status(cells[status]) is not Status.UNKNOWN and (
        parse_number(cells[columns.metric]) is not None or cells[columns.metric].strip() in {"", "-"}
    )


def _cell(cells: list[str], position: int | None) -> str:
    return "" if position is None else cells[position].strip()


def _row(state: _State, columns: Columns, line: Line, cells: list[str]) -> HistoryRow:
    status_text, measured = _cell(cells, columns.status), cells[columns.metric]
    status = parse_status(status_text) if columns.status is not None else Status.UNKNOWN
    value = parse_number(measured)
    if value is None:
        _note_value(state, line.number, measured.strip(), status)
    label, commit = _cell(cells, columns.label), _cell(cells, columns.commit)
    commit = "" if commit == "-" else commit
    description = _cell(cells, columns.text)
    crashed = status is Status.CRASH
    return HistoryRow(
        line=line.number,
        status=status,
        metric=None if crashed else value,
        recorded=value if crashed else None,
        status_text=status_text,
        label=label or commit,
        commit=commit,
        description=description,
        timestamp=parse_time(_cell(cells, columns.time)) if columns.time is not None else None,
        segment=len(state.segments) - 1,
        baseline=is_baseline(status_text, description, commit),
        detail=bool(label) and _WORKER.fullmatch(label) is not None,
        passed=parse_fraction(_cell(cells, columns.passed)) if columns.passed is not None else None,
        extra=_extra(columns, cells),
        cases=_cases(_cell(cells, columns.cases)) if columns.cases is not None else (),
    )


def _note_value(state: _State, number: int, cell: str, status: Status) -> None:
    if cell not in {"", "-"}:
        state.problem(number, f"{cell[:40]!r} is not a finite number; the row has no metric", dropped=False)
    elif status is Status.KEEP:
        state.problem(number, "kept without a metric", dropped=False)


def _extra(columns: Columns, cells: list[str]) -> tuple[tuple[str, float], ...]:
    found: list[tuple[str, float]] = []
    for position in columns.extra:  # a loop: it runs for every row
        value = parse_number(cells[position])
        if value is not None:
            found.append((columns.names[position], value))
    return tuple(found)


def _cases(cell: str) -> tuple[tuple[str, float], ...]:
    """``a:1,b:0.5`` as pairs; a bare list of numbers is numbered."""
    cases: list[tuple[str, float]] = []
    for index, item in enumerate(re.split(r"[,;]", cell.strip("[]{} "))[:_MAX_CASES]):
        match = _CASE.fullmatch(item)
        value = parse_number(match[2] if match else item)
        if value is not None:
            cases.append((match[1] if match else str(index), value))
    return tuple(cases)


def _form(state: _State) -> str:
    names = state.columns.names if state.columns else ()
    if "metric_direction" in state.comments or {"iteration", "delta"} <= set(names):
        return "autoresearch loop table"
    if "avg_score" in names and "passed" in names:
        return "autoagent table"
    if "status" in names and "commit" in names and "description" in names:
        return "results.tsv"
    return "results table"
