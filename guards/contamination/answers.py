"""Answers written down: in order, in reverse, shuffled, or beside a piece of their question.

A list of numbers is a leak when it is too much of a coincidence. The surprise of a run is measured in bits: the sum of
``-log2`` of each answer's frequency in the holdout, less what was free to choose (where the run starts; for a shuffled
list, its order).
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.overlap import Item
from evalkit.overlap.letters import read_letters

__all__ = ["AnswerKey", "Coincidence"]

_LEAST_RUN = 6
_LEAST_SHUFFLED = 8
_LEAST_PAIRS = 4
_LEAST_BITS = 30.0
_LEAST_KEY = 5
_LONGEST_KEY = 2000
_LEAST_PAIR_BITS = 12.0
_CHANCE_BITS = 0.6
_HEAD = 400
_SHORT = 200
_NO_LETTER = re.compile(r"[^a-z0-9]+")
_SEPARATORS = bytes(32 if chr(byte) in ",;|[](){}:\"'\n\t\r" else byte for byte in range(256))


@dataclass(frozen=True, slots=True)
class Coincidence:
    """A list that is the holdout's answers.

    Attributes:
        items: numbers of the items.
        how: ``in order``, ``in reverse``, ``shuffled`` or ``beside their questions``.
        bits: surprise.
    """

    items: tuple[int, ...]
    how: str
    bits: float


@functools.lru_cache(maxsize=1 << 16)
def _plain(value: str) -> str:
    """Answers as they compare: ``70,000``, ``70000.0`` and ``$70000`` are one."""
    text = value.strip().strip("$%").replace(",", "").lower()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else str(number)  # noqa: PLR2004 - exact floats


class AnswerKey:
    """The answers of a holdout.

    Args:
        items: in the holdout's order; those without an answer break runs.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._answers = [_plain(item.answer) for item in items]
        self._letters = [_letters(item.text) for item in items]
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        for number, answer in enumerate(self._answers):
            if answer:
                self._places[answer].append(number)
        known = sum(map(len, self._places.values()))
        self._bits = {answer: math.log2(known / len(places)) for answer, places in self._places.items()}
        self._start_bits = math.log2(max(2, len(items)))
        self._numeric = all(any(char.isdigit() for char in answer) for answer in self._places)
        self._single = bool(self._places) and all(len(answer) == 1 for answer in self._places)

    def may_hold(self, raw: bytes) -> bool:
        """Whether text could be a list of answers: enough of its first words are."""
        if self._numeric and len(raw[:_HEAD]) - len(raw[:_HEAD].translate(None, b"0123456789")) < _LEAST_RUN:
            return False
        head = raw[:_HEAD].translate(_SEPARATORS).split()
        if self._single and len(head) == 1:
            return True
        known = sum(word.decode("latin-1").strip("$%").lower() in self._places for word in head)
        return len(head) >= _LEAST_RUN and known * 4 >= len(head)

    def find(self, values: Sequence[str]) -> Coincidence | None:
        """The most surprising way in which a list is answers of the holdout, or None."""
        if len(values) == 1 and self._single:
            values = list(values[0].lower())
        plain = [_plain(value) for value in values]
        if sum(value in self._places for value in plain) < _LEAST_RUN or _is_range(plain):
            return None
        return self._run(plain, "in order") or self._run(plain[::-1], "in reverse") or self._shuffled(plain)

    def _run(self, values: Sequence[str], how: str) -> Coincidence | None:
        best: Coincidence | None = None
        running: dict[int, tuple[int, float]] = {}
        for value in values:
            following = {}
            for place in self._places.get(value, ()):
                length, bits = running.get(place - 1, (0, 0.0))
                length, bits = length + 1, bits + self._bits[value]
                following[place] = (length, bits)
                surprise = bits - self._start_bits
                if length >= _LEAST_RUN and surprise >= _LEAST_BITS and (best is None or surprise > best.bits):
                    best = Coincidence(tuple(range(place - length + 1, place + 1)), how, round(surprise, 1))
            running = following
        if best and _is_range([self._answers[item] for item in best.items]):
            return None
        return best

    def _shuffled(self, values: Sequence[str]) -> Coincidence | None:
        """The list as a multiset is that of as many consecutive answers, but for a tenth."""
        size = len(values)
        wanted = Counter(value for value in values if value in self._places)
        common = sum(wanted.values())
        if not _LEAST_SHUFFLED <= size <= len(self._answers) or common < 0.9 * size:
            return None
        window: Counter[str] = Counter()
        shared, best, place = 0, 0, 0
        for number, answer in enumerate(self._answers):
            shared += window[answer] < wanted[answer]
            window[answer] += 1
            if number >= size:
                gone = self._answers[number - size]
                window[gone] -= 1
                shared -= window[gone] < wanted[gone]
            if shared > best:
                best, place = shared, number
        if best < 0.9 * size:
            return None
        surprise = sum(self._bits[value] * count for value, count in wanted.items()) - self._start_bits
        surprise -= (math.lgamma(size + 1) - sum(math.lgamma(count + 1) for count in wanted.values())) / math.log(2)
        surprise -= (size - best) * 8
        if surprise < _LEAST_BITS:
            return None
        return Coincidence(tuple(range(max(0, place - size + 1), place + 1)), "shuffled", round(surprise, 1))

    def find_pairs(self, pairs: Sequence[tuple[str, str]]) -> Coincidence | None:
        """Pieces of questions, each with the answer of that very question.

        A piece that stands in many questions, or beside a common answer, says little: its bits are ``-log2`` of the
        chance that one of those questions has that answer. What chance alone gathers over many pairs is taken off.

        Args:
            pairs: a string and the value that goes with it.
        """
        found: dict[int, float] = {}
        asked = 0
        for key, value in pairs:
            answer = _plain(value)
            if answer not in self._places or not _LEAST_KEY <= len(key) <= _LONGEST_KEY:
                continue
            letters = _letters(key)
            if len(letters) < _LEAST_KEY:
                continue
            asked += 1
            holders = [item for item in self._places[answer] if letters in self._letters[item]]
            if holders:
                everywhere = sum(letters in text for text in self._letters)
                found[holders[0]] = max(0.0, self._bits[answer] - math.log2(everywhere))
        bits = sum(found.values())
        if len(found) < _LEAST_PAIRS or bits < _LEAST_PAIR_BITS + _CHANCE_BITS * asked:
            return None
        return Coincidence(tuple(sorted(found)), "beside their questions", round(bits, 1))


def _letters(text: str) -> bytes:
    if len(text) < _SHORT and text.isascii():
        return _NO_LETTER.sub("", text.lower()).encode()
    return read_letters(text.encode("utf-8", "replace"), escaped=False).codes.tobytes()


def _is_range(values: Sequence[str]) -> bool:
    """Equal steps, or one value over and over: nobody's answers."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return len(set(values)) == 1
    return len({round(b - a, 9) for a, b in itertools.pairwise(numbers)}) == 1
