"""Killed at any moment, a run goes on: no keep without its record, no record without what it says, nothing touched."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.ledger import Ledger, verify_file
from evalkit.verify.replay import replay, story_of

DRIVER = Path(__file__).with_name("kill_driver.py")
HOW = ("before", "within", "after")


def plans(count, seed):
    """Moments to die at: by calls that change files, and by the clock."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        plan = {"seed": number, "more": 4}
        if number % 4 == 3:
            plan["milliseconds"] = chance.uniform(1, 400)
        else:
            plan |= {"moment": int(chance.expovariate(1 / 60)) + 1, "how": chance.choice(HOW)}
        found.append(plan)
    return found


def go_through(tiny, lives, *, inside=()):
    """Live all these lives, and then one to the end; what came of it."""
    before = tiny.untouched()
    done = subprocess.run(
        [*inside, sys.executable, str(DRIVER), str(tiny.top.parent), "4"],
        input=json.dumps(lives),
        env={**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert not told["troubles"], "\n".join(told["troubles"]) + "\n" + done.stderr[-3000:]
    assert tiny.untouched() == before
    if not inside:
        everything_decided_again(tiny.top.parent / "state" / "ledger", told["experiments"])
    assert not list((tiny.top / ".git").rglob("*.lock"))
    return told


def everything_decided_again(folder, experiments):
    assert verify_file(folder / "ledger.jsonl").ok
    with Ledger.open(folder, write=False) as ledger:
        for number in range(1, experiments + 1):
            story = story_of(ledger.by_experiment(number), number)
            assert replay(story).same
            if story.decided["decision"] == "KEEP":
                assert story.kept
                assert story.estimated
        counts = ledger.counts()
        assert counts["decided"] == experiments
        assert counts["kept"] == counts["estimated"] >= 1


def test_killed_at_some_moments(make_tiny):
    assert go_through(make_tiny(), plans(8, seed=1))["killed"] >= 4


def test_the_disk_is_full_from_some_moment_on(make_tiny):
    """In words, and with room again the run goes on."""
    chance = random.Random(3)
    lives = [{"seed": n, "more": 2, "moment": chance.randrange(1, 150), "how": "full"} for n in range(8)]
    assert go_through(make_tiny(), lives)["refused"] >= 4


SMALL_DISK = (
    'mount -t tmpfs -o size=4m none "$1/state" && export TMPDIR="$1/state/tmp" && mkdir "$TMPDIR" && shift && exec "$@"'
)


@pytest.mark.slow
def test_there_is_only_so_much_room_on_the_disk(make_tiny):
    tiny = make_tiny()
    folder = str(tiny.top.parent)
    (tiny.top.parent / "state").mkdir()
    inside = ["unshare", "--user", "--map-root-user", "--mount", "--", "sh", "-c", SMALL_DISK, "sh", folder]
    probe = subprocess.run([*inside, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no mounts in namespaces here: {probe.stderr.decode().strip()}")
    lives = [{"seed": n, "more": 2, "room": n * 20_000} for n in range(7)]
    assert go_through(tiny, lives, inside=inside)["refused"] >= 3


READ_ONLY = 'mount --bind "$1/state" "$1/state" && mount -o remount,bind,ro "$1/state" && shift && exec "$@"'


def test_a_state_that_can_only_be_read(make_tiny):
    """It can be looked at, and not be gone on with; both in words."""
    tiny = make_tiny()
    go_through(tiny, [])
    folder = tiny.top.parent
    inside = ["unshare", "--user", "--map-root-user", "--mount", "--", "sh", "-c", READ_ONLY, "sh", str(folder)]
    probe = subprocess.run([*inside, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no mounts in namespaces here: {probe.stderr.decode().strip()}")

    def run(*arguments):
        return subprocess.run(
            [*inside, sys.executable, "-m", "evalkit", *arguments],
            cwd=tiny.folder,
            env={**os.environ, "EVALKIT_STATE": str(folder / "state")},
            capture_output=True,
            text=True,
            check=False,
        )

    refused = run("run", "-n", "9")
    assert refused.returncode == 4
    assert "read-only" in refused.stderr.lower()
    assert "Traceback" not in refused.stderr
    assert "EVALKIT_STATE" in refused.stderr
    for command in (["log", "--json"], ["verify"], ["show", "1"], ["replay", "1"]):
        done = run(*command)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_clock_goes_backwards(make_tiny):
    lives = [{"seed": n, "more": 2, "backwards": n * 10**12} for n in range(3)]
    lives[1] |= {"moment": 40, "how": "after"}
    assert go_through(make_tiny(), lives)["experiments"] >= 6


@pytest.mark.slow
def test_killed_at_hundreds_of_moments(make_tiny):
    told = go_through(make_tiny(), plans(260, seed=2))
    print(f"killed {told['killed']} times over {told['experiments']} experiments")  # noqa: T201 - a figure
    assert told["killed"] >= 200
