"""How characters compare: one folded form a character, the same wherever the character came from.

Two texts overlap when their *letters* agree. A letter is an ASCII letter or digit in lower case, or one 7-bit code of
a character that has no ASCII form. Folding takes away what reformatting changes and keeps what carries meaning:

* case, accents, ligatures, full-width and other compatibility forms (Unicode NFKD, UAX #15), so that NFC and NFD
  text, ``ﬁ`` and ``fi``, ``Ｘ`` and ``x`` agree;
* Cyrillic and Greek letters that look like Latin ones (a small subset of the Unicode confusables, UTS #39);
* soft hyphens, zero-width characters, joiners and combining marks are *dropped*: they neither are letters nor end a
  word;
* every other character is a *separator*.

Characters of scripts that write no spaces (Chinese, Japanese, Thai, …) each start a word.
"""
# ruff: noqa: PLR2004 - the constants are those of UTF-8 (RFC 3629)

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DROPPED", "LETTER", "SEPARATOR", "SPACELESS", "Fold", "FoldTable", "fold", "table"]

SEPARATOR, LETTER, SPACELESS, DROPPED = 0, 1, 2, 3
"""Classes of characters; ``SPACELESS`` is a letter that also starts a word."""

_UNKNOWN = 255
_CODE_POINTS = 0x110000
_CONFUSABLES = dict(
    zip(
        "абсԁеһіјкӏорԛѕтухԝзвмнг" + "αβγειικνορτυχηωμ",
        "abcdehijklopqstuxw3bmhr" + "abyeiiknoptuxnwm",
        strict=True,
    )
)
_SPACELESS_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x9FFF),  # CJK ideographs
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


@dataclass(frozen=True, slots=True)
class Fold:
    """What one character becomes.

    Attributes:
        kind: ``SEPARATOR``, ``LETTER``, ``SPACELESS`` or ``DROPPED``.
        codes: 7-bit codes, 1 to 4 of them and never more than the character has bytes in UTF-8; empty unless a letter.
    """

    kind: int
    codes: bytes = b""


def utf8_size(code_point: int) -> int:
    """Bytes that a code point takes in UTF-8 (surrogates count as 3)."""
    return 1 if code_point < 0x80 else 2 if code_point < 0x800 else 3 if code_point < 0x10000 else 4


def _own_codes(code_point: int) -> bytes:
    """A character without ASCII form, six bits a byte, in codes that no ASCII letter or digit uses."""
    size = utf8_size(code_point)
    sixes = ((code_point >> (6 * place)) & 63 for place in reversed(range(size)))
    return bytes((six & 31) | ((six & 32) << 1) for six in sixes)


def _encode(text: str) -> bytes | None:
    """Codes of folded text, or None where a character of it is no letter."""
    codes = bytearray()
    for char in text:
        if char.isascii():
            if not char.isalnum():
                return None
            codes += char.encode()
        else:
            codes += _own_codes(ord(char))
    return bytes(codes)


def _canonical(char: str) -> str:
    """Lower case, no marks, compatibility forms resolved, look-alikes as Latin; may be several characters."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.category(c).startswith("M"))
    folded = unicodedata.normalize("NFC", bare.casefold())
    return "".join(_CONFUSABLES.get(c, c) for c in folded)


def _kind(char: str, code_point: int) -> int:
    category = unicodedata.category(char)
    if category.startswith("M") or category == "Cf":
        return DROPPED
    if category[0] not in "LN":
        return SEPARATOR
    spaceless = any(low <= code_point <= high for low, high in _SPACELESS_RANGES)
    return SPACELESS if spaceless else LETTER


@functools.lru_cache(maxsize=1 << 15)
def fold(code_point: int) -> Fold:
    """The folded form of one character.

    A compatibility form that would need more room than the character itself (``㌔``, ``ﷺ``) keeps its own code.
    """
    char = chr(code_point)
    kind = _kind(char, code_point)
    if kind in (SEPARATOR, DROPPED):
        return Fold(kind)
    for form in (_canonical(char), char.lower()):
        codes = _encode(form)
        if codes and len(codes) <= utf8_size(code_point):
            return Fold(kind, codes)
    return Fold(kind, _own_codes(code_point))


class FoldTable:
    """The fold of every character for arrays of code points, filled as characters turn up.

    One integer a character: 0 for a separator, else codes in the low 32 bits (first code lowest), how many codes in the
    next 4, the kind above.
    """

    def __init__(self) -> None:
        self._packed = np.full(_CODE_POINTS, -1, np.int64)

    def look_up(self, points: NDArray[np.int64]) -> NDArray[np.int64]:
        """Packed folds of code points below 0x110000."""
        packed = self._packed.take(points)
        if packed.min(initial=0) < 0:
            for point in np.unique(points[packed < 0]).tolist():
                found = fold(point)
                value = int.from_bytes(found.codes, "little") | len(found.codes) << 32 | found.kind << 36
                self._packed[point] = value
            packed = self._packed.take(points)
        return packed


@functools.cache
def table() -> FoldTable:
    """The process's table."""
    return FoldTable()
