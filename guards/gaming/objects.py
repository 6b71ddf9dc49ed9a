"""Objects that lie about themselves, patched checks, and looking into the caller (mechanisms 5 and 6)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context, at, is_test
from guards.rule import Rule, table
from guards.source.program import FunctionNode, Program
from guards.source.view import FileView

__all__ = ["RULES", "inspect"]

_BLOCK, _PROBE, _NOTE = Severity.BLOCK, Severity.PROBE, Severity.NOTE

RULES = table(
    [
        Rule(
            "EK110",
            "always-equal",
            _BLOCK,
            "A comparison answers the same whatever it is compared with.",
            "compare what the objects hold",
            5,
        ),
        Rule(
            "EK111",
            "type-confusion",
            _PROBE,
            "A number, string or tensor type is subclassed so that it behaves differently when it is checked.",
            "return plain values",
            5,
        ),
        Rule(
            "EK112",
            "check-patched",
            _BLOCK,
            "A function that checks, compares, reads or reports results is replaced.",
            "leave builtins, comparison and test functions alone",
            5,
        ),
        Rule(
            "EK113",
            "library-patched",
            _PROBE,
            "A function of another package is replaced at run time.",
            "call a function of your own",
            5,
        ),
        Rule(
            "EK114",
            "frame-access",
            _PROBE,
            "A caller's variables are reached through its frame, or objects are searched through the collector.",
            "pass values as arguments",
            6,
        ),
        Rule(
            "EK115",
            "memory-access",
            _PROBE,
            "The memory, files or environment of a process are read through the operating system.",
            "pass values as arguments",
            6,
        ),
    ]
)
"""By name."""

_COMPARES = frozenset({"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__contains__", "__bool__"})
_ARITHMETIC = frozenset(
    {"__sub__", "__rsub__", "__abs__", "__float__", "__array__", "__truediv__", "__round__", "__format__"}
)
_DISPATCH = frozenset({"__array_ufunc__", "__array_function__", "__torch_function__", "__torch_dispatch__"})
_PLAIN = frozenset(
    {"float", "int", "str", "bytes", "complex", "list", "dict", "tuple", "numpy.ndarray", "numpy.float64"}
    | {"torch.Tensor", "decimal.Decimal", "fractions.Fraction", "collections.UserDict", "bool"}
)
_CHECKS = re.compile(
    r"(?:numpy|np|torch|jax\.numpy)\.(?:allclose|isclose|array_equal|equal|testing\.\w+|assert_\w+)"
    r"|math\.isclose|builtins\.\w+|__builtins__\.\w+|operator\.(?:eq|ne|lt|le|gt|ge)"
    r"|json\.(?:dumps?|loads?)|(?:_?pytest|unittest)\.[\w.]+|hashlib\.\w+|hmac\.compare_digest"
    r"|difflib\.\w+(?:\.\w+)*|sklearn\.metrics\.[\w.]+"
)
_FRAME_DICTS = frozenset({"f_locals", "f_globals", "f_builtins"})
_FRAMES = frozenset({"f_back", "tb_frame", "gi_frame", "cr_frame"})
_PROC_PATH = re.compile(
    r"/proc/(?:\d+|self|thread-self)/(?:maps|mem|environ|fd|root|cwd|cmdline|exe|task|map_files|smaps)\b.*|/proc/kcore"
)


def inspect(view: FileView, _context: Context) -> Iterator[Finding]:
    """Findings ``EK110`` to ``EK115`` in one Python file."""
    if not view.python or is_test(view.path):
        return
    program = view.program
    yield from _classes(view, program)
    yield from _patched(view, program)
    yield from _frames(view, program)
    yield from _memory(view, program)


def _classes(view: FileView, program: Program) -> Iterator[Finding]:
    for node in program.all(ast.ClassDef):
        bases = {program.name(base) or "" for base in node.bases}
        for method in node.body:
            if not isinstance(method, ast.FunctionDef):
                continue
            if method.name in _COMPARES - {"__bool__"} and _constant_answer(method):
                yield from at(
                    view, RULES["always-equal"], method, f"`{node.name}.{method.name}` always answers the same"
                )
            elif bases & _PLAIN and method.name in _COMPARES | _ARITHMETIC | _DISPATCH:
                yield from at(view, RULES["type-confusion"], method, f"`{node.name}` changes how a plain type behaves")
    for assign in program.writes():
        last = assign.name.rsplit(".", 1)[-1]
        if last in _COMPARES and isinstance(assign.value, ast.Lambda) and isinstance(assign.value.body, ast.Constant):
            yield from at(view, RULES["always-equal"], assign.node, f"`{assign.name}` always answers the same")
    for call, name in program.calls():
        if name.endswith(("._make_subclass", "._make_wrapper_subclass")):
            yield from at(view, RULES["type-confusion"], call, "a tensor stands for another")


def _constant_answer(method: ast.FunctionDef) -> bool:
    body = [s for s in method.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    if len(body) != 1 or not isinstance(body[0], ast.Return):
        return False
    value = body[0].value
    wanted = {False} if method.name == "__ne__" else {True}
    return isinstance(value, ast.Constant) and isinstance(value.value, bool) and value.value in wanted


def _patched(view: FileView, program: Program) -> Iterator[Finding]:
    local = {function.name for function in program.functions} | {node.name for node in program.all(ast.ClassDef)}
    imported = program.imported
    for write in program.writes():
        if _CHECKS.fullmatch(write.name):
            yield from at(view, RULES["check-patched"], write.node, f"`{write.name}` is replaced")
            continue
        callable_ = isinstance(write.value, ast.Lambda) or (
            isinstance(write.value, ast.Name) and write.value.id in local
        )
        if callable_ and "." in write.name and write.name.split(".", 1)[0] in imported:
            yield from at(view, RULES["library-patched"], write.node, f"`{write.name}` is replaced")


def _frames(view: FileView, program: Program) -> Iterator[Finding]:
    holders = _frame_holders(program)
    storing = {function.name: _stored_parameters(function, program) for function in program.functions}
    for node in program.all(ast.Subscript):
        if _is_frame_dict(node.value, holders):
            writes = isinstance(node.ctx, ast.Store | ast.Del)
            what = "changed" if writes else "read"
            severity = _BLOCK if writes else None
            yield from at(view, RULES["frame-access"], node, f"a caller's variable is {what}", severity)
    for call, name in program.calls():
        if isinstance(call.func, ast.Attribute) and _is_frame_dict(call.func.value, holders):
            severity = _BLOCK if call.func.attr in {"update", "setdefault", "pop", "__setitem__", "clear"} else None
            if severity or call.func.attr in {"get", "items", "values", "keys", "copy"}:
                yield from at(view, RULES["frame-access"], call, "a caller's variables are used", severity)
        elif name in {"gc.get_objects", "gc.get_referrers", "gc.get_referents"}:
            yield from at(view, RULES["frame-access"], call, "objects are searched through the collector")
        for position, argument in enumerate(call.args):
            if _is_frame_dict(argument, holders) and position in storing.get(name, ()):
                yield from at(view, RULES["frame-access"], call, "a caller's variables are changed", _BLOCK)
    yield from _walks(view, program)


def _walks(view: FileView, program: Program) -> Iterator[Finding]:
    for node in program.all(ast.Attribute):
        if node.attr in _FRAMES:
            yield from at(view, RULES["frame-access"], node, "the stack of callers is walked", _NOTE)
            return


def _frame_holders(program: Program) -> set[str]:
    """Names that hold a frame's variables."""
    holders: set[str] = set()
    for assign in program.all(ast.Assign):
        if isinstance(assign.value, ast.Attribute) and assign.value.attr in _FRAME_DICTS:
            holders |= {target.id for target in assign.targets if isinstance(target, ast.Name)}
    return holders


def _is_frame_dict(node: ast.expr, holders: set[str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in _FRAME_DICTS
    return isinstance(node, ast.Name) and node.id in holders


def _stored_parameters(function: FunctionNode, program: Program) -> set[int]:
    """Positions of parameters that a function assigns into."""
    stored = {
        node.value.id
        for node in program.inside(function)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name)
    }
    return {at for at, argument in enumerate(function.args.args) if argument.arg in stored}


def _memory(view: FileView, program: Program) -> Iterator[Finding]:
    for node in program.all(ast.Constant):
        text = node.value
        if not isinstance(text, str) or not text.startswith("/proc/"):
            continue
        if _PROC_PATH.fullmatch(text) or (
            text == "/proc/" and isinstance(program.parent(node), ast.JoinedStr | ast.BinOp)
        ):
            yield from at(view, RULES["memory-access"], node, "another process, or this one's memory, is read")
    for call, name in program.calls():
        if name in {"ctypes.string_at", "ctypes.memmove", "ctypes.from_address"} or name.endswith(".from_address"):
            yield from at(view, RULES["memory-access"], call, "memory is read or written by its address")
        elif name.endswith(("ptrace", "process_vm_readv", "PyObject_SetAttr")) or name.startswith("ctypes.pythonapi."):
            yield from at(view, RULES["memory-access"], call, "the interpreter or a process is changed from below")
