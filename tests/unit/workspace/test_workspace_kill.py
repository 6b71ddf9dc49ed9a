"""Killed at any moment, the next start goes on: no branch stands on a commit that is not whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.workspace import Store

KEEPER = """
import pathlib, sys
from evalkit.workspace import Store
root, user = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
with Store.open(root / "store") as store:
    parent = sys.argv[3]
    tree = store.import_revision(user, parent)
    work = root / f"work-{sys.argv[4]}"
    store.materialise(tree, work)
    for number in range(1000):
        (work / "train.py").write_text(f"rate = {sys.argv[4]}.{number}")
        tree = store.snapshot(work, like=tree)
        planned = store.plan_keep(user, parent=parent, tree=tree, when=number, subject=str(number))
        print(planned.id, flush=True)
        store.apply_keep(user, planned, "runs")
        parent = planned.id
"""


def kill_and_look(user, tmp_path: Path, kills: int) -> None:
    user.commit({"train.py": "rate = 0", "lib/a.py": "1", "lib/b.py": "2"})
    tip = user.git("rev-parse", "HEAD")
    before = user.state()
    for kill in range(kills):
        keeper = subprocess.Popen(
            [sys.executable, "-c", KEEPER, str(tmp_path), str(user.folder), tip, str(kill)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert keeper.stdout is not None
        for _ in range(1 + kill % 5):
            planned = keeper.stdout.readline().strip()
        os.killpg(keeper.pid, signal.SIGKILL)  # git too, if it is running
        planned = ([planned, *keeper.stdout.read().split("\n")[:-1]])[-1]
        keeper.wait()
        keeper.stdout.close()
        with Store.open(tmp_path / "store") as store:
            store.apply_keep(user.folder, store.load_plan(planned), "runs")
            assert store.apply_keep(user.folder, store.load_plan(planned), "runs") is False
        tip = user.git("rev-parse", "runs")
        assert tip == planned
        user.git("fsck", "--connectivity-only", "--no-dangling")
        assert user.git("show", "runs:lib/a.py") == "1"
    assert user.state() == before


def test_a_killed_keeper_is_made_good(user, tmp_path):
    kill_and_look(user, tmp_path, 2)


@pytest.mark.slow
def test_a_keeper_killed_sixty_times(user, tmp_path):
    kill_and_look(user, tmp_path, 60)
