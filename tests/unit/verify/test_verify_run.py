"""A run on a sandbox that runs nothing: every path to a verdict, its record, and what follows."""

import dataclasses
import json
import re

import pytest

from evalkit.errors import TrialError, UsageError, WorkspaceError
from evalkit.ledger import verify_file
from evalkit.loop.history import past_of
from evalkit.measure.testing import Said, StubSandbox
from evalkit.sandbox.interface import Outcome
from evalkit.verify import Verdict, Verifier
from evalkit.verify.calibration import calibrate_run
from evalkit.verify.comparison import compare_with_anchor
from evalkit.verify.examination import Attempt, examine
from evalkit.verify.replay import replay, rerun_course, story_of
from evalkit.verify.runbook import Runbook
from evalkit.verify.verdict import Decision, Reason
from evalkit.verify.verifier import verify_with
from evalkit.verify.workbench import Workbench, set_aside, state_folder


def kinds(bench):
    return [record.kind for record in bench.ledger.records()]


def story(bench, number):
    return story_of(bench.ledger.by_experiment(number), number)


def test_a_gain_is_kept_committed_and_estimated(bench, tiny):
    before = tiny.untouched()
    verdict = verify_with(bench, tiny.candidate(LEVEL=0.96), description="lower")
    assert (verdict.decision, verdict.reason) == (Decision.KEEP, Reason.IMPROVED)
    assert verdict.kept
    assert bench.book.keeps == 1
    assert bench.book.incumbent == verdict.candidate
    assert kinds(bench)[-3:] == ["decided", "kept", "estimated"]
    assert tiny.git("rev-parse", "evalkit/tiny") == bench.book.head_commit
    assert tiny.git("show", "evalkit/tiny:solve.py").splitlines()[4] == "LEVEL = 0.96"
    assert tiny.untouched() == before
    message = tiny.git("log", "-1", "--format=%B", "evalkit/tiny")
    decided = next(record for record in bench.ledger.records("decided"))
    assert message.startswith("tiny: lower\n")
    assert "Evalkit-Verdict: KEEP experiment 1 (scored)" in message
    assert f"Evalkit-Ledger: {decided.hash}" in message
    assert re.search(r"^Evalkit-Metric: loss better by 0\.\d+ \[0\.\d+, 0\.\d+\] \(\d+ pairs\)$", message, re.MULTILINE)


def test_a_loss_is_rejected_and_nothing_follows(bench, tiny):
    verdict = verify_with(bench, tiny.candidate(LEVEL=1.5))
    assert (verdict.decision, verdict.reason) == (Decision.REJECT, Reason.SCREENED_OUT)
    assert kinds(bench)[-1] == "decided"
    assert tiny.git("branch", "--list", "evalkit/*") == ""


def test_the_same_tree_is_no_change_and_the_same_change_a_duplicate(bench, tiny):
    assert verify_with(bench, tiny.folder).reason is Reason.NO_CHANGE
    worse = tiny.candidate(LEVEL=2.0)
    assert verify_with(bench, worse).reason is Reason.SCREENED_OUT
    again = verify_with(bench, worse)
    assert (again.decision, again.reason, again.evaluations) == (Decision.REJECT, Reason.DUPLICATE, 0)
    assert "experiment 2" in again.sentence


def test_what_was_rejected_may_be_tried_against_another_incumbent(bench, tiny):
    middling = tiny.candidate(LEVEL=1.2)
    verify_with(bench, middling)
    assert verify_with(bench, tiny.candidate(LEVEL=0.96)).kept
    assert verify_with(bench, middling).reason is Reason.SCREENED_OUT


def test_out_of_scope_is_refused_unseen(bench, tiny, stub):
    calibrate_run(bench)
    jobs = stub.jobs
    folder = tiny.candidate(LEVEL=0.96)
    (folder / "score.py").write_text("print('{\"loss\": 0}')")
    verdict = verify_with(bench, folder)
    assert (verdict.decision, verdict.reason) == (Decision.REJECT, Reason.SCOPE)
    assert "score.py" in verdict.sentence
    assert stub.jobs == jobs
    assert verdict.findings


def test_a_candidate_that_deletes_everything(bench, tiny, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    verdict = verify_with(bench, empty)
    assert (verdict.decision, verdict.evaluations) == (Decision.REJECT, 0)
    assert verdict.reason in {Reason.SCOPE, Reason.GUARD}


def test_a_candidate_without_the_editable_file_crashes_and_is_rejected(bench, tiny):
    assert verify_with(bench, tiny.candidate_with("print('nothing here')\n")).reason is Reason.CRASH


def test_a_patch_that_does_not_apply_is_one_recorded_rejection(bench, tmp_path):
    patch = tmp_path / "x.patch"
    patch.write_text("--- a/solve.py\n+++ b/solve.py\n@@ -1 +1 @@\n-nothing\n+like this\n")
    verdict = verify_with(bench, patch)
    assert (verdict.decision, verdict.reason, verdict.candidate) == (Decision.REJECT, Reason.SCOPE, "")
    assert bench.book.experiments == 1


@pytest.mark.parametrize("named", ["no-such-thing", "missing.patch", "-x", "HEAD~9"])
def test_a_candidate_that_is_nothing_is_a_mistake_and_no_experiment(bench, named):
    with pytest.raises(UsageError):
        verify_with(bench, named)
    assert bench.book.experiments == 0
    assert bench.book.open_experiment is None


def test_a_revision_is_a_candidate(bench, tiny):
    tiny.git("checkout", "-q", "-b", "idea")
    tiny.write("solve.py", (tiny.folder / "solve.py").read_text().replace("LEVEL = 1.0", "LEVEL = 0.96"))
    tiny.commit()
    assert verify_with(bench, "idea").kept


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"NaN", Reason.INVALID_RESULT), (b"1e400", Reason.INVALID_RESULT), (b'"0.1"', Reason.INVALID_RESULT),
        (b"true", Reason.INVALID_RESULT), (b'0, "loss": 0', Reason.INVALID_RESULT), (b"", Reason.INVALID_RESULT),
        (b"-Infinity", Reason.INVALID_RESULT),
    ],
)  # fmt: skip
def test_a_value_that_is_none_is_rejected_and_never_a_zero(tiny, open_stub, no_syncing, answer, reason):
    def say(job):
        from_stub = stub_for(job)
        if job.identity == "scorer" or b"LEVEL = 0.3" not in (job.tree / "solve.py").read_bytes():
            return from_stub
        return Said(artifacts={"answer.json": answer})

    with open_stub(StubSandbox(say)) as bench:
        verdict = verify_with(bench, tiny.candidate(LEVEL=0.3))
        assert (verdict.decision, verdict.reason) == (Decision.REJECT, reason)
        assert replay(story(bench, 1)).same


@pytest.fixture(autouse=True)
def _stub_for(stub):
    global stub_for  # noqa: PLW0603 - the fixture's function, for the sandboxes made in tests
    stub_for = stub._say


def failing(when, outcome=Outcome.SANDBOX_ERROR):
    """A sandbox that fails from its n-th job on."""
    count = iter(range(10**6))

    def say(job):
        return Said(outcome) if next(count) >= when else stub_for(job)

    return StubSandbox(say)


def test_our_own_failures_are_errors_with_a_way_on(tiny, open_stub, no_syncing):
    with open_stub() as bench:
        calibrate_run(bench)
    with open_stub(failing(0)) as bench:
        verdict = verify_with(bench, tiny.candidate(LEVEL=0.96))
        assert (verdict.decision, verdict.reason) == (Decision.ERROR, Reason.SANDBOX)
    with open_stub() as bench:
        assert verify_with(bench, tiny.candidate(LEVEL=0.96)).kept


def test_an_incumbent_that_does_not_run_is_said_at_calibration(open_stub, no_syncing):
    with open_stub(failing(0, Outcome.NONZERO)) as bench, pytest.raises(TrialError, match="incumbent's own trial"):
        calibrate_run(bench)


def test_a_scorer_that_crashes_at_calibration_is_said(open_stub, no_syncing):
    crashing = StubSandbox(
        lambda job: Said(Outcome.NONZERO, stderr=b"KeyError: loss") if job.identity == "scorer" else stub_for(job)
    )
    with open_stub(crashing) as bench, pytest.raises(TrialError, match="KeyError: loss"):
        calibrate_run(bench)


def test_an_interrupted_calibration_goes_on_where_it_was(tiny, open_stub, no_syncing):
    with open_stub(failing(10, Outcome.NONZERO)) as bench, pytest.raises(TrialError):
        calibrate_run(bench)
    seen = []
    with open_stub() as bench:
        assert len(bench.book.calibration) == 2
        calibrate_run(bench, progress=lambda have, wanted: seen.append((have, wanted)))
        assert seen == [(2, 6), (3, 6), (4, 6), (5, 6)]
        assert bench.book.calibrated


def test_pairs_of_an_interrupted_calibration_are_not_used_for_another_incumbent(bench, tiny):
    calibrate_run(bench)
    pair = bench.pairing.null_pair(bench.book.incumbent, split="dev")
    bench.record("calibrating", {"tree": bench.book.incumbent, **pair.as_json()})
    assert verify_with(bench, tiny.candidate(LEVEL=0.96)).kept
    assert bench.book.calibration == ()


def test_a_ratio_of_nothing_is_said_at_calibration_and_not_recorded(make_tiny, tmp_path, no_syncing):
    tiny = make_tiny()
    text = (tiny.folder / "evalkit.toml").read_text().replace('kind = "scalar"', 'kind = "ratio"')
    (tiny.folder / "evalkit.toml").write_text(text)
    zero = StubSandbox(lambda job: Said(stdout=b'{"loss": 0}') if job.identity == "scorer" else stub_for(job))
    with Workbench.open(tiny.contract, state=tmp_path / "s", sandbox=zero) as bench:
        with pytest.raises(TrialError, match="positive"):
            calibrate_run(bench)
        assert bench.book.calibration == ()


def test_replay_and_rerun(bench, tiny):
    verify_with(bench, tiny.candidate(LEVEL=0.96))
    verify_with(bench, tiny.candidate(LEVEL=1.5))
    assert verify_with(bench, tiny.candidate(LEVEL=0.96)).reason is Reason.NO_CHANGE
    assert all(replay(story(bench, number)).same for number in (1, 2, 3))
    count = bench.ledger.count
    assert rerun_course(bench, story(bench, 1)).decision is Decision.KEEP
    assert rerun_course(bench, story(bench, 2)).decision is Decision.REJECT
    assert bench.ledger.count == count
    with pytest.raises(UsageError, match="nothing to measure"):
        rerun_course(bench, story(bench, 3))
    with pytest.raises(UsageError, match="no experiment 9"):
        story(bench, 9)


def forged(found, **changes):
    return dataclasses.replace(found, **changes)


def test_replay_finds_every_change(bench, tiny):
    verify_with(bench, tiny.candidate(LEVEL=0.96))
    found = story(bench, 1)
    assert replay(found).same
    better = [{**trial, "candidate": json.loads(json.dumps(trial["candidate"]))} for trial in found.trials]
    better[-1]["candidate"]["readings"]["loss"]["value"] += 1e-9
    for changed in (
        forged(found, trials=tuple(better)),
        forged(found, trials=found.trials[:-1]),
        forged(found, trials=(*found.trials, found.trials[-1])),
        forged(found, trials=found.trials[::-1]),
        forged(found, decided={**found.decided, "decision": "REJECT"}),
        forged(found, decided={**found.decided, "reason": "futile"}),
        forged(found, proposed={**found.proposed, "rules": {**found.proposed["rules"], "level": 1e-9}}),
        forged(found, proposed={**found.proposed, "rules": None}),
    ):
        result = replay(changed)
        assert not result.same
        assert result.differences
    with pytest.raises(UsageError, match="not decided"):
        replay(forged(found, decided=None))


def test_the_level_is_fixed_before_the_first_trial_and_kept_after_a_restart(tiny, open_stub, stub, no_syncing):
    with open_stub() as bench:
        calibrate_run(bench)
        tree = bench.store.snapshot(tiny.candidate(LEVEL=0.99), like=bench.book.incumbent)
    before = stub.jobs

    def dying(job):
        if stub.jobs > before + 8:
            raise KeyboardInterrupt
        return stub_for(job)

    dying_box = StubSandbox(dying)
    with open_stub(dying_box) as bench:
        stub.jobs = before

        def counted(job):
            stub.jobs += 1
            return dying(job)

        dying_box._say = counted
        with pytest.raises(KeyboardInterrupt):
            examine(bench, Attempt(tree, "submit", "x"))
        opened, trials = bench.book.open_experiment, bench.book.trials
        assert trials
    with open_stub() as bench:
        assert bench.book.open_experiment == opened
        assert bench.book.trials == trials
        verdict = examine(bench, Attempt.of_record(opened))
        assert verdict.body["level"] == opened["rules"]["level"]
        assert [record.kind for record in bench.ledger.by_experiment(1)].count("proposed") == 1
        found = story(bench, 1)
        assert list(found.trials[: len(trials)]) == list(trials)
        assert replay(found).same


def test_an_open_experiment_is_decided_before_a_new_one(tiny, open_stub, no_syncing):
    with open_stub() as bench:
        calibrate_run(bench)
        tree = bench.store.snapshot(tiny.candidate(LEVEL=2.0), like=bench.book.incumbent)
        rules = bench.book.rules(bench.contract, digest=bench.contract.digest)
        attempt = Attempt(tree, "submit", "left open")
        bench.record(
            "proposed",
            {"experiment": 1, "incumbent": bench.book.incumbent, **attempt.as_json(), "rules": rules.as_json()},
        )
    with open_stub() as bench:
        assert verify_with(bench, tiny.candidate(LEVEL=0.96)).experiment == 2
        assert bench.book.experiments == 2
        assert story(bench, 1).decided["reason"] == "screened_out"


def test_any_prefix_of_the_records_is_a_state_to_go_on_from(bench, tiny):
    for level in (0.96, 1.5, 0.92, 0.919):
        verify_with(bench, tiny.candidate(LEVEL=level))
    records = list(bench.ledger.records())
    for count in range(len(records) + 1):
        book = Runbook.of(records[:count])
        assert book.experiments == sum(record.kind == "decided" for record in records[:count])
        assert (book.open_experiment is not None) == (
            sum(record.kind == "proposed" for record in records[:count]) > book.experiments
        )
        if book.open_experiment is None:
            assert not book.trials
        if book.calibrated and book.open_experiment is None:
            assert 0 < book.rules(bench.contract, digest="d").level <= 0.05
    assert Runbook.of(records) == bench.book


def test_opening_again_gives_the_very_same_state(tiny, open_stub, no_syncing):
    with open_stub() as bench:
        for level in (0.96, 1.5, 0.92):
            verify_with(bench, tiny.candidate(LEVEL=level))
        before = bench.book
    with open_stub() as bench:
        assert bench.book == before


def test_levels_never_add_up_to_more_than_alpha_without_keeps(bench, tiny):
    for level in (1.001, 1.002, 1.003, 0.9999, 0.9998):
        verify_with(bench, tiny.candidate(LEVEL=level))
    assert bench.book.keeps == 0
    spent = [entry[1] for entry in bench.book.settled]
    assert sum(spent) <= bench.contract.policy.alpha
    assert [entry[0] for entry in bench.book.settled] == sorted(entry[0] for entry in bench.book.settled)


def test_head_against_anchor(bench, tiny):
    verify_with(bench, tiny.candidate(LEVEL=0.96))
    told = []
    body = compare_with_anchor(bench, 3, progress=lambda *step: told.append(step))
    effect = body["effects"]["loss"]
    assert effect["low"] < 0.04 < effect["high"]
    assert body["values"]["loss"]["anchor"]["mean"] == pytest.approx(1.0, abs=0.05)
    assert told == [(0, 3), (1, 3), (2, 3)]
    assert kinds(bench)[-1] == "compared"


def test_the_contract_may_not_change_under_a_run(tiny, open_stub, no_syncing):
    open_stub().close()
    text = (tiny.folder / "evalkit.toml").read_text()
    (tiny.folder / "evalkit.toml").write_text(text.replace("10s", "11s"))
    with pytest.raises(UsageError, match="changed: budget"):
        open_stub()
    (tiny.folder / "evalkit.toml").write_text(text + '\n[proposer]\nkind = "patches"\nsource = ["x"]\n')
    open_stub().close()


def test_no_committed_editable_file_is_said(make_tiny, tmp_path):
    tiny = make_tiny()
    tiny.git("rm", "-q", "--cached", "solve.py")
    tiny.git("commit", "-q", "-m", "without")
    with pytest.raises(WorkspaceError, match="no committed file matches"):
        Workbench.open(tiny.contract, state=tmp_path / "s", sandbox=StubSandbox(stub_for))


def test_a_scorer_that_is_not_committed_is_said(make_tiny, tmp_path):
    tiny = make_tiny()
    tiny.git("rm", "-q", "--cached", "score.py")
    tiny.git("commit", "-q", "-m", "without")
    with pytest.raises(WorkspaceError, match=r"score\.py is not committed"):
        Workbench.open(tiny.contract, state=tmp_path / "s", sandbox=StubSandbox(stub_for))


def test_state_folders(tiny, monkeypatch, tmp_path):
    monkeypatch.delenv("EVALKIT_STATE", raising=False)
    assert state_folder(tiny.contract) == tiny.folder / ".evalkit"
    monkeypatch.setenv("EVALKIT_STATE", str(tmp_path / "elsewhere"))
    assert state_folder(tiny.contract) == tmp_path / "elsewhere"


def test_the_state_ignores_itself_in_git(tiny, stub, no_syncing, monkeypatch):
    monkeypatch.delenv("EVALKIT_STATE", raising=False)
    with Workbench.open(tiny.contract, sandbox=stub) as bench:
        verify_with(bench, tiny.candidate(LEVEL=2.0))
    assert tiny.git("status", "--porcelain") == ""


def test_a_run_is_set_aside_whole(tiny, stub, no_syncing, monkeypatch):
    monkeypatch.delenv("EVALKIT_STATE", raising=False)
    assert set_aside(tiny.contract) is None
    for number in (1, 2):
        with Workbench.open(tiny.contract, sandbox=stub) as bench:
            verify_with(bench, tiny.candidate(LEVEL=2.0))
        moved = set_aside(tiny.contract)
        assert moved == tiny.folder / ".evalkit" / f"old-{number}"
        assert verify_file(moved / "ledger" / "ledger.jsonl").ok


def test_the_verifier_keeps_its_state_from_call_to_call(tiny, stub, no_syncing, tmp_path):
    verifier = Verifier(tiny.contract, state=tmp_path / "s", sandbox=stub)
    first = verifier.verify(tiny.candidate(LEVEL=0.96), incumbent="HEAD")
    assert isinstance(first, Verdict)
    assert first.kept
    assert verifier.verify(tiny.candidate(LEVEL=0.96)).reason is Reason.NO_CHANGE
    with pytest.raises(UsageError, match="not this run's incumbent"):
        verifier.verify(tiny.candidate(LEVEL=0.96), incumbent="HEAD")
    with Verifier(tiny.contract, state=tmp_path / "s", sandbox=stub) as opened:
        assert opened.verify(tiny.candidate(LEVEL=0.92)).kept
        assert opened.verify(tiny.candidate(LEVEL=0.97)).experiment == 4


def past(bench, number):
    return past_of(story(bench, number).decided)


def test_of_the_confirm_split_a_proposer_learns_one_bit(tiny, open_stub, no_syncing):
    """Whatever a candidate did where vault cases could be seen, only KEEP or not is told."""
    told = set()
    for outcome in (
        Outcome.NONZERO,
        Outcome.SIGNAL,
        Outcome.TIMEOUT_WALL,
        Outcome.OOM,
        Outcome.SCORER_ERROR,
        Outcome.SANDBOX_ERROR,
    ):
        armed = []

        def say(job, outcome=outcome, armed=armed):
            confirming = job.identity == "scorer" and job.env["EVALKIT_SPLIT"] == "confirm"
            if confirming and armed:
                return Said(outcome, stderr=b"the first vault case is 42")
            return stub_for(job)

        with open_stub(StubSandbox(say)) as bench:
            if not bench.book.calibrated:
                calibrate_run(bench)
            armed.append(True)
            verdict = verify_with(bench, tiny.candidate(LEVEL=0.96 + 1e-5 * bench.book.experiments))
            assert verdict.body["reached_confirm"]
            assert not verdict.kept
            seen = past(bench, verdict.experiment)
            told.add((seen.decision, seen.reason, seen.sentence))
    assert told == {("REJECT", "not_confirmed", "")}


def test_of_the_screen_a_proposer_learns_everything(bench, tiny):
    verdict = verify_with(bench, tiny.candidate(LEVEL=1.5), description="more")
    seen = past(bench, 1)
    assert (seen.decision, seen.reason, seen.sentence) == ("REJECT", "screened_out", verdict.sentence)
    assert seen.dev == pytest.approx(1.5, abs=0.1)
    assert seen.description == "more"


def test_of_a_keep_a_proposer_learns_no_number_of_the_confirm_split(bench, tiny):
    verify_with(bench, tiny.candidate(LEVEL=0.96))
    seen = past(bench, 1)
    assert (seen.decision, seen.reason, seen.sentence) == ("KEEP", "improved", "")


def test_findings_made_with_the_vaults_help_stay_secret(bench, tiny):
    verify_with(bench, tiny.candidate(LEVEL=1.5))
    body = dict(story(bench, 1).decided)
    secret = {"rule": "EK400", "secret": True, "message": "holds the answer of case 7"}
    seen = past_of({**body, "reason": "guard", "sentence": "EK400 holds case 7", "findings": [secret]})
    assert (seen.decision, seen.reason, seen.sentence) == ("REJECT", "not_confirmed", "")
