"""Cases to be split, whatever they come from: files, a folder, ``(X, y, groups, times)``, or any iterable."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.overlap.items import item_id, text_parts
from evalkit.overlap.rows import Problems, Row, read_rows

__all__ = ["Cases", "cases_from_arrays", "cases_from_iterable", "read_cases"]


@dataclass(frozen=True, slots=True)
class Cases:
    """A table of cases; columns of equal length, or None where the data have no such thing.

    Attributes:
        ids: distinct.
        groups: cases of one group never part.
        labels: the class of every case, as text.
        times: when every case happened, as a number.
        texts: for near-duplicates.
        rows: what is written to the split files.
        wheres: ``file:line`` of every case, for messages.
    """

    ids: Sequence[str]
    groups: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    times: Sequence[float] | None = None
    texts: Sequence[str] | None = None
    rows: Sequence[Mapping[str, Any]] = field(default=())
    wheres: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        """Refuse tables that can't be split soundly."""
        if not self.ids:
            raise DataError("there are no cases to split", "check the path")
        for name in ("groups", "labels", "times", "texts"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.ids):
                raise DataError(f"{len(self.ids)} cases but {len(column)} {name}", "give one value for every case")
        if len(set(self.ids)) != len(self.ids):
            twice = Counter(self.ids).most_common(1)[0][0]
            raise DataError(f"the id {twice!r} is used twice", "give every case an id of its own")

    def __len__(self) -> int:
        return len(self.ids)

    def content_hash(self, number: int, key: bytes) -> str:
        """A keyed hash of one case's content, so that a manifest gives nothing away.

        Args:
            number: of the case.
            key: the split's key.
        """
        row = dict(self.rows[number]) if self.rows else {"id": self.ids[number]}
        content = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode("utf-8", "replace")
        return hashlib.blake2b(content, key=key[:64], digest_size=16).hexdigest()


def _moment(value: Any, where: str) -> float:
    """A number, or an ISO 8601 date, as seconds."""
    if isinstance(value, bool) or value is None:
        raise DataError(f"{where}: {value!r} is no time", "use numbers or ISO 8601 dates")
    if isinstance(value, datetime):
        return value.timestamp()
    try:
        number = float(value)
    except (TypeError, ValueError):
        try:
            return datetime.fromisoformat(str(value)).timestamp()
        except ValueError as error:
            raise DataError(f"{where}: {value!r} is no time", "use numbers or ISO 8601 dates") from error
    if number != number or number in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN
        raise DataError(f"{where}: {value!r} is no time", "leave the case out, or give its time")
    return number


def read_cases(
    paths: Iterable[Path | str],
    problems: Problems,
    *,
    id_field: str | None = None,
    group_field: str | None = None,
    label_field: str | None = None,
    time_field: str | None = None,
) -> Cases:
    """Read cases from JSON lines, CSV, parquet or folders.

    Args:
        paths: what :func:`evalkit.overlap.rows.read_rows` reads.
        problems: takes rows that lack a field, and ids that are used twice.
        id_field: name of the column with the id; one is found or made where None.
        group_field: name of the column with the group.
        label_field: name of the column with the class.
        time_field: name of the column with the time.
    """
    wanted = [name for name in (group_field, label_field, time_field) if name]
    rows: dict[str, Row] = {}
    for path in paths:
        for row in read_rows(path, problems):
            lacking = [name for name in wanted if row.data.get(name) in {None, ""}] if wanted else []
            if lacking:
                problems.add(f"{row.where}: no {lacking[0]!r}", f"the row has {', '.join(map(repr, row.data))}")
                continue
            name = item_id(row, id_field)
            if name in rows:
                problems.add(
                    f"{row.where}: the id {name!r} was used before, at {rows[name].where}", "name the id field"
                )
                continue
            rows[name] = row
    found = list(rows.values())

    def column(name: str | None) -> list[str] | None:
        return [str(row.data[name]) for row in found] if name else None

    return Cases(
        ids=list(rows),
        groups=column(group_field),
        labels=column(label_field),
        times=[_moment(row.data[time_field], row.where) for row in found] if time_field else None,
        texts=["\n".join(text for _, text in text_parts(dict(row.data))) for row in found],
        rows=[row.data for row in found],
        wheres=[row.where for row in found],
    )


def cases_from_arrays(
    X: Any,  # noqa: N803 - the name that scikit-learn uses
    y: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    times: Sequence[float] | None = None,
) -> Cases:
    """Cases from scikit-learn style arrays; a case's id is its row number."""
    count = X.shape[0] if hasattr(X, "shape") else len(X)
    return Cases(
        ids=[str(number) for number in range(count)],
        groups=None if groups is None else [str(group) for group in groups],
        labels=None if y is None else [str(label) for label in y],
        times=None if times is None else [_moment(time, f"row {n}") for n, time in enumerate(times)],
    )


def cases_from_iterable(values: Iterable[Any]) -> Cases:
    """Cases from any iterable of mappings, strings or other values; ids as in files."""
    rows = [
        Row(f"value {n}", 1, value if isinstance(value, Mapping) else {"value": value})
        for n, value in enumerate(values)
    ]
    ids = [item_id(row, None) if any(text_parts(dict(row.data))) else str(n) for n, row in enumerate(rows)]
    texts = ["\n".join(text for _, text in text_parts(dict(row.data))) for row in rows]
    return Cases(ids=ids, texts=texts, rows=[row.data for row in rows], wheres=[row.path for row in rows])
