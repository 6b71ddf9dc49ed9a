"""What evalkit claims about its error control, gated.

Each claim is measured on fixed seeds that no tuning has used, with a one-sided binomial bound as slack: a claim fails
only when the data contradict it, not when a simulation is a little unlucky. ``python -m evalkit.bench stats`` has the
full figures.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalkit.stats import FRUGAL, STANDARD, THOROUGH
from evalkit.stats.cases import CasesTest
from evalkit.stats.evidence import EARLY_PRIOR_SCALE, ModeratedT
from evalkit.stats.peers import PEERS
from evalkit.stats.simulate import characteristics, simulate_run
from evalkit.stats.typeone import clopper_pearson, crossing_rates
from evalkit.stats.world import Population, World

SEED = 77_000_000
POLICIES = pytest.mark.parametrize("policy", [STANDARD, THOROUGH, FRUGAL], ids=lambda p: p.name)
HELD = (
    "gaussian",
    "t3",
    "cauchy",
    "skewed right",
    "skewed left",
    "spread changed by a log-normal factor (.5)",
)
WORLDS = {
    "gaussian": World(),
    "t3": World(shape="t3"),
    "cauchy": World(shape="cauchy"),
    "skewed": World(shape="skewed"),
    "spread changed": World(spread=0.5),
    "spread doubled": World(factor=math.sqrt(7.0)),
}


@POLICIES
@pytest.mark.parametrize("noise", HELD)
def test_evidence_reaches_its_level_no_more_often_than_it_says(policy, noise):
    for rate in crossing_rates(policy, noise, runs=10_000, seed=SEED):
        assert rate.low <= rate.level, f"{rate.hits} of {rate.runs} at level {rate.level}"


@pytest.mark.parametrize("noise", ["t3", "cauchy", "skewed right"])
def test_it_holds_when_calibration_saw_the_same_noise(noise):
    for rate in crossing_rates(STANDARD, noise, runs=10_000, seed=SEED + 1, aa_like_differences=True):
        assert rate.low <= rate.level


@pytest.mark.slow
@pytest.mark.parametrize("world", sorted(WORLDS))
def test_nothing_comes_from_nothing(world):
    runs = 100
    row = simulate_run(STANDARD, WORLDS[world], Population(0.0, 0.0), runs=runs, seed=SEED + 2)
    hits = round(row.any_false.value * runs / 100.0)
    assert clopper_pearson(hits, runs)[0] <= 0.05


@pytest.mark.slow
@POLICIES
@pytest.mark.parametrize("snr", [2.0, 0.5])
def test_false_discovery_rate_is_below_one_per_cent(policy, snr):
    row = simulate_run(policy, World(), Population(median=snr), runs=60, seed=SEED + 3)
    assert row.fdr.value - row.fdr.half_width <= 1.0
    assert row.harmful.value <= 0.05


@pytest.mark.slow
def test_claims_are_what_is_there():
    row = simulate_run(STANDARD, World(), Population(median=1.0), runs=60, seed=SEED + 4)
    assert row.claimed.value <= 1.05 + row.claimed.half_width


@pytest.mark.slow
@pytest.mark.parametrize(("snr", "gain"), [(2.0, 92.0), (1.0, 72.0), (0.5, 40.0)])
def test_gain_at_two_and_a_half_evaluations(snr, gain):
    row = simulate_run(STANDARD, World(), Population(median=snr), runs=100, seed=SEED + 5)
    assert row.gain.value + row.gain.half_width >= gain
    assert row.evaluations.value - 2 * STANDARD.estimate_pairs * row.keeps.value / 700 <= 2.55


@pytest.mark.slow
def test_it_beats_keep_if_better_where_it_matters():
    effects = Population(median=1.0).draw(np.random.default_rng(SEED + 6), 60, 700)
    done = PEERS[0].rule(effects, World(), np.random.default_rng(SEED + 7))
    theirs = characteristics(effects, done.kept, done.cost, done.claimed)
    ours = simulate_run(STANDARD, World(), Population(median=1.0), runs=60, seed=SEED + 6)
    assert ours.gain.value > 1.5 * theirs.gain.value
    assert ours.fdr.value < 0.05 * theirs.fdr.value


@pytest.mark.parametrize("fresh", [True, False], ids=["one pair", "several seeds"])
def test_cases_are_kept_no_more_often_than_the_level_says(fresh):
    level, runs, kept = 0.05, 400, 0
    rng = np.random.default_rng(SEED + 8)
    for _ in range(runs):
        # Cases differ in difficulty; both arms get each right equally often.
        chances = rng.beta(2.0, 1.0, 150)
        test = CasesTest(STANDARD, level, fresh=fresh, screen=False)
        while (need := test.need()) is not None:
            first, second = (tuple((rng.random(150) < chances).astype(float).tolist()) for _ in range(2))
            test.observe(need, first, second)
        kept += test.decision().outcome == "keep"
    assert clopper_pearson(kept, runs)[0] <= level


@pytest.mark.parametrize("pairs", [3, 8, 20])
def test_shown_intervals_cover_at_whatever_pair_one_stops(pairs):
    rng, runs, missed = np.random.default_rng(SEED + 9), 1000, 0
    for _ in range(runs):
        evidence = ModeratedT(
            math.sqrt(float(np.mean(rng.normal(size=pairs) ** 2))), float(pairs), prior_scale=EARLY_PRIOR_SCALE
        )
        for x in rng.normal(size=24).tolist():
            evidence.update(x)
            low, high = evidence.interval(0.05)
            if not low <= 0.0 <= high:
                missed += 1
                break
    assert clopper_pearson(missed, runs)[0] <= 0.05
