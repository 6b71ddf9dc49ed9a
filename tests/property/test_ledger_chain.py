from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.errors import LedgerCorrupt
from evalkit.ledger import Ledger, canonical, verify_file
from evalkit.ledger.chain import decode, tail_of

SETTINGS = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=80)

text = st.text(st.characters(exclude_categories=()), max_size=12).filter(
    lambda value: not any("\ud800" <= char <= "\udbff" for char in value)  # half a pair may find its other half
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(allow_nan=False, allow_infinity=False),
    text,
    st.sampled_from(["a" * 40, '"sha256":"' + "0" * 64, '"prev":"']),
)
values = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(text, below, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(
    st.one_of(st.sampled_from(["experiment", "candidate", "sha256", "prev", "seq"]), text), values, max_size=4
)
kinds = st.sampled_from(["trial", "verdict", "a", "x.y-z_0"])
records = st.lists(st.tuples(kinds, bodies), min_size=1, max_size=8)


@contextmanager
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp())
    try:
        with mock.patch("os.fdatasync"), mock.patch("os.fsync"):  # the disk is tested elsewhere
            yield made / "l"
    finally:
        shutil.rmtree(made)


def fill(where: Path, items: list[tuple[str, dict[str, object]]]) -> list[str]:
    with Ledger.open(where) as ledger:
        return [ledger.append(kind, body).hash for kind, body in items]


def same(one: object, other: object) -> bool:
    """Equal, and equal in type and in the sign of zero."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@SETTINGS
@given(items=records)
def test_every_body_comes_back_exactly(items):
    with folder() as where:
        hashes = fill(where, items)
        with Ledger.open(where) as ledger:
            back = list(ledger.records())
            assert [record.hash for record in back] == hashes
            assert [record.kind for record in back] == [kind for kind, _ in items]
            assert all(same(record.body, body) for record, (_, body) in zip(back, items, strict=True))
            assert ledger.verify(expected_head=hashes[0]).ok
            assert ledger.head == hashes[-1]
            for kind in {kind for kind, _ in items}:
                assert [record.seq for record in ledger.records(kind)] == [
                    seq for seq, (other, _) in enumerate(items) if other == kind
                ]


@SETTINGS
@given(body=bodies)
def test_canonical_bytes_are_a_fixed_point(body):
    data = canonical(body)
    assert canonical(json.loads(data)) == data
    assert data == json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


@SETTINGS
@given(items=records, data=st.data())
def test_any_changed_byte_is_found(items, data):
    with folder() as where:
        hashes = fill(where, items)
        path = where / "ledger.jsonl"
        good = path.read_bytes()
        at = data.draw(st.integers(0, len(good) - 1))
        byte = data.draw(st.integers(1, 255))
        path.write_bytes(good[:at] + bytes([good[at] ^ byte]) + good[at + 1 :])
        found = verify_file(path, expected_head=hashes[-1])
        assert not found.ok
        touched = good[:at].count(b"\n")
        assert found.problems[0].seq == touched
        named = {problem.seq for problem in found.problems if "seen before" not in problem.what}
        assert named <= {touched, touched + 1}  # a changed newline joins two
        assert found.problems[0].offset == good.rfind(b"\n", 0, at) + 1


@SETTINGS
@given(items=records, data=st.data())
def test_any_truncation_is_repaired_or_named(items, data):
    with folder() as where:
        hashes = fill(where, items)
        path = where / "ledger.jsonl"
        good = path.read_bytes()
        length = data.draw(st.integers(0, len(good) - 1))
        path.write_bytes(good[:length])
        whole = good[:length].count(b"\n")
        assert not verify_file(path, expected_head=hashes[-1]).ok
        try:
            Ledger.open(where).close()
            raise AssertionError("the index saw more")
        except LedgerCorrupt as error:
            assert "are gone" in error.message  # noqa: PT017 - both ways are checked
        (where / "index.sqlite").unlink()
        with Ledger.open(where) as ledger:
            torn = length and good[length - 1 : length] != b"\n"
            lost_newline = good[length : length + 1] == b"\n"
            assert ledger.count == whole + bool(lost_newline)
            assert bool(ledger.notices) == bool(torn)
            assert ledger.verify().ok
            kept = b"".join(aside.read_bytes() for aside in where.glob("torn-*"))
            assert (path.read_bytes() + kept).rstrip(b"\n") == good[:length].rstrip(b"\n")


@SETTINGS
@given(items=records, data=st.data())
def test_deleting_or_doubling_any_stretch_is_found(items, data):
    with folder() as where:
        hashes = fill(where, items)
        path = where / "ledger.jsonl"
        good = path.read_bytes()
        start = data.draw(st.integers(0, len(good) - 1))
        end = data.draw(st.integers(start + 1, len(good)))
        for bad in (good[:start] + good[end:], good[:end] + good[start:end] + good[end:]):
            path.write_bytes(bad)
            assert not verify_file(path, expected_head=hashes[-1]).ok


@SETTINGS
@given(data=st.binary(max_size=400), newline=st.booleans())
def test_no_bytes_break_the_reader(data, newline):
    line = data + b"\n" * newline
    try:
        decode(line, 0)
        raise AssertionError("random bytes were taken for a record")
    except LedgerCorrupt as error:
        assert "record 0" in error.message  # noqa: PT017
    assert tail_of(line) is None
    with folder() as where:
        where.mkdir()
        (where / "ledger.jsonl").write_bytes(line)
        assert verify_file(where / "ledger.jsonl").ok == (not line)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), kinds, st.integers(0, 3)),
            st.sampled_from([("reopen",), ("drop index",), ("read only",), ("flush",)]),
        ),
        max_size=25,
    )
)
def test_a_ledger_behaves_as_a_list(steps):
    model: list[tuple[str, int]] = []
    with folder() as where:
        ledger = Ledger.open(where)
        for step in steps:
            if step[0] == "append":
                ledger.append(step[1], {"experiment": step[2]})
                model.append((step[1], step[2]))
            elif step[0] == "flush":
                ledger.flush()
            else:
                ledger.close()
                if step[0] == "drop index":
                    (where / "index.sqlite").unlink()
                if step[0] == "read only":
                    with Ledger.open(where, write=False) as reader:
                        assert reader.count == len(model)
                        assert sum(reader.counts().values()) == len(model)
                ledger = Ledger.open(where)
            assert ledger.count == len(model)
            for number in range(4):
                assert [record.seq for record in ledger.by_experiment(number)] == [
                    seq for seq, (_, other) in enumerate(model) if other == number
                ]
            last = ledger.latest("trial")
            assert (last.seq if last else None) == max(
                (seq for seq, (kind, _) in enumerate(model) if kind == "trial"), default=None
            )
        ledger.close()
