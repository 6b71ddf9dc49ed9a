"""Raw bytes in, letters out: the one pass over a corpus that everything else stands on.

Works on bytes as they lie in the file. JSON escapes, UTF-8, HTML entities and tags are resolved where they occur,
without decoding or parsing the rest; blocks of plain ASCII cost a handful of numpy operations. What a character becomes
is told by :mod:`evalkit.overlap.folding`.
"""
# ruff: noqa: PLR2004 - the constants are those of UTF-8 (RFC 3629) and of JSON strings (RFC 8259)

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.overlap.folding import SPACELESS, table

__all__ = ["ENTITY", "TAGS", "Letters", "entity_code_point", "read_letters"]

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]

ENTITY = re.compile(rb"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|(amp|[lg]t|quot|apos|nbsp|[nm]dash|[lr][sd]quo|hellip));")
"""HTML entities that are resolved; the named ones are all separators."""
TAGS = (
    b"a abbr b big br center code dd div dl dt em font h1 h2 h3 h4 h5 h6 hr i img kbd label li mark ol p pre q s"
    b" section small span strong sub sup table tbody td th thead tr tt u ul var"
).split()
"""HTML elements whose names are separators where they open or close (``<b>``, ``</td>``, ``<p class=``). Names only:
were whole tags skipped, text could hide in an attribute."""

_HEX = np.full(256, 255, np.uint8)
for _digits in (b"0123456789abcdef", b"0123456789ABCDEF"):
    _HEX[np.frombuffer(_digits, np.uint8)] = np.arange(16)
_LOW_BYTES = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
_ENTITY_FIRST = np.array([b in b"#alghqnmrl" for b in range(256)])
_TAG_ENDS = np.array([b in b" />" for b in range(256)])
_CP1252 = np.array([ord(bytes([b]).decode("cp1252", "replace")) for b in range(256)], np.int64)
_U8 = np.arange(256, dtype=np.uint8)
_ALNUM = np.array([chr(b).isalnum() and b < 0x80 for b in range(256)])
_SIZE = np.array(
    [2 if 0xC2 <= b < 0xE0 else 3 if 0xE0 <= b < 0xF0 else 4 if 0xF0 <= b < 0xF5 else 0 for b in range(256)]
)
_PAYLOAD = np.array([0x1F if b < 0xE0 else 0x0F if b < 0xF0 else 0x07 for b in range(256)], np.uint8)
_SHORTEST = np.array([0, 0, 0x80, 0x800, 0x10000])
_TAG_KEYS = np.sort(np.array([int.from_bytes(name, "little") for name in TAGS], np.uint64))


@dataclass(frozen=True, slots=True)
class Letters:
    """The letters of a block of bytes.

    Attributes:
        codes: the folded letters in order, 7-bit.
        starts: index in ``codes`` of the first letter of every word, rising.
        keep: over the block's bytes, which of them hold a letter; letter *i* lies at the *i*-th true byte.
    """

    codes: Bytes
    starts: Ints
    keep: Mask

    def positions(self) -> Ints:
        """Offset in the block of every letter."""
        return np.flatnonzero(self.keep)


@dataclass(frozen=True, slots=True)
class _Chars:
    """Characters that are not plain ASCII: where they lie, how many bytes they take there, which they are."""

    at: Ints
    size: Ints
    point: Ints


def read_letters(raw: bytes, *, escaped: bool) -> Letters:
    """The letters of a block.

    Args:
        raw: a block that cuts no character and no escape sequence in two.
        escaped: whether ``raw`` is JSON, so that backslash sequences stand for characters.

    Returns:
        The letters with the places where words start.
    """
    data = np.frombuffer(raw, np.uint8)
    low = np.bitwise_or(data, _U8[0x20])  # typed scalars: a Python int makes numpy leave its fast loops
    shifted = np.subtract(low, _U8[97])
    keep = np.less(shifted, _U8[26])
    np.subtract(data, _U8[48], out=shifted)
    keep |= np.less(shifted, _U8[10])
    plain = raw.isascii()
    chars: list[_Chars] = [] if plain else [_utf8_chars(data)]
    if escaped and b"\\" in raw:
        chars += _resolve_escapes(data, keep)
    if b"&" in raw:
        chars += _entities(raw, data, keep)
    dropped, forced = _place(chars, low, keep) if chars else (_NONE, _NONE)
    if b"<" in raw:
        keep[_tag_names(data)] = False
    return _compact(low, keep, dropped, forced)


_NONE = np.empty(0, np.int64)


def _compact(low: Bytes, keep: Mask, dropped: Ints, forced: Ints) -> Letters:
    """Word starts travel in the top bit of each letter while separators are squeezed out."""
    starts = np.empty(len(keep), bool)
    starts[:1] = keep[:1]
    np.greater(keep[1:], keep[:-1], out=starts[1:])
    if len(dropped):
        _join_over_dropped(starts, keep, dropped)
    if len(forced):
        starts[forced] = keep[forced]
    marks = np.subtract(_U8[0], starts.view(np.uint8))  # 0 or 255, without a shift, which numpy does byte by byte
    marks &= _U8[0x80]
    low |= marks
    codes = np.compress(keep, low)
    where = np.flatnonzero(np.greater(codes, _U8[0x7F]))
    codes &= _U8[0x7F]
    return Letters(codes, where, keep)


def _join_over_dropped(starts: Mask, keep: Mask, dropped: Ints) -> None:
    """A run of dropped bytes inside a word doesn't start a new one."""
    dropped = np.sort(dropped)
    breaks = np.flatnonzero(np.diff(dropped) != 1)
    first = dropped[np.append(0, breaks + 1)]
    after = dropped[np.append(breaks, len(dropped) - 1)] + 1
    inside = after < len(keep)
    first, after = first[inside], after[inside]
    before = np.where(first > 0, keep[first - 1], False)
    starts[after] = keep[after] & ~before


def _utf8_chars(data: Bytes) -> _Chars:
    """Every non-ASCII character. Bytes that are not UTF-8 are read as Windows-1252, one character each."""
    high = np.flatnonzero(data > _U8[0x7F])
    sizes = _SIZE.take(data[high])
    leads = np.flatnonzero(sizes)
    at, size = high[leads], sizes[leads]
    lead = data[at]
    point = (lead & _PAYLOAD.take(lead)).astype(np.int64)
    good = np.ones(len(at), bool)
    for step in (1, 2, 3):
        some = np.flatnonzero(size > step)
        if not len(some):
            break
        where = at[some] + step
        inside = where < len(data)
        following = np.where(inside, data.take(where, mode="clip"), 0)
        good[some] &= (following & 0xC0) == 0x80
        point[some] = point[some] << 6 | (following & 0x3F)
    good &= (point >= _SHORTEST.take(size)) & (point < 0x110000) & ((point >> 11) != 0x1B)
    if good.all() and int(size.sum()) == len(high):
        return _Chars(at, size, point)
    return _with_strays(data, high, leads[good], _Chars(at[good], size[good], point[good]))


def _with_strays(data: Bytes, high: Ints, leads: Ints, chars: _Chars) -> _Chars:
    """Add the bytes that belong to no valid character."""
    alone = np.ones(len(high) + 4, bool)
    alone[leads] = False
    for step in (1, 2, 3):
        alone[leads[chars.size > step] + step] = False
    stray = high[alone[: len(high)]]
    return _Chars(
        np.concatenate([chars.at, stray]),
        np.concatenate([chars.size, np.ones(len(stray), np.int64)]),
        np.concatenate([chars.point, _CP1252[data[stray]]]),
    )


def _resolve_escapes(data: Bytes, keep: Mask) -> list[_Chars]:
    r"""Take the letters of ``\n``, ``\t``, ``\uXXXX`` … out of ``keep``; return the characters of ``\uXXXX``."""
    slash = data == _U8[0x5C]
    if (slash[1:] & slash[:-1]).any():
        slashes = np.flatnonzero(slash)
        slash[slashes[~_even_in_run(slashes)]] = False
    keep[1:] &= ~slash[:-1]
    hexes = np.flatnonzero(slash[:-1] & (data[1:] == _U8[0x75])) + 1
    if not len(hexes):
        return []
    point = np.zeros(len(hexes), np.int64)
    good = hexes < len(data) - 4
    for step in (1, 2, 3, 4):
        digit = _HEX.take(data.take(hexes + step, mode="clip"))
        good &= digit < _U8[16]
        point = point << 4 | digit
    hexes = hexes[good]
    for step in (1, 2, 3, 4):
        keep[hexes + step] = False
    return [_with_surrogates(hexes - 1, point[good])]


def _even_in_run(slashes: Ints) -> Mask:
    """Which backslashes lead an escape: those at an even place of their run."""
    first = np.empty(len(slashes), bool)
    first[:1] = True
    np.not_equal(slashes[1:] - slashes[:-1], 1, out=first[1:])
    beginning = np.flatnonzero(first)
    place = np.arange(len(slashes)) - np.repeat(beginning, np.diff(np.append(beginning, len(slashes))))
    even: Mask = (place & 1) == 0
    return even


def _with_surrogates(at: Ints, point: Ints) -> _Chars:
    """Join surrogate pairs; a lone surrogate stays, and folds to a separator."""
    size = np.full(len(at), 6, np.int64)
    high = (point[:-1] >> 10 == 0x36) & (point[1:] >> 10 == 0x37) & (np.diff(at) == 6)
    pair = np.flatnonzero(high)
    point[pair] = 0x10000 + ((point[pair] - 0xD800) << 10) + (point[pair + 1] - 0xDC00)
    size[pair] = 12
    alone = np.ones(len(at), bool)
    alone[pair + 1] = False
    return _Chars(at[alone], size[alone], point[alone])


def entity_code_point(match: re.Match[bytes]) -> int:
    """The character of an entity; a space for the named ones, which are all separators."""
    decimal, hexadecimal, _ = match.groups()
    point = int(decimal) if decimal else int(hexadecimal, 16) if hexadecimal else 32
    return point if point < 0x110000 else 32


def _entities(raw: bytes, data: Bytes, keep: Mask) -> list[_Chars]:
    ampersand = np.flatnonzero(data == _U8[0x26])
    likely = ampersand[_ENTITY_FIRST.take(data.take(ampersand + 1, mode="clip"))]
    matches = (ENTITY.match(raw, at) for at in likely.tolist())
    found = [(m.start(), m.end() - m.start(), entity_code_point(m)) for m in matches if m]
    if not found:
        return []
    at, size, point = np.array(found, np.int64).T
    keep[_ranges(at, size)] = False
    return [_Chars(at, size, point)]


def _tag_names(data: Bytes) -> Ints:
    """Offsets of the bytes of tag names."""
    opening = np.flatnonzero(data == _U8[0x3C])
    first = opening + 1 + (data.take(opening + 1, mode="clip") == _U8[0x2F])
    padded = np.append(data, np.zeros(16, np.uint8))
    eights = np.ndarray((len(padded) - 7,), np.uint64, padded, strides=(1,))[first]
    names = eights.view(np.uint8).reshape(-1, 8) | _U8[0x20]
    alnum = _ALNUM.take(names)
    length = np.argmin(alnum, axis=1)
    keys = names.view(np.uint64).ravel() & _LOW_BYTES.take(length)
    known = _TAG_KEYS.take(np.searchsorted(_TAG_KEYS, keys), mode="clip") == keys
    known &= _TAG_ENDS.take(padded[first + length])
    return _ranges(first[known], length[known])


def _place(chars: list[_Chars], low: Bytes, keep: Mask) -> tuple[Ints, Ints]:
    """Write the folded characters over their bytes. Returns offsets of dropped bytes and of forced word starts."""
    packed = table().look_up(np.concatenate([c.point for c in chars]))
    some = np.flatnonzero(packed)  # separators need nothing
    if not len(some):
        return _NONE, _NONE
    packed = packed[some]
    at = np.concatenate([c.at for c in chars])[some]
    size = np.concatenate([c.size for c in chars])[some]
    count = np.minimum(packed >> 32 & 15, size)  # a stray byte has room for one code
    for step in range(int(count.max())):
        room = np.flatnonzero(count > step)
        where = at[room] + step
        low[where] = packed[room] >> (8 * step) & 0x7F
        keep[where] = True
    return _ranges(at + count, size - count), at[packed >> 36 == SPACELESS]


def _ranges(first: Ints, length: Ints) -> Ints:
    """All offsets of the ranges ``first … first + length``."""
    some = length > 0
    first, length = first[some], length[some].astype(np.int64)
    total = np.cumsum(length)
    if not len(total):
        return _NONE
    return np.repeat(first - np.append(0, total[:-1]), length) + np.arange(total[-1])
