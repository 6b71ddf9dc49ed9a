"""Could what a commit changed explain any gain at all? Read from the repository, nothing is run.

A commit that changed nothing, only comments and layout, or only a seed can't have improved anything; a keep that claims
a gain for it measured luck. Python files are compared by their syntax trees, prose files count as layout.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path, PurePosixPath

from evalkit.errors import WorkspaceError
from evalkit.watch.audit import Explain
from evalkit.watch.audit_rows import Mark
from evalkit.workspace import Repository
from evalkit.workspace.git import git

__all__ = ["tree_reader", "what_changed"]

_COMMIT = re.compile(r"[0-9a-f]{6,40}")
_RAW = re.compile(r":[0-7]{6} [0-7]{6} ([0-9a-f]{40}) ([0-9a-f]{40}) ([A-Z])")
_PROSE = frozenset({".md", ".rst", ".txt", ".tsv", ".log"})
_SEED_NAMES = re.compile(r"(?:.*_)?seed(?:_.*)?|default_rng|manual_seed(?:_all)?|random_state|prngkey", re.IGNORECASE)
_MAX_BLOB = 1 << 20
_NO_BLOB = "0" * 40


def tree_reader(folder: Path) -> Explain:
    """A function that reads commits of the repository around ``folder``.

    Raises:
        WorkspaceError: there is no repository.
    """
    repository = Repository.find(folder)

    def explain(commit: str) -> Mark | None:
        if not _COMMIT.fullmatch(commit):
            return None
        try:
            newer = repository.resolve(commit)
            older = repository.resolve(f"{commit}^")
        except WorkspaceError:
            return None
        return _compare(folder, older, newer)

    return explain


def _compare(folder: Path, older: str, newer: str) -> Mark | None:
    ran = git(["diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", older, newer], folder=folder)
    if ran.code:
        return None
    parts = ran.out.decode("utf-8", "surrogateescape").split("\0")
    worst: Mark = Mark.SAME_TREE
    order = [Mark.SAME_TREE, Mark.COSMETIC, Mark.SEED_ONLY]
    for raw, path in zip(parts[::2], parts[1::2], strict=False):
        match = _RAW.fullmatch(raw)
        found = _file(folder, match[1], match[2], path) if match else None
        if found is None:
            return None
        worst = max(worst, found, key=order.index)
    return worst


def _file(folder: Path, older: str, newer: str, path: str) -> Mark | None:
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _PROSE:
        return Mark.COSMETIC
    if suffix != ".py" or _NO_BLOB in {older, newer}:
        return None
    before, after = _blob(folder, older), _blob(folder, newer)
    return None if before is None or after is None else what_changed(before, after)


def _blob(folder: Path, name: str) -> bytes | None:
    size = git(["cat-file", "-s", name], folder=folder)
    if size.code or int(size.out) > _MAX_BLOB:
        return None
    ran = git(["cat-file", "blob", name], folder=folder)
    return None if ran.code else ran.out


def what_changed(before: bytes, after: bytes) -> Mark | None:
    """What two versions of a Python file differ in: layout, seeds, or (None) something that may matter."""
    try:
        old, new = ast.parse(before), ast.parse(after)
        for tree in (old, new):
            _drop_docstrings(tree)
        if ast.dump(old) == ast.dump(new):
            return Mark.COSMETIC
        same = ast.dump(_Seedless().visit(old)) == ast.dump(_Seedless().visit(new))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return Mark.SEED_ONLY if same else None


def _drop_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.body:
            first = node.body[0]
            said = first.value if isinstance(first, ast.Expr) else None
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                node.body = node.body[1:] or [ast.Pass()]


class _Seedless(ast.NodeTransformer):
    """Puts 0 for every whole number that is given to something called a seed."""

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if all(isinstance(target, ast.Name) and _SEED_NAMES.fullmatch(target.id) for target in node.targets):
            node.value = _zero(node.value)
        return self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        if node.arg and _SEED_NAMES.fullmatch(node.arg):
            node.value = _zero(node.value)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if _SEED_NAMES.fullmatch(name):
            node.args = [_zero(argument) for argument in node.args]
        return self.generic_visit(node)


def _zero(value: ast.expr) -> ast.expr:
    whole = isinstance(value, ast.Constant) and isinstance(value.value, int) and not isinstance(value.value, bool)
    return ast.Constant(0) if whole else value
