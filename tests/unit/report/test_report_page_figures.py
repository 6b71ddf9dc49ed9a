import math
from itertools import pairwise

import pytest

from evalkit.report.page_data import read_run
from evalkit.report.page_figures import believed, gains, reasons, smallest_step
from evalkit.verify.verdict import Reason


@pytest.fixture
def run(contract, script, ledger_of):
    """One change that does nothing, two that help, one refused."""
    script.begin()
    script.propose(script.level)
    for _ in range(2):
        assert script.propose(script.level * 0.8) == "KEEP"
    script.refuse(Reason.GUARD, "EK101 a clock is replaced")
    return read_run(contract, ledger_of(script))


def test_everything_is_read(run):
    assert [one.number for one in run.experiments] == [1, 2, 3, 4]
    assert [one.stage for one in run.experiments] == ["screened", "confirmed", "confirmed", "refused"]
    assert [one.number for one in run.keeps] == [2, 3]
    assert run.keeps[0].kept["commit"].endswith("c0fff0")
    assert run.open_number is None
    assert run.objective.name == "bits"
    assert run.keeps[0].trials
    assert all(trial.candidate["bits"] > 0 for trial in run.keeps[0].trials)


def test_gains_add_up_and_their_half_widths_add_in_quadrature(run):
    known = gains(run)
    single = [one.estimates["bits"] for one in run.keeps]
    assert [one.number for one in known] == [2, 3]
    assert known[-1].total == pytest.approx(sum(one.centre for one in single))
    halves = [(one.high - one.low) / 2 for one in single]
    assert known[-1].half == pytest.approx(math.hypot(*halves))
    assert known[-1].low < 0.2 * 4.0 + 0.16 * 4.0 < known[-1].high


def test_a_keep_without_an_estimate_counts_for_nothing_yet(contract, script, ledger_of):
    script.begin()
    assert script.propose(script.level * 0.8) == "KEEP"
    assert script.records.pop()[0] == "estimated"
    run = read_run(contract, ledger_of(script))
    assert gains(run) == ()
    assert len(run.keeps) == 1


def test_belief_follows_first_values_alone(run):
    belief = believed(run)
    best = run.first_value
    for number, total in belief.steps:
        first = -run.experiments[number - 1].trials[0].candidate["bits"]
        assert first > best
        assert total == pytest.approx(first - run.first_value)
        best = first
    assert all(one[1] < other[1] for one, other in pairwise(belief.steps))
    assert belief.total == belief.steps[-1][1]


def test_nothing_real_is_still_believed_in(scripts, ledger_of):
    script = scripts(noise=0.05, seed=4)
    script.begin()
    for _ in range(30):
        script.propose(script.level)
    run = read_run(script.contract, ledger_of(script))
    belief = believed(run)
    assert len(belief.steps) >= 2
    assert belief.unverified == len(belief.steps) - len(run.keeps)
    assert belief.total > 0


def test_reasons_are_counted(run):
    assert set(reasons(run)) == {("REJECT", "guard", 1), ("REJECT", "screened_out", 1)}


def test_the_smallest_step_grows_with_the_noise_and_is_kept_by_the_course(scripts, ledger_of):
    script = scripts(noise=0.02)
    script.begin(pairs=20)
    script.propose(script.level)
    step = smallest_step(read_run(script.contract, ledger_of(script)).rules)
    sd = script.records[-2][1]["candidate"]["readings"]["bits"]["value"] * 0.02 * math.sqrt(2)
    assert 0.3 * sd < step < 4 * sd


@pytest.mark.parametrize("rules", [None, {}, {"policy": {"name": "of another version"}}])
def test_rules_that_cannot_be_driven_give_no_smallest_step(rules):
    assert smallest_step(rules) is None


def test_an_open_experiment_is_not_counted(contract, script, ledger_of):
    script.begin()
    script.propose(script.level)
    while script.records[-1][0] != "proposed":
        script.records.pop()
    run = read_run(contract, ledger_of(script))
    assert run.experiments == ()
    assert run.open_number == 1
