"""Sealed files, the layout, canaries and the account."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.overlap import Problems
from evalkit.splits import (
    Opening,
    Plan,
    assign,
    check_manifest,
    file_accountant,
    make_canaries,
    make_key,
    mounted,
    opened,
    queries_left,
    read_cases,
    read_manifest,
    rotation,
    seal,
    sealed_files,
    unseal,
    write_layout,
)
from evalkit.splits.accounting import read_openings, uses

SECRET = b"0123456789abcdef0123456789abcdef"
KEY = make_key(SECRET)
FILES = [("cases.jsonl", b'{"id": 1}\n' * 50), ("deep/er.bin", bytes(range(256)) * 10), ("empty", b"")]


def _sealed(folder: Path) -> Path:
    path = folder / "confirm.sealed"
    seal(path, SECRET, FILES, {"split": "confirm", "cases": 50})
    return path


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = _sealed(tmp_path)
    assert list(unseal(path, SECRET)) == FILES
    assert sealed_files(tmp_path) == {"confirm": {"split": "confirm", "cases": 50}}
    raw = path.read_bytes()
    assert b"cases.jsonl" not in raw
    assert b'{"id": 1}' not in raw


def test_the_wrong_key_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the key does not open it"):
        list(unseal(_sealed(tmp_path), SECRET[::-1]))
    with pytest.raises(UsageError, match="a key of 5 bytes"):
        seal(tmp_path / "x", b"short", FILES, {})


def test_every_changed_byte_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.splits.sealing._SCRYPT", {"n": 16, "r": 8, "p": 1})
    path = _sealed(tmp_path)
    raw = path.read_bytes()
    places = [*range(0, raw.index(b"\n") + 1, 9), *range(raw.index(b"\n") + 1, len(raw), 97), len(raw) - 1]
    for place in places:
        changed = bytearray(raw)
        changed[place] ^= 0x20
        path.write_bytes(changed)
        with pytest.raises(DataError):
            list(unseal(path, SECRET))
    for cut in (len(raw) - 1, len(raw) - 30, raw.index(b"\n") + 1, 10, 0):
        path.write_bytes(raw[:cut])
        with pytest.raises(DataError):
            list(unseal(path, SECRET))
    path.write_bytes(raw + b"x")
    with pytest.raises(DataError, match="added at the end"):
        list(unseal(path, SECRET))


def test_records_can_not_change_places(tmp_path: Path) -> None:
    path = tmp_path / "x.sealed"
    seal(path, SECRET, [("a", b"same length 1"), ("b", b"same length 2")], {})
    head, _, body = path.read_bytes().partition(b"\n")
    size = 8 + int.from_bytes(body[:8], "big")
    path.write_bytes(head + b"\n" + body[size : 2 * size] + body[:size] + body[2 * size :])
    with pytest.raises(DataError, match="record 1 was changed"):
        list(unseal(path, SECRET))


def test_a_mounted_vault_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with mounted(_sealed(tmp_path), SECRET) as folder:
        assert (folder / "deep" / "er.bin").read_bytes() == FILES[1][1]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_names_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    for name in ("../outside", "/etc/outside", "a/../../b"):
        seal(tmp_path / "x.sealed", SECRET, [(name, b"x")], {})
        with pytest.raises(DataError, match="leaves the folder"), mounted(tmp_path / "x.sealed", SECRET):
            pass


def test_a_seal_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = _sealed(tmp_path)

    def broken() -> object:
        yield "a", b"b"
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError):
        seal(path, SECRET, broken(), {})  # type: ignore[arg-type]
    assert list(unseal(path, SECRET)) == FILES
    assert [entry.name for entry in tmp_path.iterdir()] == ["confirm.sealed"]


def _written(folder: Path) -> Path:
    source = folder / "cases.jsonl"
    source.write_text(
        "".join(json.dumps({"id": f"c{n}", "q": f"question {n}", "label": n % 3}) + "\n" for n in range(90))
    )
    cases = read_cases([source], Problems(), label_field="label")
    plan = Plan(method="stratified")
    vault = folder / "vault"
    write_layout(vault, cases, plan, assign(cases, plan, KEY), KEY, sealed={"confirm": SECRET, "sealed": SECRET})
    return vault


def test_the_layout(tmp_path: Path) -> None:
    vault = _written(tmp_path)
    assert sorted(path.name for path in vault.iterdir()) == ["confirm.sealed", "dev", "manifest.json", "sealed.sealed"]
    manifest = read_manifest(vault / "manifest.json")
    assert [row["cases"] for row in manifest["balance"]] == [45, 27, 18]
    assert all(row["worst_class_gap"] < 0.03 for row in manifest["balance"])
    found: set[str] = set()
    for split in ("dev", "confirm", "sealed"):
        with opened(vault, split, SECRET) as folder:
            rows = [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]
            assert all(("evalkit_canary" in row) == (split != "dev") for row in rows)
            found |= {row["id"] for row in rows}
    assert len(found) == 90
    with pytest.raises(DataError, match="no key was given"), opened(vault, "confirm", None):
        pass
    with pytest.raises(DataError, match="no split 'test'"), opened(vault, "test", SECRET):
        pass


def test_the_manifest_notices_changes_and_gives_nothing_away(tmp_path: Path) -> None:
    vault = _written(tmp_path)
    manifest = read_manifest(vault / "manifest.json")
    assert "question 5" not in (vault / "manifest.json").read_text()
    unpublished = make_canaries(KEY, "sealed", ["c1"]).unpublished
    assert unpublished not in (vault / "manifest.json").read_text()
    source = tmp_path / "cases.jsonl"
    assert check_manifest(manifest, read_cases([source], Problems()), KEY) == []
    lines = source.read_text().splitlines()
    lines[3] = lines[3].replace("question", "query")
    source.write_text("\n".join([*lines[:-1], '{"id": "new", "q": "x"}']) + "\n")
    assert check_manifest(manifest, read_cases([source], Problems()), KEY) == [
        "c3: its content changed since it was split",
        "new: not in the manifest",
        "c89: in the manifest, but not among the cases",
    ]
    assert "the key is not" in check_manifest(manifest, read_cases([source], Problems()), make_key(b"other"))[0]


def test_canaries_are_distinct_and_come_again() -> None:
    marks = make_canaries(KEY, "confirm", ["a", "b"])
    assert marks == make_canaries(KEY, "confirm", ["a", "b"])
    assert len(marks.all_marks()) == 4
    assert not set(marks.all_marks()) & set(make_canaries(KEY, "sealed", ["a", "b"]).all_marks())


def test_openings_are_written_before_they_count(tmp_path: Path) -> None:
    account = file_accountant(tmp_path / "openings.jsonl")
    account(Opening("evalkit", "experiment 7", "confirm", "decide", 27, 1.0, "7").as_record())
    account(Opening("ann", "audit of the head", "sealed", "audit", 18, 0.0).as_record())
    with (tmp_path / "openings.jsonl").open("a") as file:
        file.write('{"torn": ')
    assert [record["split"] for record in read_openings(tmp_path / "openings.jsonl")] == ["confirm", "sealed"]
    with pytest.raises(UsageError, match="needs a reason"):
        Opening("ann", "", "sealed", "audit", 18, 0.0)


def test_the_budget_of_questions() -> None:
    assert queries_left(100, 0) == 0
    many = queries_left(50_000, 0, tolerance=0.04)
    assert 100 < many < 1 << 30
    assert queries_left(50_000, 100, tolerance=0.04) == many - 100
    assert queries_left(50_000, 0, most_kept=20, tolerance=0.04) < many
    assert queries_left(50_000, 0, risk=0.001, tolerance=0.04) < many


@pytest.mark.parametrize(("count", "size", "queries"), [(10, 3, 37), (7, 7, 5), (25, 4, 100), (5, 4, 23)])
def test_no_case_decides_too_often(count: int, size: int, queries: int) -> None:
    ids = [f"c{n}" for n in range(count)]
    for query in range(queries):
        chosen = rotation(ids, KEY, query, size)
        assert len(set(chosen)) == len(chosen) == size
    counts = uses(ids, KEY, queries, size)
    assert max(counts.values()) - min(counts.values()) <= 1
