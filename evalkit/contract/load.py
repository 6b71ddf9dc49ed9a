"""From bytes to a contract: the only place that makes one."""

from __future__ import annotations

import copy
import re
import tomllib
from dataclasses import fields as dataclass_fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from evalkit.contract.checks import check, default_hidden
from evalkit.contract.commands import is_folder
from evalkit.contract.draft import Draft, set_keys
from evalkit.contract.locate import Locations, locate
from evalkit.contract.locate import Path as KeyPath
from evalkit.contract.mistakes import Report
from evalkit.contract.model import (
    Budget,
    Contract,
    GateSettings,
    GuardSettings,
    PolicySettings,
    ProposerSettings,
    SandboxSettings,
    Splits,
    Suppression,
)
from evalkit.contract.programs import make_metrics, make_programs
from evalkit.contract.schema import Embedded, Standalone, Tables
from evalkit.errors import ContractError, Mistake

__all__ = ["CONTRACT", "PROJECT", "find_contract", "load_contract"]

CONTRACT, PROJECT = "evalkit.toml", "pyproject.toml"
_CAP = 1 << 20
_DEEPEST = 24
_HOME: KeyPath = ("tool", "evalkit")
_MARKED = re.compile(rb"^[ \t]*\[+[ \t]*tool[ \t]*\.[ \t]*[\"']?evalkit\b", re.MULTILINE)
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

_Settings = TypeVar("_Settings")


def load_contract(file: Path, *, profile: str = "") -> Contract:
    """Read and check a contract.

    Args:
        file: ``evalkit.toml``, a ``pyproject.toml`` with ``[tool.evalkit]``, or a folder that holds one of them.
        profile: name of a ``[profile.NAME]`` whose overrides apply; empty for none.

    Raises:
        ContractError: with every mistake that was found, in the file's order.
    """
    if is_folder(file):
        file = _in_folder(file) or file / CONTRACT
    text = _read(file)
    document, locations = _parsed(file, text)
    embedded = file.name == PROJECT
    report = Report(str(file), locations, _HOME if embedded else ())
    if embedded:
        document = _own_table(document, report)
    tables = _validated(document, Embedded if embedded else Standalone, report)
    draft = Draft(
        file=file.parent.resolve() / file.name,
        head=tables if isinstance(tables, Embedded) else tables.evalkit,  # type: ignore[attr-defined]
        tables=tables,
        report=report,
        embedded=embedded,
        profile=profile,
    )
    _check_profile(draft)
    check(draft)
    report.raise_if_any()
    return _contract(draft)


def find_contract(start: Path) -> Path:
    """The contract of a folder, or of the nearest folder around it, up to the repository's own.

    In one folder ``evalkit.toml`` comes before ``pyproject.toml``.

    Raises:
        ContractError: there is none.
    """
    start = start.resolve()
    if start.is_file():
        return start
    for folder in (start, *start.parents):
        found = _in_folder(folder)
        if found is not None:
            return found
        if (folder / ".git").exists():
            break
    mistake = Mistake(str(start), f"there is no {CONTRACT}, here or above", "one made by `evalkit init`")
    raise ContractError((mistake,))


def _in_folder(folder: Path) -> Path | None:
    if (folder / CONTRACT).is_file():
        return folder / CONTRACT
    project = folder / PROJECT
    try:
        if not project.is_file():
            return None
        with project.open("rb") as stream:
            return project if _MARKED.search(stream.read(_CAP)) else None
    except OSError:
        return None


def _fail(file: Path, found: str, expected: str, position: str = "") -> ContractError:
    return ContractError((Mistake(f"{file}{position}", found, expected),))


def _read(file: Path) -> str:
    """The file's text, without a byte-order mark, at most 1 MiB."""
    try:
        if not file.is_file():
            raise _fail(file, "there is no such file", f"the path of an {CONTRACT}; `evalkit init` writes one")
        with file.open("rb") as stream:
            raw = stream.read(_CAP + 1)
    except OSError as error:
        raise _fail(file, f"it can't be read ({error.strerror})", "a file that you may read") from None
    except ValueError:
        raise _fail(file, "it is no path", f"the path of an {CONTRACT}") from None
    if len(raw) > _CAP:
        raise _fail(file, "it has more than 1 MiB", "a contract of a few kilobytes; data belong in files of their own")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _fail(file, f"byte {error.start} is not UTF-8", "the file in UTF-8", f":{line}") from None


def _parsed(file: Path, text: str) -> tuple[dict[str, Any], Locations]:
    try:
        document, locations = tomllib.loads(text), locate(text)
    except RecursionError:
        raise _fail(file, "it nests too deeply", f"at most {_DEEPEST} levels") from None
    except ValueError as error:
        raise _broken_toml(file, text, str(error)) from None
    deepest = max(locations.lines, key=len, default=())
    if len(deepest) > _DEEPEST:
        line = f":{locations.line(deepest)}"
        raise _fail(file, "it nests too deeply", f"at most {_DEEPEST} levels", line)
    return document, locations


def _broken_toml(file: Path, text: str, message: str) -> ContractError:
    position = _POSITION.search(message)
    if position is None:
        where = ""
    elif position[1] is None:
        lines = text.split("\n")
        where = f":{len(lines)}:{len(lines[-1]) + 1}"
    else:
        where = f":{position[1]}:{position[2]}"
    found = f"it is no TOML: {_POSITION.sub('', message)}"
    return _fail(file, found, 'lines such as key = "text", key = 1 and key = ["a", "b"]', where)


def _own_table(document: dict[str, Any], report: Report) -> dict[str, Any]:
    """``[tool.evalkit]`` of a project file."""
    tool = document.get("tool")
    own = tool.get("evalkit") if isinstance(tool, dict) else None
    if not isinstance(own, dict):
        report.add((), "there is no table [tool.evalkit]", f"one, or an {CONTRACT}; `evalkit init` writes it")
        report.raise_if_any()
    return dict(own or {})


def _validated(document: dict[str, Any], root: type[Standalone | Embedded], report: Report) -> Tables:
    """The tables; what is wrong in them is reported and left out, so that the rest can be judged as well."""
    rest = document
    while True:
        try:
            return root.model_validate(rest)
        except ValidationError as error:
            bad = report.add_invalid(root, error)
            rest = copy.deepcopy(rest)
            for path in sorted(set(bad), key=_from_the_end, reverse=True):
                _leave_out(rest, path)


def _from_the_end(path: KeyPath) -> tuple[tuple[int, str], ...]:
    """Sorts later elements of a list after earlier ones, so that leaving one out moves no other."""
    return tuple((part, "") if isinstance(part, int) else (-1, part) for part in path)


def _leave_out(document: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        document = document[part]
    del document[path[-1]]


def _check_profile(draft: Draft) -> None:
    known = draft.tables.profile
    if not draft.profile or draft.profile in known or draft.report.is_broken("profile", draft.profile):
        return
    near = get_close_matches(draft.profile, known, n=1)
    hint = f"{near[0]} is meant; known: " if near else "known: "
    draft.add((), f"there is no profile {draft.profile!r}", hint + (", ".join(known) or "none"))


def _contract(draft: Draft) -> Contract:
    return Contract(
        file=draft.file,
        name=draft.head.name or draft.root.name or "task",
        editable=tuple(draft.head.editable or ()),
        hidden=default_hidden(draft),
        programs=make_programs(draft),
        metrics=make_metrics(draft),
        budget=_settings(Budget, draft.section("budget")),
        splits=_settings(Splits, draft.section("splits")),
        policy=_settings(PolicySettings, draft.section("policy")),
        guards=_guards(draft),
        proposer=_proposer(draft),
        sandbox=_settings(SandboxSettings, draft.section("sandbox")),
        gate=_settings(GateSettings, draft.section("gate")),
        environment=draft.environment(),
        profile=draft.profile,
    )


def _settings(kind: type[_Settings], given: dict[str, Any]) -> _Settings:
    """A dataclass from the keys that the file sets; its own defaults for the others."""
    known = {field.name for field in dataclass_fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _frozen(value) for name, value in given.items() if name in known})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _guards(draft: Draft) -> GuardSettings:
    table = draft.tables.guards
    suppressed = tuple(Suppression(**set_keys(entry)) for entry in table.suppress or ())  # type: ignore[arg-type]
    return GuardSettings(
        disabled=tuple(table.disabled or ()),
        severity=table.severity or {},
        suppressed=suppressed,
        options=table.options or {},
    )


def _proposer(draft: Draft) -> ProposerSettings:
    given = draft.section("proposer")
    kinds = {"command": "command", "function": "python", "source": "patches"}
    implied = next((kind for key, kind in kinds.items() if key in given), None)
    if implied and "kind" not in given:
        given = {**given, "kind": implied}
    return _settings(ProposerSettings, given)
