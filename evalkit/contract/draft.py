"""A contract whose keys are of the right kind, before it is known to make sense."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evalkit.contract.locate import Path as KeyPath
from evalkit.contract.mistakes import Report
from evalkit.contract.schema import HeadTable, ProfileTable, Table, Tables

__all__ = ["Draft", "set_keys"]

_HEAD = frozenset(HeadTable.model_fields)


def set_keys(table: Table | None) -> dict[str, object]:
    """The keys that the file gives a value, by the names of the model's fields."""
    return {name: getattr(table, name) for name in table.model_fields_set} if table else {}


@dataclass(frozen=True, slots=True)
class Draft:
    """The tables, with one profile on top.

    Attributes:
        file: the contract file, its folder resolved.
        head: the head's keys.
        tables: the other tables.
        report: where mistakes go.
        embedded: whether the head's keys stand beside the tables (pyproject.toml).
        profile: its name, or the empty string.
    """

    file: Path
    head: HeadTable
    tables: Tables
    report: Report
    embedded: bool
    profile: str

    @property
    def root(self) -> Path:
        """The contract's folder."""
        return self.file.parent

    @property
    def overrides(self) -> ProfileTable | None:
        """The profile that applies."""
        return self.tables.profile.get(self.profile)

    def section(self, name: str) -> dict[str, object]:
        """The set keys of a table, the profile's over the file's own."""
        base = set_keys(getattr(self.tables, name))
        return base | set_keys(getattr(self.overrides, name, None))

    def environment(self) -> dict[str, str]:
        """The variables, the profile's over the head's."""
        over = self.overrides.env if self.overrides else None
        return {**(self.head.env or {}), **(over or {})}

    def where(self, *path: str) -> KeyPath:
        """The place of a key: in the profile where that sets it, else in its own table."""
        if path[0] in _HEAD:
            return path if self.embedded else ("evalkit", *path)
        over = set_keys(getattr(self.overrides, path[0], None)) if len(path) > 1 else {}
        return ("profile", self.profile, *path) if path[-1] in over else path

    def add(self, path: KeyPath, found: str, expected: str) -> None:
        """One mistake."""
        self.report.add(path, found, expected)
