"""The case suite: every cell is capped, or has a documented reason why it can't be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.sandbox.redteam import CASES, Mark

SLOW = ("landlock", "process", "docker", "docker:runsc")
ENGINES = ["bubblewrap", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]

pytestmark = pytest.mark.sandbox


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_case(engine, case, arena):
    held = case.check(engine, arena)
    reason = case.reasons.get(engine.name.partition(":")[0], "")
    if held.mark in (Mark.OPEN, Mark.PARTLY):
        assert reason, f"{case.id} on {engine.name}: {case.attack}: {held.detail}"
    assert arena.neighbour_lives()


def test_the_catalogue_is_whole():
    ids = [case.id for case in CASES]
    assert len(ids) == len(set(ids))
    listed = [
        *(f"N{n}" for n in range(1, 14)),
        *(f"F{n}" for n in range(1, 38)),
        *(f"P{n}" for n in range(1, 45)),
        *(f"M{n}" for n in range(1, 26)),
    ]
    assert set(listed) <= set(ids)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_the_suite_as_an_ordinary_user(name):
    """As root only: the same cases again, as a user without any privilege."""
    if os.geteuid() != 0:
        pytest.skip("this is an ordinary user already")
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    repository = Path(__file__).parents[2]
    if python is None or not shutil.which("setpriv"):
        pytest.skip("no interpreter that an ordinary user can reach, or no setpriv")
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
    environment = {"PYTHONPATH": str(repository), "PATH": "/usr/bin:/bin"}
    check = subprocess.run(
        [*user, python, "-c", "import evalkit.sandbox.redteam"], env=environment, check=False, cwd="/"
    )
    if check.returncode or sys.version_info < (3, 11):
        pytest.skip("an ordinary user can't import this checkout")
    command = [*user, python, "-m", "evalkit.bench.redteam", name, "--strict"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd="/", timeout=300)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]
