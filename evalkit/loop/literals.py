"""Numeric and boolean literals of a Python file: where they stand, and a file with one of them changed.

Read and rewritten with libcst, so that everything else in the file stays as it is, to the byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider

__all__ = ["Literal", "find_literals", "with_literal"]


@dataclass(frozen=True, slots=True)
class Literal:
    """One literal.

    Attributes:
        key: stable name such as ``LEARNING_RATE``, ``fit.dropout`` or ``forward#3``: the same for as long as the
            code around it keeps its names.
        value: an int, a float or a bool.
        line: from 1.
        constant: whether it is assigned to a name at module level, where a file keeps its settings.
    """

    key: str
    value: float | bool
    line: int
    constant: bool


class _Finder(cst.CSTVisitor):
    """Collects literals in the order of the file, with their keys."""

    METADATA_DEPENDENCIES = (ParentNodeProvider, PositionProvider)

    def __init__(self) -> None:
        self.found: list[tuple[Literal, cst.CSTNode]] = []
        self._scope: list[str] = []
        self._names: list[str] = []
        self._counts: dict[str, int] = {}
        self._skip = 0

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:  # noqa: N802
        self._scope.append(node.name.value)

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:  # noqa: ARG002, N802
        self._scope.pop()

    visit_ClassDef = visit_FunctionDef  # type: ignore[assignment]  # noqa: N815
    leave_ClassDef = leave_FunctionDef  # type: ignore[assignment]  # noqa: N815

    def visit_Assign(self, node: cst.Assign) -> None:  # noqa: N802
        target = node.targets[0].target
        self._names.append(target.value if isinstance(target, cst.Name) else "")

    def leave_Assign(self, original_node: cst.Assign) -> None:  # noqa: ARG002, N802
        self._names.pop()

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:  # noqa: N802
        self._names.append(node.target.value if isinstance(node.target, cst.Name) else "")

    def leave_AnnAssign(self, original_node: cst.AnnAssign) -> None:  # noqa: ARG002, N802
        self._names.pop()

    def visit_Arg(self, node: cst.Arg) -> None:  # noqa: N802
        self._names.append(node.keyword.value if node.keyword else self._names[-1] if self._names else "")

    def leave_Arg(self, original_node: cst.Arg) -> None:  # noqa: ARG002, N802
        self._names.pop()

    def visit_Subscript(self, node: cst.Subscript) -> None:  # noqa: ARG002, N802 - an index is no setting
        self._skip += 1

    def leave_Subscript(self, original_node: cst.Subscript) -> None:  # noqa: ARG002, N802
        self._skip -= 1

    def visit_Integer(self, node: cst.Integer) -> None:  # noqa: N802
        self._note(node, node.evaluated_value)

    def visit_Float(self, node: cst.Float) -> None:  # noqa: N802
        self._note(node, float(node.evaluated_value))

    def visit_Name(self, node: cst.Name) -> None:  # noqa: N802
        if node.value in {"True", "False"}:
            self._note(node, node.value == "True")

    def _note(self, node: cst.CSTNode, value: float | bool) -> None:
        if self._skip:
            return
        name = next((name for name in reversed(self._names) if name), "")
        base = ".".join([*self._scope, name] if name else self._scope) or "module"
        index = self._counts.get(base, 0)
        self._counts[base] = index + 1
        key = base if name and not index else f"{base}#{index}"
        line = self.get_metadata(PositionProvider, node).start.line
        self.found.append((Literal(key, value, line, constant=bool(name) and not self._scope), node))


class _Replacer(cst.CSTTransformer):
    def __init__(self, replacements: Mapping[cst.CSTNode, cst.BaseExpression]) -> None:
        self._replacements = replacements

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode) -> cst.CSTNode:  # type: ignore[override]
        return self._replacements.get(original_node, updated_node)


def _parse(source: str) -> tuple[MetadataWrapper, list[tuple[Literal, cst.CSTNode]]]:
    wrapper = MetadataWrapper(cst.parse_module(source))
    finder = _Finder()
    wrapper.visit(finder)
    return wrapper, finder.found


def find_literals(source: str) -> list[Literal]:
    """All numeric and boolean literals but indices, in the order of the file.

    Raises:
        libcst.ParserSyntaxError: it is not Python.
    """
    return [literal for literal, _ in _parse(source)[1]]


def with_literal(source: str, key: str, value: float | bool) -> str:
    """The source with the literal ``key`` changed to ``value``, everything else as it was.

    Raises:
        KeyError: there is no such literal.
        libcst.ParserSyntaxError: it is not Python.
    """
    wrapper, found = _parse(source)
    for literal, node in found:
        if literal.key == key:
            return wrapper.module.visit(_Replacer({node: _expression(value)})).code
    raise KeyError(key)


def _expression(value: float | bool) -> cst.BaseExpression:
    return cst.parse_expression(repr(value))
