"""Which evidence a metric's calibration calls for, and experiments that are decided case by case."""

import dataclasses
import json
import random

import pytest

from evalkit.contract import Metric, Trust
from evalkit.measure import Observation, Reading
from evalkit.sandbox.interface import Outcome
from evalkit.stats.noise import calibrate
from evalkit.stats.policies import policy
from evalkit.verify.course import Course
from evalkit.verify.replay import Story, replay
from evalkit.verify.rules import MetricRule, Rules
from evalkit.verify.units import CasesError, Units, choose_units, units_of
from evalkit.verify.verdict import Decision, Reason, finite

CASES = 200


def metric(kind="auto", goal="maximize", **changes):
    return Metric(name="score", goal=goal, program="p", trust=Trust.SCORED, kind=kind, **changes)


def reading(cases, clusters=(), value=None):
    cases = tuple(float(case) for case in cases)
    return Reading(sum(cases) / len(cases) if value is None else value, Trust.SCORED, cases, tuple(clusters))


def right_or_wrong(chance, share=0.6, count=CASES):
    return [float(chance.random() < share) for _ in range(count)]


def calibration(draw, pairs=20):
    """A/A pairs as recorded, and their noise; ``draw`` gives one trial's reading."""
    drawn = [(draw(), draw()) for _ in range(pairs)]
    recorded = [
        {"incumbent": {"readings": {"score": a.as_json()}}, "candidate": {"readings": {"score": b.as_json()}}}
        for a, b in drawn
    ]
    return calibrate([a.value for a, _ in drawn], [b.value for _, b in drawn]), recorded


def chosen(draw, pairs=20, **changes):
    noise, recorded = calibration(draw, pairs)
    return choose_units(metric(**changes), noise, recorded)


def test_deterministic_cases_are_units_of_one_pair():
    same = reading(right_or_wrong(random.Random(1)))
    for kind in ("auto", "binary", "bounded"):
        found = chosen(lambda: same, kind=kind)
        assert found.kind == "cases-once"
        assert "agree on each of 200 cases" in found.why
    assert found.why.startswith("declared bounded")


def test_cases_that_vary_on_their_own_are_units_over_seeds():
    chance = random.Random(2)
    found = chosen(lambda: reading(right_or_wrong(chance)))
    assert (found.kind, found.by_case) == ("cases", True)
    assert "vary on their own" in found.why


def test_a_seed_that_moves_all_cases_makes_the_pair_the_unit():
    chance = random.Random(3)
    found = chosen(lambda: reading(right_or_wrong(chance, chance.choice([0.4, 0.8]))), kind="binary")
    assert found.kind == "scalar"
    assert "independent cases" in found.why


@pytest.mark.parametrize("kind", ["scalar", "ratio", "exact"])
def test_a_declared_number_stays_a_number(kind):
    same = reading([1.0] * CASES)
    found = chosen(lambda: same, kind=kind)
    assert found.kind == "exact"
    assert found.why.startswith(f"declared {kind}; exact")


def test_what_speaks_against_cases_is_said():
    chance = random.Random(4)
    scores = right_or_wrong(chance)
    told = {
        "no cases": lambda: Reading(0.5, Trust.SCORED),
        "outside 0 to 1": lambda: reading([2.0] * CASES),
        "is not the mean": lambda: reading(scores, value=0.123),
        "too few": lambda: reading(scores[:5]),
        "differs": lambda: reading(scores[: chance.choice([150, 199])]),
    }
    for words, draw in told.items():
        found = chosen(draw)
        assert not found.by_case
        assert words in found.why


def test_few_pairs_cannot_show_that_noisy_cases_are_independent():
    chance = random.Random(5)
    assert "3 A/A pairs" in chosen(lambda: reading(right_or_wrong(chance)), pairs=3).why


def test_clusters_are_averaged_and_smaller_is_turned_round():
    assert units_of(reading([1, 0, 1], ["a", "a", "b"]), 1) == (0.5, 1.0)
    assert units_of(reading([0.25, 0.0]), -1) == (0.75, 1.0)
    with pytest.raises(CasesError):
        units_of(reading([1.5]), 1)


def test_units_of_old_records_are_numbers():
    assert Units.from_json(None) == Units()
    assert Units.from_json(Units("cases", "so").as_json()) == Units("cases", "so")


def rules(evidence, level=1e-3, guarded=(), min_effect=0.0):
    noise = calibrate([0.6] * 20, [0.6] * 20)
    rule = MetricRule(
        "score", 1, "linear", Trust.SCORED, noise, min_effect=min_effect, evidence=evidence, why="for a test"
    )
    return Rules("c" * 64, policy("standard"), level, 1, 0, rule, tuple(guarded), None, "dev", "confirm")


def trial(found, side=0.0):
    return Observation(
        tree="t", seed=1, scoring_seed=1, split="dev",
        readings={"score": found, "side": Reading(side, Trust.SCORED)}, phases=(), outcome=Outcome.OK,
    )  # fmt: skip


def drive(course, draw):
    taken = []
    while (need := course.need()) is not None:
        pair = draw()
        taken.append((need, *pair))
        course.take(need, *pair)
    return taken


def arms(wins, losses, count=CASES):
    """A candidate that gets ``wins`` more cases right and ``losses`` others wrong."""
    incumbent = [0.0] * wins + [1.0] * (count - wins)
    candidate = [1.0] * (count - losses) + [0.0] * losses
    return lambda: (trial(reading(candidate)), trial(reading(incumbent)))


@pytest.mark.parametrize(
    ("wins", "losses", "decision", "reason"),
    [
        (40, 2, Decision.KEEP, Reason.IMPROVED),
        (8, 2, Decision.INCONCLUSIVE, Reason.NOT_ENOUGH_EVIDENCE),
        (2, 8, Decision.REJECT, Reason.SCREENED_OUT),
    ],
)
def test_right_or_wrong_cases_decide_in_one_pair(wins, losses, decision, reason):
    course = Course(rules("cases-once"))
    taken = drive(course, arms(wins, losses))
    found = course.conclusion()
    assert (found.decision, found.reason) == (decision, reason)
    assert len(taken) <= 2
    assert found.more_pairs is None
    assert found.statistics["evidence"] == {"kind": "cases-once", "why": "for a test"}
    if decision is not Decision.REJECT:
        assert found.statistics["confirming"]
        assert found.effect.pairs == 1
        assert found.effect.low < (wins - losses) / CASES < found.effect.high
        assert "200 cases" in found.sentence


def test_noisy_cases_take_further_seeds():
    chance = random.Random(7)

    def draw():
        return trial(reading(right_or_wrong(chance, 0.8))), trial(reading(right_or_wrong(chance, 0.6)))

    course = Course(rules("cases"))
    taken = drive(course, draw)
    assert course.conclusion().decision is Decision.KEEP
    assert 2 <= len(taken) <= 9


def test_null_candidates_are_hardly_ever_kept_case_by_case():
    kept = 0
    for seed in range(60):
        chance = random.Random(seed)
        course = Course(dataclasses.replace(rules("cases", level=0.05)))
        drive(course, lambda c=chance: (trial(reading(right_or_wrong(c))), trial(reading(right_or_wrong(c)))))
        kept += course.conclusion().decision is Decision.KEEP
    assert kept <= 3


def test_replay_by_case_is_byte_for_byte():
    course = Course(rules("cases-once"))
    taken = drive(course, arms(40, 2))
    found = course.conclusion()
    recorded = json.loads(json.dumps(rules("cases-once").as_json()))
    trials = tuple(
        json.loads(json.dumps({"need": need.value, "candidate": ours.as_json(), "incumbent": theirs.as_json()}))
        for need, ours, theirs in taken
    )
    decided = {
        "decision": str(found.decision),
        "reason": str(found.reason),
        "statistics": finite(found.statistics),
        "effect": finite(found.effect.as_json()),
    }
    again = replay(Story({"rules": recorded}, trials, json.loads(json.dumps(decided)), None, None))
    assert again.same, again.differences


def test_other_cases_than_the_incumbents_are_refused():
    course = Course(rules("cases-once"))
    course.take(course.need(), trial(reading([1.0] * 19)), trial(reading([0.0] * 20)))
    found = course.conclusion()
    assert (found.decision, found.reason) == (Decision.REJECT, Reason.INVALID_RESULT)
    assert "19 cases" in found.sentence


def test_other_cases_than_in_the_pair_before_are_an_error():
    course = Course(rules("cases", level=1e-9))
    for count in (200, 200, 199):
        course.take(course.need(), *arms(20, 2, count)())
    found = course.conclusion()
    assert (found.decision, found.reason) == (Decision.ERROR, Reason.INCUMBENT_FAILED)


def test_a_trial_without_its_cases_has_no_value():
    course = Course(rules("cases-once"))
    course.take(course.need(), trial(Reading(0.9, Trust.SCORED)), trial(reading([0.0] * 20)))
    assert course.conclusion().reason is Reason.INVALID_RESULT


def test_a_scalar_exact_metric_spends_no_error_budget():
    course = Course(rules("exact"))
    drive(course, lambda: (trial(Reading(0.7, Trust.SCORED)), trial(Reading(0.6, Trust.SCORED))))
    found = course.conclusion()
    assert found.decision is Decision.KEEP
    assert not found.statistics["confirming"]


@pytest.mark.parametrize(("side", "decision"), [(0.0, Decision.KEEP), (-0.01, Decision.REJECT)])
def test_an_exact_guard_metric_without_allowance_permits_no_loss(side, decision):
    noise = calibrate([1.0] * 20, [1.0] * 20)
    guard = MetricRule("side", 1, "linear", Trust.SCORED, noise, margin=1e-12)
    course = Course(rules("cases-once", guarded=[guard]))
    better = arms(40, 2)

    def draw():
        ours, theirs = better()
        readings = {**ours.readings, "side": Reading(1.0 + side, Trust.SCORED)}
        theirs = dataclasses.replace(theirs, readings={**theirs.readings, "side": Reading(1.0, Trust.SCORED)})
        return dataclasses.replace(ours, readings=readings), theirs

    drive(course, draw)
    assert course.conclusion().decision is decision
