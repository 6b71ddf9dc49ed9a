"""The built-in proposer: changes one numeric or boolean literal at a time and learns which directions pay.

A real search that needs no model: a bandit over (literal, direction). Every verdict updates the direction's weight;
a direction that was kept is tried again further on, one that made things worse sends the search the other way.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libcst import ParserSyntaxError

from evalkit.loop.literals import Literal, find_literals, with_literal
from evalkit.loop.proposing import Briefing, Exhausted, Past, Proposal
from evalkit.workspace.globs import Globs

__all__ = ["Tuner"]

_FACTORS = {"down": 0.5, "down a little": 0.8, "up a little": 1.25, "up": 2.0}
_OPPOSITE = {"down": "up", "down a little": "up a little", "up a little": "down a little", "up": "down", "flip": "flip"}
_CONSTANT_WEIGHT = 1.0
_INNER_WEIGHT = 0.03
_WEIGHT_AFTER = {"KEEP": 6.0, "INCONCLUSIVE": 1.5, "REJECT": 0.15, "ERROR": 0.05}
_OPPOSITE_AFTER_WORSE = 1.6
_SAME_TRIED = 0.02
_LARGEST_SETTING = 1 << 53
"""An integer above this is a mask, a hash or a key."""


@dataclass(frozen=True, slots=True)
class _Move:
    path: str
    literal: Literal
    direction: str
    value: float | bool

    @property
    def arm(self) -> str:
        return f"{self.path}:{self.literal.key}:{self.direction}"


class Tuner:
    """Proposes single-literal changes.

    Args:
        entropy: of its random choices; the same entropy and history give the same proposals.
    """

    name = "tuner"

    def __init__(self, *, entropy: int = 0) -> None:
        self._entropy = entropy

    def propose(self, briefing: Briefing) -> Proposal:
        """Change one literal in the workspace.

        Raises:
            Exhausted: the editable files have no literal that could be changed.
        """
        moves = list(self._moves(briefing))
        if not moves:
            raise Exhausted("the editable files have no numeric or boolean literal to change")
        weights = self._weights(moves, briefing)
        chance = random.Random(f"{self._entropy}:{briefing.experiment}")  # noqa: S311 - a search, no secret
        move = chance.choices(moves, weights)[0]
        file = briefing.workspace / move.path
        file.write_bytes(with_literal(_source(file), move.literal.key, move.value).encode())
        return Proposal(
            description=f"{move.path}: {move.literal.key} {_shown(move.literal.value)} → {_shown(move.value)}",
            details={"arm": move.arm, "value": move.value},
        )

    def _moves(self, briefing: Briefing) -> Iterator[_Move]:
        editable = Globs(briefing.editable)
        for file in sorted(briefing.workspace.rglob("*.py")):
            path = file.relative_to(briefing.workspace).as_posix()
            if not editable.matches(path) or not file.is_file():
                continue
            try:
                literals = find_literals(_source(file))
            except (SyntaxError, ValueError, ParserSyntaxError, RecursionError):
                continue
            for literal in literals:
                yield from _moves_of(path, literal)

    @staticmethod
    def _weights(moves: list[_Move], briefing: Briefing) -> list[float]:
        learned: dict[str, float] = {}
        tried: set[tuple[str, Any]] = set()
        for past in briefing.history:
            _learn(learned, tried, past)
        return [
            (_CONSTANT_WEIGHT if move.literal.constant else _INNER_WEIGHT)
            * learned.get(move.arm, 1.0)
            * (_SAME_TRIED if (_site(move.arm), move.value) in tried else 1.0)
            for move in moves
        ]


def _source(file: Path) -> str:
    """The text with its line ends as they are, which ``read_text`` would change.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    return file.read_bytes().decode("utf-8")


def _site(arm: str) -> str:
    return arm.rpartition(":")[0]


def _learn(learned: dict[str, float], tried: set[tuple[str, Any]], past: Past) -> None:
    arm = past.details.get("arm")
    if not isinstance(arm, str):
        return
    tried.add((_site(arm), past.details.get("value")))
    learned[arm] = learned.get(arm, 1.0) * _WEIGHT_AFTER.get(past.decision, 1.0)
    if past.decision == "REJECT":
        site, _, direction = arm.rpartition(":")
        other = f"{site}:{_OPPOSITE[direction]}"
        learned[other] = learned.get(other, 1.0) * _OPPOSITE_AFTER_WORSE


def _moves_of(path: str, literal: Literal) -> Iterator[_Move]:
    value = literal.value
    if isinstance(value, bool):
        yield _Move(path, literal, "flip", not value)
        return
    if isinstance(value, int) and value > _LARGEST_SETTING:
        return
    for direction, factor in _FACTORS.items():
        changed = _scaled(value, factor)
        if changed != value and math.isfinite(changed):
            yield _Move(path, literal, direction, changed)


def _scaled(value: float, factor: float) -> float:
    if isinstance(value, int):
        if value == 0:
            return 1 if factor > 1 else 0
        moved = round(value * factor)
        return moved if moved != value else value + (1 if factor > 1 else -1)
    if value == 0.0:
        return 0.1 * factor if factor > 1 else 0.0
    return float(f"{value * factor:.6g}")


def _shown(value: float | bool) -> str:
    return repr(value)
