from pathlib import Path

import pytest

from evalkit.measure import Fault, Observation, Pairing, TrialRunner, Trusted
from evalkit.measure.testing import Said, StubSandbox
from evalkit.sandbox.interface import Outcome


@pytest.fixture
def run(tiny, tmp_path):
    """One trial of the tiny task, its programs answering as they are told."""

    def trial(say, *, contract=None):
        runner = TrialRunner(
            contract or tiny.contract, StubSandbox(say), Trusted(tiny.folder, None), lambda _tree: tiny.folder
        )
        return runner.run("1" * 40, seed=5, split="dev")

    return trial


def answering(answer, scored=None, outcome=Outcome.OK):
    def say(job):
        if job.identity == "scorer":
            return Said(outcome, stdout=scored if scored is not None else b'{"loss": 2.5}')
        return Said(artifacts={"answer.json": answer})

    return say


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_trial_has_a_reading_for_every_metric(run):
    seen = run(answering(b"1"))
    assert seen.valid
    assert seen.readings["loss"].value == 2.5
    assert [phase.phase for phase in seen.phases] == ["run", "score"]


def test_a_trial_leaves_no_descriptor_open(run):
    run(answering(b"1"))
    before = descriptors()
    for scored in (b'{"loss": 1}', b'{"loss": NaN}', b"garbage", b""):
        run(answering(b"1", scored))
    assert descriptors() == before


@pytest.mark.parametrize(
    "scored",
    [
        b"", b"{}", b'{"loss": NaN}', b'{"loss": Infinity}', b'{"loss": 1e400}', b'{"loss": "1"}', b'{"loss": true}',
        b'{"loss": null}', b'{"loss": 1, "loss": 2}', b'{"loss": 1}\n{"loss": 2}', b'{"other": 1}', b"[1]", b"1",
        b'{"loss": [1]}', b'{"loss": ' + b"1" * 5000 + b"}", b"\xff\xfe", b'{"loss": 1',
    ],
)  # fmt: skip
def test_a_metric_that_is_not_exactly_one_finite_number_is_no_result(run, scored):
    seen = run(answering(b"1", scored))
    assert not seen.valid
    assert not seen.readings
    assert seen.outcome is Outcome.SCORER_ERROR
    assert seen.fault is Fault.CANDIDATE
    assert seen.problem


def test_a_scorer_that_crashes_gives_no_value_even_after_a_result(run):
    seen = run(answering(b"1", b'{"loss": 1}', Outcome.NONZERO))
    assert not seen.readings
    assert seen.outcome is Outcome.SCORER_ERROR


def test_our_own_failure_is_never_the_candidates(run):
    seen = run(lambda _job: Said(Outcome.SANDBOX_ERROR))
    assert seen.fault is Fault.OURS
    seen = run(
        lambda job: Said(Outcome.SANDBOX_ERROR) if job.identity == "scorer" else Said(artifacts={"answer.json": b"1"})
    )
    assert seen.fault is Fault.OURS


@pytest.mark.parametrize(
    "outcome", [outcome for outcome in Outcome if outcome not in {Outcome.OK, Outcome.SANDBOX_ERROR}]
)
def test_every_bad_ending_of_a_run_is_the_candidates(run, outcome):
    seen = run(lambda _job: Said(outcome))
    assert (seen.outcome, seen.fault, dict(seen.readings)) == (outcome, Fault.CANDIDATE, {})


def test_the_scorer_gets_no_candidate_file_and_the_candidate_no_vault(tiny, tmp_path):
    vault = tmp_path / "vault"
    (vault / "dev").mkdir(parents=True)
    candidate_tree, trusted_tree = tmp_path / "candidate", tmp_path / "trusted"
    jobs = []

    def say(job):
        jobs.append(job)
        return answering(b"1")(job)

    runner = TrialRunner(tiny.contract, StubSandbox(say), Trusted(trusted_tree, vault), lambda _tree: candidate_tree)
    runner.run("1" * 40, seed=5, split="dev", scoring_seed=9)
    run, score = jobs
    assert (run.tree, run.identity, run.binds, dict(run.files)) == (candidate_tree, "candidate", (), {})
    assert run.env["EVALKIT_SEED"] == "5"
    assert (score.tree, score.identity) == (trusted_tree, "scorer")
    assert [bind.source for bind in score.binds] == [vault / "dev"]
    assert (score.env["EVALKIT_SEED"], score.env["EVALKIT_SPLIT"]) == ("9", "dev")


class Flaky:
    """A runner whose first trials fail through our fault."""

    def __init__(self, failures):
        self.failures, self.seeds = failures, []

    def run(self, tree, *, seed, split, scoring_seed=None):
        self.seeds.append(seed)
        self.failures -= 1
        ours = self.failures >= 0
        return Observation(
            tree=tree, seed=seed, scoring_seed=scoring_seed or seed, split=split, readings={}, phases=(),
            outcome=Outcome.SANDBOX_ERROR if ours else Outcome.NONZERO, fault=Fault.OURS if ours else Fault.CANDIDATE,
        )  # fmt: skip


@pytest.mark.parametrize(("failures", "trials"), [(0, 1), (1, 2), (2, 3), (3, 3), (9, 3)])
def test_only_our_own_failures_are_run_again_and_not_for_ever(failures, trials):
    runner = Flaky(failures)
    Pairing(runner, entropy=1).single("t", split="dev")
    assert len(runner.seeds) == trials
    assert len(set(runner.seeds)) == trials


def test_pairs_share_the_seed_and_come_in_random_order():
    runner = Flaky(0)
    pairing = Pairing(runner, entropy=3)
    pairs = [pairing.pair("a" * 40, "b" * 40, split="dev") for _ in range(200)]
    assert all(pair.incumbent.seed == pair.candidate.seed == pair.candidate.scoring_seed for pair in pairs)
    assert all(pair.incumbent.tree[0] + pair.candidate.tree[0] == "ab" for pair in pairs)
    assert len({pair.incumbent.seed for pair in pairs}) == 200
    assert 70 < sum(pair.first == "candidate" for pair in pairs) < 130
    order = [(a, b) for a, b in zip(runner.seeds[::2], runner.seeds[1::2], strict=True)]
    assert all(a == b for a, b in order)


def test_null_pairs_have_a_seed_for_each_arm_and_one_for_the_scorer():
    pairing = Pairing(Flaky(0), entropy=3)
    pair = pairing.null_pair("a" * 40, split="dev")
    assert pair.incumbent.seed != pair.candidate.seed
    assert pair.incumbent.scoring_seed == pair.candidate.scoring_seed
