"""Histories that are not one line a row: evo's graph, ShinkaEvolve's database and its results folders.

- evo: ``graph.json`` (``nodes`` by id: status, score, parent, hypothesis, commit) beside ``config.json`` whose
  ``metric`` is ``max`` or ``min``; ``committed`` is a keep, ``failed`` a crash.
- ShinkaEvolve: table ``programs`` of ``programs.sqlite``, or folders ``gen_N/results`` with ``metrics.json``
  (``combined_score``) and ``correct.json``. It maximises and records no decision; a program that is not correct has
  no score to believe.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evalkit.errors import DataError
from evalkit.interop.history import History, HistoryRow, Problem, Segment, Status
from evalkit.interop.records import RecordError, number_of, numbers_of, parse_record, text_of
from evalkit.interop.table import MAX_ROWS
from evalkit.interop.values import is_baseline, parse_status, parse_time

__all__ = ["read_evo", "read_shinka_database", "read_shinka_folder"]

_MAX_DOCUMENT = 256 << 20
_MAX_SMALL = 1 << 20
_STEPS = 50_000_000
_GENERATION = re.compile(r"gen(?:eration)?_?([0-9]{1,9})")
_COLUMNS = ("id", "parent_id", "generation", "timestamp", "combined_score", "correct", "public_metrics", "metadata")


def _document(path: Path, limit: int) -> dict[str, Any]:
    try:
        if path.stat().st_size > limit:
            raise DataError(f"{path} has more than {limit >> 20} MiB")
        return parse_record(path.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError, RecordError) as error:
        raise DataError(f"{path} can't be read: {error}") from None


def read_evo(path: Path) -> History:
    """Read ``graph.json`` of an evo workspace.

    Raises:
        DataError: when it is not one.
    """
    nodes = _document(path, _MAX_DOCUMENT).get("nodes")
    if not isinstance(nodes, dict):
        raise DataError(f"{path} has no nodes", "evo's graph.json holds them by id")
    config = path.with_name("config.json")
    said = _document(config, _MAX_SMALL).get("metric") if config.is_file() else None
    goal = {"max": "maximize", "min": "minimize"}.get(str(said))
    segment = Segment("score", goal, "stated by config.json" if goal else "")  # type: ignore[arg-type]
    rows: list[HistoryRow] = []
    problems: list[Problem] = []
    for number, (name, node) in enumerate(nodes.items(), start=1):
        if not isinstance(node, dict):
            problems.append(Problem(number, f"node {name[:40]!r} is not an object; left out"))
        elif node.get("status") != "root":
            rows.append(_evo_row(number, name, node, problems))
    return History(str(path), "evo graph", (segment,), tuple(rows), tuple(problems))


def _evo_row(number: int, name: str, node: Mapping[str, Any], problems: list[Problem]) -> HistoryRow:
    status_text = text_of(node.get("status"), 80)
    status = parse_status(status_text)
    score = number_of(node.get("score"))
    if score is None and node.get("score") is not None:
        problems.append(Problem(number, f"node {name[:40]!r} has no finite score", dropped=False))
    result = node.get("benchmark_result")
    parent = text_of(node.get("parent"), 80)
    described = text_of(node.get("hypothesis"))
    return HistoryRow(
        line=number,
        status=status,
        metric=None if status is Status.CRASH else score,
        recorded=score if status is Status.CRASH else None,
        status_text=status_text,
        label=name[:80],
        commit=text_of(node.get("commit"), 80),
        description=described,
        timestamp=parse_time(node.get("created_at")),
        baseline=is_baseline("", described, ""),
        parent="" if parent == "root" else parent,
        cases=numbers_of(result.get("tasks")) if isinstance(result, dict) else (),
    )


def read_shinka_database(path: Path) -> History:
    """Read the ``programs`` table, read-only and with a cap on the work that a query may do.

    Raises:
        DataError: when there is no such table.
    """
    rows: list[HistoryRow] = []
    problems: list[Problem] = []
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as database:
            for number, record in enumerate(_programs(database), start=1):
                rows.append(_program_row(number, record, problems))
    except sqlite3.Error as error:
        raise DataError(f"{path} can't be read as a ShinkaEvolve database: {error}") from None
    return _shinka(path, "ShinkaEvolve database", rows, problems)


def _programs(database: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    budget = iter(range(_STEPS // 1000))
    database.set_progress_handler(lambda: next(budget, None) is None, 1000)
    database.execute("PRAGMA trusted_schema = OFF")
    kind = database.execute("SELECT type FROM sqlite_master WHERE name = 'programs'").fetchone()
    if kind != ("table",):
        raise sqlite3.DatabaseError("it has no table named programs")
    there = {row[1] for row in database.execute("PRAGMA table_info(programs)")}
    wanted = [name for name in _COLUMNS if name in there]
    if "combined_score" not in wanted:
        raise sqlite3.DatabaseError("its programs have no combined_score")
    order = "timestamp" if "timestamp" in there else "rowid"
    query = f"SELECT {', '.join(wanted)} FROM programs ORDER BY {order} LIMIT {MAX_ROWS}"  # noqa: S608 - our own names
    for row in database.execute(query):
        yield dict(zip(wanted, row, strict=True))


def _program_row(number: int, record: Mapping[str, Any], problems: list[Problem]) -> HistoryRow:
    score = number_of(record.get("combined_score"))
    if score is None and record.get("combined_score") is not None:
        problems.append(Problem(number, "combined_score is not a finite number", dropped=False))
    return _shinka_row(
        number,
        score=score,
        correct=record.get("correct") == 1 if "correct" in record else None,
        label=text_of(record.get("id"), 80),
        parent=text_of(record.get("parent_id"), 80),
        description=_patch_name(record.get("metadata")) or f"generation {text_of(record.get('generation'), 20)}",
        timestamp=parse_time(record.get("timestamp")),
    )


def _patch_name(metadata: object) -> str:
    if not isinstance(metadata, str) or len(metadata) > _MAX_SMALL:
        return ""
    try:
        return text_of(parse_record(metadata).get("patch_name"), 200)
    except RecordError:
        return ""


def _shinka_row(
    number: int,
    *,
    score: float | None,
    correct: bool | None,
    label: str,
    parent: str = "",
    description: str = "",
    timestamp: float | None = None,
) -> HistoryRow:
    """A program; one that is not correct is a crash where it scored 0 or nothing, else a discard without a score."""
    wrong = correct is False
    status = (Status.CRASH if not score else Status.DISCARD) if wrong else Status.UNKNOWN
    return HistoryRow(
        line=number,
        status=status,
        metric=None if wrong else score,
        recorded=score if wrong else None,
        status_text="incorrect" if wrong else "",
        label=label,
        description=description,
        timestamp=timestamp,
        baseline=not parent and number == 1,
        parent=parent,
    )


def _shinka(path: Path, form: str, rows: list[HistoryRow], problems: list[Problem]) -> History:
    segment = Segment("combined_score", "maximize", "what ShinkaEvolve does")
    return History(str(path), form, (segment,), tuple(rows), tuple(problems))


def read_shinka_folder(path: Path) -> History:
    """Read ``gen_N/results/{metrics,correct}.json`` below a folder, by generation.

    Raises:
        DataError: when there is none.
    """
    found = sorted((int(match[1]), entry) for entry in path.iterdir() if (match := _GENERATION.fullmatch(entry.name)))
    rows: list[HistoryRow] = []
    problems: list[Problem] = []
    for number, folder in found[:MAX_ROWS]:
        results = folder / "results" if (folder / "results").is_dir() else folder
        row = _generation_row(number, results, problems)
        if row is not None:
            rows.append(row)
    if not rows:
        raise DataError(f"{path} holds no gen_N/results/metrics.json")
    return _shinka(path, "ShinkaEvolve results", rows, problems)


def _generation_row(number: int, results: Path, problems: list[Problem]) -> HistoryRow | None:
    documents: dict[str, Mapping[str, Any]] = {}
    for name in ("metrics", "correct"):
        try:
            documents[name] = _document(results / f"{name}.json", _MAX_SMALL)
        except DataError as error:
            problems.append(Problem(number, f"generation {number}: {error.message}", dropped=name == "metrics"))
    if "metrics" not in documents:
        return None
    said = documents.get("correct", {}).get("correct")
    return _shinka_row(
        number,
        score=number_of(documents["metrics"].get("combined_score")),
        correct=said if isinstance(said, bool) else None,
        label=f"gen {number}",
        description=json.dumps(documents["metrics"].get("public", ""), default=str)[:200],
    )
