"""Answers that are written down instead of computed, as far as a program shows by itself (mechanism 9)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context, at, is_test
from guards.rule import Rule, table
from guards.source.program import FunctionNode, Program
from guards.source.view import FileView

__all__ = ["RULES", "inspect", "is_specific"]

_PROBE = Severity.PROBE

RULES = table(
    [
        Rule(
            "EK141",
            "case-answers",
            _PROBE,
            "Literals of the change are inputs and answers of evaluation cases.",
            "compute the answers; the probe runs fresh and renamed inputs",
            9,
        ),
        Rule(
            "EK142",
            "special-cases",
            _PROBE,
            "A function answers several particular inputs with constants.",
            "compute the answers; the probe runs fresh and renamed inputs",
            9,
        ),
        Rule(
            "EK143",
            "answer-table",
            _PROBE,
            "A table gives constant answers for particular, long or exact inputs.",
            "compute the answers; the probe runs fresh and renamed inputs",
            9,
        ),
        Rule(
            "EK144",
            "digest-keyed",
            _PROBE,
            "Inputs are recognised by their digests.",
            "compute the answers; the probe runs fresh and renamed inputs",
            9,
        ),
    ]
)
"""By name."""

_BRANCHES = 4
_ENTRIES = 6
_DIGESTS = 3
_HEX = re.compile(r"[0-9a-f]{10,128}|[0-9A-F]{10,128}")
_TELLS = frozenset({"startswith", "endswith", "match", "fullmatch"})
_HASHES = re.compile(r"hashlib\.\w+|zlib\.(?:crc32|adler32)|binascii\.crc\w+|xxhash\.\w+|mmh3\.\w+")


def inspect(view: FileView, _context: Context) -> Iterator[Finding]:
    """Findings ``EK142`` to ``EK144`` in one Python file."""
    if not view.python or is_test(view.path):
        return
    program = view.program
    for function in program.functions:
        if view.touches(function) and (found := _branches(function, program)) >= _BRANCHES:
            message = f"`{function.name}` answers {found} particular inputs with constants"
            yield from at(view, RULES["special-cases"], function, message)
    yield from _tables(view, program)


def is_specific(value: object) -> bool:
    """Whether a constant is too particular to be met by chance: long text, an exact fraction, a large number."""
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, str):
        return len(value) >= 16 or value.count(" ") >= 2  # noqa: PLR2004 - a phrase
    if isinstance(value, float):
        return value != round(value, 1)
    if isinstance(value, int):
        return abs(value) >= 1000  # noqa: PLR2004 - beyond sizes and codes
    return isinstance(value, tuple | bytes) and len(value) >= 3  # noqa: PLR2004


def _branches(function: FunctionNode, program: Program) -> int:
    """How many particular inputs lead straight to a constant."""
    count = 0
    for node in program.inside(function):
        if isinstance(node, ast.If) and _answers(node.body, program):
            count += sum(is_specific(value) for value in _compared(node.test, program))
        elif isinstance(node, ast.match_case) and _answers(node.body, program):
            pattern = node.pattern
            if isinstance(pattern, ast.MatchValue) and is_specific(program.constant(pattern.value)):
                count += 1
    return count


def _answers(body: list[ast.stmt], program: Program) -> bool:
    return len(body) == 1 and isinstance(body[0], ast.Return) and _plain(body[0].value, program) is not None


def _plain(node: ast.expr | None, program: Program) -> object | None:
    """The value of a literal, containers of literals included."""
    if isinstance(node, ast.Tuple | ast.List):
        values = [_plain(element, program) for element in node.elts]
        return None if any(value is None for value in values) else tuple(values)
    return program.constant(node)


def _compared(test: ast.expr, program: Program) -> Iterator[object]:
    """Constants that an input is compared with."""
    for node in ast.walk(test):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.In):
            for side in (node.left, *node.comparators):
                if (value := _plain(side, program)) is not None and not isinstance(side, ast.Name):
                    yield value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _TELLS:
            yield from (_plain(argument, program) for argument in node.args[:1])


def _tables(view: FileView, program: Program) -> Iterator[Finding]:
    hashed = any(_HASHES.fullmatch(name) for _, name in program.calls())
    collections: list[tuple[ast.Dict | ast.Set, Sequence[ast.expr | None]]] = [
        *((node, node.keys) for node in program.all(ast.Dict)),
        *((node, node.elts) for node in program.all(ast.Set)),
    ]
    for node, keys in collections:
        if not view.touches(node):
            continue
        values = [program.constant(key) for key in keys]
        if hashed and sum(isinstance(value, str) and bool(_HEX.fullmatch(value)) for value in values) >= _DIGESTS:
            yield from at(view, RULES["digest-keyed"], node, f"{len(values)} digests decide the answer")
        elif isinstance(node, ast.Dict) and _is_answer_table(node, values, program):
            yield from at(view, RULES["answer-table"], node, f"{len(values)} answers are written down")


def _is_answer_table(node: ast.Dict, keys: list[object | None], program: Program) -> bool:
    """At least six particular inputs, each with a constant, looked up by a variable somewhere in the file."""
    if sum(_is_input(key) for key in keys) < _ENTRIES:
        return False
    if sum(_plain(value, program) is not None for value in node.values) < len(keys) - 1:
        return False
    parent = program.parent(node)
    names = {target.id for target in getattr(parent, "targets", []) if isinstance(target, ast.Name)}
    for use in program.all(ast.Subscript):
        if isinstance(use.value, ast.Name) and use.value.id in names and not isinstance(use.slice, ast.Constant):
            return True
    for call, name in program.calls():
        if name.rsplit(".", 1)[0] in names and name.endswith(".get") and call.args:
            return True
    return False


def _is_input(key: object) -> bool:
    if isinstance(key, str):
        return key.count(" ") >= 3  # noqa: PLR2004 - a sentence, not a name
    return isinstance(key, float) or is_specific(key)
