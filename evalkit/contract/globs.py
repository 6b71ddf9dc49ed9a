"""The globs of a contract: one dialect, matched name by name, without a regular expression over whole paths.

``*`` and ``?`` stay within one name, ``[abc]`` and ``[!abc]`` stand for one character, ``**`` as a whole name stands
for any number of folders, and at the end for everything below. Names that start with a dot are nothing special. A
pattern is matched against the whole path from the contract's folder, so ``train.py`` is that one file.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["glob_problem", "is_literal", "literal_folder", "matches", "may_reach"]

_LONGEST = 512
_WILD = re.compile(r"[*?\[]")


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path (from the contract's folder, with ``/``) fits one of the patterns."""
    names = path.split("/")
    return any(len(parts) in _after(parts, names) for parts in map(_parts, patterns))


def may_reach(pattern: str, folder: str) -> bool:
    """Whether a pattern could fit ``folder`` itself or anything that may ever lie below it."""
    return bool(_after(_parts(pattern), folder.split("/")))


def is_literal(pattern: str) -> bool:
    """Whether a pattern names exactly one file."""
    return _WILD.search(pattern) is None


def literal_folder(pattern: str) -> str:
    """The folder below which everything lies that a pattern can fit; empty for the contract's own."""
    names = pattern.split("/")[:-1]
    wild = next((i for i, name in enumerate(names) if not is_literal(name)), len(names))
    return "/".join(names[:wild])


def glob_problem(pattern: str) -> tuple[str, str] | None:
    """What is wrong with a pattern, and what would be right; None where nothing is."""
    if not pattern or len(pattern) > _LONGEST:
        return ("is empty" if not pattern else "is too long"), 'a file or a glob, such as "src/**"'
    if any(ord(character) < 32 or ord(character) == 127 for character in pattern):  # noqa: PLR2004 - ASCII controls
        return "holds a control character", "names that can be typed"
    if "\\" in pattern:
        return "holds a backslash", f'"/" between names: "{pattern.replace(chr(92), "/")}"'
    if pattern.startswith("!"):
        return "starts with !", "only what is meant; leave the rest out"
    return _names_problem(pattern)


def _names_problem(pattern: str) -> tuple[str, str] | None:
    names = pattern.split("/")
    if pattern.startswith(("/", "~")) or ".." in names:
        return "leaves the contract's folder", "a path from the contract's folder"
    if pattern.endswith("/"):
        return "is a folder", f'"{pattern.rstrip("/")}/**" for everything below it'
    if any(name in {"", "."} for name in names):
        plain = "/".join(name for name in names if name not in {"", "."})
        return "is not in its plain form", f'"{plain}"'
    if any("**" in name and name != "**" for name in names):
        return 'has "**" beside other characters', '"**" as a whole name, such as "src/**/*.py"'
    if any(_unclosed(name) for name in names):
        return "has an unclosed [", '"[abc]", or "[[]" for the character itself'
    return None


def _unclosed(name: str) -> bool:
    rest = re.sub(r"\[!?\]?[^\]]*\]", "", name)
    return "[" in rest


@lru_cache(maxsize=4096)
def _parts(pattern: str) -> tuple[re.Pattern[str] | None, ...]:
    """One regular expression a name; None for ``**``, which at the end is followed by "any name"."""
    names: list[str] = []
    for name in pattern.split("/"):
        if name != "**" or names[-1:] != ["**"]:
            names.append(name)
    if names[-1] == "**":
        names.append("*")
    return tuple(None if name == "**" else re.compile(fnmatch.translate(name)) for name in names)


def _after(parts: tuple[re.Pattern[str] | None, ...], names: list[str]) -> set[int]:
    """The positions in ``parts`` where a match can stand after all of ``names``."""
    states = _skip(parts, {0})
    for name in names:
        moved = {i if parts[i] is None else i + 1 for i in states if i < len(parts) and _fits(parts[i], name)}
        states = _skip(parts, moved)
        if not states:
            break
    return states


def _fits(part: re.Pattern[str] | None, name: str) -> bool:
    return part is None or part.match(name) is not None


def _skip(parts: tuple[re.Pattern[str] | None, ...], states: set[int]) -> set[int]:
    """Also the positions behind a ``**`` that stands for no folder at all."""
    return states | {i + 1 for i in states if i < len(parts) and parts[i] is None}
