"""What a suite runs with: the command line first, then ``[suite]`` of the contract file, then the defaults.

``evalkit.toml`` has the table as ``[suite]``, ``pyproject.toml`` as ``[tool.evalkit.suite]``.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError

__all__ = ["PROFILES", "Settings", "current", "read_table"]

PROFILES = ("quick", "ci", "vault")
_TABLE_KEYS: dict[str, type | tuple[type, ...]] = {
    "module": str,
    "vault": str,
    "hidden": list,
    "baseline": str,
    "profile": str,
    "trials": int,
    "timeout": (str, int, float),
    "memory": (str, int),
    "sandbox": str,
    "env": dict,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a suite runs with.

    Attributes:
        root: the project's folder; candidate and baseline are its files.
        module: where a bare function name of ``subject.call`` is looked for.
        vault: folder with the splits, relative to ``root`` or absolute.
        hidden: globs that the subject never sees, besides the specs themselves.
        baseline: revision to compare with; empty to find the merge base.
        profile: ``quick``, ``ci`` or ``vault``.
        trials: instead of the markers' numbers; None for theirs.
        timeout: seconds for one call.
        memory: bytes of one trial.
        sandbox: name of the engine.
        env: environment variables of the subject.
        mode: empty (run and decide), ``record`` (run only) or ``decide`` (from the record only).
        record: file that ``record`` writes and ``decide`` reads.
        extend: file with earlier evidence to which this run adds trials.
        json: file for the result.
        seed: of the whole run; None for a fresh one.
        ready: directories of the arms, made by the parent of a trusted run.
        channel: descriptor on which a trusted run's parent listens; -1 where there is none.
    """

    root: Path
    module: str = ""
    vault: Path | None = None
    hidden: tuple[str, ...] = ()
    baseline: str = ""
    profile: str = "ci"
    trials: int | None = None
    timeout: float = 10.0
    memory: int = 2 << 30
    sandbox: str = "auto"
    env: Mapping[str, str] | None = None
    mode: str = ""
    record: Path | None = None
    extend: Path | None = None
    json: Path | None = None
    seed: int | None = None
    ready: Mapping[str, Path] | None = None
    channel: int = -1

    @classmethod
    def of(cls, root: Path, command_line: Mapping[str, Any]) -> Settings:
        """From the command line and the contract file in ``root``.

        Raises:
            UsageError: the table has a key that it does not know, or of another type.
        """
        known = {item.name for item in fields(cls)}
        table = read_table(root)
        given = {key: value for key, value in command_line.items() if value is not None and key in known}
        values: dict[str, Any] = {**table, **given, "root": root}
        for key in ("vault", "record", "extend", "json"):
            if values.get(key) is not None:
                values[key] = Path(values[key])
        if values.get("vault") is None and (root / "vault").is_dir():
            values["vault"] = Path("vault")
        settings = cls(**{**values, "hidden": tuple(values.get("hidden", ()))})
        if settings.profile not in PROFILES:
            raise UsageError(f"there is no profile {settings.profile!r}", f"use one of: {', '.join(PROFILES)}")
        return settings


def read_table(root: Path) -> dict[str, Any]:
    """``[suite]`` of ``evalkit.toml`` or ``[tool.evalkit.suite]`` of ``pyproject.toml``; empty where there is neither.

    Raises:
        UsageError: a file can't be read, or the table holds what it should not.
    """
    for name, path in (("evalkit.toml", ("suite",)), ("pyproject.toml", ("tool", "evalkit", "suite"))):
        file = root / name
        if not file.is_file():
            continue
        try:
            found: Any = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{file} can't be read: {error}") from None
        for key in path:
            found = found.get(key, {}) if isinstance(found, dict) else {}
        if found:
            return _checked(found, f"{file}: [{'.'.join(path)}]")
    return {}


def _checked(table: Any, where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageError(f"{where} is not a table")
    for key, value in table.items():
        if key not in _TABLE_KEYS:
            raise UsageError(f"{where} has the key {key!r}", f"it knows: {', '.join(_TABLE_KEYS)}")
        if not isinstance(value, _TABLE_KEYS[key]) or isinstance(value, bool):
            raise UsageError(f"{where} {key} = {value!r} is of the wrong type")
    return table | _units(table, where)


def _units(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Durations and sizes as seconds and bytes."""
    from evalkit.contract.units import parse_duration, parse_size  # noqa: PLC0415 - only where a table has them

    parsers = {"timeout": parse_duration, "memory": parse_size}
    try:
        return {key: parse(table[key]) for key, parse in parsers.items() if key in table}
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def current() -> Settings:
    """The settings of the pytest session that runs in this process; outside of one, those of the working directory."""
    plugin = sys.modules.get("evalkit.suite.plugin")
    found: Settings | None = plugin.session_settings() if plugin else None
    return found or Settings.of(Path.cwd(), {})
