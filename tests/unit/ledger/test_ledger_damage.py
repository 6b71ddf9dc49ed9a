from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.errors import LedgerCorrupt, LedgerError
from evalkit.ledger import Ledger, catalogue, verify_file, writing


@pytest.fixture
def folder(tmp_path) -> Path:
    """A ledger of ten records, closed."""
    with Ledger.open(tmp_path / "l") as ledger:
        for number in range(10):
            ledger.append("trial", {"experiment": number, "value": number / 3})
    return tmp_path / "l"


def lines_of(folder: Path) -> list[bytes]:
    return (folder / "ledger.jsonl").read_bytes().splitlines(keepends=True)


def put(folder: Path, lines: list[bytes]) -> None:
    (folder / "ledger.jsonl").write_bytes(b"".join(lines))


def test_a_changed_byte_is_named_with_its_place(folder):
    lines = lines_of(folder)
    offset = sum(map(len, lines[:4]))
    lines[4] = lines[4].replace(b'"value":1.33', b'"value":9.33')
    put(folder, lines)
    found = verify_file(folder / "ledger.jsonl")
    assert [(problem.seq, problem.offset) for problem in found.problems] == [(4, offset)]
    assert "its bytes hash to" in found.problems[0].what
    assert str(found.problems[0]).startswith(f"record 4 (at byte {offset}):")
    assert found.count == 9
    assert not found.ok


def test_opening_does_not_read_the_checkpointed_part_but_reading_does(folder):
    lines = lines_of(folder)
    lines[4] = lines[4].replace(b'"value":1.33', b'"value":9.33')
    put(folder, lines)
    with Ledger.open(folder) as ledger:
        assert ledger.get(3).body["experiment"] == 3
        for read in (
            lambda: ledger.get(4),
            lambda: list(ledger.records()),
            lambda: list(ledger.records("trial")),
            lambda: ledger.by_experiment(4),
        ):
            with pytest.raises(LedgerCorrupt, match=r"record 4 \(at byte"):
                read()
        assert ledger.get(3).seq == 3
        assert ledger.append("trial", {}).seq == 10  # a look at a damaged record doesn't lose the place
        assert not ledger.verify().ok


@pytest.mark.parametrize("drop_index", [False, True])
@pytest.mark.parametrize("write", [False, True])
def test_damage_in_the_last_record_stops_the_opening(folder, drop_index, write):
    lines = lines_of(folder)
    lines[9] = lines[9].replace(b'"value":3.0', b'"value":3.1')
    put(folder, lines)
    if drop_index:
        (folder / "index.sqlite").unlink()
    with pytest.raises(LedgerCorrupt, match="record 9") as caught:
        Ledger.open(folder, write=write)
    assert "evalkit verify" in caught.value.way_out
    assert lines_of(folder) == lines


def forged(payload: bytes) -> bytes:
    """A line whose hash fits, whatever it says."""
    return payload[:-1] + b',"sha256":"' + hashlib.sha256(payload).hexdigest().encode() + b'"}\n'


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":1,"prev":"%s","seq":0}',
        b'{"at":"x","body":{,"kind":"x","prev":"%s","seq":0}',
        b'{"at":"x","body":' + b"[" * 100_000 + b'],"kind":"x","prev":"%s","seq":0}',
        b'[,"prev":"%s","seq":0}',
    ],
)
def test_a_line_whose_hash_fits_but_is_no_record(tmp_path, payload):
    (tmp_path / "ledger.jsonl").write_bytes(forged(payload % (b"0" * 64)))
    with pytest.raises(LedgerCorrupt, match="it is not a record"):
        Ledger.open(tmp_path)


def test_a_line_that_follows_another_chain(folder):
    lines = lines_of(folder)
    other = b'{"at":"x","body":{},"kind":"x","prev":"%s","seq":5}' % (b"1" * 64)
    put(folder, [*lines[:5], forged(other), *lines[6:]])
    found = verify_file(folder / "ledger.jsonl")
    assert [problem.seq for problem in found.problems] == [5, 6]
    assert all("it follows" in problem.what for problem in found.problems)


def test_an_index_that_points_to_another_record(folder):
    with sqlite3.connect(folder / "index.sqlite") as db:
        db.execute("UPDATE records SET offset = (SELECT offset FROM records WHERE seq = 2) WHERE seq = 3")
        db.execute("UPDATE records SET size = (SELECT size FROM records WHERE seq = 2) WHERE seq = 3")
    db.close()
    with Ledger.open(folder) as ledger:
        assert ledger.get(3).seq == 3
        with sqlite3.connect(folder / "index.sqlite") as db:
            assert db.execute("SELECT count(*) FROM records").fetchone() == (10,)
        db.close()


def test_removed_moved_and_added_records(folder, tmp_path):
    lines = lines_of(folder)
    cases = {
        "removed": lines[:3] + lines[4:],
        "first": lines[1:],
        "moved": [*lines[:3], lines[4], lines[3], *lines[5:]],
        "twice": [*lines[:4], lines[3], *lines[4:]],
        "inserted": [*lines[:4], b"{}\n", *lines[4:]],
        "blank": [*lines[:4], b"\n", *lines[4:]],
    }
    for name, changed in cases.items():
        put(folder, changed)
        found = verify_file(folder / "ledger.jsonl")
        assert not found.ok, name
        assert len(found.problems) <= 3, name
        (folder / "index.sqlite").unlink(missing_ok=True)
        with pytest.raises(LedgerCorrupt):
            Ledger.open(folder)
    put(folder, cases["removed"])
    assert "records were removed, added or moved" in verify_file(folder / "ledger.jsonl").problems[0].what


def test_a_chain_that_was_written_anew_needs_a_head_that_was_seen(folder, tmp_path):
    with Ledger.open(folder, write=False) as ledger:
        seen, older = ledger.head, ledger.get(4).hash
    with Ledger.open(tmp_path / "new") as forged:
        for number in range(10):
            forged.append("trial", {"experiment": number, "value": 1.0})
    path = tmp_path / "new" / "ledger.jsonl"
    assert verify_file(path).ok
    assert "cut off or replaced" in verify_file(path, expected_head=seen).problems[0].what
    assert verify_file(folder / "ledger.jsonl", expected_head=seen).ok
    assert verify_file(folder / "ledger.jsonl", expected_head=older).ok


def test_records_cut_off_at_the_end_are_missed(folder):
    with Ledger.open(folder, write=False) as ledger:
        seen = ledger.head
    put(folder, lines_of(folder)[:7])
    assert verify_file(folder / "ledger.jsonl").ok  # nothing in the file can tell
    assert not verify_file(folder / "ledger.jsonl", expected_head=seen).ok
    with pytest.raises(LedgerCorrupt, match=r"record 9.*are gone: the index saw it"):
        Ledger.open(folder)
    (folder / "index.sqlite").unlink()
    with Ledger.open(folder) as ledger:
        assert ledger.count == 7


def test_records_cut_off_under_an_open_ledger(folder):
    with Ledger.open(folder) as ledger:
        os.truncate(folder / "ledger.jsonl", sum(map(len, lines_of(folder)[:5])))
        assert "cut off" in ledger.verify().problems[0].what
        for _ in range(2):
            with pytest.raises(LedgerError, match="someone else changed"):
                ledger.append("x", {})


def test_a_file_replaced_under_an_open_ledger(folder):
    with Ledger.open(folder) as ledger:
        (folder / "ledger.jsonl").unlink()
        with pytest.raises(LedgerError, match="someone else changed, replaced or deleted"):
            ledger.append("x", {})


@pytest.mark.parametrize("cut", [1, 2, 60, 150])
def test_a_torn_line_is_put_aside_with_a_message(folder, cut):
    lines = lines_of(folder)
    (folder / "index.sqlite").unlink()
    torn = lines[9][: len(lines[9]) - cut]
    put(folder, [*lines[:9], torn])
    assert "not ended" in verify_file(folder / "ledger.jsonl").problems[0].what
    with Ledger.open(folder, write=False) as reader:
        assert reader.count == 9
        assert "not complete" in reader.notices[0]
    with Ledger.open(folder) as ledger:
        if cut == 1:  # only the newline was missing
            assert ledger.count == 10
            assert "nothing is lost" in ledger.notices[0]
        else:
            assert ledger.count == 9
            assert f"record 9 was torn ({len(torn)} bytes" in ledger.notices[0]
            assert [path.read_bytes() for path in folder.glob("torn-9-*")] == [torn]
        ledger.append("trial", {})
        assert ledger.verify().ok
    with Ledger.open(folder) as ledger:
        assert ledger.notices == ()


def test_a_newline_that_became_something_else(folder):
    lines = lines_of(folder)
    (folder / "index.sqlite").unlink()
    put(folder, [*lines[:9], lines[9][:-1] + b"\x0b"])
    assert not verify_file(folder / "ledger.jsonl").ok
    with Ledger.open(folder) as ledger:
        assert ledger.count == 10
        assert ledger.verify().ok


def test_zeros_after_a_power_cut_are_a_torn_line(folder):
    with (folder / "ledger.jsonl").open("ab") as file:
        file.write(b"\0" * 4096)
    with Ledger.open(folder) as ledger:
        assert ledger.count == 10
        assert "torn (4096 bytes" in ledger.notices[0]


def test_a_line_without_end_is_not_read_into_memory(folder, monkeypatch):
    for module in ("chain", "verification"):
        monkeypatch.setattr(f"evalkit.ledger.{module}.MAX_LINE", 1000)
    with (folder / "ledger.jsonl").open("ab") as file:
        file.write(b"x" * 5000)
    found = verify_file(folder / "ledger.jsonl")
    assert "longer than" in found.problems[0].what
    with pytest.raises(LedgerCorrupt, match="longer than 1000 bytes"):
        Ledger.open(folder)


@pytest.mark.parametrize(
    "damage",
    [
        "deleted",
        "garbage",
        "empty",
        "other version",
        "no tables",
        "lies",
        "lies about places",
        "folder",
        "stale",
        "far behind",
        "truncated",
    ],
)
@pytest.mark.parametrize("write", [True, False])
def test_an_index_may_be_lost_or_wrong(folder, tmp_path, damage, write):
    index = folder / "index.sqlite"
    if damage == "stale":
        shutil.copy(index, tmp_path / "old")
        with Ledger.open(folder) as ledger:
            for number in range(10, 13):
                ledger.append("trial", {"experiment": number})
        shutil.copy(tmp_path / "old", index)
    if damage == "far behind":
        shutil.copy(index, tmp_path / "old")
        with Ledger.open(folder) as ledger:
            for number in range(10, 300):
                ledger.append("trial", {"experiment": number})
        shutil.copy(tmp_path / "old", index)
    expected = len(lines_of(folder))
    if damage in {"deleted", "folder"}:
        index.unlink()
    if damage == "folder":
        index.mkdir()
    if damage == "garbage":
        index.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    if damage == "empty":
        index.write_bytes(b"")
    if damage == "truncated":
        index.write_bytes(index.read_bytes()[:5000])
    statements = {
        "other version": ["PRAGMA user_version = 77"],
        "no tables": ["DROP TABLE keys", "DROP TABLE records"],
        "lies": ["UPDATE meta SET value = 'f' || value WHERE name = 'head'"],
        "lies about places": ["UPDATE records SET offset = offset + 1"],
    }
    if damage in statements:
        with sqlite3.connect(index) as db:
            for statement in statements[damage]:
                db.execute(statement)
        db.close()
    with Ledger.open(folder, write=write) as ledger:
        assert ledger.count == expected
        assert ledger.get(5).body["experiment"] == 5
        assert [record.seq for record in ledger.by_experiment(6)] == [6]
        assert ledger.counts() == {"trial": expected}
        assert [record.seq for record in ledger.records("trial")] == list(range(expected))
        assert [record.seq for record in ledger.records(start=3)] == list(range(3, expected))
        if write:
            ledger.append("trial", {"experiment": 5000})
            assert ledger.last_experiment() == 5000
            assert ledger.verify().ok


def test_an_index_that_breaks_while_in_use(folder):
    with Ledger.open(folder) as ledger:
        ledger._catalogue._index._db.execute("DROP TABLE records")
        ledger.append("trial", {"experiment": 10})
        assert [record.seq for record in ledger.by_experiment(10)] == [10]
        ledger._catalogue._index._db.close()
        for number in range(600):  # more than one batch
            ledger.append("trial", {"experiment": number + 11})
        assert ledger.counts() == {"trial": 611}
    with Ledger.open(folder) as ledger:
        assert (ledger.count, ledger.last_experiment()) == (611, 610)


def test_an_index_that_can_not_be_written_lives_in_memory(folder, monkeypatch):
    (folder / "index.sqlite").unlink()
    real = catalogue.Index

    def full(path, **more):
        if path is not None:
            raise sqlite3.OperationalError("database or disk is full")
        return real(path, **more)

    monkeypatch.setattr(catalogue, "Index", full)
    with Ledger.open(folder) as ledger:
        ledger.append("trial", {"experiment": 10})
        assert ledger.counts() == {"trial": 11}
        assert not (folder / "index.sqlite").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("where", ["write", "half a write", "sync"])
def test_a_full_disk_costs_nothing(folder, monkeypatch, code, where):
    before = lines_of(folder)
    with Ledger.open(folder) as ledger:
        real_write = os.pwrite

        def full_write(handle, data, offset):
            if where == "half a write" and len(data) > 50:
                return real_write(handle, bytes(data)[:40], offset)
            raise OSError(code, os.strerror(code))

        def full_sync(_handle):
            raise OSError(code, os.strerror(code))

        if where == "sync":
            monkeypatch.setattr(writing.os, "fdatasync", full_sync)
        else:
            monkeypatch.setattr(writing.os, "pwrite", full_write)
        with pytest.raises(LedgerError, match="can't be written"):
            ledger.append("trial", {"experiment": 10})
        assert lines_of(folder) == before
        monkeypatch.undo()
        assert ledger.append("trial", {"experiment": 10}).seq == 10
        assert ledger.verify().ok


def test_a_real_full_disk(folder):
    code = """
import pathlib, resource, signal, sys
from evalkit.errors import LedgerError
from evalkit.ledger import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = pathlib.Path(sys.argv[1])
with Ledger.open(folder) as ledger:
    size = (folder / "ledger.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300, resource.RLIM_INFINITY))
    try:
        ledger.append("trial", {"text": "x" * 5000})
    except LedgerError as error:
        print("refused", error.message)
    assert (folder / "ledger.jsonl").stat().st_size == size
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ledger.append("trial", {"text": "x" * 5000})
    assert ledger.verify().ok
"""
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert "refused" in done.stdout, done.stderr
    assert done.returncode == 0, done.stderr


def test_after_a_failed_sync_nothing_more_is_written(folder, monkeypatch):
    with Ledger.open(folder) as ledger:

        def bad(_handle):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(writing.os, "fdatasync", bad)
        with pytest.raises(LedgerError, match="Input/output error"):
            ledger.append("trial", {})
        monkeypatch.undo()
        with pytest.raises(LedgerError, match="can't be written any more"):
            ledger.append("trial", {})
    with Ledger.open(folder) as ledger:
        assert ledger.append("trial", {}).seq == 10


def test_an_interrupt_while_writing_takes_the_record_back(folder, monkeypatch):
    with Ledger.open(folder) as ledger:

        def interrupted(_handle):
            raise KeyboardInterrupt

        monkeypatch.setattr(writing.os, "fdatasync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ledger.append("trial", {})
        monkeypatch.undo()
        assert len(lines_of(folder)) == 10
        assert ledger.append("trial", {}).seq == 10


def test_a_folder_that_can_not_be_written(folder):
    (folder / "lock").unlink()
    folder.chmod(0o555)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this user writes anywhere")
        with pytest.raises(LedgerError, match="Permission denied") as caught:
            Ledger.open(folder)
        assert "EVALKIT_STATE" in caught.value.way_out
        with Ledger.open(folder, write=False) as reader:
            assert reader.count == 10
    finally:
        folder.chmod(0o755)


def test_a_read_only_file_system(folder, monkeypatch):
    def read_only(*_arguments):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(writing.os, "ftruncate", read_only)
    with pytest.raises(LedgerError, match="Read-only file system") as caught:
        Ledger.open(folder)
    assert "EVALKIT_STATE" in caught.value.way_out
    with Ledger.open(folder, write=False) as reader:
        assert reader.count == 10
    monkeypatch.undo()
    Ledger.open(folder).close()


WRITER = """
import pathlib, sys
from evalkit.ledger import Ledger
with Ledger.open(pathlib.Path(sys.argv[1])) as ledger:
    while True:
        record = ledger.append("trial", {"experiment": ledger.count, "text": "x" * (37 * ledger.count % 9000)})
        sys.stdout.write(f"{record.seq} {record.hash}\\n")
        sys.stdout.flush()
"""


def kill_and_look(folder: Path, kills: int) -> None:
    acknowledged = ""
    for kill in range(kills):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(1 + (kill * 7) % 23):  # where it is killed varies, by how much it has written
            acknowledged = writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        acknowledged = ([acknowledged, *writer.stdout.read().splitlines(keepends=True)])[-1]
        writer.wait()
        writer.stdout.close()
        seq, _, hash_ = acknowledged.strip().partition(" ")
        with Ledger.open(folder) as ledger:
            assert ledger.verify().ok
            if len(hash_) == 64:
                assert ledger.get(int(seq)).hash == hash_, "what was acknowledged is there"
            assert ledger.counts().get("trial") == ledger.count


def test_a_killed_writer_leaves_a_ledger_that_verifies(tmp_path):
    kill_and_look(tmp_path / "l", 4)


@pytest.mark.slow
def test_a_writer_killed_two_hundred_times(tmp_path):
    kill_and_look(tmp_path / "l", 200)


@pytest.mark.slow
def test_memory_stays_flat_over_ten_thousand_experiments(tmp_path):
    code = """
import pathlib, resource, sys
from unittest import mock
from evalkit.ledger import Ledger
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
with mock.patch("os.fdatasync"), Ledger.open(pathlib.Path(sys.argv[1])) as ledger:
    for number in range(10_000):
        ledger.append("verdict", {"experiment": number, "candidate": f"{number:040x}", "text": "x" * 10_000})
        if number == 1000:
            early = peak()
    assert sum(1 for _ in ledger.records()) == 10_000
    assert sum(1 for _ in ledger.records("verdict")) == 10_000
    assert ledger.verify().ok
    print(early, peak())
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "l")], capture_output=True, text=True, check=True)
    early, late = map(int, done.stdout.split())
    assert late - early < 15
    assert late < 100
