"""The simulated gate decides as the real one does, trial by trial."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pytest

from evalkit.stats import STANDARD, THOROUGH, Baseline, Need, ScalarTest, calibrate, pooled, run_level
from evalkit.stats.simulate import Gate, characteristics, simulate_run
from evalkit.stats.world import Draws, Population, World


class Recorded(Draws):
    """Draws that remember, run by run, every trial they gave out."""

    def __init__(self, rng, world, runs):
        super().__init__(rng, world, runs)
        self.trials = [deque() for _ in range(runs)]
        self.arms = ()

    def calibration(self, runs, pairs):
        self.arms = super().calibration(runs, pairs)
        return self.arms

    def single(self, which):
        noise = super().single(which)
        for i, x in zip(which.tolist(), noise.tolist(), strict=True):
            self.trials[i].append((x, None))
        return noise

    def pair(self, which):
        ours, theirs = super().pair(which)
        for i, a, b in zip(which.tolist(), ours.tolist(), theirs.tolist(), strict=True):
            self.trials[i].append((a, b))
        return ours, theirs


def one_run(policy, arms, trials, effects):
    """The same run through the objects that decide for real."""
    noise = calibrate(*arms)
    books, baseline, kept = (
        run_level("e-lond", policy.alpha, policy.expected_tests),
        Baseline(noise.mean, noise.cost),
        [],
    )
    for t, effect in enumerate(effects):
        test = ScalarTest(policy, noise, books.reserve(str(t)), baseline=baseline)
        pairs = []
        while (need := test.need()) is not None:
            ours, theirs = trials.popleft()
            test.observe(need, effect + ours, theirs)
            assert (theirs is None) == (need == Need.SCREEN_SINGLE)
            if need == Need.CONFIRM_PAIR:
                pairs.append((effect + ours, theirs))
        decision = test.decision()
        kept.append(decision.outcome == "keep")
        if not test.confirming:
            books.release(str(t))
            continue
        books.settle(str(t), kept[-1], decision.log_e)
        noise = pooled(noise, *test.residuals())
        if kept[-1]:
            baseline = baseline.after_keep(*zip(*pairs, strict=True), noise, shrink=policy.baseline_shrink)
            baseline = Baseline(baseline.mean - effect, baseline.count)
            baseline = baseline.including([trials.popleft()[0] for _ in range(policy.estimate_pairs)])
        else:
            baseline = baseline.including([b for _, b in pairs])
    return kept, noise, books


@pytest.mark.parametrize(
    ("policy", "world"),
    [
        (STANDARD, World()),
        (THOROUGH, World(shape="t3")),
        (replace(STANDARD, prior_df=20.0, min_pairs=3), World(rho=0.9)),
        (STANDARD, World(rho=0.0, spread=0.7, shape="skewed")),
    ],
)
def test_gate_decides_as_scalar_test(policy, world):
    runs, proposals = 6, 120
    rng = np.random.default_rng(11)
    effects = Population(improving=0.15, median=1.6).draw(rng, runs, proposals)
    draws = Recorded(rng, world, runs)
    gate = Gate(policy, runs, draws)
    kept = np.stack([gate.propose(effects[:, t]) for t in range(proposals)], axis=1)
    assert kept.sum() > runs
    for i in range(runs):
        arms = (draws.arms[0][i].tolist(), draws.arms[1][i].tolist())
        mine, noise, books = one_run(policy, arms, draws.trials[i], effects[i].tolist())
        assert mine == kept[i].tolist()
        assert not draws.trials[i]
        assert noise.sd == pytest.approx(gate.noise(i).sd)
        assert noise.lag1 == pytest.approx(gate.noise(i).lag1, abs=1e-6)
        assert books.tests == gate.tests[i]


def test_simulation_is_reproducible():
    same = [simulate_run(STANDARD, World(), Population(), runs=4, proposals=40, seed=5) for _ in range(2)]
    assert repr(same[0]) == repr(same[1])


def test_characteristics_are_their_definitions():
    effects = np.array([[1.0, -1.0, 0.0, 2.0], [1.0, 0.0, 0.0, 1.0]])
    kept = np.array([[True, True, False, False], [True, False, True, True]])
    figures = characteristics(effects, kept, np.array([8.0, 12.0]), np.array([1.0, 3.0]))
    assert figures.evaluations.value == 2.5
    assert figures.fdr.value == pytest.approx(100 * (1 / 2 + 1 / 3) / 2)
    assert figures.any_false.value == 100.0
    assert figures.harmful.value == 0.5
    assert figures.gain.value == pytest.approx(100 * (0 + 2) / (3 + 2))
    assert figures.claimed.value == pytest.approx(4 / 2)
