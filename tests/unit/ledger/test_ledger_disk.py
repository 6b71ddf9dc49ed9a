"""Real disks that are full, or can only be read: small ones, mounted in a namespace that goes away with the test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

INSIDE = ["unshare", "--user", "--map-root-user", "--mount", "--"]


def run_on_small_disk(folder: Path, code: str) -> str:
    mount = ["sh", "-c", 'mount -t tmpfs -o size=2m none "$1" && shift && exec "$@"', "sh", str(folder)]
    probe = subprocess.run([*INSIDE, *mount, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no mounts in namespaces here: {probe.stderr.decode().strip()}")
    done = subprocess.run(
        [*INSIDE, *mount, sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_ledger_fills_its_disk_and_goes_on_when_there_is_room(tmp_path):
    said = run_on_small_disk(
        tmp_path,
        """
import pathlib, sys
from evalkit.errors import LedgerError
from evalkit.ledger import Ledger, verify_file
root = pathlib.Path(sys.argv[1])
(root / "ballast").write_bytes(b"x" * 300_000)
with Ledger.open(root / "l") as ledger:
    try:
        while True:
            ledger.append("trial", {"experiment": ledger.count, "text": "x" * 5000})
    except LedgerError as error:
        print(error)
    full = ledger.count
    assert full > 100 and verify_file(root / "l" / "ledger.jsonl").ok
    for _ in range(3):
        try:
            ledger.append("trial", {"text": "x" * 5000})
        except LedgerError:
            continue
    assert ledger.count == full
    assert [record.seq for record in ledger.by_experiment(3)] == [3]
    (root / "ballast").unlink()
    ledger.append("trial", {"experiment": full, "text": "x" * 5000})
    assert ledger.verify().count == full + 1 and ledger.verify().ok
with Ledger.open(root / "l") as ledger:
    assert ledger.count == full + 1
""",
    )
    assert "No space left on device" in said
    assert "free some space" in said


def test_a_ledger_on_a_disk_that_can_only_be_read(tmp_path):
    said = run_on_small_disk(
        tmp_path,
        """
import pathlib, subprocess, sys
from evalkit.errors import LedgerError
from evalkit.ledger import Ledger
root = pathlib.Path(sys.argv[1])
with Ledger.open(root / "l") as ledger:
    for number in range(300):
        ledger.append("trial", {"experiment": number})
(root / "m").mkdir()
(root / "m" / "ledger.jsonl").write_bytes((root / "l" / "ledger.jsonl").read_bytes()[:-9])
subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
for place in ("l", "m", "new"):
    try:
        Ledger.open(root / place)
    except LedgerError as error:
        print(error)
with Ledger.open(root / "l", write=False) as reader:
    assert reader.count == 300 and reader.verify().ok
    assert [record.seq for record in reader.by_experiment(7)] == [7]
with Ledger.open(root / "m", write=False) as reader:
    assert reader.count == 299 and "not complete" in reader.notices[0]
    assert reader.counts() == {"trial": 299}
""",
    )
    assert said.count("Read-only file system") == 3
    assert said.count("set EVALKIT_STATE") == 3
