"""Cases for ``parametrize``: rows of a split's ``cases.jsonl``, each with a name of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.errors import DataError, UsageError

__all__ = ["Case", "case_name", "cases", "read_cases"]

_FILE = "cases.jsonl"
_PROFILE_SPLITS = {"quick": ("dev",), "ci": ("dev", "confirm"), "vault": ("dev", "confirm", "sealed")}


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        id: distinct within its split; the test's name carries it.
        input: what the subject gets (the row's ``input``, or the whole row without what is expected).
        expected: the row's ``expected``, ``target`` or ``answer``; None where it has none.
        cluster: cases of one cluster count as one unit (the row's ``cluster`` or ``group``, else its own id).
        split: which split it is from.
        data: the whole row.
    """

    id: str
    input: Any
    expected: Any
    cluster: str
    split: str
    data: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        """A field of the row."""
        return self.data[name]


def case_name(value: object) -> str | None:
    """The name of a case among a test's parameters; None for anything else."""
    return value.id if isinstance(value, Case) else None


def cases(split: str = "dev", *, limit: int | None = None, folder: str | Path | None = None) -> list[Case]:
    """All of one split, to parametrise a test with.

    The ``quick`` profile answers every split with ``dev``, ``ci`` gives ``dev`` and ``confirm``, and only ``vault``
    opens ``sealed``.

    Args:
        split: ``dev``, ``confirm`` or ``sealed``.
        limit: the first so many.
        folder: with one folder a split; None for the configured vault.

    Raises:
        UsageError: no vault is configured, or the profile does not open this split.
        DataError: the file is not there or not what it should be.
    """
    from evalkit.suite.settings import current  # noqa: PLC0415 - only known once pytest runs

    settings = current()
    chosen = "dev" if settings.profile == "quick" else split
    if chosen not in _PROFILE_SPLITS[settings.profile]:
        raise UsageError(
            f"the profile {settings.profile!r} does not open the split {split!r}", "pytest --evalkit-profile vault"
        )
    place = Path(folder) if folder is not None else settings.vault
    if place is None:
        raise UsageError("no vault is configured, so there are no cases", 'set vault = "vault" in [suite]')
    found = read_cases(settings.root / place / chosen / _FILE, chosen)
    return found[:limit]


def read_cases(file: Path, split: str) -> list[Case]:
    """The cases of one file.

    Raises:
        DataError: it can't be read, a line is no JSON object, or an id is used twice.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} can't be read: {error}", "`evalkit split` writes the splits of a vault") from None
    found = [_case(line, f"{file}:{number}", split, number) for number, line in enumerate(lines, 1) if line.strip()]
    names = {case.id for case in found}
    if not found or len(names) != len(found):
        raise DataError(
            f"{file} holds {len(found)} cases with {len(names)} distinct ids", "every case needs an id of its own"
        )
    return found


def _case(line: str, where: str, split: str, number: int) -> Case:
    try:
        row = json.loads(line, parse_constant=_refuse)
    except ValueError as error:
        raise DataError(f"{where} is not a JSON object: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{where} is {type(row).__name__}, not a JSON object")
    name = str(row.get("id", number))
    expected = next((row[key] for key in ("expected", "target", "answer") if key in row), None)
    hidden = {"id", "expected", "target", "answer", "cluster", "group", "canary"}
    given = row["input"] if "input" in row else {key: value for key, value in row.items() if key not in hidden}
    cluster = row.get("cluster", row.get("group", name))
    return Case(name, given, expected, str(cluster), split, row)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
