"""Luck instead of improvement: seeds that are hunted for (mechanism 18)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context, at, is_test
from guards.rule import Rule, table
from guards.source.program import Program
from guards.source.roles import words
from guards.source.view import FileView

__all__ = ["RULES", "inspect", "seed_only"]

_PROBE = Severity.PROBE

RULES = table(
    [
        Rule(
            "EK145",
            "seed-only",
            _PROBE,
            "Nothing but a random seed is changed.",
            "change something that matters; the verifier chooses the seeds",
            18,
        ),
        Rule(
            "EK146",
            "best-of-seeds",
            _PROBE,
            "Several seeds are tried and the best result is kept.",
            "report every seed, or choose one beforehand",
            18,
        ),
    ]
)
"""By name."""

_NUMBER = re.compile(r"(?<![\w.])-?(?:0x[0-9a-fA-F_]+|\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\w)")
_SEED = re.compile(r"seed|PRNGKey|default_rng|RandomState|random_state", re.IGNORECASE)


def inspect(view: FileView, _context: Context) -> Iterator[Finding]:
    """Findings ``EK146`` in one Python file."""
    if view.python and not is_test(view.path):
        yield from _hunts(view, view.program)


def seed_only(views: Sequence[FileView]) -> Iterator[Finding]:
    """``EK145`` where a whole change does nothing but change seeds."""
    first: tuple[FileView, int] | None = None
    for view in views:
        added = [(n, _code(line)) for n, line in sorted(view.added.items()) if _code(line)]
        removed = [_code(line) for _, line in view.removed if _code(line)]
        if not added and not removed:
            continue
        if len(added) != len(removed) or len(added) > 8:  # noqa: PLR2004 - more is no seed hunt
            return
        for (number, new), old in zip(added, removed, strict=True):
            if not _SEED.search(new) or _NUMBER.sub("0", new) != _NUMBER.sub("0", old) or new == old:
                return
            first = first or (view, number)
    if first is not None:
        view, number = first
        yield from at(view, RULES["seed-only"], number, "nothing but a seed is changed")


def _code(line: str) -> str:
    return line.split("#", maxsplit=1)[0].strip()


def _hunts(view: FileView, program: Program) -> Iterator[Finding]:
    for loop in program.all(ast.For):
        names = {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}
        if not any("seed" in words(name) or "seeds" in words(name) for name in names) or not view.touches(loop):
            continue
        for node in ast.walk(loop):
            compares = isinstance(node, ast.If) and any(isinstance(part, ast.Compare) for part in ast.walk(node.test))
            if isinstance(node, ast.If) and compares and _keeps_best(node):
                yield from at(view, RULES["best-of-seeds"], loop, "the best of several seeds is kept")
                break
    for call, name in program.calls():
        if name in {"min", "max"} and call.args and isinstance(call.args[0], ast.GeneratorExp | ast.ListComp):
            targets = {n.id for g in call.args[0].generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
            if any("seed" in words(target) for target in targets):
                yield from at(view, RULES["best-of-seeds"], call, "the best of several seeds is kept")


def _keeps_best(node: ast.If) -> bool:
    """``if value < best: best = value`` in any spelling."""
    compared = {part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)}
    assigned = {
        part.id
        for statement in node.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        for part in ast.walk(target)
        if isinstance(part, ast.Name)
    }
    return bool(compared & assigned)
