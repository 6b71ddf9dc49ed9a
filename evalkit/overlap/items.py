"""Holdout items: what a corpus, a change or an artefact is checked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.overlap.rows import Problems, Row, read_rows

__all__ = ["Item", "item_id", "items_of", "read_items", "text_parts"]

_ID_FIELDS = ("id", "item_id", "case_id", "task_id", "question_id", "doc_id", "example_id", "uid", "_id")


@dataclass(frozen=True, slots=True)
class Item:
    """One holdout item.

    Attributes:
        id: unique in its holdout.
        parts: its texts by field; a nested field is called ``messages.0.content``.
        where: ``file:line`` it was read from.
        answer: the short reference answer, where the item has one.
    """

    id: str
    parts: tuple[tuple[str, str], ...]
    where: str = ""
    answer: str = ""

    @property
    def text(self) -> str:
        """All parts, one after another."""
        return "\n".join(text for _, text in self.parts)


def text_parts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """All non-empty strings in a JSON value, with their paths."""
    if isinstance(value, str):
        if value.strip():
            yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from text_parts(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from text_parts(inner, f"{name}.{number}")


def item_id(row: Row, id_field: str | None) -> str:
    """A row's own id, else one made from its content."""
    if id_field is not None and row.data.get(id_field) is None:
        raise DataError(f"{row.where}: no field {id_field!r}", f"its fields are {', '.join(map(repr, row.data))}")
    for name in (id_field,) if id_field else _ID_FIELDS:
        value = row.data.get(name)
        if isinstance(value, str | int) and str(value):
            return str(value)
    content = "\x1f".join(f"{name}\x1e{text}" for name, text in text_parts(dict(row.data)))
    return f"h{hashlib.blake2b(content.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


def _answer(row: Row) -> str:
    for name in ("answer", "label", "target", "output", "y"):
        value = row.data.get(name)
        if isinstance(value, bool | int | float | str):
            return str(value).rsplit("####", 1)[-1].strip()
    return ""


def read_items(
    paths: Iterable[Path | str],
    problems: Problems,
    *,
    fields: Sequence[str] = (),
    id_field: str | None = None,
) -> list[Item]:
    """Read a holdout.

    Args:
        paths: files or folders, as :func:`evalkit.overlap.rows.read_rows` reads them.
        problems: takes what is wrong: broken rows, rows without text, ids that occur twice.
        fields: the fields to look for; all text fields where empty.
        id_field: the field with the id; common names are tried where None, then the content's hash.

    Returns:
        Every row that has text; rows with identical content and no id of their own are one item.
    """
    found = items_of((row for path in paths for row in read_rows(path, problems)), problems, fields, id_field)
    if not found:
        raise DataError(f"no items in {', '.join(map(str, paths))}", "check the path and --field")
    return found


def items_of(
    rows: Iterable[Row], problems: Problems, fields: Sequence[str] = (), id_field: str | None = None
) -> list[Item]:
    """Items of rows; see :func:`read_items`."""
    items: dict[str, Item] = {}
    for row in rows:
        item = _item(row, fields, id_field, problems)
        if item is None:
            continue
        earlier = items.get(item.id)
        if earlier is None:
            items[item.id] = item
        elif earlier.parts != item.parts:
            problems.add(
                f"{item.where}: the id {item.id!r} was used before, at {earlier.where}",
                "give every item an id of its own, or name the right field with --id",
            )
            items[f"{item.id}#{item.where}"] = Item(f"{item.id}#{item.where}", item.parts, item.where, item.answer)
    return list(items.values())


def _item(row: Row, fields: Sequence[str], id_field: str | None, problems: Problems) -> Item | None:
    missing = [name for name in fields if name not in row.data]
    if missing:
        problems.add(f"{row.where}: no field {missing[0]!r}", f"its fields are {', '.join(map(repr, row.data))}")
        return None
    name = item_id(row, id_field)
    chosen = {key: value for key, value in row.data.items() if not fields or key in fields}
    parts = tuple((key, text) for key, text in text_parts(chosen) if text != name)
    if not parts:
        problems.add(f"{row.where}: no text in this row", "name the text fields with --field")
        return None
    return Item(name, parts, row.where, _answer(row))
