"""A keep that lost something is taken out of head: newest, by patch, hard; and what a kill leaves behind."""

import dataclasses
import re

import pytest

from evalkit.contract import Margin, Metric, Trust
from evalkit.errors import TrialError, UsageError, WorkspaceError
from evalkit.loop.function import Function
from evalkit.loop.session import Limits, Session
from evalkit.loop.watching import Silent
from evalkit.verify.calibration import calibrate_run
from evalkit.verify.keeping import finish_keep
from evalkit.verify.replay import replay, story_of
from evalkit.verify.runbook import Runbook
from evalkit.verify.verifier import verify_with
from evalkit.watch.lineage import lineage, pointed_at, suspicious_since
from evalkit.watch.rollback import Way, roll_back


def keep(bench, tiny, *, findings=(), spent=0.0, effect=0.0, **files):
    """Record a keep, as an examination would have, without measuring it."""
    number = bench.book.experiments + 1
    folder = tiny.top.parent / f"next-{number}"
    bench.store.materialise(bench.book.incumbent, folder)
    for name, text in files.items():
        path = folder / name.replace("_", ".")
        if name == "LEVEL":
            path = folder / "solve.py"
            changed = re.sub(r"^LEVEL = .*$", f"LEVEL = {text}", path.read_text(), flags=re.MULTILINE)
        else:
            changed = text
        path.write_text(changed)
    tree = bench.store.snapshot(folder, like=bench.book.incumbent)
    body = {
        "experiment": number,
        "incumbent": bench.book.incumbent,
        "candidate": tree,
        "description": f"change {number}",
    }
    bench.record("proposed", {**body, "rules": None})
    verdict = {"decision": "KEEP", "settled": None, "trust": "scored", "effect": None, "sentence": "", "evaluations": 0}
    bench.record("decided", {**body, **verdict, "reason": "improved", "findings": list(findings)})
    parent = bench.book.head_commit
    planned = bench.store.plan_keep(tiny.folder, parent=parent, tree=tree, when=1_700_000_000 + number, subject="keep")
    where = {"commit": planned.id, "parent": planned.parent, "tree": tree, "branch": bench.book.branch}
    bench.record("kept", {"experiment": number, **where})
    bench.store.apply_keep(tiny.folder, planned, bench.book.branch)
    effects = {metric.name: {"effect": effect} for metric in bench.contract.metrics}
    used = {metric.name: spent for metric in bench.contract.guarded}
    bench.record("estimated", {"experiment": number, "effects": effects, "baseline": None, "spent": used})
    return bench.ledger.latest("kept").body


def level(tiny):
    return tiny.git("show", "evalkit/tiny:solve.py").splitlines()[4]


@pytest.fixture
def calibrated(bench):
    calibrate_run(bench)
    return bench


def test_the_newest_keep_goes(calibrated, tiny, open_stub):
    good, bad = keep(calibrated, tiny, LEVEL="0.9"), keep(calibrated, tiny, LEVEL="1.5")
    before = tiny.untouched()
    done = roll_back(calibrated, bad)
    assert (done.way, done.undone, done.tree) == (Way.NEWEST, (2,), good["tree"])
    assert tiny.git("rev-parse", "evalkit/tiny") == done.commit == calibrated.book.head_commit
    assert tiny.git("rev-parse", "evalkit/tiny^") == bad["commit"]
    assert level(tiny) == "LEVEL = 0.9"
    assert tiny.untouched() == before
    assert done.effects["loss"].effect == pytest.approx(0.6, abs=0.05)
    message = tiny.git("log", "-1", "--format=%B", "evalkit/tiny")
    assert message.startswith("tiny: roll back experiment 2\n")
    assert "Evalkit-Rollback: experiment 2 (newest)" in message
    assert [step["experiment"] for step in lineage(calibrated)] == [1]
    book = calibrated.book
    calibrated.close()
    with open_stub() as again:
        assert again.book == book == Runbook.of(again.ledger.records())


def test_the_run_goes_on_from_there(calibrated, tiny):
    keep(calibrated, tiny, LEVEL="0.9")
    bad = keep(calibrated, tiny, LEVEL="1.5")
    done = roll_back(calibrated, bad)
    verdict = verify_with(calibrated, tiny.candidate(LEVEL=0.86))
    assert verdict.kept, verdict.sentence
    assert calibrated.ledger.latest("kept").body["parent"] == done.commit
    assert replay(story_of(calibrated.ledger.by_experiment(3), 3)).same
    assert story_of(calibrated.ledger.by_experiment(2), 2).kept == bad
    assert [step["experiment"] for step in lineage(calibrated)] == [1, 3]


def test_only_its_patch_goes_and_later_keeps_stay(calibrated, tiny):
    good = keep(calibrated, tiny, LEVEL="0.9")
    bad = keep(calibrated, tiny, LEVEL="1.5")
    keep(calibrated, tiny, notes_txt="kept for later")
    done = roll_back(calibrated, bad)
    assert (done.way, done.undone) == (Way.PATCH, (2,))
    assert level(tiny) == "LEVEL = 0.9"
    assert tiny.git("show", "evalkit/tiny:notes.txt") == "kept for later"
    first, second = lineage(calibrated)
    assert (first["experiment"], second["holds"], second["tree"]) == (1, [3], calibrated.book.incumbent)
    assert roll_back(calibrated, second).tree == good["tree"]
    assert [step["experiment"] for step in lineage(calibrated)] == [1]
    with pytest.raises(UsageError, match="does not carry"):
        roll_back(calibrated, bad)


def test_back_to_the_anchor(calibrated, tiny):
    done = roll_back(calibrated, keep(calibrated, tiny, LEVEL="1.5"))
    assert done.tree == calibrated.book.anchor
    assert lineage(calibrated) == ()


def test_keeps_that_build_on_it_are_given_up_only_when_asked(calibrated, tiny):
    good, bad = keep(calibrated, tiny, LEVEL="0.9"), keep(calibrated, tiny, LEVEL="1.5")
    keep(calibrated, tiny, LEVEL="1.4")
    head, records = tiny.git("rev-parse", "evalkit/tiny"), calibrated.ledger.head
    with pytest.raises(UsageError, match="1 later keeps build on it") as refused:
        roll_back(calibrated, bad)
    assert "--rollback=hard" in refused.value.way_out
    assert (tiny.git("rev-parse", "evalkit/tiny"), calibrated.ledger.head) == (head, records)
    done = roll_back(calibrated, bad, hard=True)
    assert (done.way, done.undone, done.tree) == (Way.HARD, (2, 3), good["tree"])
    assert tiny.git("rev-parse", "evalkit/tiny^") == head


def test_a_kill_before_the_branch_moves_loses_nothing(calibrated, tiny, open_stub, monkeypatch):
    bad = keep(calibrated, tiny, LEVEL="1.5")
    apply, calls = calibrated.store.apply_keep, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return apply(*arguments)

    monkeypatch.setattr(calibrated.store, "apply_keep", killed)
    with pytest.raises(KeyboardInterrupt):
        roll_back(calibrated, bad)
    planned = calibrated.ledger.latest("rolled-back").body["commit"]
    assert tiny.git("rev-parse", "evalkit/tiny") == bad["commit"]
    calibrated.close()
    with open_stub() as again:
        assert again.book.incumbent == again.book.anchor
        finish_keep(again)
        assert tiny.git("rev-parse", "evalkit/tiny") == planned


def test_nothing_is_recorded_where_the_branch_is_in_use(calibrated, tiny):
    bad = keep(calibrated, tiny, LEVEL="1.5")
    tiny.git("switch", "-q", "evalkit/tiny")
    with pytest.raises(WorkspaceError, match="checked out"):
        roll_back(calibrated, bad)
    assert calibrated.ledger.latest("rolled-back") is None


def test_an_open_experiment_comes_first(calibrated, tiny):
    bad = keep(calibrated, tiny, LEVEL="1.5")
    calibrated.record("proposed", {"experiment": 2, "candidate": "", "rules": None})
    with pytest.raises(UsageError, match="experiment 2 is open"):
        roll_back(calibrated, bad)


def test_a_tree_that_does_not_run_is_not_gone_back_to(calibrated, tiny):
    source = (tiny.folder / "solve.py").read_text()
    added = f"{source}SPREAD = 0.02\n"
    bad = keep(calibrated, tiny, solve_py=added)
    keep(calibrated, tiny, solve_py=added.replace("SPREAD = 0.01\n", ""))
    with pytest.raises(TrialError, match="without that keep's patch"):
        roll_back(calibrated, bad)
    keep(calibrated, tiny, solve_py=source.replace("LEVEL", "LOST"))
    fixed = keep(calibrated, tiny, solve_py=source)
    with pytest.raises(TrialError, match="the tree to go back to"):
        roll_back(calibrated, fixed)
    assert calibrated.ledger.latest("rolled-back") is None


def guarded(bench, spent):
    """The tiny run with a guarded metric of which ``spent`` is used."""
    size = Metric("size", "minimize", "default", Trust.SCORED, kind="scalar", margin=Margin(0.5))
    bench.contract = dataclasses.replace(bench.contract, metrics=(bench.contract.objective, size))
    noise, values = bench.book.noise["loss"], {**bench.book.anchor_values, "size": 1.0}
    known = {**bench.book.noise, "size": noise}
    bench.book = dataclasses.replace(bench.book, noise=known, anchor_values=values, spent={"size": spent})


def test_a_session_ends_when_a_margin_is_spent(calibrated):
    def unwanted(briefing):
        raise AssertionError("nothing is to be proposed any more")

    assert calibrated.book.exhausted(calibrated.contract) == ()
    assert Runbook().exhausted(calibrated.contract) == ()
    guarded(calibrated, 0.4)
    assert calibrated.book.exhausted(calibrated.contract) == ()
    guarded(calibrated, 0.5)
    ended = Session(calibrated, Function(unwanted), Silent()).run(Limits(experiments=5))
    assert ended.startswith("the margin of 'size' against the anchor is spent")
    assert calibrated.book.experiments == 0


def test_what_a_keep_had_spent_comes_back(calibrated, tiny, monkeypatch):
    guarded(calibrated, 0.0)
    keep(calibrated, tiny, effect=-0.1, spent=0.1, LEVEL="0.9")
    bad = keep(calibrated, tiny, effect=-0.6, spent=0.7, notes_txt="bad")
    keep(calibrated, tiny, effect=-0.05, spent=0.75, more_txt="good")
    assert calibrated.book.exhausted(calibrated.contract) == ("size",)
    monkeypatch.setattr("evalkit.watch.rollback._measure", lambda *_: [])
    roll_back(calibrated, bad)
    assert calibrated.book.spent["size"] == pytest.approx(0.15)
    assert calibrated.book.exhausted(calibrated.contract) == ()


def test_a_guard_that_wanted_a_probe_says_where_to_look(calibrated, tiny):
    probe = {"rule": "gaming/x", "severity": "probe"}
    for number in range(6):
        keep(calibrated, tiny, findings=(probe,) if number in {1, 4} else (), notes_txt=str(number))
    steps = lineage(calibrated)
    assert pointed_at(calibrated, steps) == 2
    assert pointed_at(calibrated, steps[:1]) is None
    assert suspicious_since(calibrated, 0)
    assert not suspicious_since(calibrated, calibrated.ledger.latest("decided").seq)
