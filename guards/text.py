"""Bytes of a file that nobody vouches for, as text, with the few facts that guards ask about."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import log2
from pathlib import PurePosixPath

__all__ = ["CODE_SUFFIXES", "decode", "entropy", "is_binary", "is_code", "is_python", "numbered"]

CODE_SUFFIXES = frozenset(
    {".py", ".pyi", ".pyx", ".pxd", ".sh", ".bash", ".js", ".mjs", ".ts", ".tsx", ".c", ".h", ".cc", ".cpp", ".hpp"}
    | {".cu", ".cuh", ".rs", ".go", ".java", ".kt", ".rb", ".jl", ".lua", ".pl", ".r", ".scala", ".swift", ".sql"}
)
"""File name endings of programs that people read."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text, and whether the bytes were valid.

    Attributes:
        text: with U+FFFD where a byte is not UTF-8.
        valid: whether every byte was.
    """

    text: str
    valid: bool


def decode(raw: bytes, *, cap: int = 4 << 20) -> Decoded:
    """At most the first ``cap`` bytes as UTF-8, never an error; a byte order mark is dropped."""
    head = raw[:cap]
    try:
        return Decoded(head.decode("utf-8-sig"), valid=True)
    except UnicodeDecodeError as error:
        cut = len(raw) > cap and error.start >= len(head) - 3
        return Decoded(head.decode("utf-8", "replace"), valid=cut)


def is_binary(raw: bytes) -> bool:
    """Whether git would call it binary: a NUL among the first 8,000 bytes."""
    return b"\0" in raw[:8000]


def is_python(path: str) -> bool:
    """Whether a path names a Python source file."""
    return PurePosixPath(path).suffix in {".py", ".pyi", ".pyw"}


def is_code(path: str) -> bool:
    """Whether a path names a program's source."""
    return PurePosixPath(path).suffix.lower() in CODE_SUFFIXES


def entropy(text: str) -> float:
    """Shannon entropy of the characters, bits a character (0 for the empty string)."""
    total = len(text)
    return -sum(n / total * log2(n / total) for n in Counter(text).values()) if total else 0.0


def numbered(text: str) -> list[tuple[int, str]]:
    """The lines of a text with their numbers, from 1; only newlines end a line, as in a diff."""
    return list(enumerate(text.split("\n"), 1))
