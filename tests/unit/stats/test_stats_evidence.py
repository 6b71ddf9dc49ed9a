"""Evidence against closed forms, enumeration, quadrature and reference implementations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import ville
from scipy import integrate, special, stats

from evalkit.stats.bounded import BettingEvidence
from evalkit.stats.discrete import BinaryEvidence, sign_flip_p_value
from evalkit.stats.evidence import EARLY_PRIOR_SCALE, Evidence, ModeratedT, RatioEvidence, normal_mixture_width
from evalkit.stats.percase import ClusteredEvidence, PerCaseEvidence, cluster_means, shared_seed_effect
from evalkit.stats.special import beta_regularized, f_survival, student_quantile, student_survival

GRID = (0.35, 0.7, 1.4, 2.8)


def direct_log_e(differences, sd, df, grid=GRID):
    d = np.asarray(differences) / sd
    power = (df + d.size) / 2
    ratios = [((df + (d**2).sum()) / (df + ((d - g) ** 2).sum())) ** power for g in grid]
    return math.log(np.mean(ratios))


def test_moderated_t_is_its_formula():
    rng = np.random.default_rng(3)
    evidence = ModeratedT(1.7, 8.0, GRID, prior_df=None)
    seen = []
    for d in rng.normal(1.0, 2.0, 30):
        seen.append(float(d))
        assert evidence.update(float(d)) == pytest.approx(direct_log_e(seen, 1.7, 8.0), abs=1e-10)
    assert evidence.n == 30
    assert evidence.mean == pytest.approx(np.mean(seen))
    assert isinstance(evidence, Evidence)


@pytest.mark.parametrize("df", [1.0, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("g", [0.35, 1.4, 2.8])
def test_moderated_t_has_expectation_one_under_its_null(df, g):
    """One pair, integrated over the exact null law of u = d/s0: Student's t with the pilot's degrees of freedom."""

    def integrand(u):
        evidence = ModeratedT(1.0, df, (g,), prior_df=None)
        return math.exp(evidence.update(u)) * stats.t.pdf(u, df)

    value = sum(
        integrate.quad(integrand, a, b, limit=200)[0] for a, b in itertools.pairwise((-np.inf, -5, 0, 5, np.inf))
    )
    assert value == pytest.approx(1.0, abs=1e-6)


def test_bracket_is_the_smallest_of_its_three():
    rng = np.random.default_rng(9)
    bracket = ModeratedT(1.3, 20.0, GRID, prior_df=5.0)
    parts = [ModeratedT(1.3, df, GRID, prior_df=None) for df in (5.0, 20.0, 1e7)]
    for d in rng.normal(0.5, 2.0, 40).tolist():
        assert bracket.update(d) == pytest.approx(min(p.update(d) for p in parts), abs=1e-3)
    assert bracket.interval() == pytest.approx(max((p.interval() for p in parts[:2]), key=lambda i: i[1] - i[0]))


def test_moderated_t_shift_is_null():
    plain, shifted = ModeratedT(2.0, 8.0), ModeratedT(2.0, 8.0, null=0.5)
    for d in (1.0, -0.25, 2.0):
        plain.update(d)
        shifted.update(d + 0.5)
    assert shifted.log_e == pytest.approx(plain.log_e, abs=1e-12)


def test_moderated_t_survives_extreme_values():
    evidence = ModeratedT(1e-9, 8.0)
    for d in (1e300, -1e300, 1e308, 5e-324, 0.0):
        assert math.isfinite(evidence.update(d))
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError):
            evidence.update(bad)


@pytest.mark.parametrize("bad", [(0.0, 8.0), (-1.0, 8.0), (math.nan, 8.0), (1.0, 0.0)])
def test_moderated_t_rejects_bad_noise(bad):
    with pytest.raises(ValueError):
        ModeratedT(*bad)


def test_interval_is_the_inverted_t_mixture():
    """Against the mixture likelihood ratio integrated numerically over the prior on the effect."""
    d = np.array([0.9, 1.4, 0.2, 1.1, 2.0, 0.7])
    df, alpha = 8.0, 0.2
    evidence = ModeratedT(1.0, df, prior_df=None)
    for x in d:
        evidence.update(float(x))
    low, high = evidence.interval(alpha)

    def ratio(mu):
        # Right-Haar prior with the pilot on σ, N(mu, σ²) on the effect, both integrated on a grid.
        sigma = np.linspace(0.05, 12, 1500)[:, None]
        z = np.linspace(-8, 8, 801)[None, :]
        effect = mu + sigma * z
        square = df + sum((x - effect) ** 2 for x in d)
        scale = sigma ** -(d.size + df + 1.0)
        mixed = np.trapezoid(np.exp(-square / (2 * sigma**2)) * scale * stats.norm.pdf(z), z[0], axis=1)
        plain = np.exp(-(df + ((d - mu) ** 2).sum()) / (2 * sigma[:, 0] ** 2)) * scale[:, 0]
        return np.trapezoid(mixed, sigma[:, 0]) / np.trapezoid(plain, sigma[:, 0])

    assert ratio(low) == pytest.approx(1 / alpha, rel=2e-3)
    assert ratio(high) == pytest.approx(1 / alpha, rel=2e-3)


def test_interval_tends_to_the_normal_mixture_of_ville():
    for n, alpha, scale in itertools.product((1, 5, 24, 1000), (0.05, 0.001), (0.5, 1.0, 2.0)):
        mine = normal_mixture_width(n, alpha, scale) * n
        assert mine == pytest.approx(float(ville.normal_mixture(n, alpha, 1 / scale**2)), rel=1e-12)
    evidence = ModeratedT(1.0, 1e9, prior_df=None)
    for x in (0.4, 1.2, 0.8):
        evidence.update(x)
    low, high = evidence.interval(0.05)
    assert (high - low) / 2 == pytest.approx(normal_mixture_width(3, 0.05), rel=1e-6)


def test_ratio_evidence_is_the_log():
    ratio, log = RatioEvidence(0.1, 8.0), ModeratedT(0.1, 8.0)
    for x in (1.1, 0.97, 1.3):
        assert ratio.update(x) == log.update(math.log(x))
    low, high = ratio.interval()
    assert low < 1.3 < high
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError):
            ratio.update(bad)


def test_binary_evidence_is_its_integral():
    for b, q in itertools.product((0, 1, 3, 10, 60), repeat=2):
        evidence = BinaryEvidence()
        evidence.add(wins=b, losses=q)
        value = integrate.quad(lambda p: 2 * (2 * p) ** b * (2 * (1 - p)) ** q, 0.5, 1)[0] if b + q else 1.0  # noqa: B023
        assert math.exp(evidence.log_e) == pytest.approx(value, rel=1e-7)


def test_binary_evidence_has_expectation_one_by_enumeration():
    """Every sequence of n fair coin flips: the e-process averages exactly 1 at every n, and at any stopping time."""
    for n in range(1, 11):
        values, stopped = [], []
        for path in itertools.product((-1.0, 1.0), repeat=n):
            evidence = BinaryEvidence()
            run = [math.exp(evidence.update(x)) for x in path]
            values.append(run[-1])
            stopped.append(next((e for e in run if e >= 3.0), run[-1]))
        assert np.mean(values) == pytest.approx(1.0, abs=1e-12)
        assert np.mean(stopped) == pytest.approx(1.0, abs=1e-12)


def test_binary_evidence_far_tails_are_finite():
    for b, q in ((0, 5000), (3, 20_000), (5000, 0), (10_000, 9_000), (40, 4000)):
        evidence = BinaryEvidence()
        evidence.add(wins=b, losses=q)
        assert math.isfinite(evidence.log_e)
    tiny = BinaryEvidence()
    tiny.add(wins=3, losses=2000)
    assert math.exp(tiny.log_e) == pytest.approx(1 / 2001 * (1 + 3 / 2002 + 6 / 2002 / 2003), rel=1e-6)


def test_binary_ties_leave_it_alone():
    evidence = BinaryEvidence()
    evidence.add(wins=5, losses=1)
    before = evidence.log_e
    assert evidence.update(0.0) == before
    assert evidence.n == 7
    with pytest.raises(ValueError):
        evidence.update(0.5)
    with pytest.raises(ValueError):
        evidence.add(wins=-1, losses=0)


@pytest.mark.parametrize(("b", "q"), [(0, 0), (5, 0), (0, 5), (7, 3), (100, 90)])
def test_binary_interval_inverts_the_mixture(b, q):
    evidence = BinaryEvidence()
    evidence.add(wins=b, losses=q)
    low, high = evidence.interval(0.05)
    assert 0.0 <= low <= (b / (b + q) if b + q else 0.5) <= high <= 1.0
    for edge in (low, high):
        if 0.0 < edge < 1.0:
            log_ratio = special.betaln(b + 1, q + 1) - b * math.log(edge) - q * math.log1p(-edge)
            assert log_ratio == pytest.approx(math.log(20), abs=1e-8)


def test_betting_is_its_formula_and_doesnt_depend_on_order():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, 333)
    shares = np.array([0.005, 0.01, 0.02, 0.04, 0.075, 0.13, 0.21, 0.32, 0.46, 0.62, 0.8, 0.95])
    direct = special.logsumexp(np.log1p(np.outer(shares, x)).sum(axis=1)) - math.log(shares.size)
    whole, backwards, steps = BettingEvidence(), BettingEvidence(), BettingEvidence()
    assert whole.add(x) == pytest.approx(direct, abs=1e-10)
    assert backwards.add(x[::-1]) == pytest.approx(direct, abs=1e-10)
    for value in x:
        steps.update(float(value))
    assert steps.log_e == pytest.approx(direct, abs=1e-10)
    assert steps.interval() == pytest.approx(whole.interval(), abs=1e-10)


def test_betting_has_expectation_at_most_one_by_enumeration():
    """The worst bounded null: a value at each bound with mean exactly at the null."""
    for low, high, null in ((-1.0, 1.0, 0.0), (0.0, 1.0, 0.3), (-1.0, 1.0, 0.25)):
        p = (null - low) / (high - low)
        total = 0.0
        for path in itertools.product((low, high), repeat=8):
            evidence = BettingEvidence(low, high, null=null)
            wins = sum(x == high for x in path)
            total += math.exp(evidence.add(path)) * p**wins * (1 - p) ** (8 - wins)
        assert total == pytest.approx(1.0, abs=1e-12)


def test_betting_interval_agrees_with_ville():
    rng = np.random.default_rng(5)
    x = rng.beta(2, 3, 400)
    mine = BettingEvidence(0.0, 1.0, null=0.5)
    mine.add(x)
    theirs = ville.EmpiricalBernsteinCS(bounds=(0.0, 1.0), alpha=0.05, intersect=False)
    theirs.update(x)
    assert mine.interval(0.05) == pytest.approx((theirs.lower_[-1], theirs.upper_[-1]), rel=1e-12)


def test_betting_refuses_what_is_out_of_bounds():
    evidence = BettingEvidence()
    for bad in (1.5, -1.5, math.nan, math.inf):
        with pytest.raises(ValueError):
            evidence.update(bad)
    with pytest.raises(ValueError):
        BettingEvidence(0.0, 1.0, null=0.0)


def test_clusters_are_units():
    means = cluster_means([1.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b"])
    assert means.tolist() == [0.5, 1.0]
    clustered, plain = ClusteredEvidence(), BettingEvidence()
    clustered.add([1.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b"])
    plain.add([0.5, 1.0])
    assert clustered.log_e == plain.log_e
    assert clustered.n == 2
    with pytest.raises(ValueError):
        cluster_means([1.0], [])


def test_per_case_evidence_never_exceeds_its_weighted_sum():
    rng = np.random.default_rng(2)
    evidence = PerCaseEvidence()
    previous = -math.inf
    for _ in range(9):
        log_e = evidence.update(np.clip(rng.normal(0.1, 0.3, 200), -1, 1))
        assert log_e >= previous
        previous = log_e
    assert evidence.n == 9
    assert evidence.cases == 200
    assert evidence.interval()[0] < 0.1 < evidence.interval()[1]
    with pytest.raises(ValueError):
        evidence.update([0.1])


def test_shared_seed_effect_tells_the_unit():
    rng = np.random.default_rng(4)
    alone = rng.normal(size=(12, 200))
    together = alone + rng.normal(0, 0.5, size=(12, 1))
    assert 0.2 < shared_seed_effect(alone) < 3.0
    assert shared_seed_effect(together) > 10.0


def test_sign_flip_is_exhaustive_then_sampled():
    assert sign_flip_p_value([1.0, 2.0, 3.0]) == 1 / 8
    assert sign_flip_p_value([-1.0, -2.0]) == 1.0
    d = np.random.default_rng(0).normal(0.3, 1.0, 40)
    reference = stats.permutation_test((d,), np.sum, permutation_type="samples", alternative="greater", rng=1)
    assert sign_flip_p_value(d.tolist(), draws=20_000) == pytest.approx(reference.pvalue, abs=0.01)
    assert sign_flip_p_value(d.tolist(), draws=5000, seed=1) == sign_flip_p_value(d.tolist(), draws=5000, seed=1)


def test_special_functions_agree_with_scipy():
    rng = np.random.default_rng(8)
    for _ in range(400):
        a, b, x = float(10 ** rng.uniform(-1, 3)), float(10 ** rng.uniform(-1, 3)), float(rng.uniform(0, 1))
        assert beta_regularized(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-9, abs=1e-290)
        t, df = float(rng.normal(0, 5)), float(10 ** rng.uniform(-0.3, 3))
        assert student_survival(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-9)
        f = float(10 ** rng.uniform(-1, 1.5))
        assert f_survival(f, a, b) == pytest.approx(stats.f.sf(f, a, b), rel=1e-8, abs=1e-250)
    for p, df in itertools.product((0.5, 0.2, 0.025, 1e-4), (1.0, 4.0, 30.0, 400.0)):
        assert student_quantile(p, df) == pytest.approx(stats.t.isf(p, df), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_the_interval_that_is_shown_is_bounded_from_the_first_pair_on(pairs):
    evidence = ModeratedT(1.0, 20.0, prior_scale=EARLY_PRIOR_SCALE)
    for _ in range(pairs):
        evidence.update(8.0)
    low, high = evidence.interval()
    assert math.isfinite(low)
    assert low < 8.0 < high


@pytest.mark.parametrize("df", [3, 20])
def test_the_interval_that_is_shown_covers_at_every_stopping_time(df):
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(400):
        pilot = math.sqrt(np.mean(rng.normal(size=df) ** 2))
        evidence = ModeratedT(pilot, df, prior_scale=EARLY_PRIOR_SCALE)
        for x in rng.normal(size=30):
            evidence.update(2.0 + x)
            low, high = evidence.interval()
            if not low <= 2.0 <= high:
                missed += 1
                break
    assert missed <= 20
