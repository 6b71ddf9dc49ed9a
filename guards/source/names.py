"""Which dotted name an expression stands for, aliases followed, without running anything.

Followed: ``import a.b as c``, ``from a import b``, ``x = a.b``, ``getattr(a, "b" + "c")``, ``__import__("a")``,
``importlib.import_module("a")``, ``sys.modules["a"]``, ``globals()["x"]``, ``vars(a)["b"]``, ``a.__dict__["b"]``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable

__all__ = ["Names", "fold"]

_MAX_DEPTH = 40


def fold(  # noqa: PLR0911 - one return a kind of node
    node: ast.AST | None, constants: dict[str, object] | None = None, depth: int = 0
) -> object | None:
    """The value of a constant expression of strings, bytes and numbers; None where it is none.

    Concatenation, ``str.join``, ``chr``, reversal by slice, f-strings of constants and names bound to constants are
    followed.
    """
    if node is None or depth > _MAX_DEPTH:
        return None
    known = constants or {}
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return known.get(name)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            one, two = fold(left, known, depth + 1), fold(right, known, depth + 1)
            return _add(one, two)
        case ast.JoinedStr(values=values):
            parts = [fold(v.value if isinstance(v, ast.FormattedValue) else v, known, depth + 1) for v in values]
            return "".join(str(p) for p in parts) if all(p is not None for p in parts) else None
        case ast.Call():
            return _fold_call(node, known, depth)
        case ast.Subscript(value=value, slice=ast.Slice(lower=None, upper=None, step=ast.UnaryOp(op=ast.USub()))):
            text = fold(value, known, depth + 1)
            return text[::-1] if isinstance(text, str) else None
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    return None


def _add(one: object, two: object) -> object | None:
    if isinstance(one, str) and isinstance(two, str):
        return one + two
    if isinstance(one, bytes) and isinstance(two, bytes):
        return one + two
    return None


def _fold_call(node: ast.Call, known: dict[str, object], depth: int) -> object | None:
    match node:
        case ast.Call(func=ast.Attribute(value=glue, attr="join"), args=[ast.List(elts=elts) | ast.Tuple(elts=elts)]):
            between = fold(glue, known, depth + 1)
            parts = [fold(e, known, depth + 1) for e in elts]
            if isinstance(between, str) and all(isinstance(p, str) for p in parts):
                return between.join(str(p) for p in parts)
        case ast.Call(func=ast.Name(id="chr"), args=[ast.Constant(value=int() as code)]) if 0 <= code <= sys.maxunicode:
            return chr(code)
        case ast.Call(func=ast.Name(id="str"), args=[inner]):
            return fold(inner, known, depth + 1)
    return None


class Names:
    """What the names of one file stand for.

    Args:
        nodes: every node of the file, as :func:`ast.walk` gives them.
    """

    def __init__(self, nodes: Iterable[ast.AST]) -> None:
        self._alias: dict[str, str] = {}
        self._bound: dict[str, ast.expr] = {}
        self.constants: dict[str, object] = {}
        self._cache: dict[int, str | None] = {}
        self._open: set[int] = set()
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._bind(node.targets[0].id, node.value)
            elif isinstance(node, ast.NamedExpr):
                self._bind(node.target.id, node.value)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for item in node.names:
                top = item.name.split(".")[0]
                self._alias[item.asname or top] = item.name if item.asname else top
            return
        base = "." * node.level + (node.module or "")
        for item in node.names:
            self._alias[item.asname or item.name] = f"{base}.{item.name}"

    def _bind(self, name: str, value: ast.expr) -> None:
        if (constant := fold(value, self.constants)) is not None:
            self.constants[name] = constant
        elif isinstance(value, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            self._bound.setdefault(name, value)

    def of(self, node: ast.AST | None, depth: int = 0) -> str | None:
        """The dotted name, such as ``time.perf_counter``; None where the expression is not a name."""
        if node is None or depth > _MAX_DEPTH:
            return None
        key = id(node)
        if key in self._cache:
            return self._cache[key]
        if key in self._open:
            return None
        self._open.add(key)
        found = self._resolve(node, depth)
        self._open.discard(key)
        self._cache[key] = found
        return found

    def _resolve(self, node: ast.AST, depth: int) -> str | None:
        match node:
            case ast.Name(id=name):
                return self._name(name, depth)
            case ast.Attribute(value=value, attr=attr):
                base = self.of(value, depth + 1)
                if base in {"sys.modules", "builtins"} and attr == "__dict__":
                    return base
                return None if base is None else f"{base}.{attr}"
            case ast.Call():
                return self._call(node, depth)
            case ast.Subscript(value=value, slice=index):
                return self._subscript(value, index, depth)
        return None

    def _name(self, name: str, depth: int) -> str | None:
        if name in self._alias:
            return self._alias[name]
        if name in self._bound:
            target = self.of(self._bound[name], depth + 1)
            bound = self._bound[name]
            if target is not None and not (isinstance(bound, ast.Call) and not self._is_lookup(bound)):
                return target
        return name

    def _is_lookup(self, call: ast.Call) -> bool:
        """Whether a call only fetches an object by its name."""
        return self.of(call.func) in {"getattr", "__import__", "importlib.import_module", "builtins.__import__"}

    def _call(self, node: ast.Call, depth: int) -> str | None:
        function = self.of(node.func, depth + 1)
        if function in {"getattr", "builtins.getattr"} and len(node.args) >= 2:  # noqa: PLR2004
            base, attr = self.of(node.args[0], depth + 1), fold(node.args[1], self.constants)
            return f"{base}.{attr}" if base is not None and isinstance(attr, str) else None
        if function in {"__import__", "builtins.__import__", "importlib.import_module"} and node.args:
            module = fold(node.args[0], self.constants)
            if not isinstance(module, str):
                return None
            top_only = not function.startswith("importlib") and len(node.args) + len(node.keywords) < 4  # noqa: PLR2004
            return module.split(".")[0] if top_only else module
        if function in {"globals", "locals"} and not node.args:
            return "globals()"
        if function == "vars" and len(node.args) == 1:
            return self.of(node.args[0], depth + 1)
        return None if function is None else f"{function}()"

    def _subscript(self, value: ast.expr, index: ast.expr, depth: int) -> str | None:
        base, key = self.of(value, depth + 1), fold(index, self.constants)
        if base is None or not isinstance(key, str):
            return None if base is None else f"{base}[]"
        if base == "sys.modules":
            return key
        if base in {"globals()", "builtins", "__builtins__"}:
            return self._name(key, depth + 1)
        if isinstance(value, ast.Call) and self.of(value.func) == "vars":
            return f"{base}.{key}"
        return f"{base.removesuffix('.__dict__')}.{key}" if base.endswith(".__dict__") else f"{base}[]"
