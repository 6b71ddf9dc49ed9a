"""What a literal may hide: encodings and compression undone, simple ciphers guessed, to a fixed depth and size."""

from __future__ import annotations

import base64
import binascii
import bz2
import codecs
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

__all__ = ["LEAST", "decoded", "unescaped"]

LEAST = 16
"""Bytes below which a literal is not decoded: it can't hold an item."""
_DEPTH = 3
_WORD = 40  # bytes that no name or path of a program often exceeds
_HEX_PAIRS = re.compile(rb"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s,]+){8}")
_ENGLISH = re.compile(rb"\b(?:the|and|of|to|is|in|for|how|if|or|a)\b", re.IGNORECASE)
_NAME = re.compile(rb"[\w./:%@,*\[\]()<>|?=&{}#-]+")
_PUNCTUATION = bytes(
    set(range(33, 127)) - set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./_-\"',\\")
)
_MOST = 4 << 20
_FORMS_MOST = 200
_MOST_IN_ALL = 8 << 20
_HEX = re.compile(rb"[0-9a-fA-F]+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_BASE32 = re.compile(rb"[A-Z2-7]+={0,6}")
_SPACES = re.compile(rb"\s+")
_ESCAPES = re.compile(rb"\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}")
_ESCAPE = re.compile(rb"\\(?:(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|([0-7]{1,3})|(.))", re.DOTALL)
_SIMPLE = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"\\": b"\\", b"'": b"'", b'"': b'"', b"\n": b""}
_CODE_POINTS = 0x110000
_CIPHERED = 1 << 18  # bytes of one form that ciphers are tried on
_SAMPLE = 1 << 13  # bytes that letter frequencies are taken from
_FREQUENT = b' etao"'
_KEY_LENGTHS = 16
_PER_COLUMN = 12
_PRINTABLE = bytes([*b"\n\t\r", *range(32, 127)])
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def decoded(raw: bytes) -> Iterator[bytes]:
    """Everything that the bytes may stand for, nearest first; not the bytes themselves.

    Encodings are followed three deep, ciphers (XOR, letter shifts, reversal) are tried once on what comes out.

    Args:
        raw: a literal's bytes.
    """
    seen = {raw}
    level = [raw]
    left = _MOST_IN_ALL
    for _ in range(_DEPTH):
        following: list[bytes] = []
        for one in level:
            for form in _encodings(one):
                if len(form) >= LEAST and form not in seen and len(seen) < _FORMS_MOST and left > 0:
                    seen.add(form)
                    left -= len(form)
                    following.append(form)
                    yield form
        level = following
        if not level:
            break
    for one in tuple(seen):
        for form in _ciphers(one):
            if form not in seen:
                seen.add(form)
                yield form
                yield from (inner for inner in _encodings(form) if len(inner) >= LEAST)


def unescaped(raw: bytes) -> bytes:
    r"""A string literal's bytes with ``\xNN``, ``\uNNNN``, ``\n`` and their like resolved; unknown escapes stay."""
    return _ESCAPE.sub(_resolved, raw) if b"\\" in raw else raw


def _resolved(match: re.Match[bytes]) -> bytes:
    digits, octal, simple = match.groups()
    if digits:
        point = int(digits[1:], 16)
        if digits[:1] == b"x":
            return bytes([point])
        return chr(point).encode("utf-8", "replace") if point < _CODE_POINTS else match.group()
    if octal:
        return bytes([int(octal, 8) & 255])
    return _SIMPLE.get(simple, match.group())


def _encodings(raw: bytes) -> Iterator[bytes]:
    """Decodings that the bytes themselves announce."""
    yield from _decompressed(raw)
    if _ESCAPES.search(raw):
        yield unescaped(raw)
    if b" " in raw[:_WORD] and not _HEX_PAIRS.match(raw):
        return
    packed = _SPACES.sub(b"", raw)
    if len(packed) < LEAST:
        return
    if len(packed) % 2 == 0 and _HEX.fullmatch(packed):
        yield binascii.unhexlify(packed)
    if _BASE64.fullmatch(packed) and _is_mixed(packed):
        plain = packed.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        yield from _tried(lambda: base64.b64decode(plain + b"=" * (-len(plain) % 4)))
    if len(packed) % 8 == 0 and _BASE32.fullmatch(packed):
        yield from _tried(lambda: base64.b32decode(packed))
    dense = packed == raw and len(raw) >= _WORD and len(raw.translate(None, _PUNCTUATION)) < 0.9 * len(raw)
    if dense and b'"' not in raw and b"," not in raw:
        yield from _tried(lambda: base64.b85decode(packed))
    if packed.startswith(b"<~") or dense:
        yield from _tried(lambda: base64.a85decode(packed, adobe=packed.startswith(b"<~")))


def _is_mixed(packed: bytes) -> bool:
    """Long words and identifiers look like base64 too; real base64 mixes cases, or has digits, or padding."""
    if packed.islower() or packed.isupper():
        return False
    return len(packed) < _WORD or any(byte in packed for byte in b"0123456789+/")


def _tried(decode: Callable[[], bytes]) -> Iterator[bytes]:
    try:
        found = decode()
    except (ValueError, OverflowError):
        return
    if found:
        yield found[:_MOST]


def _decompressed(raw: bytes) -> Iterator[bytes]:
    """Compressed data, up to a fixed size: a bomb is cut, not followed."""
    if raw[:1] == b"\x78":
        yield from _inflated(zlib.decompressobj(), raw)
    elif raw[:2] == b"\x1f\x8b":
        yield from _inflated(zlib.decompressobj(31), raw)
    elif raw[:3] == b"BZh":
        yield from _inflated(bz2.BZ2Decompressor(), raw)
    elif raw[:6] == b"\xfd7zXZ\x00" or raw[:3] == b"]\x00\x00":
        yield from _inflated(lzma.LZMADecompressor(memlimit=256 << 20), raw)


def _inflated(machine: zlib._Decompress | bz2.BZ2Decompressor | lzma.LZMADecompressor, raw: bytes) -> Iterator[bytes]:
    try:
        found = machine.decompress(raw, _MOST)
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError):
        return
    if found:
        yield found


def _ciphers(raw: bytes) -> Iterator[bytes]:
    """Reversal, letter shifts and XOR, with the keys that letter frequencies suggest."""
    if len(raw) < _WORD or _is_english(raw):
        return
    raw = raw[:_CIPHERED]
    yield raw[::-1]
    low = raw.lower()
    if len(low.translate(None, _LETTERS)) * 2 < len(raw):
        yield codecs.encode(raw.decode("latin-1"), "rot13").encode("latin-1")
        top = max(_LETTERS, key=low[:_SAMPLE].count)
        for wanted in b"eta":
            if shift := (wanted - top) % 26:
                yield _shifted(low, shift)
    if not _looks_like_text(raw) and not _NAME.fullmatch(raw):
        yield from _xored(raw)


def _is_english(raw: bytes) -> bool:
    """A small word in every sixty bytes."""
    head = raw[:600]
    return len(_ENGLISH.findall(head)) * 60 > len(head)


def _shifted(low: bytes, shift: int) -> bytes:
    return low.translate(bytes.maketrans(_LETTERS, _LETTERS[shift:] + _LETTERS[:shift]))


def _looks_like_text(raw: bytes) -> bool:
    """Words with spaces between them."""
    head = raw[:4096]
    strange = len(head.translate(None, _PRINTABLE))
    return strange < 0.05 * len(head) and head.count(b" ") > len(head) // 16


def _xored(raw: bytes) -> Iterator[bytes]:
    """XOR with a repeating key: in every column the most frequent byte stands for a space, an e, a quote."""
    for length in range(1, _KEY_LENGTHS + 1):
        columns = [raw[start:_SAMPLE:length] for start in range(length)]
        if len(columns[-1]) < _PER_COLUMN:
            return
        tops = [Counter(column).most_common(1)[0] for column in columns]
        if length > 1 and sum(count for _, count in tops) < min(len(raw), _SAMPLE) // 9:
            continue  # a wrong length flattens the columns
        for wanted in _FREQUENT if length == 1 else b" e":
            key = bytes(top ^ wanted for top, _ in tops)
            if any(key):
                table = (key * (len(raw) // length + 1))[: len(raw)]
                yield (int.from_bytes(raw) ^ int.from_bytes(table)).to_bytes(len(raw))
