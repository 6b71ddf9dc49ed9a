"""The pure machine: what it needs, what follows, and that nothing but the trials counts."""

import dataclasses
import math
import random

import pytest

from evalkit.contract import Trust
from evalkit.measure import Fault, Observation, Reading
from evalkit.sandbox.interface import Outcome
from evalkit.stats.noise import calibrate
from evalkit.stats.policies import policy
from evalkit.stats.protocols import Need
from evalkit.stats.screen import Baseline
from evalkit.verify.course import Course
from evalkit.verify.rules import MetricRule, Rules
from evalkit.verify.verdict import Decision, Reason

SD = 0.01


def noise(sd=SD, seed=1):
    chance = random.Random(seed)
    return calibrate(*[[chance.gauss(0, sd) for _ in range(20)] for _ in range(2)])


def rules(*, baseline=True, guarded=(), level=0.01, objective=None, **policy_changes):
    return Rules(
        contract="c" * 64,
        policy=dataclasses.replace(policy("standard"), **policy_changes),
        level=level,
        index=1,
        keeps_before=0,
        objective=objective or MetricRule("score", 1, "linear", Trust.SCORED, noise()),
        guarded=tuple(guarded),
        baseline=Baseline(0.0, 20.0) if baseline else None,
        screen_split="dev",
        confirm_split="confirm",
    )


def guard(name="side", sign=-1, margin=0.05, scale="linear", **changes):
    return MetricRule(name, sign, scale, Trust.SCORED, noise(seed=2), margin=margin, **changes)


def trial(value=None, *, side=0.0, outcome=Outcome.OK, fault=Fault.NONE, problem=""):
    readings = {} if value is None else {"score": Reading(value, Trust.SCORED), "side": Reading(side, Trust.SCORED)}
    return Observation(
        tree="t", seed=1, scoring_seed=1, split="dev", readings=readings, phases=(), outcome=outcome, fault=fault,
        problem=problem,
    )  # fmt: skip


def crashed(problem="exited with code 41"):
    return trial(outcome=Outcome.NONZERO, fault=Fault.CANDIDATE, problem=problem)


def drive(course, draw, limit=100):
    """Feed a course until it is done; the trials that it took."""
    taken = []
    while (need := course.need()) is not None:
        assert len(taken) < limit
        candidate, incumbent = draw(need)
        taken.append((need, candidate, incumbent if need is not Need.SCREEN_SINGLE else None))
        course.take(*taken[-1])
    return taken


def better_by(effect, seed=3, sd=SD, side=0.0):
    chance = random.Random(seed)

    def draw(_need):
        return trial(effect + chance.gauss(0, sd), side=side + chance.gauss(0, sd)), trial(chance.gauss(0, sd))

    return draw


def test_a_clear_gain_is_kept_and_says_how_large():
    course = Course(rules())
    taken = drive(course, better_by(0.1))
    found = course.conclusion()
    assert (found.decision, found.reason) == (Decision.KEEP, Reason.IMPROVED)
    assert found.effect.low < 0.1 < found.effect.high
    assert taken[0][0] is Need.SCREEN_SINGLE
    assert taken[-1][0] is Need.CONFIRM_PAIR
    assert found.reached_confirm


@pytest.mark.parametrize("effect", [0.04, 0.1, 0.5, 2.0])
def test_however_far_a_gain_is_above_the_noise_it_is_kept(effect):
    for seed in range(5):
        course = Course(rules(level=0.001))
        drive(course, better_by(effect, seed))
        assert course.conclusion().decision is Decision.KEEP


def test_a_loss_is_screened_out_and_spends_nothing():
    course = Course(rules())
    drive(course, better_by(-0.1))
    found = course.conclusion()
    assert (found.decision, found.reason) == (Decision.REJECT, Reason.SCREENED_OUT)
    assert not found.statistics["confirming"]
    assert not found.reached_confirm
    assert found.effect is None


def test_without_a_baseline_it_screens_by_pairs():
    assert Course(rules(baseline=False)).need() is Need.SCREEN_PAIR


def test_screens_and_confirmations_have_their_own_split():
    course = Course(rules())
    assert [course.split(need) for need in Need] == ["dev", "dev", "confirm"]


def test_of_many_null_candidates_hardly_any_is_kept():
    kept = 0
    for seed in range(200):
        course = Course(rules(level=0.05))
        drive(course, better_by(0.0, seed))
        kept += course.conclusion().decision is Decision.KEEP
    assert kept <= 5


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.NONZERO, Reason.CRASH), (Outcome.SIGNAL, Reason.CRASH), (Outcome.TIMEOUT_WALL, Reason.TIMEOUT),
        (Outcome.TIMEOUT_CPU, Reason.TIMEOUT), (Outcome.OOM, Reason.RESOURCES), (Outcome.PIDS, Reason.RESOURCES),
        (Outcome.DISK, Reason.RESOURCES), (Outcome.OUTPUT_LIMIT, Reason.RESOURCES),
        (Outcome.FORBIDDEN_ARTIFACT, Reason.INVALID_RESULT), (Outcome.MISSING_ARTIFACT, Reason.NO_RESULT),
        (Outcome.SCORER_ERROR, Reason.INVALID_RESULT),
    ],
)  # fmt: skip
@pytest.mark.parametrize("when", [0, 1, 3])
def test_an_invalid_candidate_trial_rejects_whenever_it_comes(outcome, reason, when):
    course = Course(rules())
    draw, count = better_by(0.1), iter(range(100))

    def failing(need):
        if next(count) == when:
            return trial(outcome=outcome, fault=Fault.CANDIDATE, problem="it failed"), trial(0.0)
        return draw(need)

    taken = drive(course, failing)
    found = course.conclusion()
    assert len(taken) == when + 1
    assert (found.decision, found.reason, found.sentence) == (Decision.REJECT, reason, "it failed")


def test_our_own_failure_is_an_error_and_no_rejection():
    course = Course(rules())
    course.take(Need.SCREEN_SINGLE, trial(outcome=Outcome.SANDBOX_ERROR, fault=Fault.OURS), None)
    assert course.need() is None
    assert (course.conclusion().decision, course.conclusion().reason) == (Decision.ERROR, Reason.SANDBOX)


@pytest.mark.parametrize("fault", [Fault.OURS, Fault.CANDIDATE])
def test_an_incumbent_that_fails_is_never_the_candidates_fault(fault):
    course = Course(rules(baseline=False))
    broken = trial(outcome=Outcome.NONZERO, fault=fault, problem="gone")
    course.take(Need.SCREEN_PAIR, crashed(), broken)
    found = course.conclusion()
    assert found.decision is Decision.ERROR
    assert found.reason is (Reason.SANDBOX if fault is Fault.OURS else Reason.INCUMBENT_FAILED)


def ratio():
    return MetricRule("score", -1, "log", Trust.MEASURED, noise())


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_ratio_that_is_not_positive_is_an_invalid_result(value):
    course = Course(rules(objective=ratio()))
    course.take(Need.SCREEN_SINGLE, trial(value), None)
    assert (course.conclusion().decision, course.conclusion().reason) == (Decision.REJECT, Reason.INVALID_RESULT)
    assert "positive" in course.conclusion().sentence


def test_a_ratio_of_the_incumbents_that_is_not_positive_is_not_the_candidates_fault():
    course = Course(rules(objective=ratio(), baseline=False))
    course.take(Need.SCREEN_PAIR, trial(1.0), trial(0.0))
    assert (course.conclusion().decision, course.conclusion().reason) == (Decision.ERROR, Reason.INCUMBENT_FAILED)


def test_a_guarded_ratio_off_its_scale_is_refused():
    course = Course(rules(guarded=[guard(scale="log", sign=1)]))
    course.take(Need.SCREEN_SINGLE, trial(5.0, side=0.0), None)
    assert course.conclusion().reason is Reason.INVALID_RESULT


def test_a_guarded_metric_that_gets_worse_is_refused_however_large_the_gain():
    course = Course(rules(guarded=[guard()]))
    drive(course, better_by(0.5, side=0.5))
    found = course.conclusion()
    assert (found.decision, found.reason) == (Decision.REJECT, Reason.GUARD_METRIC)
    assert "side" in found.sentence


def test_a_guarded_metric_within_its_margin_does_not_stand_in_the_way():
    course = Course(rules(guarded=[guard()]))
    drive(course, better_by(0.1))
    assert course.conclusion().decision is Decision.KEEP


def test_a_margin_that_earlier_keeps_used_up_is_used_up():
    course = Course(rules(guarded=[guard(spent=0.05)], max_pairs=12))
    drive(course, better_by(0.1, side=0.02))
    assert course.conclusion().decision is not Decision.KEEP


def test_a_guard_that_is_undecided_asks_for_more_pairs_and_then_is_no_keep():
    course = Course(rules(guarded=[guard(margin=0.0005)], max_pairs=10))
    taken = drive(course, better_by(0.1))
    found = course.conclusion()
    assert found.decision is not Decision.KEEP
    assert sum(need is Need.CONFIRM_PAIR for need, *_ in taken) <= 10


def test_what_fails_in_its_first_confirm_trial_has_reached_the_confirm_split():
    course = Course(rules())
    course.take(Need.SCREEN_SINGLE, trial(0.5), None)
    assert course.need() is Need.CONFIRM_PAIR
    assert not course.conclusion().reached_confirm
    course.take(Need.CONFIRM_PAIR, crashed(), trial(0.0))
    assert course.conclusion().reached_confirm
    assert not course.conclusion().statistics["confirming"]


def test_an_unfinished_course_is_inconclusive_at_every_point():
    course = Course(rules())
    draw = better_by(0.1)
    while (need := course.need()) is not None:
        assert course.conclusion().decision is Decision.INCONCLUSIVE
        candidate, incumbent = draw(need)
        course.take(need, candidate, None if need is Need.SCREEN_SINGLE else incumbent)
    assert course.conclusion().decision is Decision.KEEP


def test_evidence_that_rests_on_one_outlier_is_doubted_or_not_enough():
    course = Course(rules(max_pairs=8))
    values = iter([0.5, *[0.0001 * k for k in range(7)]])

    def draw(need):
        return trial(0.5 if need is Need.SCREEN_SINGLE else next(values)), trial(0.0)

    drive(course, draw)
    assert course.conclusion().decision is not Decision.KEEP


def test_dev_values_are_those_of_the_screen_alone():
    course = Course(rules())
    drive(course, better_by(0.1))
    assert len(course.dev_values) == course.conclusion().statistics["objective"]["screens"]
    assert all(math.isfinite(value) for value in course.dev_values)
