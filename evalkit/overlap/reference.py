"""The same answers the slow and obvious way: the yardstick that the fast path is fuzzed against.

Shares nothing with the fast path but :func:`evalkit.overlap.folding.fold` and the patterns for entities and tags.
"""
# ruff: noqa: PLR2004, FURB166 - the constants are those of UTF-16 surrogates and of JSON escapes

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from evalkit.overlap.folding import DROPPED, LETTER, SEPARATOR, SPACELESS, fold
from evalkit.overlap.letters import ENTITY, TAGS, entity_code_point
from evalkit.overlap.windows import Window

__all__ = ["reference_letters", "reference_windows"]

_NAMES = "|".join(sorted((name.decode() for name in TAGS), key=len, reverse=True))
_TOKEN = re.compile(rf"</?(?:{_NAMES})(?=[ />])|&[#\w]{{1,9}};|\\u[0-9a-fA-F]{{4}}|\\.|.", re.IGNORECASE | re.DOTALL)
_TOKEN_PLAIN = re.compile(rf"</?(?:{_NAMES})(?=[ />])|&[#\w]{{1,9}};|.", re.IGNORECASE | re.DOTALL)


def _code_points(text: str, *, escaped: bool) -> Iterator[int]:
    """The characters that a text stands for; -1 for what separates."""
    for token in (_TOKEN if escaped else _TOKEN_PLAIN).findall(text):
        if len(token) == 1:
            yield ord(token)
        elif token[0] == "&":
            entity = ENTITY.fullmatch(token.encode("utf-8", "surrogatepass"))
            yield from [entity_code_point(entity)] if entity else map(ord, token)
        elif token[0] == "\\" and len(token) == 6:
            yield int(token[2:], 16)
        else:
            yield -1


def _joined_surrogates(points: list[int]) -> Iterator[int]:
    place = 0
    while place < len(points):
        high = points[place]
        low = points[place + 1] if place + 1 < len(points) else 0
        if 0xD800 <= high < 0xDC00 <= low < 0xE000:
            yield 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
            place += 2
        else:
            yield high
            place += 1


def reference_letters(text: str, *, escaped: bool) -> tuple[bytes, list[int]]:
    """Letters of a text and where its words start.

    Args:
        text: valid text; with ``escaped``, valid JSON.
        escaped: whether backslash sequences stand for characters.
    """
    codes = bytearray()
    starts: list[int] = []
    inside = False
    for point in _joined_surrogates(list(_code_points(text, escaped=escaped))):
        found = fold(point) if point >= 0 else None
        kind = found.kind if found else SEPARATOR
        if kind == DROPPED:
            continue
        if found and kind in (LETTER, SPACELESS):
            if not inside or kind == SPACELESS:
                starts.append(len(codes))
            codes += found.codes
        inside = kind in (LETTER, SPACELESS)
    return bytes(codes), starts


def reference_windows(text: str, units: Sequence[str], window: Window, *, escaped: bool) -> set[tuple[int, int, int]]:
    """Every (start in the text's letters, unit, offset in the unit) at which a window of the unit occurs."""
    places: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for number, unit in enumerate(units):
        for offset, letters in _windows(*reference_letters(unit.replace("\n", " "), escaped=False), window):
            places[letters].append((number, offset))
    found = _windows(*reference_letters(text, escaped=escaped), window)
    return {(at, number, offset) for at, letters in found for number, offset in places.get(letters, ())}


def _windows(codes: bytes, starts: list[int], window: Window) -> Iterator[tuple[int, bytes]]:
    for word, first in enumerate(starts):
        if not window.words:
            end = first + window.size
        elif word + window.size <= len(starts):
            end = starts[word + window.size] if word + window.size < len(starts) else len(codes)
        else:
            return
        if end <= len(codes):
            yield first, codes[first:end]
