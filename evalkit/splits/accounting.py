"""What the vault has told, to whom and why; and how much more it may tell.

Every opening is a plain record, handed to an *accountant*: any callable that stores it. The ledger is one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evalkit.errors import UsageError
from evalkit.splits.keyed import keyed_numbers

__all__ = ["Accountant", "Opening", "file_accountant", "queries_left", "read_openings", "rotation"]

Accountant = Callable[[Mapping[str, Any]], None]
"""Takes one record and does not return before it is safe."""


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening of the vault.

    Attributes:
        who: program and user.
        why: the reason, in words; never empty for the sealed set.
        split: which part.
        purpose: ``decide`` (an answer goes back to a loop), ``audit`` (nothing goes back) or ``maintain``.
        cases: how many cases were read.
        bits: upper bound on what left the vault, in bits (a yes or no is 1).
        experiment: of the run, or the empty string.
    """

    who: str
    why: str
    split: str
    purpose: Literal["decide", "audit", "maintain"]
    cases: int
    bits: float
    experiment: str = ""

    def __post_init__(self) -> None:
        """The sealed set opens for a reason only."""
        if self.split == "sealed" and len(self.why.split()) < 2:  # noqa: PLR2004 - a reason is more than a word
            raise UsageError("opening the sealed set needs a reason", 'give it: --reason "audit of the final head"')

    def as_record(self) -> dict[str, Any]:
        """Plain JSON values, for a ledger."""
        return {
            "who": self.who,
            "why": self.why,
            "split": self.split,
            "purpose": self.purpose,
            "cases": self.cases,
            "bits": self.bits,
            "experiment": self.experiment,
        }


def file_accountant(path: Path) -> Accountant:
    """An accountant that appends JSON lines to a file and syncs each one."""

    def account(record: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(record), sort_keys=True, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    return account


def read_openings(path: Path) -> list[dict[str, Any]]:
    """Records that a file accountant wrote; a torn last line is left out."""
    found: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def queries_left(
    cases: int, asked: int, *, kept: int = 0, most_kept: int | None = None, tolerance: float = 0.1, risk: float = 0.05
) -> int:
    """How many more yes-or-no questions the confirm pool can answer before its means may mislead.

    With answers of one bit, an adaptive questioner who has heard at most *B* yeses among *k* answers can have reached
    at most the sum over i ≤ B of C(k, i) different questions. Hoeffding's bound and the union over them give

        P(some mean is off by more than t) ≤ 2 k Σ C(k, i) exp(−2 n t²)

    for scores in [0, 1] (Dwork et al. 2015, "Generalization in adaptive data analysis and holdout reuse", description
    length; the counting is that of Blum and Hardt 2015, "The Ladder", section 3).

    Args:
        cases: n, cases that every answer is averaged over.
        asked: questions answered so far.
        kept: yeses among them.
        most_kept: B, yeses after which the pool is retired; None for twice the yeses so far, at least 10.
        tolerance: t, in the unit of the score.
        risk: the bound's right side.
    """
    yeses = most_kept if most_kept is not None else max(10, 2 * kept)
    room = 2 * cases * tolerance**2 + math.log(risk / 2)

    def cost(questions: int) -> float:
        counted = range(min(yeses, questions) + 1)
        terms = [math.lgamma(questions + 1) - math.lgamma(i + 1) - math.lgamma(questions - i + 1) for i in counted]
        top = max(terms)
        return math.log(questions) + top + math.log(sum(math.exp(term - top) for term in terms))

    low, high = 0, 1
    while high < 1 << 30 and cost(high) <= room:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= room else (low, middle)
    return max(0, low - asked)


def rotation(ids: Sequence[str], key: bytes, query: int, size: int) -> list[str]:
    """The confirm cases that one experiment decides on, so that no case decides more often than another.

    The key puts the cases in a circle; every experiment takes the next ``size`` of them. After any number of
    experiments the uses of two cases differ by at most one.

    Args:
        ids: of all confirm cases.
        key: 32 secret bytes.
        query: number of the experiment, from 0.
        size: cases an experiment; all of them where there are fewer.
    """
    if size <= 0 or not ids:
        raise UsageError(f"{size} of {len(ids)} confirm cases", "ask for at least one, of a pool that isn't empty")
    circle = np.argsort(keyed_numbers(key, [f"rotation\x00{name}" for name in ids]), kind="stable").tolist()
    count = min(size, len(ids))
    return [ids[circle[(query * count + place) % len(ids)]] for place in range(count)]


def uses(ids: Iterable[str], key: bytes, queries: int, size: int) -> dict[str, int]:
    """How often every case has decided after ``queries`` experiments."""
    names = list(ids)
    counts = dict.fromkeys(names, 0)
    for query in range(queries):
        for name in rotation(names, key, query, size):
            counts[name] += 1
    return counts
