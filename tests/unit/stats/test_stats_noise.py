"""Noise from A/A pairs: its numbers, its kinds, what later experiments add, the diagnostics that rest on it."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from evalkit.stats.diagnostics import Diagnostic, diagnose
from evalkit.stats.estimate import Estimate, estimate_effect
from evalkit.stats.noise import Noise, calibrate, lag_products, pooled


def noise_of(pairs=20, rho=0.5, seed=0, sd=1.0):
    rng = np.random.default_rng(seed)
    block = math.sqrt(rho) * rng.normal(size=pairs)
    a = sd * (block + math.sqrt(1 - rho) * rng.normal(size=pairs))
    b = sd * (block + math.sqrt(1 - rho) * rng.normal(size=pairs))
    return calibrate(a.tolist(), b.tolist())


def test_calibration_is_its_formulas():
    noise = calibrate([1.0, 2.0, 4.0, 3.0], [1.5, 1.0, 4.5, 3.25])
    d = np.array([0.5, -1.0, 0.5, 0.25])
    assert noise.sd == pytest.approx(math.sqrt((d**2).mean()))
    assert noise.df == noise.pilot_df == 4
    assert noise.cost == 8
    assert noise.mean == pytest.approx(np.mean([1, 2, 4, 3, 1.5, 1, 4.5, 3.25]))
    assert noise.single_sd == pytest.approx(np.std([1, 2, 4, 3, 1.5, 1, 4.5, 3.25], ddof=1))
    assert noise.distinct == 7
    assert noise.resolution == 0.25
    assert noise.kind == "noisy"


def test_calibration_recovers_a_known_model():
    noise = noise_of(pairs=4000, rho=0.8, sd=3.0)
    assert noise.sd == pytest.approx(3 * math.sqrt(0.4), rel=0.05)
    assert noise.single_sd == pytest.approx(3.0, rel=0.05)
    assert noise.rho == pytest.approx(0.8, abs=0.03)
    assert abs(noise.lag1) < 0.05


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([5.0] * 8, "exact"),
        ([5.0] * 3, "coarse"),
        ([5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 6.0], "coarse"),
        ([5.01, 5.02, 5.03, 5.07, 5.04, 5.06, 5.0, 5.08], "noisy"),
    ],
)
def test_kinds_are_told_apart_and_explained(values, kind):
    noise = calibrate(values, values[::-1])
    assert noise.kind == kind
    assert noise.why.startswith(kind)


def test_noise_round_trips_through_json_exactly():
    noise = noise_of()
    assert Noise.from_dict(json.loads(json.dumps(noise.to_dict(), allow_nan=False))) == noise


@pytest.mark.parametrize(
    ("a", "b"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([1.0, math.nan], [1.0, 2.0]), ([1.0, math.inf], [1.0, 2.0])]
)
def test_bad_calibration_is_refused(a, b):
    with pytest.raises(ValueError):
        calibrate(a, b)


def test_pooling_adds_variance_but_keeps_the_pilot():
    noise = noise_of()
    more = pooled(noise, 30.0, 10.0)
    assert more.sd == pytest.approx(math.sqrt((20 * noise.sd**2 + 30.0) / 30))
    assert (more.pilot_sd, more.pilot_df) == (noise.pilot_sd, noise.pilot_df)
    assert pooled(noise, 0.0, 0.0) is noise
    with pytest.raises(ValueError):
        pooled(noise, -1.0, 2.0)


def test_lag_products_are_unbiased_for_independent_values():
    rng = np.random.default_rng(0)
    values = [lag_products(rng.normal(size=6).tolist()) for _ in range(20_000)]
    assert np.mean(values) == pytest.approx(0.0, abs=0.05)


def codes(candidate, incumbent, noise):
    return [d.code for d in diagnose(candidate, incumbent, noise)]


def test_sound_pairs_raise_nothing():
    rng = np.random.default_rng(5)
    noise = noise_of(seed=9)
    hits = 0
    for _ in range(500):
        n = int(rng.integers(2, 25))
        block = math.sqrt(0.5) * rng.normal(size=n)
        c = block + math.sqrt(0.5) * rng.normal(size=n) + 1.0
        i = block + math.sqrt(0.5) * rng.normal(size=n)
        hits += bool(codes(c.tolist(), i.tolist(), noise))
    assert hits <= 20


def test_each_diagnostic_fires_on_its_own_fault():
    noise = noise_of(seed=9)
    rng = np.random.default_rng(6)
    base = rng.normal(size=12).tolist()
    assert "variance-ratio" in codes(
        [b + 1 + 5 * z for b, z in zip(base, rng.normal(size=12), strict=True)], base, noise
    )
    wave = [2.0 + 1.5 * math.sin(i / 2.5) for i in range(24)]
    assert "autocorrelation" in codes(wave, [0.0] * 24, noise)
    slope = [0.5 * i for i in range(12)]
    assert "drift" in codes([s + 1.0 for s in slope], slope, noise)
    assert "ties" in codes([0.0, 0.0, 3.0], [0.0, 0.0, 0.0], noise)
    assert "outlier" in codes([0.0, 0.1, 9.0], [0.0, 0.0, 0.1], noise)
    coarse = calibrate([1.0, 1.0, 2.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 2.0])
    assert "resolution" in codes([2.0, 2.0, 2.0], [1.0, 1.0, 1.0], coarse)
    assert diagnose([], [], noise) == ()


def test_autocorrelation_is_learnt_over_the_run():
    noise = noise_of(seed=9)
    rng = np.random.default_rng(1)
    for _ in range(30):
        x = [float(rng.normal())]
        for _ in range(7):
            x.append(0.5 * x[-1] + math.sqrt(0.75) * float(rng.normal()))
        mean = sum(x) / 8
        noise = pooled(noise, sum((v - mean) ** 2 for v in x), 7.0, lag_products(x))
    assert "autocorrelation" in codes([1.0, 2.0, 1.5], [0.0, 0.2, 0.1], noise)


def test_diagnostic_round_trip():
    one = Diagnostic("drift", "it moved", "wait")
    assert Diagnostic.from_dict(one.to_dict()) == one


def test_estimate_is_the_moderated_interval():
    noise = noise_of()
    estimate = estimate_effect([1.0, 2.0, 3.0, 2.5], noise)
    assert estimate.effect == pytest.approx(2.125)
    assert estimate.low < 2.125 < estimate.high
    assert Estimate.from_dict(json.loads(json.dumps(estimate.to_dict()))) == estimate
    for bad in ([], [math.nan]):
        with pytest.raises(ValueError):
            estimate_effect(bad, noise)


def test_estimate_covers_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for seed in range(1500):
        noise = noise_of(seed=seed)
        d = 1.0 + rng.normal(size=4)
        estimate = estimate_effect(d.tolist(), noise)
        covered += estimate.low <= 1.0 <= estimate.high
    assert covered / 1500 == pytest.approx(0.95, abs=0.017)


def test_importing_the_room_loads_no_numbers():
    script = "import sys, evalkit.stats; print('numpy' in sys.modules, 'scipy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]


def test_the_scalar_path_never_loads_scipy():
    script = (
        "import sys\nfrom evalkit.stats import *\nimport evalkit.stats as s\n"
        "n = s.calibrate([1., 2., 1.5, 1.2, .7, 1.9], [1.1, 1.8, 1.6, 1., .9, 2.2])\n"
        "t = s.experiment(s.STANDARD, n, 0.01)\n"
        "while t.need(): t.observe(t.need(), 9.0, 1.0)\n"
        "s.estimate_effect([8.0, 8.1], n); t.decision(); print('scipy' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False"]


def test_differences_whose_squares_underflow_have_a_correlation_too():
    tiny, usual = calibrate([0.0] * 4, [1e-200, 2e-200, -1e-200, 3e-200]), calibrate([0.0] * 4, [1.0, 2.0, -1.0, 3.0])
    assert tiny.lag1 == pytest.approx(usual.lag1)
