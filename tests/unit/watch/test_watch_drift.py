"""Head against the anchor: quiet when nothing is lost, soon when something is, cheap in between."""

import json
import math

import numpy as np
import pytest

from evalkit.stats.noise import Noise
from evalkit.watch.drift import DriftPolicy, DriftWatch, environment_shift

NOISE = Noise(1.0, 20, 1.0, 20, 0.5, 0.0, 19, 0.0, 1.0, 40, 40, 1e-6, 0.0, "noisy")


def visits(levels, *, tolerance=0.25, seed=0, environment=None, every=5):
    """Reports of a run whose head stands at ``levels[k]`` against the anchor after keep k."""
    rng = np.random.default_rng(seed)
    watch, reports, clock = DriftWatch(NOISE, tolerance), [], 0
    for keep in range(every - 1, len(levels), every):
        while watch.needs_pair():
            values = {}
            for who in rng.permutation(["head", "anchor"]):
                drift = 0.0 if environment is None else environment[min(clock, len(environment) - 1)]
                values[who] = (levels[keep] if who == "head" else 0.0) + drift + rng.standard_normal() / math.sqrt(2)
                clock += 1
            watch.observe(values["head"], values["anchor"])
        reports.append(watch.close())
        if reports[-1].alarm:
            break
    return reports


def test_a_quiet_run_is_quiet_and_cheap():
    reports = [report for seed in range(10) for report in visits([0.0] * 300, seed=seed)]
    assert not any(report.alarm for report in reports)
    assert sum(report.pairs for report in reports) / len(reports) <= 8


def test_a_drifting_environment_is_not_blamed_on_head():
    drift = np.concatenate([np.linspace(0, -20, 2000), np.full(4000, -30.0)])
    assert not any(report.alarm for seed in range(5) for report in visits([0.0] * 300, seed=seed, environment=drift))


@pytest.mark.parametrize(("creep", "allowed"), [(-0.05, 1.6), (-0.1, 2.0), (-0.2, 2.4)])
def test_creep_is_caught_early(creep, allowed):
    lost = []
    for seed in range(15):
        reports = visits([creep * (keep + 1) for keep in range(300)], seed=seed)
        assert reports[-1].alarm
        lost.append(-creep * 5 * len(reports))
    assert np.median(lost) <= allowed


def test_a_step_is_caught_within_25_keeps():
    keeps = [5 * len(visits([0.0] * 50 + [-1.0] * 100, seed=seed)) - 50 for seed in range(15)]
    assert np.median(keeps) <= 25
    assert min(keeps) > 0


def test_since_points_before_the_step():
    report = visits([0.0] * 50 + [-1.5] * 100, seed=3)[-1]
    assert report.since <= 10
    assert report.since >= 8


def test_state_is_plain_and_restores():
    watch = DriftWatch(NOISE, 0.25)
    while watch.needs_pair():
        watch.observe(-0.6, 0.0)
    first = watch.close()
    again = DriftWatch(NOISE, 0.25, state=json.loads(json.dumps(watch.state())))
    assert again.evidence == pytest.approx(max(first.evidence, watch.evidence))
    for each in (watch, again):
        while each.needs_pair():
            each.observe(-0.7, 0.0)
    one, two = watch.close(), again.close()
    assert one == two
    assert json.loads(json.dumps(one.as_json()))["visit"] == 2


def test_more_metrics_raise_the_bar():
    assert DriftWatch(NOISE, 0.0, metrics=5).state()["threshold"] == 5000


def test_refusals():
    watch = DriftWatch(NOISE, 0.0)
    with pytest.raises(ValueError, match="finite"):
        watch.observe(math.nan, 0.0)
    with pytest.raises(ValueError, match="pair"):
        watch.close()
    with pytest.raises(ValueError, match="first_pairs"):
        DriftPolicy(first_pairs=9, max_pairs=8)
    with pytest.raises(ValueError, match="curious"):
        DriftPolicy(curious=1.0)


def test_environment_shift():
    earlier = [[10.0, 10.2, 9.9], [10.1, 9.8, 10.0], [10.0, 10.1, 9.9]]
    assert environment_shift(earlier, [10.05, 9.95]) is None
    moved = environment_shift(earlier, [12.0, 12.1])
    assert moved is not None
    assert moved.z > 4
    assert environment_shift(earlier[:2], [99.0]) is None
    assert environment_shift([[1.0]] * 3, [1.0]) is None
    assert environment_shift([[1.0]] * 3, [2.0]).z == 1e9
