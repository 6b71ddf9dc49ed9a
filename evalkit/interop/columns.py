"""What the columns of a results table mean, from their names and a sample of their cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from evalkit.interop.values import parse_fraction, parse_number

__all__ = ["Columns", "find_columns", "is_header", "is_resource"]

_LABEL = ("experiment_id", "iteration", "iter", "run", "experiment", "exp", "trial", "id", "config_id", "run_id", "#")
_COMMIT = ("commit", "sha", "hash", "commit_hash", "commit_sha", "git_commit", "git_sha")
_STATUS = ("status", "decision", "outcome", "verdict", "kept", "keep", "action", "result")
_TEXT = ("description", "notes", "note", "desc", "change", "summary", "idea", "message", "comment", "hypothesis")
_TIME = ("timestamp", "datetime", "date", "started_at", "finished_at", "created_at", "ts")
_METRIC = ("metric", "score", "avg_score", "combined_score", "value", "primary_metric")
_RESOURCE = re.compile(
    r"(?:.*_)?(?:mem|memory|vram|ram|mfu|steps?|params?|depth|tokens?|seed|batch|batch_size|lr|cost|usd|epochs?|bytes)"
    r"(?:_.*)?|.*_seconds|.*_(?:gb|mb|kb)|(?:wall|train|eval)_(?:time|clock).*|tok_per_sec|duration.*|elapsed.*"
)
_NOT_METRIC = re.compile(r"(?:guard|delta|confidence|baseline|prev|parent|passed|task_scores|segment|layer)(?:[_-].*)?")
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Columns:
    """Positions in a row; None where there is no such column.

    Attributes:
        names: all column names, lower case.
        metric: the primary metric.
        extra: further numeric columns, in order.
    """

    names: tuple[str, ...]
    metric: int
    metric_name: str
    label: int | None = None
    commit: int | None = None
    status: int | None = None
    text: int | None = None
    time: int | None = None
    passed: int | None = None
    cases: int | None = None
    extra: tuple[int, ...] = field(default=())


def is_resource(name: str) -> bool:
    """Whether a column is what a run cost rather than what it achieved (``memory_gb``, ``num_steps``, …)."""
    return bool(_RESOURCE.fullmatch(name))


def _normal(cell: str) -> str:
    return cell.strip().strip("`*").strip().lower().replace(" ", "_")


def is_header(cells: Sequence[str]) -> bool:
    """Whether the cells are names of columns: none is a number, and at least two are names that loops use."""
    names = [_normal(cell) for cell in cells]
    known = {*_LABEL, *_COMMIT, *_STATUS, *_TEXT, *_TIME, *_METRIC}
    if len(names) < _FEWEST or any(parse_number(name) is not None for name in names):
        return False
    return sum(name in known or is_resource(name) for name in names) >= _FEWEST and len(set(names)) == len(names)


def _first(names: Sequence[str], wanted: Sequence[str], *, taken: set[int]) -> int | None:
    for name in wanted:
        if name in names and names.index(name) not in taken:
            taken.add(names.index(name))
            return names.index(name)
    return None


def _numeric_share(position: int, sample: Sequence[Sequence[str]]) -> float:
    cells = [row[position] for row in sample if position < len(row) and row[position].strip() not in {"", "-"}]
    if not cells:
        return 0.0
    return sum(parse_number(cell) is not None for cell in cells) / len(cells)


def find_columns(header: Sequence[str], sample: Sequence[Sequence[str]]) -> Columns | None:
    """Roles of the columns; None where no column can be the metric.

    The metric is a column called so (``metric``, ``score``, …), else the first mostly numeric one that is neither a
    label, a time, a difference nor a resource, else the first resource.

    Args:
        header: the names.
        sample: some rows below it, split into cells; an empty sample lets every unclaimed column pass as numeric.
    """
    names = tuple(_normal(cell) for cell in header)
    taken: set[int] = set()
    commit = _first(names, _COMMIT, taken=taken)
    status = _first(names, _STATUS, taken=taken)
    text = _first(names, _TEXT, taken=taken)
    time = _first(names, _TIME, taken=taken)
    named = _first(names, _METRIC, taken=set(taken))
    label = _first(names, _LABEL, taken=taken)
    numeric = [
        position
        for position in range(len(names))
        if position not in taken and (not sample or _numeric_share(position, sample) >= 1 / 2)
    ]
    ranked = [position for position in numeric if not _NOT_METRIC.fullmatch(names[position])]
    results = [position for position in ranked if not is_resource(names[position])]
    choice = [named] if named is not None else results or ranked
    if not choice:
        return None
    metric = choice[0]
    return Columns(
        names=names,
        metric=metric,
        metric_name=names[metric],
        label=label,
        commit=commit,
        status=status,
        text=text,
        time=time,
        passed=_fraction_column(names, sample),
        cases=names.index("task_scores") if "task_scores" in names else None,
        extra=tuple(position for position in numeric if position != metric),
    )


def _fraction_column(names: Sequence[str], sample: Sequence[Sequence[str]]) -> int | None:
    if "passed" not in names:
        return None
    position = names.index("passed")
    cells = [row[position] for row in sample if position < len(row)]
    return position if not cells or any(parse_fraction(cell) for cell in cells) else None
