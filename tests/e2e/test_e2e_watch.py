"""Sixty keeps with a loss planted in them: seen by ``evalkit watch``, found by bisection, taken out of head again."""

import random
import re
import zlib
from collections.abc import Iterator

import pytest

from evalkit.measure.testing import Said, StubSandbox
from evalkit.sandbox.interface import SealedFile
from evalkit.verify import Workbench
from evalkit.verify.calibration import calibrate_run
from evalkit.watch.bisect import Outcome
from evalkit.watch.lineage import lineage
from evalkit.watch.visit import find_keep, suspects, visit

SPREAD = 0.01
KEEPS = 60
SOLVE = """\
import json
import os
import random
import zlib

with open(__file__, "rb") as file:
    own = zlib.crc32(file.read())
noise = random.Random(int(os.environ["EVALKIT_SEED"]) ^ own)
level = 1.0
{parts}
with open("answer.json", "w") as file:
    json.dump(level + 0.01 * noise.gauss(0, 1), file)
"""
PART = """\
# part {0}: what experiment {0}
# changes stands on a line of its own,
# with room around it
level += 0.0
#
#
"""


def source(effects: dict[int, float]) -> str:
    parts = "".join(PART.format(number) for number in range(1, KEEPS + 1))
    for number, effect in effects.items():
        marker = PART.format(number)
        parts = parts.replace(marker, marker.replace("level += 0.0", f"level += {effect!r}"))
    return SOLVE.format(parts=parts)


def keep(bench: Workbench, tiny, effects: dict[int, float]) -> None:
    """Record the next keep: a real tree and a real commit, as an examination would have left them."""
    number, before = bench.book.experiments + 1, bench.book.incumbent
    folder = tiny.top.parent / f"keep-{number}"
    bench.store.materialise(before, folder)
    text = (folder / "solve.py").read_text()
    marker = PART.format(number)
    (folder / "solve.py").write_text(text.replace(marker, marker.replace("+= 0.0", f"+= {effects[number]!r}")))
    tree = bench.store.snapshot(folder, like=before)
    body = {"experiment": number, "incumbent": before, "candidate": tree, "description": f"part {number}"}
    bench.record("proposed", {**body, "rules": None})
    verdict = {"decision": "KEEP", "reason": "improved", "settled": None, "trust": "scored", "effect": None}
    bench.record("decided", {**body, **verdict, "sentence": "", "evaluations": 0, "findings": []})
    planned = bench.store.plan_keep(
        tiny.folder, parent=bench.book.head_commit, tree=tree, when=1_700_000_000 + number, subject=f"part {number}"
    )
    where = {"commit": planned.id, "parent": planned.parent, "tree": tree, "branch": bench.book.branch}
    bench.record("kept", {"experiment": number, **where})
    bench.store.apply_keep(tiny.folder, planned, bench.book.branch)
    bench.record("estimated", {"experiment": number, "effects": {"loss": None}, "baseline": None, "spent": {}})


def level_of(text: str) -> float:
    return 1.0 + sum(float(found) for found in re.findall(r"^level \+= (\S+)$", text, flags=re.MULTILINE))


@pytest.mark.slow
def test_a_planted_keep_is_caught_named_and_rolled_back(make_tiny, bubblewrap, evalkit, no_syncing):
    tiny = make_tiny(solve=source({}))
    planted = 23
    effects = dict.fromkeys(range(1, KEEPS + 1), -0.0005) | {planted: 3 * SPREAD}
    with Workbench.open(tiny.contract, sandbox=bubblewrap) as bench:
        calibrate_run(bench)
    alarms = []
    for last in range(10, KEEPS + 1, 10):
        with Workbench.open(tiny.contract, sandbox=bubblewrap) as bench:
            while bench.book.experiments < last:
                keep(bench, tiny, effects)
        ran = evalkit("watch", "--rollback", "--json", folder=tiny.folder)
        assert ran.code == int(ran.json["alarm"]), ran.err
        alarms += [(last, ran.json)] if ran.json["alarm"] else []
        assert sum(metric["pairs"] for metric in ran.json["metrics"]) <= 48
    (caught, document), *more = alarms
    assert caught in {30, 40}
    assert not more
    (found,) = document["found"]
    assert (found["outcome"], found["experiment"]) == ("named", planted)
    assert (found["rollback"]["way"], found["rollback"]["undone"]) == ("patch", [planted])
    head = tiny.git("show", "evalkit/tiny:solve.py") + "\n"
    assert head == source({number: effect for number, effect in effects.items() if number != planted})
    assert level_of(head) == pytest.approx(1.0 - 59 * 0.0005)
    assert tiny.git("log", "--format=%s", "--grep=roll back", "evalkit/tiny") == f"tiny: roll back experiment {planted}"
    assert int(tiny.git("rev-list", "--count", "main..evalkit/tiny")) == KEEPS + 1
    assert evalkit("verify").code == 0
    assert tiny.git("status", "--porcelain") == ""


def pretend(job) -> Said:
    """The same task without a process."""
    if job.identity == "scorer":
        artifact = job.files["/artifacts/answer.json"]
        text = artifact.read() if isinstance(artifact, SealedFile) else artifact
        return Said(stdout=b'{"loss": ' + text + b"}")
    text = (job.tree / "solve.py").read_text()
    noise = random.Random(int(job.env["EVALKIT_SEED"]) ^ zlib.crc32(text.encode()))
    return Said(artifacts={"answer.json": str(level_of(text) + SPREAD * noise.gauss(0, 1)).encode()})


@pytest.fixture
def creeping(make_tiny, tmp_path, stub, no_syncing) -> Iterator[tuple[Workbench, object]]:
    """An open run without processes; ``stub`` fixes the seeds."""
    tiny = make_tiny(solve=source({}))
    with Workbench.open(tiny.contract, state=tmp_path / "state", sandbox=StubSandbox(pretend)) as bench:
        yield bench, tiny


def test_creep_is_caught_and_no_keep_is_blamed_for_it(creeping):
    bench, tiny = creeping
    calibrate_run(bench, pairs=12)
    effects = dict.fromkeys(range(1, KEEPS + 1), 0.1 * SPREAD)
    done = None
    while bench.book.keeps < KEEPS:
        keep(bench, tiny, effects)
        if bench.book.keeps % 5 == 0:
            done = visit(bench)
            if done.alarms:
                break
    assert done is not None
    assert done.alarms
    assert done.keeps <= 40
    finding, _ = find_keep(bench, suspects(bench, done.alarms[0]))
    assert finding.outcome is not Outcome.NAMED
    assert len(lineage(bench)) == bench.book.keeps
