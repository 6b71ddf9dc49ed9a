"""The keep that lost it is named, at the cost that was said before."""

import math

import numpy as np
import pytest

from evalkit.stats.noise import Noise
from evalkit.watch.bisect import Bisection, Comparison, Outcome, predict_cost

NOISE = Noise(1.0, 20, 1.0, 20, 0.5, 0.0, 19, 0.0, 1.0, 40, 40, 1e-6, 0.0, "noisy")


def search(levels, loss, *, seed=0, **settings):
    rng = np.random.default_rng(seed)
    machine = Bisection(len(levels) - 1, loss, NOISE, **settings)
    while (asked := machine.next()) is not None:
        pair = rng.standard_normal(2) / math.sqrt(2)
        machine.observe(levels[asked.newer] + pair[0], levels[asked.older] + pair[1])
    return machine.finding


def stepped(keeps, at, loss):
    return [0.0] * at + [-loss] * (keeps + 1 - at)


def test_names_the_planted_keep():
    right = 0
    for seed in range(60):
        keeps = [4, 8, 16, 32][seed % 4]
        at = seed % keeps + 1
        finding = search(stepped(keeps, at, 1.0), 1.2, seed=seed)
        right += finding.keep == at
        assert finding.decisions <= 1.5 * math.log2(keeps)
    assert right >= 57


def test_one_keep_needs_one_decision():
    finding = search([0.0, -1.0], 1.0)
    assert (finding.outcome, finding.keep, finding.decisions) == (Outcome.NAMED, 1, 1)


def test_gradual_loss_is_not_pinned_on_one_keep():
    outcomes = [search([-0.1 * k for k in range(21)], 2.0, seed=seed).outcome for seed in range(10)]
    assert outcomes.count(Outcome.GRADUAL) >= 8


def test_a_pointed_at_keep_is_looked_at_first():
    machine = Bisection(16, 1.0, NOISE, first=13)
    assert machine.next() == Comparison(13, 0)
    assert Bisection(16, 1.0, NOISE, first=99).next() == Comparison(8, 0)


def test_too_few_pairs_end_undecided():
    finding = search(stepped(2, 1, 0.05), 0.05, max_pairs=4)
    assert finding.outcome is Outcome.UNDECIDED


def test_predicted_cost_is_near_the_cost():
    cost = predict_cost(32, 1.2, 1.0)
    pairs = [search(stepped(32, seed % 32 + 1, 1.0), 1.2, seed=seed).pairs for seed in range(30)]
    assert cost.decisions == 6
    assert 0.5 * cost.pairs <= np.mean(pairs) <= 2 * cost.pairs
    assert max(pairs) <= cost.most


@pytest.mark.parametrize(("keeps", "loss"), [(0, 1.0), (3, 0.0), (3, -1.0)])
def test_refusals(keeps, loss):
    with pytest.raises(ValueError, match="bisection"):
        Bisection(keeps, loss, NOISE)


def test_an_ended_search_takes_nothing_more():
    machine = Bisection(1, 1.0, NOISE)
    for _ in range(200):
        if machine.next() is None:
            break
        machine.observe(-1.0, 0.0)
    assert machine.progress["decisions"] == 1
    with pytest.raises(ValueError, match="ended"):
        machine.observe(0.0, 0.0)
