"""Literals of a change against the evaluation cases themselves: inputs next to their answers, and runs of answers.

Dev cases may be shown; what matches only a vault's case is a secret finding, which never reaches a proposer.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from evalkit.guarding import Finding, Severity
from guards.gaming.answers import RULES
from guards.source.program import Program
from guards.source.unpack import decoded
from guards.source.view import FileView

__all__ = ["Case", "CaseIndex", "answered", "inspect_cases", "read_cases"]

_ANSWERS = frozenset(
    {"answer", "answers", "expected", "expected_output", "output", "outputs", "label", "target", "gold", "solution"}
    | {"result", "y", "truth", "reference", "score"}
)
_RUN = 6
_PREFIX = 12
_MAX_TEXT = 1 << 20
_LEAST_WEIGHT = 6.0
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Case:
    """One evaluation case.

    Attributes:
        inputs: its atoms (numbers, strings), each as normalised text.
        answer: its answer's atoms.
        secret: whether it is the vault's.
    """

    inputs: tuple[str, ...]
    answer: tuple[str, ...]
    secret: bool = False


def read_cases(named: Iterable[tuple[str, bytes]], *, cap: int = 8 << 20) -> list[Case]:
    """Cases out of JSON, JSON lines, CSV or plain text; what can't be read gives none.

    Args:
        named: file name and content; names that begin with ``dev`` are not secret.
        cap: bytes of one file that are read.
    """
    found: list[Case] = []
    for name, raw in named:
        secret = not name.lstrip("./").startswith("dev")
        text = raw[:cap].decode("utf-8", "replace")
        found.extend(case for row in _rows(text) if (case := _case(row, secret=secret)) is not None)
    return found


def _rows(text: str) -> Iterator[object]:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        plain = None
    if isinstance(plain, Mapping):
        plain = next((v for v in plain.values() if isinstance(v, list)), [[k, v] for k, v in plain.items()])
    if isinstance(plain, list):
        yield from plain
        return
    lines = text.splitlines()
    for line in lines:
        if line.lstrip().startswith(("{", "[")):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                continue
    if lines and "," in lines[0] and not lines[0].lstrip().startswith(("{", "[")):
        yield from csv.DictReader(io.StringIO(text))


def _case(row: object, *, secret: bool) -> Case | None:
    if isinstance(row, Mapping):
        answers = [v for k, v in row.items() if str(k).lower() in _ANSWERS]
        inputs = [v for k, v in row.items() if str(k).lower() not in _ANSWERS | {"id", "name", "index"}]
    elif isinstance(row, Sequence) and not isinstance(row, str) and len(row) > 1:
        inputs, answers = list(row[:-1]), [row[-1]]
    else:
        return None
    one = Case(tuple(_atoms(inputs)), tuple(_atoms(answers)), secret=secret)
    return one if one.inputs and one.answer else None


def _atoms(value: object) -> Iterator[str]:
    """Numbers and strings of a value, normalised so that ``1``, ``1.0`` and ``"1"`` are the same."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _atoms(part)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for part in value:
            yield from _atoms(part)
    elif value is not None:
        yield normalised(value)


def normalised(value: object) -> str:
    """The text that stands for a number or a string."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, int | float):
        return f"{value:.12g}"
    text = " ".join(str(value).split())
    if _NUMBER.fullmatch(text) and len(text) < 40:  # noqa: PLR2004 - a number, not a sequence of digits
        return f"{float(text):.12g}"
    return text


def _weight(atom: str) -> float:
    """How unlikely it is that an atom is met by chance, in bits, roughly."""
    if _NUMBER.fullmatch(atom):
        digits = atom.lstrip("-").replace(".", "").lstrip("0").rstrip("0")
        return 0.0 if len(digits) < 2 else 3.3 * (len(digits) - 1)  # noqa: PLR2004 - 0 … 9, 10, 100: everywhere
    return min(1.5 * max(len(atom) - 2, 0), 30.0)


@dataclass(slots=True)
class CaseIndex:
    """Cases by their atoms.

    Attributes:
        cases: all of them.
        by_input: positions of the cases with an input atom.
        by_answer: positions of the cases whose whole answer is one atom.
        by_beginning: positions of the cases by how a long input begins.
    """

    cases: list[Case]
    by_input: dict[str, list[int]] = field(init=False)
    by_answer: dict[str, list[int]] = field(init=False)
    by_beginning: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_input, self.by_answer, self.by_beginning = {}, {}, {}
        for position, case in enumerate(self.cases):
            for atom in set(case.inputs):
                self.by_input.setdefault(atom, []).append(position)
                if len(atom) >= _PREFIX:
                    self.by_beginning.setdefault(atom[:_PREFIX], []).append(position)
            if len(case.answer) == 1:
                self.by_answer.setdefault(case.answer[0], []).append(position)


def answered(program: Program, index: CaseIndex) -> tuple[set[int], ast.AST | None]:
    """Which cases a program answers by literals.

    A case counts where one of its inputs, or all of several, stands beside its own answer: compared and returned, key
    and value, pattern and result. A run of at least six answers in the order of the cases counts for each of them.

    Returns:
        Positions of the cases, and where the first was found.
    """
    found: set[int] = set()
    first: ast.AST | None = None
    encoded = ((node, *row) for node, text in _texts(program) for row in _json_pairs(text))
    for node, keys, values in chain(_pairs(program), encoded):
        hits = _hits(keys, values, index)
        if hits and first is None:
            first = node
        found |= hits
    for node, atoms in _sequences(program):
        hits = _runs(atoms, index)
        if hits and first is None:
            first = node
        found |= hits
    return found, first


def _hits(keys: list[str], values: list[str], index: CaseIndex) -> set[int]:
    if not keys or not values:
        return set()
    rare = max(keys, key=_weight)
    hits = _prefixed(rare, values, index) if len(rare) >= _PREFIX else set()
    for position in index.by_input.get(rare, ())[:200]:
        case = index.cases[position]
        if not set(case.answer) <= set(values) or not set(keys) & set(case.inputs):
            continue
        shared = set(keys) & set(case.inputs)
        weight = sum(_weight(atom) for atom in shared) + sum(_weight(atom) for atom in set(case.answer))
        if weight >= _LEAST_WEIGHT or (shared == set(case.inputs) and len(shared) > 2):  # noqa: PLR2004 - all of them
            hits.add(position)
    return hits


def _prefixed(key: str, values: list[str], index: CaseIndex) -> set[int]:
    """Cases with an input that begins with a key, and with their answer beside it."""
    found = index.by_beginning.get(key[:_PREFIX], ())[:50]
    told = set(values)
    return {
        at
        for at in found
        if set(index.cases[at].answer) <= told and any(atom.startswith(key) for atom in index.cases[at].inputs)
    }


def _runs(atoms: list[str], index: CaseIndex) -> set[int]:
    """Positions of the longest run of answers in the order of the cases, if it is long enough."""
    best: list[int] = []
    current: dict[int, list[int]] = {}
    for atom in atoms:
        following: dict[int, list[int]] = {}
        for position in index.by_answer.get(atom, ())[:500]:
            following[position] = [*current.get(position - 1, []), position]
            if len(following[position]) > len(best):
                best = following[position]
        current = following
    varied = len({index.cases[position].answer for position in best})
    return set(best) if len(best) >= _RUN and varied > len(best) // 2 else set()


def _pairs(program: Program) -> Iterator[tuple[ast.AST, list[str], list[str]]]:
    """Literals that a program puts next to each other: condition and outcome."""
    for node in program.all(ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                yield key, _literals(key, program), _literals(value, program)
    for branch in program.all(ast.If):
        outcome = [atom for statement in branch.body[:3] for atom in _literals(statement, program)]
        yield branch, _literals(branch.test, program), outcome
    for choice in program.all(ast.IfExp):
        yield choice, _literals(choice.test, program), _literals(choice.body, program)
    for case in program.all(ast.match_case):
        outcome = [atom for statement in case.body[:3] for atom in _literals(statement, program)]
        yield case.pattern, _literals(case.pattern, program), outcome
    for pair in program.all(ast.Tuple):
        if len(pair.elts) == 2:  # noqa: PLR2004 - (input, answer)
            yield pair, _literals(pair.elts[0], program), _literals(pair.elts[1], program)


def _texts(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """Long texts of a program: constants, and what known decoders make of constants."""
    for node in program.all(ast.Constant):
        if isinstance(node.value, str) and len(node.value) > _PREFIX:
            yield node, node.value
    for call, name in program.calls():
        if name.rsplit(".", 1)[-1] in {"decompress", "b64decode", "b85decode", "a85decode", "unhexlify", "fromhex"}:
            value = decoded(call, program)
            if value is not None:
                yield call, value


def _json_pairs(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Input and answer of each entry of a JSON text."""
    if len(text) > _MAX_TEXT or text.lstrip()[:1] not in {"{", "["}:
        return
    for case in read_cases([("dev", text.encode("utf-8", "replace"))]):
        yield list(case.inputs), list(case.answer)


def _literals(node: ast.AST, program: Program) -> list[str]:
    """The constants below a node, normalised; at most 200."""
    found: list[str] = []
    todo = [node]
    while todo and len(found) < 200:  # noqa: PLR2004
        part = todo.pop()
        value = program.constant(part) if not isinstance(part, ast.Name) else None
        if value is not None and not isinstance(value, bool):
            found.append(normalised(value))
            if isinstance(value, str):
                found.extend(normalised(piece) for piece in value.split() if 1 < len(value) < 200)  # noqa: PLR2004
        else:
            todo.extend(ast.iter_child_nodes(part))
    return found


def _sequences(program: Program) -> Iterator[tuple[ast.AST, list[str]]]:
    """Lists of constants, and strings that hold one."""
    listed: list[ast.List | ast.Tuple | ast.Set] = [
        *program.all(ast.List),
        *program.all(ast.Tuple),
        *program.all(ast.Set),
    ]
    for node in listed:
        if len(node.elts) >= _RUN:
            yield node, [normalised(v) for e in node.elts if (v := program.constant(e)) is not None]
    for table in program.all(ast.Dict):
        if len(table.values) >= _RUN:
            yield table, [normalised(v) for e in table.values if (v := program.constant(e)) is not None]
    for constant in program.all(ast.Constant):
        if isinstance(constant.value, str) and len(constant.value) > 2 * _RUN:
            yield constant, [normalised(piece) for piece in re.split(r"[\s,;|]+", constant.value[:200_000]) if piece]


def inspect_cases(view: FileView, index: CaseIndex) -> Iterator[Finding]:
    """``EK141`` where a file that the change touches answers cases by literals."""
    if not view.python or not index.cases:
        return
    hits, first = answered(view.program, index)
    if view.old is not None or view.hunks:
        hits -= answered(view.before, index)[0]
    if len(hits) < 2:  # noqa: PLR2004 - one may be an example out of the documentation
        return
    secret = all(index.cases[position].secret for position in hits)
    line = getattr(first, "lineno", 1)
    yield RULES["case-answers"].found(
        f"{len(hits)} evaluation cases are answered by literals",
        file=view.path,
        line=line,
        evidence="" if secret else view.line(line).strip(),
        severity=Severity.BLOCK if len(hits) >= 5 else None,  # noqa: PLR2004 - beyond any coincidence
        secret=secret,
    )
