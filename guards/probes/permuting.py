"""Variations of cases that leave an honest answer as it was: other orders, other names, other labels (9, 10, 15)."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Permutation", "permute_cases", "rename_fields", "shuffle_labels"]

_Case = TypeVar("_Case")
_WORD = re.compile(r"\b[A-Z][a-z]{2,}\b")


@dataclass(frozen=True, slots=True)
class Permutation:
    """An order and its way back.

    Attributes:
        order: ``order[i]`` is the old place of what is now at ``i``.
    """

    order: tuple[int, ...]

    def apply(self, items: Sequence[_Case]) -> list[_Case]:
        """Items in the new order."""
        return [items[old] for old in self.order]

    def undo(self, items: Sequence[_Case]) -> list[_Case]:
        """Items that came in the new order, in the old one."""
        back: list[Any] = [None] * len(self.order)
        for new, old in enumerate(self.order):
            back[old] = items[new]
        return back


def permute_cases(count: int, *, seed: int, how_many: int = 3) -> Iterator[Permutation]:
    """Orders to ask the same cases in: backwards first, then at random; never the one they came in.

    Args:
        count: cases.
        seed: of the random ones.
        how_many: orders.
    """
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    given = tuple(range(count))
    for number in range(how_many if count > 1 else 0):
        order = given[::-1] if number == 0 else tuple(rng.sample(given, count))
        yield Permutation(order if order != given else (*given[1:], given[0]))


def shuffle_labels(labels: Sequence[_Case], *, seed: int) -> list[_Case]:
    """The same labels, each beside another case (a cyclic shift of a random order: no label stays in its place)."""
    rng = random.Random(seed)  # noqa: S311
    order = rng.sample(range(len(labels)), len(labels))
    shuffled = list(labels)
    for at, place in enumerate(order):
        shuffled[place] = labels[order[(at + 1) % len(order)]]
    return shuffled


def rename_fields(case: Mapping[str, Any], *, seed: int) -> tuple[dict[str, Any], dict[str, str]]:
    """A text case with its capitalised names exchanged for others: an answer that was learnt by heart does not follow.

    Args:
        case: fields with text; values that are not text stay.
        seed: of the choice.

    Returns:
        The case, and which name stands for which.
    """
    rng = random.Random(seed)  # noqa: S311
    names = sorted({name for value in case.values() if isinstance(value, str) for name in _WORD.findall(value)})
    fresh = rng.sample(_NAMES, min(len(names), len(_NAMES)))
    table = dict(zip(names, fresh, strict=False))

    def renamed(value: Any) -> Any:
        return _WORD.sub(lambda m: table.get(m.group(), m.group()), value) if isinstance(value, str) else value

    return {key: renamed(value) for key, value in case.items()}, table


_NAMES = [
    f"{a}{b}" for a in ("Bel", "Cor", "Dar", "Fen", "Gal", "Hol", "Jor", "Kel") for b in ("an", "ea", "im", "or", "us")
]
