"""evalkit's own ledger, read as a history."""

import json

import pytest

from evalkit.errors import DataError
from evalkit.interop import Status, read_history
from evalkit.watch.audit import Verdict, audit

METRICS = [
    {"name": "error", "goal": "minimize", "kind": "auto", "trust": "scored", "margin": {"value": 1.0}},
    {"name": "wall", "goal": "minimize", "kind": "auto", "trust": "measured", "margin": None},
]


def trial(value):
    return {"experiment": 1, "candidate": {"readings": {"wall": {"value": value}}}, "incumbent": None}


def ledger(tmp_path, *records, torn=""):
    path = tmp_path / "ledger.jsonl"
    opened = ("opened", {"name": "t", "contract": {"metrics": METRICS}})
    lines = [
        json.dumps(
            {"at": "2026-01-01T00:00:00Z", "body": body, "kind": kind, "prev": "0", "seq": seq}, separators=(",", ":")
        )
        for seq, (kind, body) in enumerate([opened, *records])
    ]
    path.write_text("\n".join(lines) + "\n" + torn)
    return path


RECORDS = (
    ("calibrated", {"values": {"wall": 1.0}}),
    ("measured", trial(0.5)),
    ("measured", trial(0.5)),
    ("decided", {"experiment": 1, "decision": "KEEP", "description": "cache"}),
    ("kept", {"experiment": 1, "commit": "c"}),
    ("estimated", {"experiment": 1, "effects": {"wall": {"effect": 0.7, "low": 0.5, "high": 0.9, "pairs": 4}}}),
    ("measured", trial(0.6)),
    ("decided", {"experiment": 2, "decision": "REJECT", "description": "slower"}),
    ("decided", {"experiment": 3, "decision": "ERROR", "description": "broken"}),
    ("decided", {"experiment": 4, "decision": "SOMETHING", "description": "new"}),
)


def test_rows(tmp_path):
    history = read_history(ledger(tmp_path, *RECORDS))
    assert history.form == "evalkit ledger"
    assert history.segments[0].metric == "log wall"
    assert [row.status for row in history.rows] == [
        Status.KEEP,
        Status.KEEP,
        Status.DISCARD,
        Status.CRASH,
        Status.UNKNOWN,
    ]
    assert history.rows[1].metric == pytest.approx(-0.693, abs=1e-3)
    assert dict(history.rows[1].extra)["fresh_effect"] == 0.7
    assert history.rows[3].metric is None


def test_fresh_pairs_decide_the_audit(tmp_path):
    rows = audit(read_history(ledger(tmp_path, *RECORDS))).segments[0].rows
    assert rows[1].verdict is Verdict.SURVIVES
    assert "4 pairs" in rows[1].reason


def test_torn_and_hostile_records(tmp_path):
    odd = [("decided", 7), ("measured", {"candidate": [1]}), ("estimated", {"effects": 3, "experiment": 1})]
    history = read_history(ledger(tmp_path, *RECORDS, *odd, torn='{"at":'))
    assert len(history.rows) == 5
    assert [problem.line for problem in history.problems] == [12, 15]


def test_a_ledger_without_an_objective(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"at":"x","body":{"contract":{}},"kind":"opened","prev":"0","seq":0}\n')
    with pytest.raises(DataError, match="ledger"):
        read_history(path)
