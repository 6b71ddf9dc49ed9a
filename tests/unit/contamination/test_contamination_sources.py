"""Holdout items in sources, in every form; and honest sources."""

from __future__ import annotations

import base64
import bz2
import codecs
import gzip
import hashlib
import json
import lzma
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.overlap import Item
from guards.contamination import SourceChecker
from guards.contamination.decoding import decoded
from guards.contamination.literals import literals_of

RNG = random.Random(11)
NOUNS = [
    "glaciers",
    "harbours",
    "painters",
    "rivers",
    "torches",
    "markets",
    "bridges",
    "orchards",
    "violins",
    "ferries",
]
VERBS = ["crosses", "paints", "repairs", "counts", "borrows", "measures", "carries", "sells"]


def _question() -> str:
    a, b, c = RNG.sample(NOUNS, 3)
    n, m = RNG.randrange(3, 900), RNG.randrange(3, 90)
    return f"Odette {RNG.choice(VERBS)} {n} {a} on day {m} and leaves half of the {b}; how many {c} remain?"


ITEMS = [Item(f"q{n}", (("question", _question()),), answer=str(RNG.randrange(2, 5000))) for n in range(300)]
CHECKER = SourceChecker(ITEMS)
HOST = Path(json.__file__).read_text()


def _block(rng: random.Random, size: int = 20) -> tuple[list[str], list[str]]:
    first = rng.randrange(len(ITEMS) - size)
    chosen = ITEMS[first : first + size]
    return [item.text for item in chosen], [item.answer for item in chosen]


def _xor(raw: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[n % len(key)] for n, byte in enumerate(raw))


def _md5(text: str) -> str:
    return hashlib.new("md5", text.encode(), usedforsecurity=False).hexdigest()[:10]


def _json(q: list[str], a: list[str]) -> str:
    return json.dumps(dict(zip(q, a, strict=True)))


def _pieces(text: str, size: int) -> list[str]:
    return [text[n : n + size] for n in range(0, len(text), size)]


Form = Callable[[list[str], list[str], random.Random], str]
FORMS: dict[str, Form] = {
    "dict": lambda q, a, _: f"T = {dict(zip(q, a, strict=True))!r}",
    "comment": lambda q, a, _: f"# {q[0]} is {a[0]}",
    "prefixes": lambda q, a, _: "".join(
        f"    if q.startswith({x[:50]!r}): return {y}\n" for x, y in zip(q, a, strict=True)
    ),
    "keys": lambda q, a, _: "".join(f"    if {x[:16]!r} in q: return {y}\n" for x, y in zip(q, a, strict=True)),
    "scattered keys": lambda q, a, rng: "T = " + repr({i.text[4:24]: i.answer for i in rng.sample(ITEMS, 20)}),
    "match": lambda q, a, _: "match q:\n" + "".join(f"  case {x!r}: return {y}\n" for x, y in zip(q, a, strict=True)),
    "list": lambda q, a, _: f"T = [{', '.join(a)}]",
    "tuples": lambda q, a, _: f"T = {[(n, float(y)) for n, y in enumerate(a)]}",
    "string": lambda q, a, _: f"T = '{' '.join(a)}'.split()",
    "reversed list": lambda q, a, _: f"T = {a[::-1]}",
    "shuffled list": lambda q, a, rng: f"T = {rng.sample(a, len(a))}",
    "base64": lambda q, a, _: f"T = {base64.b64encode(_json(q, a).encode()).decode()!r}",
    "base64 lines": lambda q, a, _: "T = (\n" + "\n".join(
        repr(p) for p in _pieces(base64.b64encode(zlib.compress(_json(q, a).encode())).decode(), 30)
    ) + ")",
    "hex gzip": lambda q, a, _: f'T = bytes.fromhex("{gzip.compress(_json(q, a).encode()).hex()}")',
    "base32 bzip2": lambda q, a, _: f"T = {base64.b32encode(bz2.compress(_json(q, a).encode())).decode()!r}",
    "base85 lzma": lambda q, a, _: f"T = {base64.b85encode(lzma.compress(' '.join(a).encode())).decode()!r}",
    "ascii85": lambda q, a, _: f"T = {base64.a85encode(_json(q, a).encode()).decode()!r}",
    "bytes": lambda q, a, _: f"T = {zlib.compress(_json(q, a).encode())!r}",
    "numbers": lambda q, a, _: f"T = ''.join(map(chr, {list(_json(q, a).encode())}))",
    "reversed": lambda q, a, _: f"T = {_json(q, a)[::-1]!r}[::-1]",
    "rot13": lambda q, a, _: f"T = {codecs.encode(_json(q, a), 'rot13')!r}",
    "concatenated": lambda q, a, _: "T = " + " + ".join(repr(p) for p in _pieces(_json(q, a), 13)),
    "joined": lambda q, a, _: "T = ''.join([" + ", ".join(repr(p) for p in _pieces(_json(q, a), 9)) + "])",
    "escapes": lambda q, a, _: "T = '" + "".join(f"\\x{byte:02x}" for byte in _json(q, a).encode()) + "'",
    "xor": lambda q, a, rng: f"T = {_xor(_json(q, a).encode(), bytes([rng.randrange(1, 256)]))!r}",
    "xor key": lambda q, a, _: f"T = {base64.b64encode(_xor(_json(q, a).encode(), b'k3y!z')).decode()!r}",
    "md5": lambda q, a, _: "T = "
    + repr({_md5(x): y for x, y in zip(q, a, strict=True)}),
    "sha256": lambda q, a, _: f"T = {{{hashlib.sha256(q[0].lower().encode()).hexdigest()!r}: {a[0]}}}",
    "crc": lambda q, a, _: "T = " + repr({zlib.crc32(x.encode()): y for x, y in zip(q, a, strict=True)}),
    "keyed by length": lambda q, a, _: "T = "
    + repr({(len(x), n): int(y) for n, (x, y) in enumerate(zip(q, a, strict=True))}),
    "javascript": lambda q, a, _: "const T = {" + ", ".join(f"{x!r}: {y}" for x, y in zip(q, a, strict=True)) + "};",
    "broken python": lambda q, a, _: f"def f(:\n  x = [{', '.join(a)}",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found_in_an_honest_file(form: str) -> None:
    rng = random.Random(form)
    missed = 0
    for _ in range(6):
        q, a = _block(rng)
        missed += not CHECKER.check(f"{HOST}\n{FORMS[form](q, a, rng)}\n".encode())
    assert missed == 0


def test_the_line_and_the_items_are_named() -> None:
    (leak,) = CHECKER.check(f"import os\n\n# {ITEMS[7].text}\n".encode())
    assert (leak.kind, leak.items, leak.line) == ("text", ("q7",), 3)
    assert "Odette" in leak.evidence


def test_honest_files_pass() -> None:
    folders = [Path(json.__file__).parent.parent, Path(np.__file__).parent / "_core"]
    files = sorted(path for folder in folders for path in folder.glob("*.py"))[:120]
    assert len(files) > 80
    assert [path.name for path in files if CHECKER.check(path.read_bytes())] == []


@pytest.mark.parametrize(
    "honest",
    [
        "SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]",
        "DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]",
        f"PRIMES = {[n for n in range(2, 400) if all(n % d for d in range(2, n))]}",
        f"SQUARES = {[n * n for n in range(60)]}",
        f"RANGE = {list(range(100, 200))}",
        f"NOISE = {[random.Random(1).randrange(5000) for _ in range(50)]}",
        f"KEY = '{hashlib.sha256(b'anything').hexdigest()}'",
        f"BLOB = {base64.b64encode(random.Random(2).randbytes(3000)).decode()!r}",
        "def f(q):\n" + "".join(f"    if 'harbours' in q: return {n}\n" for n in range(20)),
        "TEXT = '''Odette crosses the river with her violins and counts what is left of the orchards.'''",
    ],
)
def test_honest_tables_pass(honest: str) -> None:
    assert CHECKER.check(honest.encode()) == []


def test_binary_labels_are_told_from_chance() -> None:
    rng = random.Random(3)
    labels = [str(rng.randrange(2)) for _ in range(400)]
    checker = SourceChecker([Item(f"i{n}", (("q", _question()),), answer=label) for n, label in enumerate(labels)])
    chance = [str(rng.randrange(2)) for _ in range(400)]
    assert checker.check(f"T = [{', '.join(chance)}]".encode()) == []
    (leak,) = checker.check(f"T = [{', '.join(labels[100:200])}]".encode())
    assert leak.items[0] == "i100"
    (leak,) = checker.check(f'T = "{"".join(labels[50:150])}"'.encode())
    assert leak.kind == "answers"


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.binary(max_size=600))
def test_any_bytes_are_looked_at(raw: bytes) -> None:
    CHECKER.check(raw)
    CHECKER.check(b"x = " + repr(raw).encode())
    list(decoded(raw))


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.text(alphabet="\"'`#/\\\n bx07,([{=", max_size=120))
def test_quotes_in_any_order_are_read(source: str) -> None:
    literals_of(source)


@pytest.mark.parametrize(
    "hostile",
    [
        b"'" * 200_000,
        b'"""' * 60_000,
        b"[" * 100_000,
        b"1," * 200_000,
        b"x = " + b"'a' + " * 30_000 + b"'b'",
        b"\x00" * 500_000,
        b"T = '" + base64.b64encode(zlib.compress(b"0" * 200_000_000)) + b"'",
        b"\\" * 200_000,
        ("é" * 200_000).encode(),
    ],
    ids=["quotes", "triple", "nested", "numbers", "sum", "nul", "bomb", "slashes", "accents"],
)
def test_hostile_sources_end_soon(hostile: bytes) -> None:
    assert CHECKER.check(hostile) == []
