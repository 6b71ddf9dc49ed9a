"""The fast path against the slow and obvious one, on documents made to break it."""

from __future__ import annotations

import io
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.overlap.chunks import read_chunks
from evalkit.overlap.index import ContainmentIndex
from evalkit.overlap.letters import read_letters
from evalkit.overlap.reference import reference_letters, reference_windows
from evalkit.overlap.rules import Rule
from evalkit.overlap.scanning import Scanner
from evalkit.overlap.windows import Window

SPICE = [
    *("\n", '"', "\\", " ", "\t", "'", "é", "e\u0301", "’", "—", "À", "ñ", "Ж", "漢字", "\u00a0", "\x0b", "/"),
    *("\\u2019", "\\nabla", "\u200b", "\u00ad", "ﬁ", "Ｘ", "😀", "<b>", "</b>", "<br/>", "&amp;", "&#39;", "&#233;"),
    *("&lt", "&", "<", "\x00", "½", "ß", "ไทย", "a", "9", "_", "𝔄", "ﷺ", "\u0301", "<p ", "\\\\", "<td"),
    *("&#x1F600;", "\ufeff", "İ", "ſ", "Å", "한글"),
]
WORDS = [
    "the",
    "of",
    "river",
    "table",
    "seven",
    "quantity",
    "Janet",
    "market",
    "12",
    "300",
    "glacier",
    "painter's",
    "x",
]
UNITS = [
    "Janet sells sixteen eggs at the market near the harbour; how many remain unless the river floods?",
    "The painter’s café keeps 300 tables — seven of them under naïve glaciers melting since 1912.",
    "漢字の問題文はここにあります。答えは三百七十二です。次の問題も読んでください。",
    "Сколько рек впадает в море у старой гавани, если считать только крупные?",
    "quantity quantity quantity quantity quantity quantity quantity quantity",
]


def _document(rng: random.Random) -> str:
    rate = rng.choice([0.0, 0.02, 0.1, 0.4])
    pieces = []
    for _ in range(rng.randrange(1, 5)):
        text = rng.choice(UNITS) if rng.random() < 0.5 else " ".join(rng.choices(WORDS, k=rng.randrange(1, 40)))
        cut = rng.randrange(len(text))
        pieces.append(text[cut:] if rng.random() < 0.3 else text)
    joined = " ".join(pieces)
    return "".join(char + (rng.choice(SPICE) if rng.random() < rate else "") for char in joined)


def _same_letters(text: str, *, escaped: bool) -> None:
    letters = read_letters(text.encode(), escaped=escaped)
    codes, starts = reference_letters(text, escaped=escaped)
    assert bytes(letters.codes) == codes
    assert letters.starts.tolist() == starts
    assert len(letters.positions()) == len(codes)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 2**32))
def test_letters_agree_with_the_reference(seed: int) -> None:
    document = _document(random.Random(seed))
    _same_letters(document, escaped=False)
    _same_letters(json.dumps({"t": document}), escaped=True)
    _same_letters(json.dumps({"t": document}, ensure_ascii=False), escaped=True)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.text(max_size=80))
def test_letters_agree_on_any_text(text: str) -> None:
    clean = text.encode("utf-8", "replace").decode()
    _same_letters(clean, escaped=False)
    _same_letters(json.dumps(clean), escaped=True)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read(raw: bytes, escaped: bool) -> None:
    letters = read_letters(raw, escaped=escaped)
    assert int(letters.keep.sum()) == len(letters.codes)
    assert (letters.codes < 0x80).all()
    assert (np.diff(letters.starts) > 0).all()


@pytest.mark.parametrize("window", [Window(24), Window(8), Window(40), Window(3, words=True), Window(13, words=True)])
@pytest.mark.parametrize("encoding", ["text", "ascii", "utf8"])
def test_windows_are_found_none_missing_none_extra(window: Window, encoding: str) -> None:
    rng = random.Random(f"{window.name}{encoding}")
    index = ContainmentIndex.of_texts(UNITS, window, common=10**9)
    hasher = index.hasher
    found_any = 0
    for _ in range(40):
        document = _document(rng)
        escaped = encoding != "text"
        text = json.dumps({"t": document}, ensure_ascii=encoding == "ascii") if escaped else document
        letters = read_letters(text.encode(), escaped=escaped)
        windows = hasher.windows(letters.codes, letters.starts)
        hits = index.look_up(letters.codes, windows)
        found = set(zip(windows.first[hits.window].tolist(), hits.unit.tolist(), hits.offset.tolist(), strict=True))
        assert found == reference_windows(text, UNITS, window, escaped=escaped)
        found_any += len(found)
    assert found_any > 20


@pytest.mark.slow
def test_a_million_windows_against_the_reference() -> None:
    rng = random.Random(20)
    index = ContainmentIndex.of_texts(UNITS, Window(24), common=10**9)
    hasher = index.hasher
    looked_at = 0
    while looked_at < 1_000_000:
        document = _document(rng)
        for escaped, text in (
            (False, document),
            (True, json.dumps({"t": document})),
            (True, json.dumps({"t": document}, ensure_ascii=False)),
        ):
            letters = read_letters(text.encode(), escaped=escaped)
            windows = hasher.windows(letters.codes, letters.starts)
            hits = index.look_up(letters.codes, windows)
            found = set(zip(windows.first[hits.window].tolist(), hits.unit.tolist(), hits.offset.tolist(), strict=True))
            assert found == reference_windows(text, UNITS, Window(24), escaped=escaped)
            looked_at += len(windows.first)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(9, 16))
def test_cutting_a_stream_changes_nothing(seed: int, power: int) -> None:
    """Any block size finds the same matches, in JSON lines and in text."""
    rng = random.Random(seed)
    filler = " ".join(rng.choices(WORDS, k=4000))
    documents = [_document(rng) for _ in range(20)]
    documents[7] += filler + UNITS[0] + filler + UNITS[1]
    rule = Rule("test", Window(24), least=24)
    index = ContainmentIndex.of_texts(UNITS, Window(24))
    lines = "".join(json.dumps({"t": document}) + "\n" for document in documents).encode()
    plain = "\n".join(documents).encode()
    for raw, by_line in ((lines, True), (plain, False)):
        outcomes = []
        for block in (1 << 24, 1 << power):
            scanner = Scanner(index, rule)
            for chunk in read_chunks(io.BytesIO(raw), by_line=by_line, escaped=by_line, block=block):
                scanner.feed(chunk)
            outcomes.append(
                {
                    unit: (t.places, [(m.line, m.at, m.until, m.letters) for m in t.best])
                    for unit, t in scanner.tallies.items()
                }
            )
        assert outcomes[0] == outcomes[1]
        assert outcomes[0]
