"""Values that scatter more and trials that cost more are noticed; chance is not."""

from types import SimpleNamespace

import numpy as np
import pytest

from evalkit.watch.notes import cost_ratio, spread_ratio


def visits(rng, sd, *, count=6, pairs=6):
    """Pairs share a seed, and each visit has a level of its own."""
    found = []
    for _ in range(count):
        shared = rng.standard_normal(pairs) + 50 * rng.standard_normal()
        found.append(
            ((shared + sd * rng.standard_normal(pairs)).tolist(), (shared + rng.standard_normal(pairs)).tolist())
        )
    return found


def test_a_wider_spread_is_noticed():
    rng = np.random.default_rng(1)
    assert spread_ratio(visits(rng, 5.0)) == pytest.approx(13**0.5, rel=0.4)


def test_chance_is_not():
    rng = np.random.default_rng(2)
    assert sum(spread_ratio(visits(rng, 1.0)) is not None for _ in range(500)) <= 3
    assert spread_ratio(visits(rng, 0.1)) is None


@pytest.mark.parametrize("few", [[], [([1.0], [2.0])], [([1.0, 5.0], [1.0, 1.0])], [([2.0] * 9, [2.0] * 9)]])
def test_too_little_says_nothing(few):
    assert spread_ratio(few) is None


def test_an_anchor_that_never_varies():
    assert spread_ratio([([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [2.0] * 8)]) == float("inf")


def pairs(ratio, rng, count=8, noise=0.05):
    def side(cpu):
        return SimpleNamespace(candidate_cpu=cpu)

    jitter = np.exp(noise * rng.standard_normal((count, 2)))
    return [SimpleNamespace(candidate=side(0.2 * ratio * a), incumbent=side(0.2 * b)) for a, b in jitter]


def test_cost():
    rng = np.random.default_rng(3)
    assert cost_ratio(pairs(1.5, rng)) == pytest.approx(1.5, rel=0.1)
    assert cost_ratio(pairs(1.05, rng, noise=0.001)) is None
    assert cost_ratio(pairs(0.5, rng)) is None
    assert cost_ratio(pairs(1.5, rng, count=5)) is None
    assert sum(cost_ratio(pairs(1.0, rng, noise=0.3)) is not None for _ in range(300)) <= 3
    assert cost_ratio([SimpleNamespace(candidate=SimpleNamespace(candidate_cpu=None), incumbent=None)]) is None
