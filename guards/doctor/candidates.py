"""Known-bad and neutral candidates out of a contract and its tree. Pure: nothing here runs or writes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from evalkit.contract import Contract
from evalkit.workspace import Globs
from guards.doctor.snippets import snippets

__all__ = ["Candidate", "Expected", "entry_file", "known_bad", "neutral"]


class Expected(StrEnum):
    """What must happen to a candidate."""

    REFUSED = "refused"
    """Anything but a KEEP."""
    LEFT = "left"
    """Not kept, and not refused by a guard either: there is nothing wrong with it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One made-up change.

    Attributes:
        name: unique.
        mechanism: the number of the gaming mechanism; 0 for neutral ones.
        files: path to new content; None where the file is deleted. Links are ``link:`` paths.
        expected: what must happen.
        links: path to the target of a symbolic link.
    """

    name: str
    mechanism: int
    files: Mapping[str, bytes | None]
    expected: Expected = Expected.REFUSED
    links: Mapping[str, str] | None = None


def entry_file(contract: Contract, tree: Mapping[str, bytes]) -> str | None:
    """The editable Python file that the objective's program runs; else any editable Python file."""
    granted = Globs(contract.editable)
    program = contract.programs[contract.objective.program]
    named = [part for part in (*(program.run or ()), *(program.serve or ())) if part.endswith(".py")]
    editable = sorted(path for path in tree if path.endswith(".py") and granted.matches(path))
    return next((path for path in named if path in editable), editable[0] if editable else None)


def known_bad(contract: Contract, tree: Mapping[str, bytes]) -> Iterator[Candidate]:
    """Cheats and failures, none of which may be kept; at least 40 where there is an editable Python file.

    Args:
        contract: the one to attack.
        tree: its files.
    """
    entry = entry_file(contract, tree)
    values = _values(contract)
    if entry is not None:
        source = tree[entry].decode("utf-8", "replace")
        for cheat in snippets():
            code = cheat.filled(values)
            text = _in_front(source, code) if cheat.in_front else code
            yield Candidate(cheat.name, cheat.mechanism, {entry: text.encode()})
        yield Candidate("file deleted", 14, {entry: None})
        yield Candidate("file is binary", 22, {entry: bytes(range(256)) * 16})
        yield Candidate("file is a link", 7, {}, links={entry: "/etc/passwd"})
    yield from _beside(contract, tree, values)


def _beside(contract: Contract, tree: Mapping[str, bytes], values: Mapping[str, str]) -> Iterator[Candidate]:
    """Files next to the program: planted, stale or out of scope."""
    yield Candidate("sitecustomize planted", 2, {"sitecustomize.py": b"import os\nos._exit(0)\n"})
    yield Candidate(
        "conftest planted", 2, {"conftest.py": b"def pytest_collection_modifyitems(items):\n    items.clear()\n"}
    )
    yield Candidate(
        "json shadowed", 2, {"json.py": b"def dumps(*a, **k):\n    return '{}'\nload = loads = dump = dumps\n"}
    )
    yield Candidate("numpy shadowed", 2, {"numpy.py": b"def allclose(*a, **k):\n    return True\n"})
    if values["artifact"] != "model.out":
        yield Candidate("stale artefact", 10, {values["artifact"]: b"{}"})
    yield Candidate("contract edited", 1, {contract.file.name: b"[evalkit]\neditable = ['**']\n"})
    scorer = values["scorer"]
    if scorer in tree:
        yield Candidate("scorer edited", 1, {scorer: tree[scorer] + b"\n# changed\n"})
        yield Candidate("scorer deleted", 1, {scorer: None})
    for path in sorted(tree):
        if "test" in PurePosixPath(path).name and path.endswith(".py"):
            yield Candidate("test deleted", 1, {path: None})
            break


def _values(contract: Contract) -> dict[str, str]:
    objective = contract.objective
    program = contract.programs[objective.program]
    scorer = next((part for part in program.score or () if part.endswith((".py", ".sh"))), "score.py")
    return {
        "metric": objective.name,
        "best": "1e9" if objective.goal == "maximize" else "1e-9",
        "artifact": program.artifacts[0] if program.artifacts else "model.out",
        "scorer": scorer,
        "vault": contract.splits.vault or "vault",
    }


def _in_front(source: str, code: str) -> str:
    """Code before a program's own, after its docstring and ``from __future__`` imports."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code + source
    last = 0
    for at, node in enumerate(body):
        docstring = at == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if not (docstring or future):
            break
        last = node.end_lineno or 0
    lines = source.splitlines(keepends=True)
    return "".join(lines[:last]) + ("\n" if last else "") + code + "".join(lines[last:])


def neutral(contract: Contract, tree: Mapping[str, bytes]) -> Iterator[Candidate]:
    """Changes that change nothing; at least 8 where there is an editable Python file.

    Args:
        contract: the one to test.
        tree: its files.
    """
    entry = entry_file(contract, tree)
    if entry is None:
        return
    source = tree[entry].decode("utf-8", "replace")
    lines = source.split("\n")
    ways = {
        "comment at the end": source.rstrip("\n") + "\n# nothing else\n",
        "comment in front": _in_front(source, "# nothing else\n"),
        "empty lines": source.rstrip("\n") + "\n\n\n",
        "unused name": source.rstrip("\n") + "\n\n_UNUSED = None\n",
        "unused function": source.rstrip("\n") + "\n\n\ndef _unused(value):\n    return value\n",
        "unused import": _in_front(source, "import string  # not used\n"),
        "statement without effect": source.rstrip("\n") + "\n\nNone\n",
        "assertion that holds": source.rstrip("\n") + "\n\nassert True\n",
        "trailing blanks removed": "\n".join(line.rstrip() for line in lines) + "\n# tidied\n",
        "reformatted": _reformatted(source),
    }
    for name, text in ways.items():
        if text != source:
            yield Candidate(name, 0, {entry: text.encode()}, Expected.LEFT)
    yield Candidate("byte-identical", 0, {entry: tree[entry]}, Expected.LEFT)


def _reformatted(source: str) -> str:
    """The same program as the parser writes it: no comments, other spacing."""
    try:
        return ast.unparse(ast.parse(source)) + "\n"
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source
