"""Run-level rules against the reference implementation, their budgets, and the books that a ledger keeps."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from online_fdr.e_values.sequential import ELond as ReferenceELond
from online_fdr.p_values.investing.lord.plus_plus import LordPlusPlus as ReferenceLord
from online_fdr.p_values.investing.saffron.saffron import Saffron as ReferenceSaffron

from evalkit.stats.investing import ELord, ESaffron, LordPlusPlus, Saffron, Settled, lord_gamma, saffron_gamma
from evalkit.stats.online import ELond, RunLevel, planned_gamma, run_level


def p_values(seed, n=300):
    rng = np.random.default_rng(seed)
    p = rng.random(n)
    p[rng.random(n) < 0.15] *= 1e-4
    return p.tolist()


def drive(rule, evidences, keeps_when):
    history = []
    for t, log_e in enumerate(evidences, 1):
        level = rule.next_level(t, tuple(history), {})
        history.append(Settled(t, level, sum(s.keep for s in history), keeps_when(log_e, level), log_e))
    return history


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("which", ["lord", "saffron"])
def test_p_value_rules_agree_with_online_fdr(seed, which):
    p = p_values(seed)
    ours = LordPlusPlus(0.05, 0.025) if which == "lord" else Saffron(0.05, 0.025, 0.5)
    theirs = ReferenceLord(0.05, 0.025) if which == "lord" else ReferenceSaffron(0.05, 0.025, 0.5)
    history = []
    for t, value in enumerate(p, 1):
        level = ours.next_level(t, tuple(history), {})
        expected = theirs.test_one(value)
        assert level == pytest.approx(theirs.last_test_level, rel=1e-9)
        assert (value <= level) == expected
        history.append(Settled(t, level, 0, value <= level, -math.log(value)))
    assert sum(s.keep for s in history) > 20


@pytest.mark.parametrize("seed", range(5))
def test_e_lond_agrees_with_online_fdr(seed):
    ours, theirs = ELond(0.05, lord_gamma), ReferenceELond(0.05)
    keeps = 0
    for t, p in enumerate(p_values(seed), 1):
        e = 0.5 / max(p, 1e-9)
        level = ours.level(t, keeps)
        keep = e >= 1.0 / level
        assert keep == theirs.test_one(e)
        assert level == pytest.approx(theirs.last_test_level, rel=1e-12)
        keeps += keep
    assert keeps > 20


@pytest.mark.parametrize("expected", [1, 7, 60, 300])
def test_planned_weights_sum_to_one_and_never_die(expected):
    gamma = planned_gamma(expected)
    total = math.fsum(gamma(t) for t in range(1, 200_001))
    tail = 0.25 * expected / 200_000
    assert total + tail == pytest.approx(1.0, abs=1e-9)
    assert gamma(10**9) > 0.0


@pytest.mark.parametrize("gamma", [lord_gamma, saffron_gamma])
def test_reference_weights_sum_to_at_most_one(gamma):
    values = [gamma(j) for j in range(1, 100_001)]
    assert math.fsum(values) <= 1.0
    assert all(a >= b for a, b in itertools.pairwise(values))
    assert gamma(0) == gamma(-3) == 0.0


@pytest.mark.parametrize("rule", [ELord(0.05, 0.02), ESaffron(0.05, 0.02, 0.1)])
def test_e_rules_stay_within_their_budget(rule):
    """The sum that the proof bounds: α_j/(R_j+1), without candidates for e-SAFFRON, stays below α."""
    rng = np.random.default_rng(1)
    history = drive(rule, rng.exponential(3.0, 500).tolist(), lambda log_e, level: log_e >= -math.log(level))
    bar = -math.log(0.1)
    counted = [s for s in history if rule.name == "e-lord" or s.log_e < bar]
    spent = math.fsum(s.level / (s.keeps_before + 1) for s in counted)
    assert spent <= 0.05 * (0.9 if rule.name == "e-saffron" else 1.0) + 1e-12
    assert history[-1].level > 0.0


@pytest.mark.parametrize("rule", ["e-lond", "e-lord", "e-saffron", "lord++", "saffron"])
def test_books_survive_a_restart_at_every_step(rule):
    def run(restart):
        books = run_level(rule, 0.05, 20)
        levels = []
        for t in range(40):
            levels.append(books.reserve(f"x{t}"))
            if restart:
                books = RunLevel.restore(json.loads(json.dumps(books.state(), allow_nan=False)))
            if t % 3 == 1:
                books.release(f"x{t}")
            else:
                books.settle(f"x{t}", t % 5 == 0, 8.0 if t % 5 == 0 else 0.3)
        return levels, books.state()

    assert run(restart=True) == run(restart=False)


def test_released_places_are_used_again_and_levels_never_change():
    books = run_level(expected=10)
    first, second = books.reserve("a"), books.reserve("b")
    assert first == second == 0.05 * 0.075
    books.release("a")
    books.settle("b", True, 9.0)
    third = books.reserve("c")
    assert books.state()["open"]["c"][0] == 1
    assert third == 0.05 * 0.075 * 2
    books.reserve("d")
    books.settle("d", True, 9.0)
    assert books.reserve("c") == third
    assert (books.tests, books.keeps) == (2, 2)
    with pytest.raises(ValueError):
        books.settle("nobody", True, 0.0)


def test_parallel_proposals_never_spend_more_than_alpha():
    """Whatever the order in which eight parallel experiments finish, Σ α_t/(R_t+1) ≤ α over all of them."""
    rng = np.random.default_rng(7)
    for rule in ("e-lond", "e-lord"):
        books = run_level(rule, 0.05, 30)
        live = []
        for t in range(200):
            books.reserve(str(t))
            live.append(str(t))
            if len(live) == 8:
                test_id = live.pop(int(rng.integers(8)))
                if rng.random() < 0.4:
                    books.release(test_id)
                else:
                    books.settle(test_id, bool(rng.random() < 0.3), 5.0)
        state = books.state()
        spent = math.fsum(s[1] / (s[2] + 1) for s in state["settled"])
        spent += math.fsum(o[1] / (o[2] + 1) for o in state["open"].values())
        assert spent <= 0.05 + 1e-12
        places = [s[0] for s in state["settled"]] + [o[0] for o in state["open"].values()]
        assert len(set(places)) == len(places)


@pytest.mark.parametrize(
    "make",
    [
        lambda: run_level("nonsense"),
        lambda: ELond(0.0),
        lambda: ELond().level(0, 0),
        lambda: planned_gamma(0),
        lambda: LordPlusPlus(0.05, 0.06),
        lambda: Saffron(candidate=1.0),
        lambda: ELord(share=0.0),
        lambda: ESaffron(candidate=0.0),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(ValueError):
        make()
