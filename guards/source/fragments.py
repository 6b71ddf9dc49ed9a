"""Python that is not whole: hunks of a diff, files with mistakes, Python 2.

:func:`repair` makes something that parses of it, line for line, so that syntax trees can be looked at. What can't be
understood becomes ``pass``: a fragment is evidence, and the missing part is not guessed.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["MAX_SOURCE", "Parsed", "parse", "parse_fragments"]

MAX_SOURCE = 400_000
"""Characters of one file that are parsed; larger ones are looked at by their text alone."""
_MAX_REPAIR = 12_000
_MAX_SPAN = 80
_MAX_LOOKED = 100_000
_MAX_INDENT = 90
_HEADER = re.compile(
    r"(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case)\b(?s:.*):\s*(?:#[^\n]*)?$"
)
_LINE = re.compile(r"line (\d+)\)$")
_CONTINUES = re.compile(r"(elif|else|except|finally)\b")
_STRING = re.compile(
    r'"""(?s:.*?)(?<!\\)"""|\'\'\'(?s:.*?)(?<!\\)\'\'\'|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*|[()\[\]{}]|"""|\'\'\''
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A syntax tree and how much of the source it stands for.

    Attributes:
        tree: of the source, with the source's own line numbers.
        error: why the source as it stands does not parse, or the empty string.
    """

    tree: ast.Module
    error: str = ""


def parse(text: str) -> Parsed:
    """The tree of a whole file; of what can be understood of it, where it does not parse."""
    if len(text) > MAX_SOURCE:
        return Parsed(ast.Module([], []), f"{len(text):,} characters are too many to analyse")
    tree, error = _try(text)
    if tree is not None:
        return Parsed(tree)
    lines = text.split("\n")
    if len(lines) > _MAX_REPAIR:
        return Parsed(ast.Module([], []), error)
    return Parsed(_repaired([(n, line) for n, line in enumerate(lines, 1)]), error)


def parse_fragments(fragments: Sequence[Sequence[tuple[int, str]]]) -> Parsed:
    """One tree out of several runs of numbered lines."""
    body: list[ast.stmt] = []
    for lines in fragments:
        first = lines[0][0] if lines else 1
        tree, _error = _try("\n".join(text for _, text in lines))
        if tree is not None:
            ast.increment_lineno(tree, first - 1)
        else:
            tree = _repaired(list(lines[:_MAX_REPAIR]))
        body.extend(tree.body)
    return Parsed(ast.Module(body, []))


def _try(text: str) -> tuple[ast.Module | None, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text), ""
        except (SyntaxError, ValueError) as error:
            return None, f"{type(error).__name__}: {error}"[:200]
        except (RecursionError, MemoryError):
            return None, "nested too deeply"


@dataclass(slots=True)
class _Logical:
    """One statement's lines: its indentation, number of the first line, text."""

    indent: int
    number: int
    text: str


def _repaired(lines: list[tuple[int, str]]) -> ast.Module:
    """Build blocks by indentation, each statement parsed on its own."""
    body: list[ast.stmt] = []
    source, numbers = _skeleton(_logical(lines))
    tree = _mended(source)
    if tree is not None:
        for node in ast.walk(tree):
            for name in ("lineno", "end_lineno"):
                if (line := getattr(node, name, None)) is not None and line <= len(numbers):
                    setattr(node, name, numbers[line - 1])
        body = tree.body
    return ast.Module(body, [])


def _mended(source: list[str], most: int = 8) -> ast.Module | None:
    """The tree of lines that nearly parse: up to ``most`` lines that do not are blanked."""
    for _ in range(most):
        tree, error = _try("\n".join(source))
        if tree is not None:
            return tree
        found = _LINE.search(error)
        if found is None or not 0 < int(found.group(1)) <= len(source):
            return None
        at = int(found.group(1)) - 1
        source[at] = source[at][: len(source[at]) - len(source[at].lstrip())] + "pass"
    return None


def _logical(lines: list[tuple[int, str]]) -> list[_Logical]:
    """Group physical lines into statements by brackets and strings."""
    found: list[_Logical] = []
    at, looked = 0, 0
    while at < len(lines):
        number, text = lines[at]
        if not text.strip() or text.lstrip().startswith("#"):
            at += 1
            continue
        taken, cost = _extent(lines, at, _MAX_SPAN if looked < _MAX_LOOKED else 1)
        looked += cost
        wide = text.expandtabs(8)
        joined = "\n".join(part for _, part in lines[at : at + taken])
        found.append(_Logical(len(wide) - len(wide.lstrip()), number, joined.strip()))
        at += taken
    return found


def _extent(lines: list[tuple[int, str]], at: int, most: int) -> tuple[int, int]:
    """How many lines the statement at ``at`` spans (1 where it never closes), and how many were looked at."""
    depth, quote = 0, ""
    for taken in range(1, min(most, len(lines) - at) + 1):
        number, text = lines[at + taken - 1]
        if taken > 1 and number != lines[at + taken - 2][0] + 1:
            return 1, taken
        depth, quote = _state(text, depth, quote)
        if depth <= 0 and not quote and not text.endswith("\\"):
            return taken, taken
    return 1, most


def _state(line: str, depth: int, quote: str) -> tuple[int, str]:
    """Open brackets and the open triple quote after a line."""
    if quote:
        end = line.find(quote)
        if end < 0:
            return depth, quote
        line = line[end + 3 :]
    for match in _STRING.finditer(line):
        piece = match.group()
        if piece in {'"""', "'''"}:
            return depth, piece
        depth += (piece in {"(", "[", "{"}) - (piece in {")", "]", "}"})
    return depth, ""


@dataclass(slots=True)
class _Skeleton:
    """Source that parses, while it is built.

    Attributes:
        source, numbers: its lines, and the real number of each.
        levels: the indentations that are open, outermost first.
        heads: the last statement at each open level.
        open_header: whether the last statement waits for its block.
    """

    source: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    heads: list[str] = field(default_factory=lambda: [""])
    open_header: bool = False

    def put(self, text: str, number: int, depth: int) -> None:
        for offset, part in enumerate(text.split("\n")):
            self.source.append(" " * depth + part if offset == 0 else part)
            self.numbers.append(number + offset)

    def add(self, statement: _Logical) -> None:
        if not self.levels:
            self.levels.append(statement.indent)
        self._indent(statement)
        depth = len(self.levels) - 1
        text, self.open_header = _statement(statement.text)
        if (match := _CONTINUES.match(text)) is not None:
            for extra in _opening(match.group(1), self.heads[-1]):
                self.put(extra, statement.number, depth)
        self.heads[-1] = text
        self.put(text, statement.number, depth)

    def _indent(self, statement: _Logical) -> None:
        if statement.indent > self.levels[-1]:
            if not self.open_header:
                self.put("if True:", statement.number, len(self.levels) - 1)
            if len(self.levels) < _MAX_INDENT:
                self.levels.append(statement.indent)
                self.heads.append("")
        elif self.open_header:
            self.put("pass", statement.number, len(self.levels))
        while len(self.levels) > 1 and statement.indent < self.levels[-1]:
            self.levels.pop()
            self.heads.pop()
        self.levels[0] = min(self.levels[0], statement.indent)  # the fragment began inside a block that ends here


def _skeleton(statements: list[_Logical]) -> tuple[list[str], list[int]]:
    """Source lines that parse, and the real number of each."""
    built = _Skeleton()
    for statement in statements:
        built.add(statement)
    if built.open_header:
        built.put("pass", statements[-1].number, len(built.levels))
    return built.source, built.numbers


def _opening(word: str, before: str) -> list[str]:
    """What has to stand before an ``else`` or ``except`` whose beginning is not in the fragment."""
    if word in {"except", "finally"}:
        fits = before.startswith(("try", "except", "else"))
        return [] if fits else ["try: pass"]
    fits = before.startswith(("if", "elif", "for", "while", "except"))
    return [] if fits else ["if True: pass"]


def _statement(text: str) -> tuple[str, bool]:
    """The statement if it parses on its own, else ``pass``; and whether a block must follow."""
    if _HEADER.match(text):
        word = _CONTINUES.match(text)
        probe = {"elif": "if True: pass\n", "else": "if True: pass\n"}.get(word.group(1), "try: pass\n") if word else ""
        closing = "\nfinally: pass" if text.startswith("try") else ""
        if text.startswith("case"):
            return "if True:", True
        if text.startswith("match") and _try(text + "\n case _: pass")[0] is not None:
            return "if True:", True
        if _try(f"{probe}{text} pass{closing}" if "#" not in text else f"{probe}{text}\n pass{closing}")[0] is not None:
            return text, True
        return "if True:", True
    tree, _error = _try(text)
    return ("pass", False) if tree is None else (text, False)
