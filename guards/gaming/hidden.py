"""Code that is built at run time, and text that hides what it does (mechanism 22)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context, at, is_test
from guards.rule import Rule, table
from guards.source.program import Program
from guards.source.unpack import unpacked
from guards.source.view import FileView

__all__ = ["RULES", "inspect"]

_PROBE, _NOTE = Severity.PROBE, Severity.NOTE

RULES = table(
    [
        Rule(
            "EK160",
            "runs-what-it-builds",
            _PROBE,
            "Source or code objects are built at run time and run.",
            "write the code out",
            22,
        ),
        Rule(
            "EK161",
            "packed-source",
            _NOTE,
            "A program unpacks itself; the unpacked source was inspected instead.",
            "submit the source itself where size does not count",
            22,
        ),
        Rule(
            "EK162",
            "hidden-name",
            _PROBE,
            "A module or attribute is named by pieces that are put together at run time.",
            "write the name out",
            22,
        ),
        Rule(
            "EK163",
            "not-analysed",
            _NOTE,
            "A source file does not parse, or is too large to analyse.",
            "make it parse; static rules saw only parts of it",
            22,
        ),
    ]
)
"""By name."""

_BUILDERS = frozenset(
    {"join", "chr", "decode", "format", "fromhex", "b64decode", "b85decode", "unhexlify", "replace", "translate"}
)


def inspect(view: FileView, _context: Context) -> Iterator[Finding]:
    """Findings ``EK160`` to ``EK163`` in one Python file."""
    if not view.python:
        return
    program = view.program
    if program.parsed.error and view.whole:
        yield from at(view, RULES["not-analysed"], 1, f"not analysed as a whole: {program.parsed.error}")
    if is_test(view.path):
        return
    opened = set()
    for call, text in unpacked(program):
        opened.add(id(call))
        if text is None:
            yield from at(view, RULES["runs-what-it-builds"], call, "code is run that can't be told without running it")
        else:
            yield from at(view, RULES["packed-source"], call, f"{len(text):,} characters of source were unpacked")
    yield from _built(view, program, opened)
    yield from _names(view, program)


def _built(view: FileView, program: Program, opened: set[int]) -> Iterator[Finding]:
    for call, name in program.calls():
        plain = name.removeprefix("builtins.")
        if plain in {"exec", "eval"} and call.args and id(call) not in opened:
            if isinstance(call.args[0], ast.Constant):
                continue
            made = _is_built(call.args[0], program) or isinstance(program.constant(call.args[0]), str)
            what = "source is put together and run" if made else "source that is not in the file is run"
            yield from at(view, RULES["runs-what-it-builds"], call, what, None if made else _NOTE)
        elif name in {"marshal.loads", "types.CodeType", "types.FunctionType", "ctypes.CDLL"} and name != "ctypes.CDLL":
            yield from at(view, RULES["runs-what-it-builds"], call, f"`{name}` makes code at run time")
    for write in program.writes():
        if write.name.endswith((".__code__", ".__closure__", ".__defaults__", ".__globals__")):
            yield from at(view, RULES["runs-what-it-builds"], write.node, f"`{write.name}` is replaced")


def _is_built(node: ast.expr, program: Program) -> bool:
    """Whether source is put together from pieces, rather than read from somewhere."""
    names = {
        part.func.attr if isinstance(part.func, ast.Attribute) else (program.name(part.func) or "")
        for part in ast.walk(node)
        if isinstance(part, ast.Call)
    }
    if names & {"open", "read", "read_text"}:
        return False
    added = any(isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add) for part in ast.walk(node))
    return added or bool(names & _BUILDERS)


def _names(view: FileView, program: Program) -> Iterator[Finding]:
    for call, name in program.calls():
        plain = name.removeprefix("builtins.")
        if plain in {"getattr", "setattr", "__import__", "importlib.import_module"} and call.args:
            position = 0 if "import" in plain else 1
            named = call.args[position] if len(call.args) > position else None
            if named is not None and not isinstance(named, ast.Constant | ast.Name) and _is_assembled(named):
                yield from at(view, RULES["hidden-name"], call, "a name is put together from pieces")


def _is_assembled(node: ast.expr) -> bool:
    """Concatenated literals, characters by their codes, or a reversed literal."""
    match node:
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            pieces = [p for p in (left, right) if isinstance(p, ast.Constant) or _is_assembled(p)]
            return len(pieces) == 2  # noqa: PLR2004
        case ast.Call(func=ast.Name(id="chr")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join" | "replace" | "translate")):
            return True
        case ast.Subscript(value=ast.Constant()):
            return True
        case ast.Call(func=ast.Attribute(attr="decode" | "fromhex" | "b64decode")):
            return True
    return False
