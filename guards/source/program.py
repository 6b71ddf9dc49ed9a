"""One Python file as guards look at it: its tree, walked once and sorted by kind of node."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from guards.source.fragments import Parsed
from guards.source.names import Names, fold

__all__ = ["Program", "Write"]

_Node = TypeVar("_Node", bound=ast.AST)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Write:
    """Something that is assigned by its dotted name.

    Attributes:
        name: such as ``time.time`` or ``sys.modules[]``.
        node: for the place.
        value: what is assigned, where there is an expression for it.
    """

    name: str
    node: ast.stmt | ast.expr
    value: ast.expr | None


@dataclass(slots=True)
class Program:
    """A parsed file.

    Attributes:
        parsed: the tree and whether the source parses as it stands.
        names: what names stand for.
    """

    parsed: Parsed
    names: Names = field(init=False)
    _kinds: dict[type[ast.AST], list[ast.AST]] = field(init=False)
    _parents: dict[int, ast.AST] = field(init=False)
    _imported: frozenset[str] | None = field(init=False, default=None)
    _inside: dict[int, list[ast.AST]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        kinds: defaultdict[type[ast.AST], list[ast.AST]] = defaultdict(list)
        parents: dict[int, ast.AST] = {}
        todo: list[ast.AST] = [self.parsed.tree]
        for node in todo:  # grows while it is walked: breadth first, never recursive
            kinds[type(node)].append(node)
            for child in ast.iter_child_nodes(node):
                parents[id(child)] = node
                todo.append(child)
        self._kinds, self._parents = dict(kinds), parents
        self.names = Names(todo)

    @property
    def tree(self) -> ast.Module:
        """The root."""
        return self.parsed.tree

    def all(self, kind: type[_Node]) -> list[_Node]:
        """Every node of a kind, outer ones first."""
        return self._kinds.get(kind, [])  # type: ignore[return-value]

    @property
    def functions(self) -> list[FunctionNode]:
        """Every function, outer ones first."""
        return [*self.all(ast.FunctionDef), *self.all(ast.AsyncFunctionDef)]

    @property
    def imported(self) -> frozenset[str]:
        """First names of the modules that the file imports."""
        if self._imported is None:
            self._imported = self._find_imported()
        return self._imported

    def _find_imported(self) -> frozenset[str]:
        named = {
            module.split(".")[0]
            for call, name in self.calls()
            if name in {"__import__", "importlib.import_module"} and call.args
            if isinstance(module := self.constant(call.args[0]), str)
        }
        plain = named | {item.name.split(".")[0] for node in self.all(ast.Import) for item in node.names}
        return frozenset(
            plain | {(node.module or "").split(".")[0] for node in self.all(ast.ImportFrom) if not node.level}
        )

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node around a node."""
        return self._parents.get(id(node))

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, innermost first."""
        while (above := self.parent(node)) is not None:
            yield above
            node = above

    def inside(self, node: ast.AST) -> list[ast.AST]:
        """A node and everything below it; walked once."""
        found = self._inside.get(id(node))
        if found is None:
            found = self._inside[id(node)] = list(ast.walk(node))
        return found

    def function_of(self, node: ast.AST) -> FunctionNode | None:
        """The innermost function around a node."""
        for above in self.around(node):
            if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
                return above
        return None

    def name(self, node: ast.AST | None) -> str | None:
        """The dotted name of an expression, aliases followed."""
        return self.names.of(node)

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Every call of something that has a name."""
        for call in self.all(ast.Call):
            if (name := self.names.of(call.func)) is not None:
                yield call, name

    def constant(self, node: ast.AST | None) -> object | None:
        """The value of a constant expression, else None."""
        return fold(node, self.names.constants)

    def writes(self) -> Iterator[Write]:
        """Assignments to attributes and subscripts, ``setattr`` and ``patch`` among them."""
        for assign in self.all(ast.Assign):
            for target in assign.targets:
                yield from self._target(target, assign, assign.value)
        for update in self.all(ast.AugAssign):
            yield from self._target(update.target, update, update.value)
        for typed in self.all(ast.AnnAssign):
            yield from self._target(typed.target, typed, typed.value)
        for call, name in self.calls():
            if name.removeprefix("builtins.") == "setattr" and len(call.args) == 3:  # noqa: PLR2004
                yield from self._setattr(call)
            elif name.endswith((".__setattr__", ".__setitem__")):
                base = name.rsplit(".", 1)[0]
                attr = self.constant(call.args[-2]) if len(call.args) > 1 else None
                base = (self.name(call.args[0]) or base) if base in {"object", "type"} and call.args else base
                yield Write(f"{base}.{attr}" if isinstance(attr, str) else f"{base}[]", call, call.args[-1])

    def _target(self, target: ast.expr, node: ast.stmt, value: ast.expr | None) -> Iterator[Write]:
        if isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                yield from self._target(element, node, None)
        elif isinstance(target, ast.Attribute | ast.Subscript) and (name := self.name(target)) is not None:
            yield Write(name, node, value)

    def _setattr(self, call: ast.Call) -> Iterator[Write]:
        base, attr = self.name(call.args[0]), self.constant(call.args[1])
        if base is not None:
            yield Write(f"{base}.{attr}" if isinstance(attr, str) else f"{base}[]", call, call.args[2])
