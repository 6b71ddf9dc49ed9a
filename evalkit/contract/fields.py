"""The kinds of value that a contract's keys take, each with a message of its own when it is something else.

Every kind is a plain validator, so that a mistake names what stands there and what would be right, and pydantic's
own wording never shows.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from evalkit.contract.globs import glob_problem
from evalkit.contract.model import Margin
from evalkit.contract.units import UnitError, parse_duration, parse_margin, parse_size

__all__ = [
    "Argv",
    "Artifacts",
    "Day",
    "Duration",
    "Environment",
    "Flag",
    "Fraction",
    "GlobList",
    "MarginField",
    "Name",
    "NonNegative",
    "Options",
    "Pattern",
    "Severities",
    "Size",
    "Sources",
    "Text",
    "Texts",
    "choice",
    "key",
    "quoted",
    "shown",
    "whole",
]

_SHOWN = 60
_MANY = 1000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"\w[\w .-]{0,79}")


def key(
    means: str, *, example: str, default: str = "", why: str = "", alias: str | None = None, required: bool = False
) -> Any:
    """One key of the contract: what it means, an example, its default (where the model has none) and the reason.

    Args:
        means: one sentence for the reference.
        example: a TOML value.
        default: in words, where the default is no constant.
        why: the reason of the default, one line.
        alias: the key's name, where it is a word of Python.
        required: whether the key must be there.
    """
    extra: dict[str, Any] = {"example": example, "default": default, "why": why}
    if required:
        return Field(alias=alias, description=means, json_schema_extra=extra)
    return Field(default=None, alias=alias, description=means, json_schema_extra=extra)


def quoted(value: str) -> str:
    """A TOML string (a JSON string is one)."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def shown(value: object) -> str:
    """A found value for a message: short, and as TOML where that is short."""
    if isinstance(value, str):
        text = quoted(value)
        return text if len(text) <= _SHOWN else f'{text[: _SHOWN - 4]}…"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[]" if not value else "a list"
    if isinstance(value, dict):
        return "a table"
    return str(value)[:_SHOWN]


def _wrong(found: str, expected: str) -> PydanticCustomError:
    return PydanticCustomError("evalkit", "{found}; {expected}", {"found": found, "expected": expected})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(f"{shown(value)} is no text", "a text in quotes")
    if not value.strip():
        raise _wrong("it is empty", "a text that is not empty")
    return _no_nul(value)


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise _wrong(f"{shown(value)} holds a NUL character", "the text without it")
    return value


def _name(value: object) -> str:
    text = _text(value)
    if not _NAME.fullmatch(text):
        raise _wrong(f"{shown(value)} is no name", 'up to 80 letters, digits, spaces, ".", "_" and "-"')
    return text


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(f"{shown(value)} is neither true nor false", "true or false, without quotes")
    return value


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        raise _wrong(f"{shown(value)} is a string", f"a list: [{quoted(value)}]")
    if not isinstance(value, list):
        raise _wrong(f"{shown(value)} is no list", "a list of texts in quotes")
    for item in value:
        if not isinstance(item, str) or not item:
            raise _wrong(f"the list holds {shown(item)}", "only texts in quotes, none of them empty")
        _no_nul(item)
    if len(value) > _MANY:
        raise _wrong(f"the list has {len(value):,} elements", f"at most {_MANY:,}; globs cover many files at once")
    repeated = next((item for i, item in enumerate(value) if item in value[:i]), None)
    if repeated is not None:
        raise _wrong(f"{shown(repeated)} is there twice", "each once")
    return value


def _argv(value: object) -> list[str]:
    if isinstance(value, str):
        raise _wrong(f"{shown(value)} is a string", f"a list, one element an argument: {_split(value)}")
    if not isinstance(value, list) or not value:
        raise _wrong(f"{shown(value)} is no command", 'a list, such as ["python", "train.py"]')
    for item in value:
        if not isinstance(item, str):
            raise _wrong(f"the list holds {shown(item)}", f"only texts in quotes: {quoted(str(item))}")
        _no_nul(item)
    if not value[0].strip():
        raise _wrong("the program's name is empty", 'a program first, such as ["python", "train.py"]')
    return value


def _split(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return f"[{', '.join(map(quoted, words))}]" if words else '["python", "train.py"]'


def _globs(value: object) -> list[str]:
    globs = _texts(value)
    for pattern in globs:
        problem = glob_problem(pattern)
        if problem is not None:
            raise _wrong(f"{shown(pattern)} {problem[0]}", problem[1])
    return globs


def _artifacts(value: object) -> list[str]:
    names = _texts(value)
    for name in names:
        problem = _artifact_problem(name)
        if problem is not None:
            raise _wrong(f"{shown(name)} {problem[0]}", problem[1])
    for name in names:
        inside = next((other for other in names if other.startswith(f"{name}/")), None)
        if inside is not None:
            raise _wrong(f"{shown(name)} is a folder in {shown(inside)}", "files, none below another")
    return names


def _artifact_problem(name: str) -> tuple[str, str] | None:
    if any(character in name for character in "*?["):
        return "is a glob", "each file by its name"
    problem = glob_problem(name)
    if problem is not None:
        return problem[0], "a file below the workspace" if name.endswith("/") else problem[1]
    if PurePosixPath(name).parts[0] in {".git", ".evalkit"}:
        return "is not a program's to write", 'a file of its own, such as "model.npz"'
    return None


def _unit(parse: Callable[[object], Any]) -> Callable[[object], Any]:
    def validate(value: object) -> Any:
        try:
            return parse(value)
        except UnitError as error:
            raise _wrong(f"{shown(value)} {error}", error.expected) from None

    return validate


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(f"{shown(value)} is no number", "a number, without quotes")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _wrong(f"{shown(value)} is not finite", "a finite number")
    return number


def _non_negative(value: object) -> float:
    number = _number(value)
    if number < 0:
        raise _wrong(f"{shown(value)} is less than 0", "0 or more, in the metric's unit, whatever its goal")
    return number


def _fraction(value: object) -> float:
    number = _number(value)
    if not 0 < number < 0.5:  # noqa: PLR2004 - the range of a usable error level
        raise _wrong(f"{shown(value)} is no error level", "a number between 0 and 0.5, such as 0.05")
    return number


def whole(least: int, most: int) -> PlainValidator:
    """A whole number in a range, both ends included."""

    def validate(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _wrong(f"{shown(value)} is out of range", f"a whole number from {least} to {most}")
        return value

    return PlainValidator(validate)


def choice(*words: str) -> PlainValidator:
    """One of a few words."""

    def validate(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        near = get_close_matches(value.lower(), words, n=1) if isinstance(value, str) else []
        hint = f"{quoted(near[0])} is meant, or one of: " if near else "one of: "
        raise _wrong(f"{shown(value)} is not known", hint + ", ".join(words))

    return PlainValidator(validate)


def _pattern(value: object) -> str:
    text = _text(value)
    try:
        groups = re.compile(text, re.MULTILINE).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise _wrong(f"{shown(text)} is no regular expression ({error})", r"one such as '^loss:\s+(\S+)$'") from None
    if groups != 1:
        raise _wrong(f"{shown(text)} has {groups} groups", r"exactly one, around the value: '^loss:\s+(\S+)$'")
    return text


def _day(value: object) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    try:
        return date.fromisoformat(value if isinstance(value, str) else "").isoformat()
    except ValueError:
        raise _wrong(f"{shown(value)} is no date", "an ISO date, such as 2027-01-31") from None


def _environment(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(f"{shown(value)} is no table", 'a table of texts, such as { LANG = "C.UTF-8" }')
    for name, text in value.items():
        if not _VARIABLE.fullmatch(name):
            raise _wrong(f"{shown(name)} is no name of a variable", "letters, digits and _, no digit first")
        if name.startswith("EVALKIT_"):
            raise _wrong(f"{name} is evalkit's own", "another name; EVALKIT_… is set for every trial")
        if not isinstance(text, str):
            raise _wrong(f"{name} is {shown(text)}", f"a text: {name} = {quoted(shown(text))}")
        _no_nul(text)
    return value


def _severities(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(f"{shown(value)} is no table", 'rule ids with a severity, such as { EK101 = "note" }')
    for rule, severity in value.items():
        if severity not in ("block", "probe", "note"):
            raise _wrong(f"{rule} is {shown(severity)}", 'one of: "block", "probe", "note"')
    return value


def _options(value: object) -> dict[str, dict[str, object]]:
    if not isinstance(value, dict):
        raise _wrong(f"{shown(value)} is no table", "one table a guard, such as [guards.options.scope]")
    for name, options in value.items():
        if not isinstance(options, dict):
            raise _wrong(f"{name} is {shown(options)}", f"a table: [guards.options.{name}]")
        _plain(options)
    return value


def _plain(value: object) -> None:
    """Options are part of the contract's digest, so they have to be values that JSON has too."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _plain(item)
    elif isinstance(value, float):
        _number(value)
    elif not isinstance(value, str | bool | int):
        raise _wrong(f"{shown(value)} is a date or a time", "it in quotes")


def _sources(value: object) -> list[str]:
    return _texts([value] if isinstance(value, str) else value)


Text = Annotated[str, PlainValidator(_text)]
Name = Annotated[str, PlainValidator(_name)]
Flag = Annotated[bool, PlainValidator(_flag)]
Texts = Annotated[list[str], PlainValidator(_texts)]
Sources = Annotated[list[str], PlainValidator(_sources)]
Argv = Annotated[list[str], PlainValidator(_argv)]
GlobList = Annotated[list[str], PlainValidator(_globs)]
Artifacts = Annotated[list[str], PlainValidator(_artifacts)]
Duration = Annotated[float, PlainValidator(_unit(parse_duration))]
Size = Annotated[int, PlainValidator(_unit(parse_size))]
MarginField = Annotated[Margin, PlainValidator(_unit(parse_margin))]
NonNegative = Annotated[float, PlainValidator(_non_negative)]
Fraction = Annotated[float, PlainValidator(_fraction)]
Pattern = Annotated[str, PlainValidator(_pattern)]
Day = Annotated[str, PlainValidator(_day)]
Environment = Annotated[dict[str, str], PlainValidator(_environment)]
Severities = Annotated[dict[str, str], PlainValidator(_severities)]
Options = Annotated[dict[str, dict[str, object]], PlainValidator(_options)]
