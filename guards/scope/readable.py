"""Whether a person could read a program: packed payloads, opaque literals, text that reads otherwise than it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from guards.text import decode, entropy

__all__ = ["Unreadable", "deceptive_characters", "opaque_blocks", "runs_what_it_decodes"]

_TOKEN = re.compile(r"[A-Za-z0-9+/=_\-!#$%&()*,.:;<>?@^`{|}~\[\]]{400,}")
_DENSE = re.compile(r"[A-Za-z0-9+/=_\-]{200,}")
_ESCAPES = re.compile(r"(?:\\x[0-9a-fA-F]{2}){64,}")
_DECODERS = re.compile(
    r"\b(?:b(?:16|32|64|85)decode|a85decode|standard_b64decode|urlsafe_b64decode|unhexlify|fromhex|a2b_\w+"
    r"|decompress|marshal|pickle|codecs\.decode|zlib|lzma|bz2)\b"
)
_RUNNERS = re.compile(r"(?<![\w.])(?:exec|eval|compile|__import__)\s*\(|\bmarshal\s*\.\s*loads\b|\bFunctionType\s*\(")
_WRAPPED = re.compile(r"[A-Za-z0-9+/=_\-]{32,399}")
_MIN_ENTROPY = 4.3
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\u2060\u00ad]")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A passage that nobody can read.

    Attributes:
        line: where it starts, from 1.
        size: characters.
        evidence: its beginning.
    """

    line: int
    size: int
    evidence: str


def opaque_blocks(text: str, *, least: int = 400) -> list[Unreadable]:
    """Runs of dense characters that are no words: base64, base85, hex and the like.

    Args:
        text: of a program.
        least: characters below which a run is taken for a hash, a key or a test vector.
    """
    found: list[Unreadable] = []
    for pattern in (_TOKEN, _ESCAPES):
        for match in pattern.finditer(text):
            run = match.group()
            if len(run) >= least and (pattern is _ESCAPES or _is_dense(run)):
                found.append(Unreadable(text.count("\n", 0, match.start()) + 1, len(run), run[:60]))
    return found + _wrapped_blocks(text, least)


def _is_dense(run: str) -> bool:
    sample = run[:4000]
    if "," in sample and _DENSE.search(sample) is None:
        return False  # a minified table or an argument list: long, but of readable parts
    return entropy(sample) >= _MIN_ENTROPY


def _wrapped_blocks(text: str, least: int) -> list[Unreadable]:
    """Payloads that are wrapped into string literals of ordinary width."""
    found: list[Unreadable] = []
    start, size, first = 0, 0, ""
    for number, line in enumerate([*text.split("\n"), ""], 1):
        bare = line.strip().strip("\"'()+\\, brf")
        if _WRAPPED.fullmatch(bare) and _looks_random(bare):
            if not size:
                start, first = number, bare
            size += len(bare)
            continue
        if size >= least:
            found.append(Unreadable(start, size, first[:60]))
        size = 0
    return found


def _looks_random(word: str) -> bool:
    """Upper case, lower case and digits in one run, or hex: identifiers and words are neither."""
    if re.fullmatch(r"[0-9a-fA-F]+", word):
        return True
    upper, lower = sum(c.isupper() for c in word), sum(c.islower() for c in word)
    return 6 * min(upper, lower) >= len(word) and any(c.isdigit() for c in word)


def runs_what_it_decodes(text: str) -> bool:
    """Whether a program both decodes something and runs source or code objects."""
    return bool(_DECODERS.search(text) and _RUNNERS.search(text))


def deceptive_characters(raw: bytes) -> tuple[int, str] | None:
    """The first place where the text reads otherwise than it runs.

    Returns:
        The line (from 1) and what is there, or None.
    """
    if (nul := raw.find(b"\0")) >= 0:
        return raw.count(b"\n", 0, nul) + 1, "a NUL byte"
    decoded = decode(raw)
    if not decoded.valid:
        at = decoded.text.find("\ufffd")
        return decoded.text.count("\n", 0, max(at, 0)) + 1, "bytes that are not UTF-8"
    if match := _BIDI.search(decoded.text):
        code = f"U+{ord(match.group()):04X}"
        return decoded.text.count("\n", 0, match.start()) + 1, f"an invisible or direction-changing character {code}"
    return None
