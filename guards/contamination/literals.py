"""What a source writes down: strings after constant folding, sequences of values, pairs of key and answer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Literals", "literals_of", "literals_of_text"]

_MOST_FOLDED = 1 << 22
_DEEPEST = 200
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.){2,})"|\'((?:[^\'\\\n]|\\.){2,})\'|`([^`]{2,})`')
_TOKEN = re.compile(r"[^\s,;|]+")
_LEAST_SEQUENCE = 5
Scalar = str | int | float | bool


@dataclass(slots=True)
class Literals:
    """What was found in one source.

    Attributes:
        texts: folded strings and bytes with the line they begin in.
        sequences: runs of values, as text, with their line.
        pairs: a string and the value that goes with it (dict items, ``if … in question: return …``), with their line.
    """

    texts: list[tuple[int, bytes]] = field(default_factory=list)
    sequences: list[tuple[int, list[str]]] = field(default_factory=list)
    pairs: list[tuple[int, str, str]] = field(default_factory=list)


def literals_of(tree: ast.AST) -> Literals:
    """Walk a syntax tree once; nothing of it is run."""
    found = Literals()
    returned: list[tuple[int, str]] = []
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        folded = _fold(node) if isinstance(node, ast.expr) else None
        if folded is not None:
            if isinstance(folded, (str, bytes)):
                raw = folded.encode("utf-8", "replace") if isinstance(folded, str) else folded
                found.texts.append((node.lineno, raw))  # type: ignore[attr-defined]
            if isinstance(node, ast.Constant):
                continue
        _collect(node, found, returned)
        if folded is None or not isinstance(folded, (str, bytes)):
            stack.extend(ast.iter_child_nodes(node))
    if len(returned) >= _LEAST_SEQUENCE:
        returned.sort()
        found.sequences.append((returned[0][0], [value for _, value in returned]))
    return found


def literals_of_text(text: str) -> Literals:
    """The same from any other language, or from a file that can't be parsed: quoted strings and runs of numbers."""
    found = Literals()
    for number, line in enumerate(text.split("\n"), 1):
        quoted = [next(filter(None, groups)) for groups in _QUOTED.findall(line)]
        found.texts += [(number, one.encode("utf-8", "replace")) for one in quoted]
        values = _NUMBER.findall(line)
        if len(values) >= _LEAST_SEQUENCE:
            found.sequences.append((number, [value.replace(",", "") for value in values]))
        if len(quoted) == 2:  # noqa: PLR2004 - a key and a value
            found.pairs.append((number, quoted[0], quoted[1]))
    return found


def split_values(text: str) -> list[str]:
    """The values of ``"12 7 x"``, ``"12,7,x"`` or a JSON list."""
    return [token.strip("\"'[](){}") for token in _TOKEN.findall(text)]


def _as_text(value: object) -> str | None:
    if isinstance(value, (bool, int, float, str)):
        return str(value)
    return None


def _constant(node: ast.AST | None) -> str | None:
    """A scalar literal as text."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        inner = _as_text(node.operand.value)
        return f"-{inner}" if inner is not None else None
    return _as_text(node.value) if isinstance(node, ast.Constant) else None


def _collect(node: ast.AST, found: Literals, returned: list[tuple[int, str]]) -> None:
    match node:
        case ast.List() | ast.Tuple() | ast.Set():
            found.sequences += _columns(node.lineno, node.elts)
        case ast.Dict():
            found.sequences += _columns(node.lineno, node.values)
            found.sequences += _columns(node.lineno, [key for key in node.keys if key is not None])
            for key, value in zip(node.keys, node.values, strict=True):
                _pair(found, key, value)
        case ast.Return():
            if (returning := _constant(node.value)) is not None:
                returned.append((node.lineno, returning))
        case ast.If():
            _branch(found, node.test, node.body[0], returned)
        case ast.IfExp():
            _branch(found, node.test, node.body, returned)
        case ast.match_case(pattern=ast.MatchValue() as pattern):
            _branch(found, pattern.value, node.body[0], returned)


def _branch(found: Literals, test: ast.expr, body: ast.AST, returned: list[tuple[int, str]]) -> None:
    """``if "…" in question: return 7``, ``answer = 7`` and their like."""
    result = body.value if isinstance(body, (ast.Return, ast.Assign, ast.Expr)) else body
    for key in ast.walk(test):
        if isinstance(key, ast.Constant):
            _pair(found, key, result)
    if isinstance(body, ast.Assign) and (value := _constant(body.value)) is not None:
        returned.append((body.lineno, value))


def _pair(found: Literals, key: ast.AST | None, value: ast.AST | None) -> None:
    if isinstance(key, ast.Constant) and isinstance(key.value, str) and (text := _constant(value)) is not None:
        found.pairs.append((key.lineno, key.value, text))


def _columns(line: int, nodes: Sequence[ast.expr]) -> Iterator[tuple[int, list[str]]]:
    """The scalars of a display, or each column of a display of equal tuples."""
    if len(nodes) < _LEAST_SEQUENCE:
        return
    flat = [value for value in map(_constant, nodes) if value is not None]
    if len(flat) * 2 > len(nodes):
        yield line, flat
        return
    rows = [node.elts for node in nodes if isinstance(node, (ast.Tuple, ast.List))]
    if rows and len({len(row) for row in rows}) == 1:
        for column in zip(*rows, strict=True):
            values = [value for value in map(_constant, column) if value is not None]
            if len(values) >= _LEAST_SEQUENCE:
                yield line, values


def _fold(node: ast.AST, depth: int = 0) -> str | bytes | None:
    """The value of an expression that is made of constants only; None where it is not, or where it is too large."""
    if depth > _DEEPEST:
        return None
    value = _folded(node, depth)
    return value if value is None or len(value) <= _MOST_FOLDED else None


def _folded(node: ast.AST, depth: int) -> str | bytes | None:  # noqa: PLR0911 - one return a kind of node
    match node:
        case ast.Constant(value=str() | bytes() as value):
            return value
        case ast.BinOp(op=ast.Add()):
            return _fold_sum(node)
        case ast.JoinedStr():
            return "".join(
                v.value if isinstance(v, ast.Constant) and isinstance(v.value, str) else "\x00" for v in node.values
            )
        case ast.Subscript(slice=ast.Slice(lower=None, upper=None, step=ast.UnaryOp(op=ast.USub()))):
            inner = _fold(node.value, depth + 1)
            return inner[::-1] if inner is not None else None
        case ast.Call():
            return _fold_call(node, depth)
        case ast.List() | ast.Tuple():
            return _byte_values(node.elts)
    return None


def _fold_sum(node: ast.BinOp) -> str | bytes | None:
    """``a + b + c …``, however long."""
    terms: list[ast.expr] = []
    inner: ast.expr = node
    while isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Add):
        terms.append(inner.right)
        inner = inner.left
    terms.append(inner)
    values = [_fold(term, 1) for term in reversed(terms)]
    if all(isinstance(value, str) for value in values):
        return "".join(value for value in values if isinstance(value, str))
    if all(isinstance(value, bytes) for value in values):
        return b"".join(value for value in values if isinstance(value, bytes))
    return None


def _fold_call(node: ast.Call, depth: int) -> str | bytes | None:
    """``"".join([...])``, ``bytes([...])``, ``bytes.fromhex("…")`` and ``"".join(map(chr, [...]))``."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    argument = node.args[0] if node.args else None
    if name == "join" and isinstance(node.func, ast.Attribute):
        return _fold_join(_fold(node.func.value, depth + 1), argument, depth)
    if name in {"bytes", "bytearray"} and isinstance(argument, (ast.List, ast.Tuple)):
        return _byte_values(argument.elts)
    if name == "fromhex" and isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        try:
            return bytes.fromhex(argument.value)
        except ValueError:
            return None
    return None


def _fold_join(glue: str | bytes | None, argument: ast.AST | None, depth: int) -> str | bytes | None:
    if isinstance(argument, ast.Call) and argument.args and isinstance(argument.args[-1], (ast.List, ast.Tuple)):
        return _byte_values(argument.args[-1].elts)
    if isinstance(argument, (ast.GeneratorExp, ast.ListComp)) and isinstance(
        argument.generators[0].iter, (ast.List, ast.Tuple)
    ):
        return _byte_values(argument.generators[0].iter.elts)
    if not isinstance(argument, (ast.List, ast.Tuple)):
        return None
    values = [_fold(element, depth + 1) for element in argument.elts]
    if isinstance(glue, str) and all(isinstance(value, str) for value in values):
        return glue.join(value for value in values if isinstance(value, str))
    if isinstance(glue, bytes) and all(isinstance(value, bytes) for value in values):
        return glue.join(value for value in values if isinstance(value, bytes))
    return None


def _byte_values(nodes: Sequence[ast.expr]) -> bytes | None:
    """A display of at least 24 whole numbers from 0 to 255, as bytes."""
    if len(nodes) < 24:  # noqa: PLR2004 - letters of a window
        return None
    values = [node.value for node in nodes if isinstance(node, ast.Constant) and type(node.value) is int]
    if len(values) != len(nodes) or not all(0 <= value < 256 for value in values):  # noqa: PLR2004
        return None
    return bytes(values)
