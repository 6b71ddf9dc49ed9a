"""One experiment, from the first screen to the decision; guardrails; and replay."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from evalkit.stats import (
    FRUGAL,
    STANDARD,
    THOROUGH,
    Baseline,
    CasesTest,
    CumulativeMargin,
    Decision,
    ExactTest,
    GuardrailTest,
    Need,
    Observation,
    Policy,
    ScalarTest,
    calibrate,
    choose_evidence,
    experiment,
    policy,
    replay,
)

LEVEL = 0.001


def noise(seed=0, rho=0.5):
    rng = np.random.default_rng(seed)
    shared = math.sqrt(rho) * rng.normal(size=20)
    arms = [(shared + math.sqrt(1 - rho) * rng.normal(size=20)).tolist() for _ in range(2)]
    return calibrate(*arms)


def drive(test, effect, seed=1, sd=1.0):
    rng = np.random.default_rng(seed)
    while (need := test.need()) is not None:
        shared = rng.normal()
        ours = effect + sd * (0.7 * shared + 0.7 * rng.normal())
        theirs = sd * (0.7 * shared + 0.7 * rng.normal())
        test.observe(need, ours, None if need == Need.SCREEN_SINGLE else theirs)
    return test.decision()


@pytest.mark.parametrize(("effect", "outcome", "reason"), [(3.0, "keep", "evidence"), (-2.0, "reject", "screen")])
def test_scalar_experiment_ends_as_it_should(effect, outcome, reason):
    n = noise()
    decision = drive(ScalarTest(STANDARD, n, LEVEL, baseline=Baseline(n.mean, n.cost)), effect)
    assert (decision.outcome, decision.reason) == (outcome, reason)
    assert decision.level == LEVEL
    if outcome == "keep":
        assert decision.log_e >= -math.log(LEVEL)
        assert decision.interval[0] < decision.mean < (decision.interval[1] or math.inf)


def test_every_ending_replays_to_the_same_json():
    n = noise()
    reasons = set()
    for seed in range(120):
        effect = (0.0, 0.6, 1.0, 2.5)[seed % 4]
        baseline = Baseline(n.mean, n.cost) if seed % 3 else None
        test = ScalarTest(STANDARD, n, LEVEL, baseline=baseline)
        decision = drive(test, effect, seed)
        reasons.add(decision.reason)
        record = json.loads(json.dumps([o.to_dict() for o in test.observations], allow_nan=False))
        again = replay(ScalarTest(STANDARD, n, LEVEL, baseline=baseline), [Observation.from_dict(o) for o in record])
        text = json.dumps(decision.to_dict(), allow_nan=False)
        assert json.dumps(again.to_dict()) == text
        assert Decision.from_dict(json.loads(text)) == decision
    assert {"evidence", "screen", "futility"} <= reasons


def test_exhausted_pairs_say_how_many_more_and_can_go_on():
    short = Policy("short", screen_single=(), screen_pair=(), max_pairs=4, futility_bound=50.0, prior_df=8.0)
    n = noise()
    test = ScalarTest(short, n, 1e-6)
    for d in (1.6, 1.2, 1.8, 1.5):
        test.observe(Need.CONFIRM_PAIR, d, 0.0)
    decision = test.decision()
    assert (decision.outcome, decision.reason) == ("inconclusive", "pairs-exhausted")
    assert decision.more_pairs is not None
    longer = Policy("long", screen_single=(), screen_pair=(), max_pairs=99, futility_bound=50.0, prior_df=8.0)
    going_on = ScalarTest(longer, n, 1e-6)
    assert replay(going_on, test.observations).reason == "unfinished"
    used = 0
    while going_on.need() is not None:
        going_on.observe(Need.CONFIRM_PAIR, (1.6, 1.2, 1.8, 1.5)[used % 4], 0.0)
        used += 1
    assert going_on.decision().outcome == "keep"
    assert abs(used - decision.more_pairs) <= 2


def test_a_keep_with_a_diagnostic_is_inconclusive():
    bare = Policy("bare", screen_single=(), screen_pair=(), min_pairs=3)
    test = ScalarTest(bare, noise(), 0.9)
    for ours, theirs in ((0.4, 0.0), (0.4, 0.4), (9.0, 0.0)):
        if test.need():
            test.observe(Need.CONFIRM_PAIR, ours, theirs)
    decision = test.decision()
    assert (decision.outcome, decision.reason) == ("inconclusive", "diagnostic")
    assert decision.diagnostics[0].advice


def test_what_was_not_asked_for_is_refused():
    n = noise()
    test = ScalarTest(STANDARD, n, LEVEL, baseline=Baseline(n.mean, n.cost))
    with pytest.raises(ValueError):
        test.observe(Need.CONFIRM_PAIR, 1.0, 1.0)
    for bad in (math.nan, math.inf, (1.0, 2.0)):
        with pytest.raises(ValueError):
            test.observe(Need.SCREEN_SINGLE, bad)
    assert test.observations == ()
    for level in (0.0, 1.5):
        with pytest.raises(ValueError):
            ScalarTest(STANDARD, n, level)


def test_correlated_pairs_are_screened_by_pairs():
    n = noise(rho=0.95)
    assert ScalarTest(STANDARD, n, LEVEL, baseline=Baseline(0.0, 40.0)).need() == Need.SCREEN_PAIR
    assert ScalarTest(STANDARD, noise(rho=0.1), LEVEL).need() == Need.SCREEN_PAIR


def test_exact_metric_is_compared_exactly():
    exact = calibrate([5.0] * 6, [5.0] * 6)
    test = experiment(STANDARD, exact, LEVEL, min_effect=1.0)
    assert isinstance(test, ExactTest)
    test.observe(Need.CONFIRM_PAIR, 7.0, 5.0)
    assert test.decision().reason == "unfinished"
    test.observe(Need.CONFIRM_PAIR, 7.0, 5.0)
    decision = test.decision()
    assert (decision.outcome, decision.reason, decision.level) == ("keep", "exact-better", None)
    assert not test.confirming
    assert json.dumps(replay(ExactTest(min_effect=1.0), test.observations).to_dict()) == json.dumps(decision.to_dict())


@pytest.mark.parametrize(
    ("pairs", "outcome", "reason"),
    [
        ([(6.0, 5.0)], "reject", "exact-not-better"),
        ([(4.0, 5.0)], "reject", "exact-not-better"),
        ([(7.0, 5.0), (8.0, 5.0)], "inconclusive", "not-exact"),
        ([(7.0, 5.0), (7.0, 4.0)], "inconclusive", "not-exact"),
    ],
)
def test_exact_metric_that_is_no_better_or_not_exact(pairs, outcome, reason):
    test = ExactTest(min_effect=1.0)
    for ours, theirs in pairs:
        test.observe(Need.CONFIRM_PAIR, ours, theirs)
    assert (test.decision().outcome, test.decision().reason) == (outcome, reason)
    assert test.need() is None


def test_a_metric_that_only_looks_exact_must_show_it():
    few = calibrate([5.0] * 3, [5.0] * 3)
    test = experiment(STANDARD, few, LEVEL)
    for _ in range(4):
        test.observe(Need.CONFIRM_PAIR, 7.0, 5.0)
    assert test.need() == Need.CONFIRM_PAIR


def answers(rng, p, n=200):
    return tuple((rng.random(n) < p).astype(float).tolist())


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(("gain", "outcome"), [(0.2, "keep"), (-0.1, "reject"), (0.0, "reject")])
def test_cases_experiment(fresh, gain, outcome):
    rng = np.random.default_rng(3)
    test = CasesTest(STANDARD, LEVEL, fresh=fresh, screen=False)
    while test.need() is not None:
        test.observe(Need.CONFIRM_PAIR, answers(rng, 0.6 + gain), answers(rng, 0.6))
    decision = test.decision()
    assert decision.outcome == outcome
    assert decision.unit == "case"
    again = replay(CasesTest(STANDARD, LEVEL, fresh=fresh, screen=False), test.observations)
    assert json.dumps(again.to_dict(), allow_nan=False) == json.dumps(decision.to_dict())


def test_cases_are_screened_on_visible_ones():
    test = CasesTest(STANDARD, LEVEL)
    assert test.need() == Need.SCREEN_PAIR
    test.observe(Need.SCREEN_PAIR, (0.0, 1.0, 0.0), (1.0, 1.0, 0.0))
    assert (test.decision().outcome, test.decision().reason) == ("reject", "screen")
    assert not test.confirming


@pytest.mark.parametrize("bad", [(0.5,), (1.5, 0.0), (math.nan, 0.0), ()])
def test_bad_scores_are_refused(bad):
    with pytest.raises(ValueError):
        CasesTest(STANDARD, LEVEL, screen=False).observe(Need.CONFIRM_PAIR, bad, (0.0, 1.0))


def test_cases_hold_their_level_under_the_null():
    rng = np.random.default_rng(5)
    kept = 0
    for _ in range(400):
        test = CasesTest(Policy("p", max_pairs=6), 0.05, screen=False)
        while test.need() is not None:
            test.observe(Need.CONFIRM_PAIR, answers(rng, 0.6, 60), answers(rng, 0.6, 60))
        kept += test.decision().outcome == "keep"
    assert kept <= 400 * 0.05


def test_guardrail_needs_evidence_that_it_is_not_worse():
    n = noise()
    rng = np.random.default_rng(2)

    def run(loss, margin, spent=0.0):
        test = GuardrailTest(n, margin, 0.05, spent=spent)
        for _ in range(24):
            shared = rng.normal()
            test.observe(-loss + 0.7 * shared + 0.7 * rng.normal(), 0.7 * shared + 0.7 * rng.normal())
        return test.decision()

    assert run(0.0, 1.5).outcome == "keep"
    assert run(3.0, 1.0).reason == "inferior"
    assert run(0.0, 0.05).reason == "pairs-exhausted"
    assert run(0.0, 1.0, spent=1.0).reason == "margin-spent"
    exact = GuardrailTest(calibrate([3.0] * 6, [3.0] * 6), 1.0, 0.05)
    exact.observe(2.5, 3.0)
    assert exact.passed


def test_small_losses_use_up_the_cumulative_margin():
    margin = CumulativeMargin(1.0)
    for _ in range(12):
        margin = margin.after(-0.1)
    assert margin.exhausted
    assert CumulativeMargin(1.0).after(-0.4).after(0.3).left == pytest.approx(0.9)
    assert margin.measured(-0.25).left == 0.75
    assert CumulativeMargin.from_dict(margin.to_dict()) == margin


def test_choice_prints_its_reason():
    n = noise()
    rng = np.random.default_rng(1)
    alone = rng.normal(size=(12, 50)).clip(-1, 1) * 0.3
    assert choose_evidence(noise=n).kind == "scalar"
    assert choose_evidence("ratio", noise=n).reason == "ratio: declared in the contract"
    assert choose_evidence(differences=np.zeros((5, 40)).tolist()).kind == "bounded"
    assert choose_evidence(differences=alone.tolist()).kind == "per-case"
    together = choose_evidence(noise=n, differences=(alone + rng.normal(size=(12, 1))).tolist())
    assert together.kind == "scalar"
    assert "one unit" in together.reason
    assert choose_evidence(differences=alone.tolist(), clustered=True).kind == "clustered"
    with pytest.raises(ValueError):
        choose_evidence("scalar")


def test_policies_round_trip_and_are_known_by_name():
    assert Policy.from_dict(json.loads(json.dumps(STANDARD.to_dict()))) == STANDARD
    assert policy("frugal").name == "frugal"
    with pytest.raises(ValueError, match="standard"):
        policy("wild")


def test_baseline_follows_the_incumbent():
    n = noise()
    start = Baseline(n.mean, n.cost)
    assert start.including([]) is start
    more = start.including([start.mean + 1.0] * 40)
    assert more.mean == pytest.approx(start.mean + 0.5)
    assert more.count == 60.0
    kept = start.after_keep([5.0] * 4, [start.mean] * 4, n, shrink=0.0)
    assert kept.mean == pytest.approx(5.0)
    assert Baseline.from_dict(kept.to_dict()) == kept


@pytest.mark.parametrize("policy", [STANDARD, THOROUGH, FRUGAL], ids=lambda p: p.name)
@pytest.mark.parametrize("effect", [6.0, 15.0, 40.0, 100.0, 300.0])
def test_effects_far_above_the_noise_are_kept_soon(policy, effect):
    n = noise()
    decision = drive(ScalarTest(policy, n, 6e-4, baseline=Baseline(n.mean, n.cost)), effect)
    assert decision.outcome == "keep"
    assert decision.pairs <= 12
