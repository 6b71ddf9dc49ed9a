"""Collecting mistakes: each with its file, line and key, in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from evalkit.contract.fields import quoted, shown
from evalkit.contract.locate import Locations, Path
from evalkit.errors import ContractError, Mistake

__all__ = ["Report", "dotted", "field_at", "key_names", "table_model"]

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


_SHOWN = 100
"""Mistakes of one kind after which nobody reads on."""


class Report:
    """The mistakes of one file so far.

    Args:
        file: as the user named it.
        locations: of the file's keys.
        prefix: what stands before every path that is added, such as ``("tool", "evalkit")``.
    """

    def __init__(self, file: str, locations: Locations | None = None, prefix: Path = ()) -> None:
        self.file = file
        self.prefix = prefix
        self._locations = locations or Locations({})
        self._found: dict[Mistake, int] = {}
        self.broken: set[Path] = set()
        """Paths whose values had to be left out; what rests on them is not judged again."""

    def add(self, path: Path, found: str, expected: str) -> None:
        """One mistake at a path (without the prefix; an empty one means the whole file)."""
        full = (*self.prefix, *path) if path else ()
        line = self._locations.line(full) or 0
        where = ":".join(filter(None, (self.file, str(line) if line else "")))
        self._found.setdefault(Mistake(f"{where}: {dotted(full)}" if full else where, found, expected), line)

    def add_invalid(self, root: type[BaseModel], error: ValidationError) -> list[Path]:
        """Every mistake that pydantic found; returns the paths that have to be left out to go on."""
        paths: list[Path] = []
        for detail in error.errors(include_url=False):
            path = tuple(detail["loc"])
            if len(self._found) < _SHOWN:
                self.add(path, *_explained(root, path, detail))
            paths.append(_element(path))
            if detail["type"] != "extra_forbidden":
                self.broken.add(paths[-1])
        return paths

    def is_broken(self, *path: str | int) -> bool:
        """Whether a value at, around or below a path had to be left out."""
        return any(other[: len(path)] == path or path[: len(other)] == other for other in self.broken)

    def raise_if_any(self) -> None:
        """Raise everything that was found.

        Raises:
            ContractError: unless there was nothing.
        """
        if self._found:
            ordered = sorted(self._found, key=lambda mistake: self._found[mistake])
            raise ContractError(tuple(ordered), "`evalkit init --explain` prints every key and its default")


def dotted(path: Path) -> str:
    """A path as TOML would write it, with indexes in brackets (from 1, as people count)."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            bare = bool(part) and set(part) <= _BARE
            text += ("." if text else "") + (part if bare else quoted(part))
    return text


def key_names(table: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a table as the file spells them."""
    return {info.alias or name: info for name, info in table.model_fields.items()}


def table_model(info: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The table that a key holds, if it holds one; and whether it holds many (by name, or in a list)."""
    for kind, many in _kinds(info.annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind, many
    return None, False


def _kinds(annotation: Any) -> Iterator[tuple[Any, bool]]:
    yield annotation, False
    many = get_origin(annotation) in (dict, list)
    for argument in get_args(annotation):
        for kind, inner in _kinds(argument):
            yield kind, many or inner


def field_at(root: type[BaseModel], path: Path) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The table around a path, and the key's own definition; None where it is not in the schema."""
    table: type[BaseModel] | None = root
    info: FieldInfo | None = None
    by_name = False
    for part in path:
        if by_name:
            by_name = False
            continue
        if table is None or not isinstance(part, str):
            break
        holder, info = table, key_names(table).get(part)
        table, by_name = table_model(info) if info else (None, False)
        if table is None:
            return holder, info
    return table, info


def _element(path: Path) -> Path:
    """The element of a list that a path leads through (it can't do without any of its keys), or the path itself."""
    return next((path[: i + 1] for i, part in enumerate(path) if isinstance(part, int)), path)


def _explained(root: type[BaseModel], path: Path, detail: Mapping[str, Any]) -> tuple[str, str]:
    kind = detail["type"]
    if kind == "evalkit":
        return detail["ctx"]["found"], detail["ctx"]["expected"]
    if kind == "extra_forbidden":
        return _unknown(root, path)
    _, info = field_at(root, path)
    if kind == "missing":
        return "it is missing", f"it must be there: {path[-1]} = {_example(info)}"
    if kind == "list_type":
        return f"{shown(detail['input'])} is no list of tables", f"[[{dotted(path)}]], once for each"
    return f"{shown(detail['input'])} is no table", f"a table: [{dotted(path)}]"


def _example(info: FieldInfo | None) -> str:
    extra = info.json_schema_extra if info else None
    return str(extra["example"]) if isinstance(extra, dict) else "…"


def _unknown(root: type[BaseModel], path: Path) -> tuple[str, str]:
    """An unknown key: the same word in another table, the nearest here, or all that are known here."""
    name = str(path[-1])
    if path == ("tool",):
        return "that is how pyproject.toml has it", "[evalkit], [metric.NAME], … at the top of this file"
    if path == ("evalkit",):
        return "[evalkit] is for evalkit.toml", "its keys directly in [tool.evalkit]"
    table, _ = field_at(root, path[:-1])
    known = list(key_names(table)) if table else []
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    if near:
        return "there is no such key", f"{near[0]} is meant"
    homes = [home for home in _homes(root, (), name) if home != f"[{dotted(path[:-1])}]"]
    if homes:
        return "there is no such key here", f"it belongs in {' or '.join(homes)}"
    if path[:-1] == ("guards",):
        return "there is no such key", f"a guard's own options stand in [{dotted(('guards', 'options', name))}]"
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"{near[0]} may be meant; known here: " if near else "known here: "
    return "there is no such key", hint + ", ".join(known)


def _homes(table: type[BaseModel], path: Path, name: str) -> Iterator[str]:
    """The tables (profiles aside) that know a key."""
    for key, info in key_names(table).items():
        inner, many = table_model(info)
        if key == name:
            yield f"[{dotted(path)}]" if path else f"a table of its own, [{key}]"
        elif inner is not None and key not in {"profile", "suppress"}:
            yield from _homes(inner, (*path, key, "NAME") if many else (*path, key), name)
