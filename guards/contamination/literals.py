"""What a source writes down, found without parsing it: strings, runs of values, pairs of a string and a value.

Works on the text itself, in any language and in files that don't parse: literals are found by their quotes and digits,
and what stands between two of them says whether they belong together. Nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from guards.contamination.decoding import unescaped

__all__ = ["Literals", "literals_of", "split_values"]

_LITERAL = re.compile(
    r"""(?P<prefix>\b[rbfuRBFU]{1,2})?(?P<string>\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}"""
    r"""|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`\n]*`)"""
    r"""|(?P<number>(?<![\w.])-?\d[\d_,]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.]))|#[^\n]*|//[^\n]*|\b(?:True|False|None)\b""",
    re.DOTALL,
)
_BETWEEN = re.compile(r"[\s,;:()\[\]{}+|=>\\]*")
_RETURNED = re.compile(r"""return\b\s*\(?\s*(-?\d[\d_.]*|"[^"\n]*"|'[^'\n]*')\s*\)?;?\s*(?:#[^\n]*)?$""", re.MULTILINE)
_TOKEN = re.compile(r"[^\s,;|]+")
_LEAST_RUN = 6
_BYTE_RUN = 24
_PAIR_GAP = 80
_COLUMNS = (2, 3)
_BYTE_DIGITS, _TOP_BYTE = 3, 255


@dataclass(slots=True)
class Literals:
    """What was found in one source; every entry begins with its offset.

    Attributes:
        texts: strings, escapes resolved, and what neighbouring strings or numbers spell together; and whether the
            source itself reads otherwise.
        sequences: runs of values, as text; of tables also each column.
        pairs: a string and the value after it (dict items, ``if … in question: return …``, tuples).
    """

    texts: list[tuple[int, bytes, bool]] = field(default_factory=list)
    sequences: list[tuple[int, list[str]]] = field(default_factory=list)
    pairs: list[tuple[int, str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Token:
    start: int
    end: int
    value: str
    quoted: bool


def literals_of(source: str) -> Literals:
    """Read the literals of a source, in one pass."""
    found = Literals()
    run: list[_Token] = []
    for token in _tokens(source, found):
        if run and not _BETWEEN.fullmatch(source, run[-1].end, token.start):
            _close(run, found)
            if run[-1].quoted and token.start - run[-1].end <= _PAIR_GAP:
                found.pairs.append((run[-1].start, run[-1].value, token.value))
            run = []
        elif run and run[-1].quoted:
            found.pairs.append((run[-1].start, run[-1].value, token.value))
        run.append(token)
    if run:
        _close(run, found)
    returned = [(match.start(), match.group(1).strip("\"'")) for match in _RETURNED.finditer(source)]
    if len(returned) >= _LEAST_RUN:
        found.sequences.append((returned[0][0], [value for _, value in returned]))
    return found


def _tokens(source: str, found: Literals) -> Iterator[_Token]:
    """Strings and numbers in order; strings are noted as texts on the way."""
    for match in _LITERAL.finditer(source):
        string = match.group("string")
        if string is not None:
            quotes = 3 if string[:3] in {'"""', "'''"} else 1
            inner = string[quotes:-quotes]
            raw = _unescaped(inner, match.group("prefix") or "")
            if raw:
                found.texts.append((match.start(), raw, "\\" in inner))
            yield _Token(match.start(), match.end(), inner, quoted=True)
        elif (number := match.group("number")) is not None:
            yield from _numbers(match.start(), number)


def _numbers(start: int, text: str) -> Iterator[_Token]:
    """``12,7,300`` is three numbers, ``1,234`` perhaps one: both readings are for the reader of sequences to try."""
    for match in re.finditer(r"[^,]+", text):
        yield _Token(start + match.start(), start + match.end(), match.group().replace("_", ""), quoted=False)


def _unescaped(inner: str, prefix: str) -> bytes:
    raw = inner.encode("utf-8", "replace")
    return raw if "r" in prefix.lower() else unescaped(raw)


def _close(run: list[_Token], found: Literals) -> None:
    """A run of literals with nothing but punctuation between them."""
    strings = [token.value for token in run if token.quoted]
    if len(strings) > 1:
        found.texts.append((run[0].start, _unescaped("".join(strings), ""), False))
    if len(run) < _LEAST_RUN:
        return
    values = [token.value for token in run]
    found.sequences.append((run[0].start, values))
    for width in _COLUMNS:
        if len(values) >= width * _LEAST_RUN:
            found.sequences += [(run[0].start, values[first::width]) for first in range(width)]
    if len(run) - len(strings) >= _BYTE_RUN:
        numbers = [token.value for token in run if not token.quoted]
        spelled = [int(value) for value in numbers if value.isdecimal() and len(value) <= _BYTE_DIGITS]
        if len(spelled) >= _BYTE_RUN and max(spelled) <= _TOP_BYTE:
            found.texts.append((run[0].start, bytes(spelled), True))


def split_values(text: str) -> list[str]:
    """The values of ``"12 7 x"``, ``"12,7,x"`` or a JSON list."""
    return [token.strip("\"'[](){}:") for token in _TOKEN.findall(text)]
