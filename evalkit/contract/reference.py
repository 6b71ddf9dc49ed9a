"""Every key of the contract as a row: for ``evalkit init --explain``, the reference page and its test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

from pydantic.fields import FieldInfo

from evalkit.contract.fields import Duration, Size, quoted
from evalkit.contract.mistakes import key_names
from evalkit.contract.schema import (
    BudgetTable,
    GateTable,
    GuardTable,
    HeadTable,
    MetricTable,
    PolicyTable,
    ProfileTable,
    ProposerTable,
    SandboxTable,
    SplitTable,
    SuiteTable,
    SuppressTable,
    Table,
)
from evalkit.contract.units import format_duration, format_size

__all__ = ["TABLES", "Row", "as_markdown", "as_text", "rows"]

TABLES: dict[str, type[Table]] = {
    "[evalkit]": HeadTable,
    "[metric.NAME]": MetricTable,
    "[budget]": BudgetTable,
    "[splits]": SplitTable,
    "[policy]": PolicyTable,
    "[guards]": GuardTable,
    "[[guards.suppress]]": SuppressTable,
    "[proposer]": ProposerTable,
    "[sandbox]": SandboxTable,
    "[gate]": GateTable,
    "[suite]": SuiteTable,
    "[profile.NAME]": ProfileTable,
}


_WIDEST = 44
"""Columns up to which the reasons are aligned."""


@dataclass(frozen=True, slots=True)
class Row:
    """One key.

    Attributes:
        table: header of its table.
        key: as the file spells it.
        means: one sentence.
        default: as TOML where it is a constant, else in words.
        constant: whether the default is TOML.
        why: the reason of the default; empty where it needs none.
        example: a value as TOML.
    """

    table: str
    key: str
    means: str
    default: str
    constant: bool
    why: str
    example: str

    def as_json(self) -> dict[str, object]:
        """Plain JSON values."""
        return asdict(self)


def rows() -> Iterator[Row]:
    """Every key, table by table."""
    for header, table in TABLES.items():
        constants = _constants(table.settings)
        for name, info in key_names(table).items():
            yield _row(header, name, info, constants.get(name))


def as_text() -> str:
    """Every default with one line of why, for a terminal."""
    lines: list[str] = []
    for header, table in TABLES.items():
        lines += [header, f"  {_summary(table)}"]
        own = [row for row in rows() if row.table == header]
        width = max((len(text) for row in own if len(text := _assignment(row)) <= _WIDEST), default=0)
        lines += [f"  {_assignment(row):<{width}}  # {row.why or row.means}" for row in own]
        lines.append("")
    return "\n".join(lines)


def as_markdown() -> str:
    """The reference's tables."""
    parts: list[str] = []
    for header, table in TABLES.items():
        parts += [f"### `{header}`", "", _summary(table), "", "| key | means | default | why this default |"]
        parts.append("| --- | --- | --- | --- |")
        parts += [_markdown_row(row) for row in rows() if row.table == header]
        parts.append("")
    return "\n".join(parts)


def _markdown_row(row: Row) -> str:
    default = f"`{row.default}`" if row.constant else row.default
    means = f"{row.means}, e.g. `{row.example}`"
    return f"| `{row.key}` | {_cell(means)} | {_cell(default)} | {_cell(row.why)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _assignment(row: Row) -> str:
    return f"{row.key} = {row.default}" if row.constant else f"{row.key}: {row.default}"


def _summary(table: type[Table]) -> str:
    return (table.__doc__ or "").partition("\n")[0]


def _constants(settings: type | None) -> dict[str, object]:
    """The defaults of a dataclass that TOML could hold."""
    if settings is None:
        return {}
    found = {field.name: field.default for field in dataclass_fields(settings)}
    return {name: value for name, value in found.items() if value is not MISSING and value not in (None, ())}


def _row(table: str, key: str, info: FieldInfo, constant: object) -> Row:
    extra: Any = info.json_schema_extra
    words = extra["default"]
    if not words and constant is not None:
        words = _as_toml(constant, info)
    fixed = constant is not None and not extra["default"]
    default = words or ("it must be there" if info.is_required() else "none")
    return Row(table, key, info.description or "", default, fixed, extra["why"], extra["example"])


def _as_toml(value: object, info: FieldInfo) -> str:
    if info.annotation == (Duration | None) and isinstance(value, int | float):
        return quoted(format_duration(value))
    if info.annotation == (Size | None) and isinstance(value, int):
        return quoted(format_size(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else str(value)
