"""What must hold for every input: validity of e-values, replay, budgets, intervals."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evalkit.stats import STANDARD, Baseline, Need, Observation, RunLevel, ScalarTest, calibrate, replay, run_level
from evalkit.stats.bounded import BettingEvidence
from evalkit.stats.discrete import BinaryEvidence
from evalkit.stats.evidence import ModeratedT
from evalkit.stats.noise import Noise, pooled
from evalkit.stats.typeone import clopper_pearson

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)
SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)


@SETTINGS
@given(
    st.lists(FINITE, min_size=2, max_size=30).flatmap(
        lambda a: st.tuples(st.just(a), st.lists(FINITE, min_size=len(a), max_size=len(a)))
    )
)
def test_noise_is_finite_and_round_trips(arms):
    noise = calibrate(*arms)
    assert all(math.isfinite(v) for v in noise.to_dict().values() if isinstance(v, float))
    assert -1.0 <= noise.rho <= 1.0
    assert -1.0 <= noise.lag1 <= 1.0
    assert (noise.sd == 0.0) == (arms[0] == arms[1])
    assert Noise.from_dict(json.loads(json.dumps(noise.to_dict(), allow_nan=False))) == noise
    assert pooled(noise, 4.0, 2.0).df == noise.df + 2.0


@SETTINGS
@given(
    g=st.floats(0.1, 5.0),
    pilot=st.floats(4.0, 60.0),
    low=st.floats(1.0, 20.0),
    shift=st.floats(0.0, 3.0),
)
def test_one_pair_never_expects_more_than_one(g, pilot, low, shift):
    """E[e] ≤ 1 for every effect at or below zero: d/s0 is noncentral t with the pilot's degrees of freedom."""
    u = np.tan(np.linspace(-np.pi / 2 + 1e-4, np.pi / 2 - 1e-4, 1201))
    e = [math.exp(ModeratedT(1.0, pilot, (g,), prior_df=low).update(x)) for x in u.tolist()]
    density = stats.t.pdf(u, pilot) if shift < 0.01 else stats.nct.pdf(u, pilot, -shift)
    assert np.trapezoid(np.nan_to_num(e * density), u) <= 1.0 + 1e-3


@SETTINGS
@given(st.lists(FINITE, min_size=1, max_size=40), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_evidence_has_no_unit(differences, sd, unit):
    one, other = ModeratedT(sd, 12.0), ModeratedT(sd * unit, 12.0)
    for d in differences:
        one.update(d)
        other.update(d * unit)
    assert math.isclose(one.log_e, other.log_e, rel_tol=1e-6, abs_tol=1e-6)
    low, high = one.interval()
    assert low <= one.mean <= high


@SETTINGS
@given(
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_binary_evidence_is_between_its_neighbours(wins, losses):
    """A martingale under the fair coin: the value now is the mean of what one more win or loss makes of it."""

    def value(b, q):
        evidence = BinaryEvidence()
        evidence.add(wins=b, losses=q)
        return math.exp(evidence.log_e)

    assert math.isclose(value(wins, losses), 0.5 * (value(wins + 1, losses) + value(wins, losses + 1)), rel_tol=1e-8)


@SETTINGS
@given(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=60), st.integers(1, 59))
def test_betting_takes_blocks_or_singles(values, cut):
    whole, parts = BettingEvidence(), BettingEvidence()
    whole.add(values)
    parts.add(values[:cut])
    parts.add(values[cut:])
    assert math.isclose(whole.log_e, parts.log_e, abs_tol=1e-9)
    assert whole.log_e < len(values) * math.log(2.0)
    low, high = whole.interval()
    assert -1.0 <= low <= high <= 1.0


@SETTINGS
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=120), st.floats(1e-6, 1.0))
def test_any_experiment_replays_bit_for_bit(trials, level):
    noise = calibrate([0.1, -0.4, 1.2, 0.3, -0.9, 0.6], [0.5, -0.2, 0.7, -0.3, -1.0, 1.1])

    def fresh():
        return ScalarTest(STANDARD, noise, level, baseline=Baseline(noise.mean, noise.cost))

    test = fresh()
    for ours, theirs in trials:
        need = test.need()
        if need is None:
            break
        test.observe(need, ours, None if need == Need.SCREEN_SINGLE else theirs)
    text = json.dumps(test.decision().to_dict(), allow_nan=False)
    record = json.loads(json.dumps([o.to_dict() for o in test.observations]))
    again = replay(fresh(), [Observation.from_dict(o) for o in record])
    assert json.dumps(again.to_dict(), allow_nan=False) == text
    if test.decision().outcome == "keep":
        assert test.decision().log_e >= -math.log(level)


@SETTINGS
@given(
    st.sampled_from(["e-lond", "e-lord"]),
    st.lists(
        st.tuples(st.sampled_from(["reserve", "release", "settle"]), st.integers(0, 5), st.booleans()), max_size=120
    ),
)
def test_no_order_of_events_spends_more_than_alpha(rule, events):
    books = run_level(rule, 0.05, 5)
    for what, who, keep in events:
        name = f"x{who}"
        if what == "reserve":
            assert books.reserve(name) == books.reserve(name)
        elif name in books.state()["open"]:
            books.release(name) if what == "release" else books.settle(name, keep, 3.0)
        books = RunLevel.restore(json.loads(json.dumps(books.state())))
    state = books.state()
    taken = [(s[1], s[2]) for s in state["settled"]] + [(o[1], o[2]) for o in state["open"].values()]
    assert math.fsum(level / (keeps + 1) for level, keeps in taken) <= 0.05 + 1e-12


@SETTINGS
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_is_scipys(counts):
    hits, runs = counts
    exact = stats.binomtest(hits, runs).proportion_ci(0.95, method="exact")
    assert np.allclose(clopper_pearson(hits, runs), (exact.low, exact.high), atol=1e-9)


def test_two_pairs_never_expect_more_than_one_under_the_exact_null():
    """The bracket's middle integrates to exactly 1 over the bivariate t; the bracket to less."""
    angle = np.linspace(-np.pi / 2 + 2e-3, np.pi / 2 - 2e-3, 121)
    x, stretch = np.tan(angle), 1.0 / np.cos(angle) ** 2
    for g, df in itertools.product((0.7, 3.5), (6.0, 20.0)):
        density = _bivariate_t(x[:, None], x[None, :], df) * stretch[:, None] * stretch[None, :]
        bare, bracket = [
            np.trapezoid(np.trapezoid(density * [[_two(a, b, g, df, low) for b in x] for a in x], angle), angle)
            for low in (None, 3.0)
        ]
        assert math.isclose(bare, 1.0, abs_tol=2e-3)
        assert bracket <= bare


def _two(x, y, g, df, low):
    evidence = ModeratedT(1.0, df, (g,), prior_df=low)
    evidence.update(x)
    return math.exp(evidence.update(y))


def _bivariate_t(x, y, df):
    return (1.0 + (x * x + y * y) / df) ** (-(df + 2.0) / 2.0) / (2.0 * math.pi)
