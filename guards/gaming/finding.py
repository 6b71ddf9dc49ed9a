"""What every family of static rules needs: findings at a node, and where they do not apply."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from evalkit.contract import Contract
from evalkit.guarding import Finding, Severity
from guards.rule import Rule
from guards.source.view import FileView

__all__ = ["Context", "Family", "at", "is_test", "is_text"]


@dataclass(frozen=True, slots=True)
class Context:
    """What the contract tells the rules.

    Attributes:
        metrics: names of the contract's metrics.
        hidden: first names of paths that candidates may not read (the vault, hidden globs).
        protected: paths of scorers and specs.
    """

    metrics: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()

    @classmethod
    def of(cls, contract: Contract) -> Context:
        """From a contract."""
        hidden = [glob.split("*")[0].strip("/") for glob in contract.hidden]
        if contract.splits.vault:
            hidden.append(contract.splits.vault.strip("/"))
        scorers = [
            part
            for program in contract.programs.values()
            for part in program.score or ()
            if PurePosixPath(part).suffix in {".py", ".sh", ".js"}
        ]
        names = tuple(metric.name for metric in contract.metrics)
        return cls(names, tuple(h for h in hidden if h), tuple(dict.fromkeys(scorers)))


Family = Callable[[FileView, Context], Iterator[Finding]]
"""A family of rules: looks at one file."""


def at(
    view: FileView, rule: Rule, node: ast.AST | int, message: str, severity: Severity | None = None
) -> Iterator[Finding]:
    """A finding at a node, if the change touches it."""
    if not isinstance(node, int) and not view.touches(node):
        return
    line = node if isinstance(node, int) else getattr(node, "lineno", 0)
    evidence = view.line(line).strip()
    yield rule.found(message, file=view.path, line=line, evidence=evidence, severity=severity)


def is_test(path: str) -> bool:
    """Whether a path is a test's by the usual naming."""
    pure = PurePosixPath(path)
    return (
        pure.name.startswith("test_")
        or pure.stem.endswith("_test")
        or pure.name == "conftest.py"
        or bool({"tests", "test", "testing"} & set(pure.parts[:-1]))
    )


def is_text(path: str) -> bool:
    """Whether a path holds prose or plain data that people and models read."""
    return PurePosixPath(path).suffix.lower() in {".md", ".txt", ".rst", ".html", ".json", ".yaml", ".yml", ".toml", ""}
