from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest

from evalkit.errors import LedgerError, LedgerLocked
from evalkit.ledger import GENESIS, Ledger, canonical, verify_file

BODY = {"experiment": 1, "verdict": "KEEP", "values": [0.1, -0.0, 1e-300, 2**60, None, True], "text": 'é\n"\udcff'}


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "l") as opened:
        yield opened


def fill(ledger, count, kind="trial"):
    for number in range(count):
        ledger.append(kind, {"experiment": number // 3, "candidate": f"{number:040x}"})


def test_what_goes_in_comes_out_exactly(ledger):
    record = ledger.append("verdict", BODY)
    assert (record.seq, record.kind, record.prev) == (0, "verdict", GENESIS)
    assert (ledger.head, ledger.count) == (record.hash, 1)
    assert ledger.get(0) == record
    assert json.dumps(ledger.get(0).body["values"]) == json.dumps(BODY["values"])
    assert list(ledger.records()) == [record]


def test_a_line_is_canonical_json_that_anyone_can_check(ledger, tmp_path):
    ledger.append("a", {"z": 1, "a": 2.5})
    second = ledger.append("b", BODY)
    lines = (tmp_path / "l" / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    members = json.loads(lines[1])
    digest = members.pop("sha256")
    payload = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(payload).hexdigest() == digest == second.hash
    assert members["prev"] == json.loads(lines[0])["sha256"]
    assert lines[0].startswith(b'{"at":"')
    assert b'"body":{"a":2.5,"z":1}' in lines[0]
    assert lines[0].isascii()


def test_a_record_is_synced_before_it_counts(tmp_path):
    with Ledger.open(tmp_path / "l") as ledger:
        sizes = []
        with mock.patch("os.fdatasync", lambda handle: sizes.append((os.fstat(handle).st_size, ledger.count))):
            ledger.append("x", {})
            ledger.append("x", {})
        first, second = (len(line) for line in (tmp_path / "l" / "ledger.jsonl").read_bytes().splitlines(keepends=True))
        assert sizes == [(first, 0), (first + second, 1)]


def test_a_new_file_and_its_name_are_synced(tmp_path):
    synced = []
    with mock.patch("os.fsync", lambda handle: synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))):
        Ledger.open(tmp_path / "l").close()
    assert synced[:3] == [str(tmp_path / "l" / "ledger.jsonl"), str(tmp_path / "l"), str(tmp_path)]


def test_opened_again_it_goes_on(tmp_path):
    with Ledger.open(tmp_path / "l") as first:
        fill(first, 300)
        head = first.head
    with Ledger.open(tmp_path / "l") as second:
        assert (second.head, second.count, second.notices) == (head, 300, ())
        assert second.append("x", {}).prev == head
        assert second.verify(expected_head=head).ok


def test_lookups(ledger):
    fill(ledger, 20)
    ledger.append("verdict", {"experiment": 2, "trees": {"candidate": "f" * 40, "incumbent": "e" * 40}})
    assert [record.seq for record in ledger.by_experiment(2)] == [6, 7, 8, 20]
    assert ledger.by_experiment(99) == []
    assert [record.seq for record in ledger.by_tree("f" * 40)] == [20]
    assert [record.seq for record in ledger.by_tree("f" * 40, "trees.candidate")] == [20]
    assert list(ledger.by_tree("f" * 40, "trees.incumbent")) == []
    assert [record.seq for record in ledger.by_tree(f"{7:040x}", "candidate")] == [7]
    assert ledger.counts() == {"trial": 20, "verdict": 1}
    assert ledger.latest("trial").seq == 19
    assert ledger.latest("nothing") is None
    assert ledger.last_experiment() == 6
    assert [record.seq for record in ledger.records("trial", start=17)] == [17, 18, 19]
    assert [record.seq for record in ledger.records(start=18)] == [18, 19, 20]
    assert list(ledger.records(start=21)) == []
    assert list(ledger.records("verdict", start=21)) == []


def test_many_records_of_one_tree_come_in_pages(ledger):
    for number in range(50):
        ledger.append("x", {"incumbent": "c" * 40, "trees": {"anchor": "c" * 40}, "experiment": number})
    assert [record.seq for record in ledger.by_tree("c" * 40)] == list(range(50))
    assert [record.seq for record in ledger.by_tree("c" * 40, "trees.anchor")] == list(range(50))


def test_numbers_of_all_digits_stay_text(ledger):
    ledger.append("x", {"candidate": "0" * 39 + "7", "experiment": 7})
    assert len(list(ledger.by_tree("0" * 39 + "7"))) == 1
    assert len(ledger.by_experiment(7)) == 1
    assert ledger.last_experiment() == 7


def test_odd_bodies_do_not_confuse_the_index(ledger):
    for body in (
        {"experiment": True},
        {"experiment": "1"},
        {"experiment": 2**70},
        {"experiment": -1},
        {"\udcff": {"\ud83d": "a" * 40}},
        {"experiment": None, "x": {"y": {"z": "a" * 40}}},
        {},
    ):
        ledger.append("odd", body)
    assert ledger.last_experiment() is None
    assert [record.seq for record in ledger.by_tree("a" * 40)] == [4]
    assert ledger.counts() == {"odd": 7}


def test_a_reader_sees_what_is_there_when_it_begins(ledger):
    fill(ledger, 40)
    reading, of_kind = ledger.records(), ledger.records("trial")
    next(reading), next(of_kind)
    fill(ledger, 5)
    assert len(list(reading)) == 39
    assert len(list(of_kind)) == 39


@pytest.mark.parametrize("seq", [-1, 1, 10**30])
def test_records_that_are_not_there(ledger, seq):
    ledger.append("x", {})
    with pytest.raises(LedgerError, match="there is no record"):
        ledger.get(seq)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"a": [1.0, {"b": float("nan")}]}, r"a\[1\]\.b is nan"),
        ({"a": float("inf")}, "a is inf"),
        ({"a": -float("inf")}, "a is -inf"),
        ({"a": 10**5000}, "a is an integer of"),
    ],
)
def test_values_that_are_refused(ledger, body, where):
    with pytest.raises(ValueError, match=where):
        ledger.append("x", body)
    assert ledger.count == 0
    assert ledger.append("x", {}).seq == 0


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"a": (1,)}, "a is a tuple"),
        ({"a": {1: 2}}, "key 1"),
        ({"a": b"x"}, "bytes"),
        ({"a": object()}, "object"),
        ({"a": {1}}, "set"),
    ],
)
def test_things_that_are_not_json(ledger, body, where):
    with pytest.raises(TypeError, match=where):
        ledger.append("x", body)


def test_depth_has_an_end(ledger):
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"d": deep}
    with pytest.raises(ValueError, match="nested more than"):
        ledger.append("x", deep)
    loop: dict[str, object] = {}
    loop["d"] = loop
    with pytest.raises(ValueError, match="nested more than"):
        canonical(loop)


@pytest.mark.parametrize("kind", ["", "Trial", "a b", "a\n", "é", "x" * 65, "1a"])
def test_kinds_that_are_none(ledger, kind):
    with pytest.raises(ValueError, match="kind"):
        ledger.append(kind, {})


def test_a_record_can_be_too_long(ledger, monkeypatch):
    monkeypatch.setattr("evalkit.ledger.chain.MAX_LINE", 1000)
    with pytest.raises(ValueError, match="at most 1000"):
        ledger.append("x", {"a": "x" * 1000})
    ledger.append("x", {"a": "x" * 100})
    assert ledger.verify().ok


def test_time_is_for_people_and_may_go_backwards(tmp_path):
    times = iter([2_000_000_000, 1_000_000_000, -5, 4_102_444_800 * 10**9])
    with Ledger.open(tmp_path / "l", clock=lambda: next(times)) as ledger:
        stamps = [ledger.append("x", {}).at for _ in range(4)]
        assert stamps[0] == "1970-01-01T00:00:02.000000Z"
        assert stamps[2].startswith("1969-12-31T23:59:59")
        assert ledger.verify().ok
    with Ledger.open(tmp_path / "l") as ledger:
        assert ledger.count == 4
        assert datetime.fromisoformat(ledger.append("x", {}).at).tzinfo == UTC


def test_one_writer_at_a_time(ledger, tmp_path):
    with pytest.raises(LedgerLocked, match=f"process {os.getpid()}, is writing") as caught:
        Ledger.open(tmp_path / "l")
    assert f"kill {os.getpid()}" in caught.value.way_out
    code = "import pathlib, sys\nfrom evalkit.ledger import Ledger\nLedger.open(pathlib.Path(sys.argv[1]))"
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "l")], capture_output=True, text=True, check=False
    )
    assert f"another run, process {os.getpid()}," in other.stderr
    ledger.close()
    Ledger.open(tmp_path / "l").close()


def test_readers_need_no_lock_and_can_not_write(ledger, tmp_path):
    fill(ledger, 300)
    with Ledger.open(tmp_path / "l", write=False) as reader:
        assert (reader.count, reader.head) == (300, ledger.head)
        fill(ledger, 300)
        assert reader.count == 300
        assert reader.counts() == {"trial": 300}
        assert len(list(reader.records("trial"))) == 300
        assert reader.verify().ok
        with pytest.raises(LedgerError, match="for reading only"):
            reader.append("x", {})


def test_nothing_to_read(tmp_path):
    with pytest.raises(LedgerError, match="can't be opened") as caught:
        Ledger.open(tmp_path / "nowhere", write=False)
    assert "no run has been recorded" in caught.value.way_out
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError, match="can't be opened"):
        Ledger.open(tmp_path / "file")
    with pytest.raises(LedgerError, match="can't be read"):
        verify_file(tmp_path / "nowhere" / "ledger.jsonl")


def test_an_empty_ledger(ledger):
    assert (ledger.head, ledger.count) == (GENESIS, 0)
    assert ledger.verify().ok
    assert ledger.verify(expected_head=GENESIS).ok
    assert list(ledger.records()) == []
    assert ledger.counts() == {}


def test_closed_means_closed(tmp_path):
    ledger = Ledger.open(tmp_path / "l")
    ledger.append("x", {})
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="was closed"):
        ledger.append("x", {})
    with pytest.raises(LedgerError, match="was closed"):
        ledger.get(0)
    assert ledger.verify().ok
