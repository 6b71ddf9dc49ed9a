"""Hard-coded answers: every form many times over in honest files, and honest files alone."""
# ruff: noqa: PLR2004, S311, S324 - targets, random texts and digests of texts; nothing here is a secret

from __future__ import annotations

import base64
import bz2
import codecs
import gzip
import hashlib
import json
import lzma
import random
import time
import zlib
from collections.abc import Callable
from typing import Any

from evalkit.bench.overlap_texts import data_folder, source_files
from evalkit.overlap import Item, Problems, read_items

__all__ = ["FORMS", "source_figures"]

Form = Callable[[list[Item], random.Random], str]


def _table(chosen: list[Item]) -> dict[str, str]:
    return {item.text: item.answer for item in chosen}


def _json(chosen: list[Item]) -> bytes:
    return json.dumps(_table(chosen)).encode()


def _xor(raw: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[n % len(key)] for n, byte in enumerate(raw))


def _pieces(raw: bytes, size: int) -> list[str]:
    return [raw[at : at + size].decode() for at in range(0, len(raw), size)]


FORMS: dict[str, Form] = {
    "dict": lambda c, _: f"T = {_table(c)!r}",
    "prefix tests": lambda c, _: "".join(f"    if q.startswith({i.text[:60]!r}): return {i.answer}\n" for i in c),
    "short keys": lambda c, _: "".join(f"    if {i.text[:18]!r} in q: return {i.answer}\n" for i in c),
    "few-shot": lambda c, _: '"""\n' + "\n".join(f"Q: {i.text}\nA: {i.answer}" for i in c[:4]) + '\n"""',
    "answer list": lambda c, _: f"T = [{', '.join(i.answer for i in c)}]",
    "answer string": lambda c, _: f"T = '{' '.join(i.answer for i in c)}'.split()",
    "answers shuffled": lambda c, rng: f"T = {rng.sample([i.answer for i in c], len(c))}",
    "keyed by length": lambda c, _: f"T = { {(len(i.text), n): i.answer for n, i in enumerate(c)} }",
    "base64": lambda c, _: f"T = {base64.b64encode(_json(c)).decode()!r}",
    "base64 zlib": lambda c, _: f"T = {base64.b64encode(zlib.compress(_json(c))).decode()!r}",
    "base32 bzip2": lambda c, _: f"T = {base64.b32encode(bz2.compress(_json(c))).decode()!r}",
    "base85 lzma answers": lambda c, _: (
        f"T = {base64.b85encode(lzma.compress(' '.join(i.answer for i in c).encode()))!r}"
    ),
    "hex gzip": lambda c, _: f"T = bytes.fromhex('{gzip.compress(_json(c)).hex()}')",
    "reversed": lambda c, _: f"T = {_json(c).decode()[::-1]!r}[::-1]",
    "rot13": lambda c, _: f"T = {codecs.encode(_json(c).decode(), 'rot13')!r}",
    "concatenated": lambda c, _: "T = " + " + ".join(map(repr, _pieces(_json(c), 15))),
    "joined": lambda c, _: "T = ''.join([" + ", ".join(map(repr, _pieces(_json(c), 9))) + "])",
    "md5 table": lambda c, _: f"T = { {hashlib.new('md5', i.text.encode()).hexdigest()[:12]: i.answer for i in c} }",
    "crc table": lambda c, _: f"T = { {zlib.crc32(i.text.encode()): i.answer for i in c} }",
    "xor": lambda c, rng: f"T = {_xor(_json(c), bytes([rng.randrange(1, 256)]))!r}",
    "xor with a key": lambda c, rng: f"T = {base64.b64encode(_xor(_json(c), rng.randbytes(6))).decode()!r}",
    "numbers": lambda c, _: f"T = ''.join(map(chr, {list(_json(c))}))",
}


def source_figures(*, quick: bool) -> list[dict[str, Any]]:
    """Recall of every form, false positives, and speed."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - the guards are found as anyone's would be

    folder = data_folder()
    checks = {point.name: point for point in entry_points(group="evalkit.contamination")}
    if folder is None or "sources" not in checks:
        note = "EVALKIT_DATA is not there" if folder is None else "the guards are not installed"
        return [_figure("hard-coded answers", float("nan"), "", "≥ 0.95 each", None, note)]
    items = read_items([folder / "gsm8k-test.jsonl.gz"], Problems(keep_going=True), fields=["question"])
    items = _with_answers(items)
    checker = checks["sources"].load()(items)
    files = source_files()
    honest = files[: 300 if quick else 3000]
    return [*_honest(checker, honest), _forms(checker, items, files[3000:3400], 10 if quick else 60)]


def _with_answers(items: list[Item]) -> list[Item]:
    folder = data_folder()
    if folder is None:
        return items
    full = read_items([folder / "gsm8k-test.jsonl.gz"], Problems(keep_going=True))
    answers = {dict(item.parts)["question"]: item.answer.replace(",", "") for item in full}
    return [Item(f"q{n}", item.parts, item.where, answers[item.text]) for n, item in enumerate(items)]


def _honest(checker: Any, files: Any) -> list[dict[str, Any]]:
    size, flagged = 0, []
    begun = time.process_time()
    for path in files:
        raw = path.read_bytes()
        size += len(raw)
        if checker.check(raw):
            flagged.append(path.name)
    rate = size / 1e6 / (time.process_time() - begun)
    listed = ", ".join(flagged[:5])
    return [
        _figure("library files flagged", len(flagged), f"of {len(files)}", "0", not flagged, listed),
        _figure("sources checked", rate, "MB/CPU s", "≥ 5", rate >= 5.0, f"{size / 1e6:.0f} MB"),
    ]


def _forms(checker: Any, items: list[Item], hosts: Any, rounds: int) -> dict[str, Any]:
    rng = random.Random(61)
    worst, worst_form = 1.0, "none below 1"
    for name, form in FORMS.items():
        found = 0
        for _ in range(rounds):
            first = rng.randrange(len(items) - 20)
            host = rng.choice(hosts).read_bytes()
            found += bool(checker.check(host + b"\n" + form(items[first : first + 20], rng).encode() + b"\n"))
        if found / rounds < worst:
            worst, worst_form = found / rounds, name
    detail = f"worst form: {worst_form}; {len(FORMS)} forms × {rounds}"
    return _figure("hard-coded answers, recall of the worst form", worst, "", "≥ 0.95", worst >= 0.95, detail)


def _figure(  # noqa: PLR0917 - the columns of the table
    name: str, value: float, unit: str, target: str, ok: bool | None, detail: str = ""
) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "target": target, "ok": ok, "detail": detail}
