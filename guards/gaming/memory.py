"""What is remembered from call to call, or from trial to trial (mechanism 10)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context, at, is_test
from guards.rule import Rule, table
from guards.source.program import FunctionNode, Program
from guards.source.roles import words
from guards.source.view import FileView

__all__ = ["RULES", "inspect"]

_PROBE = Severity.PROBE

RULES = table(
    [
        Rule(
            "EK125",
            "call-counter",
            _PROBE,
            "A function counts its calls and answers differently by the count.",
            "make the answer depend on the input alone",
            10,
        ),
        Rule(
            "EK126",
            "identity-cache",
            _PROBE,
            "Results are kept under the identity or address of an input, or the last result is handed out again.",
            "key a cache by the whole content of the input",
            10,
        ),
        Rule(
            "EK127",
            "state-between-trials",
            _PROBE,
            "Results are kept at a fixed place outside the workspace and read again.",
            "keep state in memory, or in the workspace of the trial",
            10,
        ),
    ]
)
"""By name."""

_CALLS = frozenset(
    {"call", "calls", "called", "invocation", "invocations", "count", "counter", "runs", "times", "trial", "seen"}
)
_OUTSIDE = re.compile(r"^(?:/tmp/|/var/tmp/|/dev/shm/|~/|/home/|/root/|/var/)")
_LOADS = frozenset(
    {"load", "read_text", "read_bytes", "exists", "isfile", "is_file", "loads", "connect", "open", "Memory", "Cache"}
)


def inspect(view: FileView, _context: Context) -> Iterator[Finding]:
    """Findings ``EK125`` to ``EK127`` in one Python file."""
    if not view.python or is_test(view.path):
        return
    program = view.program
    for function in program.functions:
        if view.touches(function):
            yield from _counter(view, function, program)
            yield from _identity(view, function, program)
    yield from _outside(view, program)


def _counter(view: FileView, function: FunctionNode, program: Program) -> Iterator[Finding]:
    """A counter that outlives the call decides which of several answers is returned."""
    shared = {
        name for node in program.inside(function) if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names
    }
    counted: set[str] = set()
    for node in program.inside(function):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
            key = ast.unparse(node.target)
            outlives = (isinstance(node.target, ast.Name) and key in shared) or isinstance(
                node.target, ast.Attribute | ast.Subscript
            )
            if outlives and (set(words(key)) & _CALLS or key in shared):
                counted.add(key)
    if not counted:
        return
    for node in program.inside(function):
        if not isinstance(node, ast.If | ast.IfExp) or not any(key in ast.unparse(node.test) for key in counted):
            continue
        if isinstance(node, ast.IfExp) or any(isinstance(part, ast.Return) for part in ast.walk(node)):
            yield from at(view, RULES["call-counter"], node, "the answer depends on how often the function was called")
            return


def _identity(view: FileView, function: FunctionNode, program: Program) -> Iterator[Finding]:
    for node in program.inside(function):
        key: ast.AST | None = None
        if isinstance(node, ast.Subscript):
            key = node.slice
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn | ast.Eq):
            key = node.left
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"get", "setdefault", "pop"}
        ):
            key = node.args[0] if node.args else None
        if key is not None and _is_identity(key, function, program) and _outlives(node, function, program):
            yield from at(
                view,
                RULES["identity-cache"],
                function,
                f"`{function.name}` keeps results under the identity of an input",
            )
            return


def _is_identity(key: ast.AST, function: FunctionNode, program: Program) -> bool:
    for part in ast.walk(key):
        if isinstance(part, ast.Call):
            name = program.name(part.func) or ""
            if name == "id" or (
                isinstance(part.func, ast.Attribute) and part.func.attr in {"data_ptr", "untyped_storage"}
            ):
                return True
    if isinstance(key, ast.Name):
        for node in program.inside(function):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == key.id for t in node.targets):
                return not isinstance(node.value, ast.Name) and _is_identity(node.value, function, program)
    return False


def _outlives(node: ast.AST, function: FunctionNode, program: Program) -> bool:
    """Whether the container of a lookup is older than the call: a module's, an object's or a function's own."""
    match node:
        case ast.Subscript(value=container) | ast.Call(func=ast.Attribute(value=container)):
            pass
        case ast.Compare(comparators=[container, *_]):
            pass
        case _:
            return False
    if isinstance(container, ast.Attribute):
        return True
    return isinstance(container, ast.Name) and container.id not in _own_names(function, program)


def _own_names(function: FunctionNode, program: Program) -> set[str]:
    """Parameters and variables of one call."""
    own = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs, *function.args.posonlyargs)}
    shared: set[str] = set()
    for node in program.inside(function):
        if isinstance(node, ast.Global):
            shared |= set(node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
    return own - shared


def _outside(view: FileView, program: Program) -> Iterator[Finding]:
    """A fixed path outside the workspace that the file both looks for and fills."""
    used: dict[str, list[ast.Constant]] = {}
    for node in program.all(ast.Constant):
        fixed = not isinstance(program.parent(node), ast.JoinedStr | ast.BinOp)
        if fixed and isinstance(node.value, str) and _OUTSIDE.match(node.value):
            used.setdefault(node.value, []).append(node)
    if not used:
        return
    calls = {call.func.attr if isinstance(call.func, ast.Attribute) else name for call, name in program.calls()}
    writes = bool(
        calls & {"save", "dump", "dumps", "write", "write_text", "write_bytes", "savez", "commit", "to_csv", "Memory"}
    )
    if not (writes and calls & _LOADS):
        return
    for path, nodes in used.items():
        yield from at(view, RULES["state-between-trials"], nodes[0], f"{path[:60]!r} outlives the trial")
