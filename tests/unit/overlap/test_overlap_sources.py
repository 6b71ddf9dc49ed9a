"""Every kind of corpus file, whole and broken."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from evalkit.errors import DataError
from evalkit.overlap import Holdout, Item, Problems, plan_shards, read_items, read_rows
from evalkit.overlap.corpus import CorpusScan

QUESTION = (
    "Which coral reef, named after a Danish navigator, was charted in 1788 by the second expedition to the strait?"
)
FILLER = "Nothing of interest stands in this line, however long one looks at it. "


def _holdout() -> Holdout:
    return Holdout([Item("reef", (("q", QUESTION),)), Item("other", (("q", QUESTION[::-1] + " reversed entirely"),))])


def _lines(before: int = 50, after: int = 50) -> bytes:
    documents = [FILLER] * before + [f"intro {QUESTION} outro"] + [FILLER] * after
    return "".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(documents)).encode()


def _scan(path: Path, **settings: object) -> tuple[str, int, CorpusScan]:
    holdout = _holdout()
    scan = holdout.scan_files(plan_shards([path], shard_size=4096), **settings)  # type: ignore[arg-type]
    report = holdout.report(scan)[0]
    return report.state, report.found[0].match.line if report.found else 0, scan


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_json_lines_plain_and_compressed(tmp_path: Path, suffix: str) -> None:
    raw = _lines()
    if suffix == ".zst":
        zstandard = pytest.importorskip("zstandard")
        packed = zstandard.ZstdCompressor().compress(raw[:900]) + zstandard.ZstdCompressor().compress(raw[900:])
    else:
        packed = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix](raw)
    path = tmp_path / f"corpus.jsonl{suffix}"
    path.write_bytes(packed)
    state, line, scan = _scan(path)
    assert (state, line, scan.lines) == ("contaminated", 51, 101)


def test_the_name_of_a_compressed_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(gzip.compress(_lines()))
    assert _scan(path)[:2] == ("contaminated", 51)


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"n": list(range(60)), "text": [FILLER] * 40 + [f"a {QUESTION} b"] + [FILLER] * 19})
    parquet.write_table(table, tmp_path / "corpus.parquet")
    assert _scan(tmp_path / "corpus.parquet")[:2] == ("contaminated", 41)
    rows = list(read_rows(tmp_path / "corpus.parquet", Problems()))
    assert len(rows) == 60
    assert rows[40].data["n"] == 40


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_text_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(f"café\n{FILLER * 200}\n{QUESTION}\n{FILLER}".encode(encoding))
    assert _scan(path)[:2] == ("contaminated", 3)


def test_a_folder_in_fixed_order_without_git(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text(QUESTION)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "clean.md").write_text(FILLER)
    assert _scan(tmp_path)[0] == "clean"
    (tmp_path / "b" / "leak.md").write_text(QUESTION)
    assert _scan(tmp_path)[0] == "contaminated"


def _zstandard(raw: bytes) -> bytes:
    return pytest.importorskip("zstandard").ZstdCompressor().compress(raw)  # type: ignore[no-any-return]


@pytest.mark.parametrize("packer", [gzip.compress, bz2.compress, lzma.compress, _zstandard])
def test_a_truncated_file_names_itself_and_the_line(tmp_path: Path, packer: object) -> None:
    rng = np.random.default_rng(1)
    noise = "".join(f'{{"text": "{rng.bytes(60).hex()}"}}\n' for _ in range(16000)).encode()
    path = tmp_path / "corpus.jsonl.z"
    packed = packer(_lines() + noise)  # type: ignore[operator]
    path.write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(DataError, match=r"corpus\.jsonl\.z: broken \w+ after line \d+") as caught:
        _scan(path)
    assert "--keep-going" in caught.value.way_out
    state, line, scan = _scan(path, keep_going=True)
    assert len(scan.problems) == 1
    assert (state, line) == ("contaminated", 51)


def test_nul_bytes_and_one_enormous_line(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "\x00\x00 start ')
        for _ in range(64):
            file.write((FILLER * 1000).encode())
        file.write(f" {QUESTION} ".encode())
        file.write(b"\\u00e9" * 100_000 + b'"}\n{"text": "second"}\n')
    holdout = _holdout()
    scan = holdout.scan_files(plan_shards([path], shard_size=2 << 20))
    report = holdout.report(scan)[0]
    assert (report.state, report.found[0].match.line, scan.lines) == ("contaminated", 1, 2)


def test_shards_see_every_line_once(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    documents = [f"{QUESTION} {number}" if number % 7 == 0 else FILLER[: number % 60] for number in range(400)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    for size in (257, 1000, 1 << 20):
        holdout = _holdout()
        scan = holdout.scan_files(plan_shards([path], shard_size=size))
        assert scan.places[0] == 58
        assert scan.lines == 400
        assert holdout.report(scan)[0].found[0].match.line % 7 == 1


def test_processes_find_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(_lines(10, 10))
    (tmp_path / "b.jsonl").write_bytes(_lines(3, 3))
    holdout = _holdout()
    seen: list[tuple[int, int]] = []
    one = holdout.scan_files(plan_shards([tmp_path]))
    two = holdout.scan_files(plan_shards([tmp_path]), jobs=2, progress=lambda *done: seen.append(done))
    assert holdout.report(one) == holdout.report(two)
    assert seen[-1][0] == seen[-1][1] > 0


def test_a_stopped_scan_goes_on(tmp_path: Path) -> None:
    corpus, state = tmp_path / "corpus", tmp_path / "state"
    corpus.mkdir()
    (corpus / "a.jsonl").write_bytes(_lines(10, 10))
    (corpus / "b.jsonl.gz").write_bytes(gzip.compress(_lines(400, 400))[:-30])
    holdout = _holdout()
    with pytest.raises(DataError):
        holdout.scan_files(plan_shards([corpus]), state=state)
    kept = sorted(state.iterdir())
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    (corpus / "b.jsonl.gz").write_bytes(gzip.compress(_lines(400, 400)))
    resumed = holdout.scan_files(plan_shards([corpus]), state=state)
    assert kept[0].stat().st_mtime_ns == stamp
    assert holdout.report(resumed) == holdout.report(holdout.scan_files(plan_shards([corpus])))
    kept[0].write_text('{"half": ')
    assert holdout.report(holdout.scan_files(plan_shards([corpus]), state=state)) == holdout.report(resumed)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(_lines())
    holdout = _holdout()
    assert holdout.scan_files(plan_shards([path]), state=tmp_path / "state").places == {0: 1}
    path.write_text(json.dumps({"text": FILLER}) + "\n")
    assert holdout.scan_files(plan_shards([path]), state=tmp_path / "state").places == {}


def test_a_missing_path_is_named() -> None:
    with pytest.raises(DataError, match="no such file"):
        plan_shards(["/nowhere/at/all"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"question": "fine"}\n{"question": \n', r"holdout\.jsonl:2: not JSON"),
        ('{"question": "fine"}\n' + "[" * 100_000 + "\n", r"holdout\.jsonl:2: (JSON nested too deep|not JSON)"),
        ('{"question": "fine"}\n[1, 2]\n', r"holdout\.jsonl:2: a JSON list"),
        ('{"id": 1, "question": "fine"}\n{"id": 1, "question": "other"}\n', r"holdout\.jsonl:2: the id '1' was used"),
        ('{"id": 1, "question": "fine"}\n{"id": 2, "n": 5}\n', r"holdout\.jsonl:2: no text"),
    ],
)
def test_broken_holdouts_name_file_and_line(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "holdout.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=complaint):
        read_items([path], Problems())
    problems = Problems(keep_going=True)
    assert len(read_items([path], problems)) >= 1
    assert len(problems.found) == 1


def test_csv_with_and_without_a_header(tmp_path: Path) -> None:
    with_header, without = tmp_path / "a.csv", tmp_path / "b.csv"
    with_header.write_text('question,answer\n"What, then?",4\n"Line\nbreak",5\nshort\n')
    without.write_text('"Mass-society theory suggests that:",the media,C\n')
    problems = Problems(keep_going=True)
    rows = list(read_rows(with_header, problems))
    assert [dict(row.data) for row in rows] == [
        {"question": "What, then?", "answer": "4"},
        {"question": "Line\nbreak", "answer": "5"},
    ]
    assert [row.line for row in rows] == [2, 3]
    assert ":5: 1 cells where 2" in problems.found[0]
    assert next(iter(read_rows(without, Problems()))).data["column3"] == "C"


def test_fields_and_ids(tmp_path: Path) -> None:
    path = tmp_path / "holdout.jsonl"
    path.write_text('{"key": "k1", "question": "Which one is it?", "choices": ["a", "b"], "note": "internal"}\n')
    (item,) = read_items([path], Problems(), fields=["question"], id_field="key")
    assert (item.id, item.parts) == ("k1", (("question", "Which one is it?"),))
    with pytest.raises(DataError, match="no field 'prompt'"):
        read_items([path], Problems(), fields=["prompt"])
    (item,) = read_items([path], Problems())
    assert ("choices.1", "b") in item.parts
