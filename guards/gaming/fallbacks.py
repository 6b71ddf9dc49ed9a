"""Errors that are swallowed, work that is not done, precision that is given up (mechanisms 13 and 14)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context, at, is_test
from guards.rule import Rule, table
from guards.source.program import FunctionNode, Program
from guards.source.roles import Role, role_of, words
from guards.source.view import FileView

__all__ = ["RULES", "inspect"]

_PROBE, _NOTE = Severity.PROBE, Severity.NOTE

RULES = table(
    [
        Rule(
            "EK135",
            "error-swallowed",
            _NOTE,
            "Any error is caught and dropped.",
            "catch the error that is expected, and let others end the run",
            13,
        ),
        Rule(
            "EK136",
            "silent-fallback",
            _PROBE,
            "When the new code fails in any way, the old way or a constant takes its place without a word.",
            "let the failure be seen",
            13,
        ),
        Rule(
            "EK137",
            "does-nothing",
            _PROBE,
            "A function that should compute returns a constant, an unfilled buffer or its parent's result.",
            "compute the result",
            14,
        ),
        Rule(
            "EK138",
            "input-destroyed",
            _PROBE,
            "An input is overwritten, so that whatever it is compared with changes too.",
            "work on a copy",
            14,
        ),
        Rule(
            "EK139",
            "precision-lowered",
            _PROBE,
            "An input is cast to lower precision before anything is computed with it.",
            "compute in the precision that was asked for",
            14,
        ),
        Rule(
            "EK140",
            "less-evaluated",
            _PROBE,
            "Less is evaluated than before: a smaller count, a slice or an early break in an evaluation.",
            "evaluate every case; the scorer should own the iterator",
            14,
        ),
    ]
)
"""By name."""

_LIBRARY = re.compile(r"(?:torch|numpy|jax|scipy|sklearn|cupy|tensorflow|mlx)\.")
_SPOKEN = frozenset(
    {"print", "warn", "warning", "error", "exception", "info", "debug", "log", "critical", "print_exc", "write"}
)
_EMPTY = frozenset({"empty", "zeros", "ones", "empty_like", "zeros_like", "ones_like", "full", "full_like"})
_COMPUTES = frozenset({"forward", "__call__", "apply", "run", "solve", "kernel", "compute", "call"})
_LOW = re.compile(r"(?:torch|numpy|jax\.numpy|mlx\.core)\.(?:float16|half|bfloat16|float8\w*|int8|int4)")
_HELD = frozenset({"eval", "val", "valid", "validation", "test", "evaluation", "holdout"})
_COUNTS = frozenset(
    {"batches", "tokens", "steps", "iters", "samples", "size", "cases", "examples", "limit", "items", "docs"}
)


def inspect(view: FileView, _context: Context) -> Iterator[Finding]:
    """Findings ``EK135`` to ``EK140`` in one Python file."""
    if not view.python or is_test(view.path):
        return
    program = view.program
    yield from _handlers(view, program)
    for function in program.functions:
        if view.touches(function):
            yield from _idle(view, function, program)
            yield from _inputs(view, function, program)
            yield from _shortened(view, function, program)
    yield from _lowered_counts(view, program)


# -- errors


def _handlers(view: FileView, program: Program) -> Iterator[Finding]:
    for node in program.all(ast.Try):
        for handler in node.handlers:
            if not _is_broad(handler, program) or _raises(handler) or not view.touches(node):
                continue
            if _falls_back(node, handler, program):
                yield from at(view, RULES["silent-fallback"], node, "any failure is hidden by a fallback")
            elif all(isinstance(part, ast.Pass | ast.Continue) for part in handler.body):
                yield from at(view, RULES["error-swallowed"], handler, "any error is dropped")


def _is_broad(handler: ast.ExceptHandler, program: Program) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or program.name(kind) in {"Exception", "BaseException"} for kind in kinds)


def _raises(handler: ast.ExceptHandler) -> bool:
    for node in ast.walk(handler):
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Call):
            func = node.func
            name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
            if name in _SPOKEN or name.startswith("log"):
                return True
    return False


def _falls_back(node: ast.Try, handler: ast.ExceptHandler, program: Program) -> bool:
    """Whether the handler gives the same result another way: by a library, or by a constant score."""
    tried = [call for part in node.body for call in ast.walk(part) if isinstance(call, ast.Call)]
    own = any(not _LIBRARY.match(program.name(call.func) or "torch.") for call in tried)
    if not own:
        return False
    given = _results(handler.body)
    same = given & _results(node.body)
    for part in handler.body:
        for call in ast.walk(part):
            if isinstance(call, ast.Call) and same and _LIBRARY.match(program.name(call.func) or ""):
                return True
    constant = any(
        isinstance(part, ast.Return | ast.Assign)
        and isinstance(part.value, ast.Constant)
        and _is_score(part.value.value)
        for part in handler.body
    )
    return constant and bool(same)


def _is_score(value: object) -> bool:
    return isinstance(value, float) or value is True


def _results(body: list[ast.stmt]) -> set[str]:
    """Names that statements assign; ``return`` counts as one."""
    found: set[str] = set()
    for part in body:
        if isinstance(part, ast.Return):
            found.add("return")
        elif isinstance(part, ast.Assign):
            found |= {ast.unparse(target) for target in part.targets}
    return found


# -- work


def _idle(view: FileView, function: FunctionNode, program: Program) -> Iterator[Finding]:
    body = [s for s in function.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    owner = program.parent(function)
    if isinstance(owner, ast.ClassDef) and function.name in _COMPUTES and all(isinstance(s, ast.Pass) for s in body):
        bases = {(program.name(base) or "").rsplit(".", 1)[-1] for base in owner.bases}
        if bases - {"ABC", "Protocol", "Module", "object", "Function", "Callback"} and not function.decorator_list:
            yield from at(view, RULES["does-nothing"], function, f"`{owner.name}.{function.name}` does nothing")
    if len(body) == 1 and isinstance(body[0], ast.Return) and isinstance(body[0].value, ast.Call):
        call = body[0].value
        name = (program.name(call.func) or "").rsplit(".", 1)[-1]
        if name in _EMPTY and _only_shapes(call, function) and _LIBRARY.match(program.name(call.func) or ""):
            yield from at(view, RULES["does-nothing"], function, f"`{function.name}` returns an unfilled buffer")


def _only_shapes(call: ast.Call, function: FunctionNode) -> bool:
    """Whether parameters are used, and only for their shape or type."""
    params = {argument.arg for argument in function.args.args} - {"self", "cls"}
    used = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)} & params
    like = isinstance(call.func, ast.Attribute) and call.func.attr.endswith("_like")
    shaped = any(isinstance(node, ast.Attribute) and node.attr in {"shape", "size"} for node in ast.walk(call))
    return bool(used) and (like or shaped)


def _inputs(view: FileView, function: FunctionNode, program: Program) -> Iterator[Finding]:
    params = {argument.arg for argument in function.args.args} - {"self", "cls"}
    for node in program.inside(function):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="zero_")):
                returns = any(
                    isinstance(part, ast.Return) and part.value is not None for part in program.inside(function)
                )
                if name in params and returns and not set(words(name)) & {"grad", "out", "buffer", "buf", "state"}:
                    yield from at(view, RULES["input-destroyed"], node, f"the input `{name}` is overwritten")
            case ast.Assign() if _lowers(node, params, program):
                yield from at(view, RULES["precision-lowered"], node, "an input is cast to lower precision")


def _lowers(node: ast.Assign, params: set[str], program: Program) -> bool:
    match node:
        case ast.Assign(
            targets=[ast.Name(id=name)],
            value=ast.Call(func=ast.Attribute(value=ast.Name(id=source), attr=method)) as call,
        ) if name == source and name in params:
            if method in {"half", "bfloat16"}:
                return True
            return method in {"to", "astype", "type"} and any(_LOW.fullmatch(program.name(a) or "") for a in call.args)
    return False


def _shortened(view: FileView, function: FunctionNode, program: Program) -> Iterator[Finding]:
    """An evaluation that stops early or looks at the first part only."""
    if not set(words(function.name)) & {"evaluate", "eval", "validate", "validation", "score", "test"}:
        return
    for node in program.inside(function):
        if isinstance(node, ast.If) and len(node.body) == 1 and isinstance(node.body[0], ast.Break):
            if any(isinstance(part, ast.Constant) and isinstance(part.value, int) for part in ast.walk(node.test)):
                yield from at(view, RULES["less-evaluated"], node, "the evaluation stops early")
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            upper, name = node.slice.upper, ast.unparse(node.value).rsplit(".", 1)[-1]
            if (
                isinstance(upper, ast.Constant)
                and upper.value
                and node.slice.lower is None
                and role_of(name) & Role.HELD_OUT
            ):
                yield from at(view, RULES["less-evaluated"], node, "only the first part is evaluated")


def _lowered_counts(view: FileView, program: Program) -> Iterator[Finding]:
    """A number that says how much is evaluated, and is smaller than before."""
    if view.old is None and not view.hunks:
        return
    after = [a for a in program.all(ast.Assign) if view.touches(a) and _count_name(a)]
    if not after:
        return
    before = {_count_name(a): _number(a.value) for a in view.before.all(ast.Assign) if _count_name(a)}
    for assign in after:
        old, new = before.get(_count_name(assign)), _number(assign.value)
        if old is not None and new is not None and new < old:
            yield from at(
                view, RULES["less-evaluated"], assign, f"`{_count_name(assign)}` falls from {old:g} to {new:g}"
            )


def _count_name(assign: ast.Assign) -> str:
    target = assign.targets[0]
    name = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
    have = set(words(name))
    return name if have & _HELD and have & _COUNTS and "batch" not in have - {"batches"} else ""


def _number(node: ast.expr) -> float | None:
    """The value of simple arithmetic of constants, the first number of a call such as ``int(get("N", 20))``."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            one, two = _number(left), _number(right)
            return None if one is None or two is None else one * two
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            one, two = _number(left), _number(right)
            return None if one is None or two is None or abs(two) > 64 else one**two  # noqa: PLR2004
        case ast.Call(args=[*_, last]):
            return _number(last)
    return None
