"""Read any history without being told what it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.contract import Goal
from evalkit.errors import DataError
from evalkit.interop.columns import is_resource
from evalkit.interop.direction import infer_goal
from evalkit.interop.history import History, HistoryRow, Problem, Segment, Status
from evalkit.interop.lines import read_sample
from evalkit.interop.own import read_own
from evalkit.interop.records import read_records
from evalkit.interop.table import read_table
from evalkit.interop.workspaces import read_evo, read_shinka_database, read_shinka_folder

__all__ = ["Found", "find_histories", "read_history"]

_SQLITE = b"SQLite format 3\0"
_SUFFIXES = (".tsv", ".csv", ".jsonl", ".jsonl.gz", ".ndjson", ".sqlite", ".sqlite3", ".db")
_NOT_INSIDE = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache"})
_MAX_DEPTH = 8
_HEAD = 1 << 16
_MAX_ENTRIES = 200_000


def read_history(path: str | Path, *, goal: Goal | None = None) -> History:
    """Read one history; what it is is found from its bytes.

    Args:
        path: a file, or a folder of ShinkaEvolve generations.
        goal: overrides what the file says or its keeps suggest.

    Raises:
        DataError: when it is no history that is known, with what was found.
    """
    path = Path(path)
    return _finish(_read(path), goal)


def _read(path: Path) -> History:
    if path.is_dir():
        return read_shinka_folder(path)
    sample = read_sample(path)
    if sample.startswith(_SQLITE):
        return read_shinka_database(path)
    if sample[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise DataError(f"{path} is UTF-16", "save it as UTF-8")
    first = _first_content(sample)
    if first.startswith(b"{") and b'"kind":"opened"' in sample[:_HEAD] and b'"prev":' in sample[:_HEAD]:
        return read_own(path)
    if first.startswith(b"{"):
        return read_evo(path) if path.name == "graph.json" or not _ends_object(first) else read_records(path)
    if not first:
        raise DataError(f"{path} is empty")
    return read_table(path, "\t" if first.count(b"\t") or not first.count(b",") else ",")


def _first_content(sample: bytes) -> bytes:
    for line in sample.removeprefix(b"\xef\xbb\xbf").splitlines():
        stripped = line.strip()
        if stripped and not (stripped.startswith(b"#") and stripped.count(b"\t") < 2):  # noqa: PLR2004 - as the table
            return stripped
    return b""


def _ends_object(line: bytes) -> bool:
    """Whether a line that begins an object looks like a record of its own rather than a document over many lines."""
    return len(line) > 1 and (line.endswith(b"}") or len(line) > 200)  # noqa: PLR2004 - long lines are records


def _finish(history: History, goal: Goal | None) -> History:
    """Fill in the goals and take hidden crashes for what they are."""
    grouped: dict[int, list[HistoryRow]] = {}
    for row in history.rows:
        grouped.setdefault(row.segment, []).append(row)
    segments = tuple(
        _with_goal(segment, grouped.get(index, []), goal) for index, segment in enumerate(history.segments)
    )
    rows, problems = _unhide(history.rows, grouped)
    ordered = sorted((*history.problems, *problems), key=lambda problem: problem.line)
    return replace(history, segments=segments, rows=rows, problems=tuple(ordered))


def _with_goal(segment: Segment, rows: list[HistoryRow], goal: Goal | None) -> Segment:
    if goal is not None:
        return replace(segment, goal=goal, goal_source="as asked for")
    if segment.goal is not None:
        return segment
    found, source = infer_goal(segment.metric, rows)
    return replace(segment, goal=found, goal_source=source)


def _unhide(
    rows: tuple[HistoryRow, ...], grouped: dict[int, list[HistoryRow]]
) -> tuple[tuple[HistoryRow, ...], list[Problem]]:
    """Rows with metric 0 and no resource used, in a segment where others use some, are crashes whatever they say."""
    suspects = {
        row.line
        for members in grouped.values()
        if any(_used(row) for row in members)
        for row in members
        if row.metric == 0 and row.status is not Status.CRASH and _used(row) is False
    }
    if not suspects:
        return rows, []
    problems = [
        Problem(row.line, f"metric 0 and no resources used: a crash, not a {row.status_text!r}", dropped=False)
        for row in rows
        if row.line in suspects
    ]
    changed = (
        replace(row, status=Status.CRASH, metric=None, recorded=0.0) if row.line in suspects else row for row in rows
    )
    return tuple(changed), problems


def _used(row: HistoryRow) -> bool | None:
    """Whether any resource column is above 0; None where there is none."""
    resources = [value for name, value in row.extra if is_resource(name)]
    return any(value > 0 for value in resources) if resources else None


@dataclass(frozen=True, slots=True)
class Found:
    """A history in a folder, or why a file that looked like one could not be read."""

    path: Path
    history: History | None
    reason: str = ""


def find_histories(folder: str | Path, *, goal: Goal | None = None) -> Iterator[Found]:
    """Every history below a folder, in the order of their names; hidden folders of tools are left out.

    Symbolic links are not followed.
    """
    for path in sorted(_candidates(Path(folder))):
        try:
            yield Found(path, read_history(path, goal=goal))
        except DataError as error:
            yield Found(path, None, error.message)


def _candidates(folder: Path) -> Iterator[Path]:
    entries = 0
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(name for name in folders if name not in _NOT_INSIDE)
        if len(here.relative_to(folder).parts) >= _MAX_DEPTH:
            folders.clear()
        if any((here / name / "results" / "metrics.json").is_file() for name in folders):
            yield here
        entries += len(files) + len(folders)
        if entries > _MAX_ENTRIES:
            raise DataError(f"{folder} has more than {_MAX_ENTRIES} entries", "name a folder further down")
        for name in files:
            path = here / name
            if (name.lower().endswith(_SUFFIXES) or name == "graph.json") and not path.is_symlink():
                yield path
