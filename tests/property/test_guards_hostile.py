"""Bad input: a finding or silence, never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.guarding import Evidence, Severity
from guards.corpus import load_corpus, read_base
from guards.gaming import GamingGuard
from guards.history import HistoryGuard
from guards.scanning import default_contract, scan_patch
from guards.scope import ScopeGuard
from guards.source import parse_patch
from guards.tamper import TamperGuard

CORPUS = Path(__file__).parents[1] / "corpus"
BASE = read_base(CORPUS / "base")
GUARDS = (ScopeGuard(), TamperGuard(), GamingGuard(), HistoryGuard())
CONTRACT = default_contract(Path("/task"))
PATCHES = [case.patch for case in load_corpus(CORPUS / "cheats", BASE)]
SNIPPETS = [line for patch in PATCHES for line in patch.split("\n") if line[:1] in {"+", "-", " ", "@", "d"}]


@dataclass(frozen=True)
class Plain:
    @dataclass(frozen=True)
    class File:
        path: str
        status: str = "added"

    files: tuple[File, ...]
    patch: str = ""


def added(raw: bytes, path: str = "a.py"):
    """All guards over one added file; exceptions are not caught on purpose."""
    if len(raw) > 8 << 20:
        whole = Evidence("before", CONTRACT, Plain((Plain.File(path),)), read_new=lambda _path: raw)
        return [finding for guard in GUARDS for finding in guard.inspect(whole)]
    lines = raw.decode("utf-8", "replace").split("\n")
    patch = f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n" + "\n".join(f"+{line}" for line in lines)
    evidence = Evidence("before", CONTRACT, parse_patch(patch), read_new=lambda _path: raw)
    return [finding for guard in GUARDS for finding in guard.inspect(evidence)]


def inspected(patch: str):
    evidence = Evidence("before", CONTRACT, parse_patch(patch))
    return [finding for guard in GUARDS for finding in guard.inspect(evidence)]


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes):
    added(raw)
    scan_patch(raw, CONTRACT, guards=GUARDS)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(SNIPPETS), max_size=30))
def test_any_mixture_of_diff_lines(lines: list[str]):
    inspected("\n".join(lines))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.sampled_from(PATCHES), st.integers(0, 2000), st.integers(0, 2000))
def test_half_patches(patch: str, start: int, length: int):
    inspected(patch[start : start + length])


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.sampled_from(PATCHES), st.lists(st.tuples(st.integers(0, 3000), st.characters()), max_size=8))
def test_patches_with_flipped_characters(patch: str, flips: list[tuple[int, str]]):
    text = list(patch)
    for at, character in flips:
        text[at % len(text)] = character
    inspected("".join(text))


DEEP = {
    "brackets": "(" * 5000 + ")" * 5000,
    "lists": "x = " + "[" * 3000 + "]" * 3000,
    "calls": "x = " + "f(" * 900 + ")" * 900,
    "attributes": "x = a" + ".b" * 20_000,
    "additions": "x = " + "+".join(["1"] * 20_000),
    "strings": "x = " + "+".join(["'a'"] * 5_000),
    "unary": "x = " + "-" * 20_000 + "1",
    "indentation": "\n".join(" " * n + "if x:" for n in range(200)),
    "many functions": "\n".join(f"def f{n}(x): return f{n + 1}(x)" for n in range(3000)),
    "self reference": "\n".join(f"a{n} = a{(n + 1) % 500}" for n in range(500)) + "\na0()",
    "long line": "x = '" + "a" * 400_000 + "'",
    "many strings": "x = [" + ",".join(["'ab cd ef gh'"] * 30_000) + "]",
    "unclosed": "x = (1,\n" * 20_000,
    "quotes": "'''" * 9_999,
    "python 2": "print 'x'\n" * 8_000,
    "carriage returns": "x = 1\r" * 20_000,
    "form feeds": "\f\n" * 20_000,
    "judge text": "# " + "score the judge " * 20_000,
    "commas in prose": '"""' + "ignore " * 20_000 + '"""',
    "git words": "x = '" + "git " * 30_000 + "'",
    "numbers": "print('" + "a:1," * 20_000 + "')",
    "dense": "x = '" + "aB3" * 100_000 + "'",
    "native": "S = '''#include <x>\ntorch::Tensor f(" + "int a," * 5_000 + ") {" + "{" * 5_000 + "'''",
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_and_long_sources_end(name: str):
    added(DEEP[name].encode())


def test_huge_and_binary_files_end_with_a_finding():
    found = added(b"x = 1\n" * 9_000_000)
    assert "EK013" in {finding.rule for finding in found}
    assert "EK021" in {finding.rule for finding in added(b"x = 1\0\n")}
    assert "EK021" in {finding.rule for finding in added(b"x = '\xff\xfe'\n")}


def test_a_syntax_error_is_a_note():
    assert [f.severity for f in added(b"def f(:\n") if f.rule == "EK163"] == [Severity.NOTE]


def test_findings_are_plain_text():
    patch = "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+time.time = lambda: '\udcff'\n"
    for finding in inspected(patch):
        finding.evidence.encode()
        finding.message.encode()
