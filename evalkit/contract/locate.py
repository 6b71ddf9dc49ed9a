"""Where the keys of a TOML text stand, line by line.

``tomllib`` gives values and no positions. This scanner gives positions and no values, for texts that ``tomllib`` has
already accepted: it does not check anything again, and what it finds is held against ``tomllib`` by property tests.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping
from itertools import count

__all__ = ["Locations", "Path", "locate"]

Path = tuple[str | int, ...]
"""Keys, and indexes into arrays (of tables as well), from the top of the document."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''',
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\r\n]+")


class Locations:
    """The line of every key, table and array element of one document."""

    def __init__(self, lines: Mapping[Path, int]) -> None:
        self._lines = lines

    @property
    def lines(self) -> Mapping[Path, int]:
        """Path → line, from 1: where a key, a table or an element is first named."""
        return self._lines

    def line(self, path: Path) -> int | None:
        """The line of a path, or of the nearest table around it that the text names."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return None


def locate(text: str) -> Locations:
    """The lines of a document that ``tomllib.loads`` accepts.

    Raises:
        RecursionError: the document nests deeper than Python's stack.
        ValueError: it is not TOML after all.
    """
    return Locations(_Scanner(text).scan())


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.tables: dict[Path, int] = {}
        self._ends = [match.start() for match in re.finditer("\n", text)]

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._take(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._take(_BLANK)
        return self.lines

    def _header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``; the table that the following pairs belong to."""
        many = self.text.startswith("[[", self.at)
        line = self._line()
        self.at += 2 if many else 1
        names = self._dotted()
        self.at += 2 if many else 1
        path: Path = ()
        for position, name in enumerate(names, start=1):
            path = self._found((*path, name), line)
            if many and position == len(names):
                self.tables[path] = self.tables.get(path, -1) + 1
            if path in self.tables:
                path = self._found((*path, self.tables[path]), line)
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for name in self._dotted():
            path = self._found((*path, name), line)
        self._expect("=")
        self._take(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self.text[self.at : self.at + 1]
        if first == "[":
            self._items(path, "]")
        elif first == "{":
            self._items(path, "}")
        else:
            self._take(_STRING if first in {'"', "'"} else _BARE)

    def _items(self, path: Path, end: str) -> None:
        """The elements of an array, or the pairs of an inline table."""
        self.at += 1
        for index in count():
            self._take(_BLANK)
            if self.text.startswith(end, self.at):
                break
            if end == "}":
                self._pair(path)
            else:
                self._value(self._found((*path, index), self._line()))
            self._take(_BLANK)
            if self.text.startswith(",", self.at):
                self.at += 1
        self._expect(end)

    def _dotted(self) -> list[str]:
        names = [self._name()]
        while self.text.startswith(".", self.at):
            self.at += 1
            names.append(self._name())
        return names

    def _name(self) -> str:
        raw = self._take(_KEY).strip(" \t")
        # Escapes in quoted keys are TOML's business, not ours.
        return str(tomllib.loads(f"key = {raw}")["key"]) if raw[0] in "\"'" else raw

    def _found(self, path: Path, line: int) -> Path:
        self.lines.setdefault(path, line)
        return path

    def _line(self) -> int:
        return bisect_left(self._ends, self.at) + 1

    def _expect(self, mark: str) -> None:
        if not self.text.startswith(mark, self.at):
            raise ValueError(f"line {self._line()}: {mark!r} expected")
        self.at += 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"line {self._line()}: not TOML")
        self.at = match.end()
        return match.group()
