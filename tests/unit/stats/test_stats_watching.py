"""Change points, the anchor e-CUSUM, holdout reuse, planning, peers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from evalkit.stats import STANDARD, calibrate
from evalkit.stats.changepoint import ECusum, cusum, e_divisive
from evalkit.stats.holdout import Ladder, Rotation, Thresholdout
from evalkit.stats.peers import PEERS
from evalkit.stats.plan import keep_curve, plan_run
from evalkit.stats.simulate import characteristics
from evalkit.stats.world import Population, World


def noise(seed=0):
    rng = np.random.default_rng(seed)
    shared = 0.7 * rng.normal(size=20)
    return calibrate(*[(shared + 0.7 * rng.normal(size=20)).tolist() for _ in range(2)])


def test_e_cusum_alarms_on_loss_and_names_where_it_began():
    rng = np.random.default_rng(1)
    n, detector = noise(), ECusum()
    for visit in range(40):
        detector = ECusum.restore(json.loads(json.dumps(detector.state())))
        detector.visit((rng.normal(size=8) - (2.0 if visit >= 10 else 0.0)).tolist(), n)
        if detector.alarm:
            break
    assert 10 <= detector.visits <= 14
    assert 8 <= detector.since <= 11


def test_e_cusum_is_silent_without_loss():
    n, alarms = noise(), 0
    for seed in range(20):
        rng, detector = np.random.default_rng(seed), ECusum()
        for _ in range(60):
            detector.visit(rng.normal(size=8).tolist(), n)
        alarms += detector.alarm
    assert alarms == 0
    with pytest.raises(ValueError):
        ECusum().visit([], n)
    with pytest.raises(ValueError):
        ECusum(threshold=0.5)


def test_e_cusum_allows_its_tolerance():
    rng, n, detector = np.random.default_rng(3), noise(), ECusum(tolerance=1.0)
    for _ in range(40):
        detector.visit((rng.normal(size=8) - 0.8).tolist(), n)
    assert not detector.alarm


@pytest.mark.parametrize("find", [e_divisive, cusum])
def test_steps_are_found_where_they_are(find):
    rng = np.random.default_rng(8)
    series = np.concatenate([rng.normal(0, 1, 60), rng.normal(4, 1, 50), rng.normal(0, 1, 70)])
    found = [c.index for c in find(series.tolist())]
    assert len(found) == 2
    assert abs(found[0] - 60) <= 3
    assert abs(found[1] - 110) <= 3


def test_e_divisive_is_calm_on_noise_and_handles_long_series():
    rng = np.random.default_rng(6)
    false = sum(bool(e_divisive(rng.normal(size=60).tolist(), permutations=99)) for _ in range(40))
    assert false <= 3
    long = np.concatenate([np.zeros(3000), np.ones(3000)]) + 0.1 * rng.normal(size=6000)
    changes = e_divisive(long.tolist(), permutations=39, significance=0.03)
    assert [abs(c.index - 3000) <= 6 for c in changes] == [True]
    assert e_divisive([1.0] * 4) == ()
    assert cusum([1.0] * 50) == ()
    for bad in ([math.nan] * 20, [math.inf] * 20):
        with pytest.raises(ValueError):
            e_divisive(bad)
        with pytest.raises(ValueError):
            cusum(bad)


def test_ladder_reports_only_clear_bests():
    rng = np.random.default_rng(2)
    truth = rng.random(1000)
    ladder = Ladder()
    first = ladder.submit((truth < 0.6).astype(float).tolist())
    assert first.from_holdout
    same = ladder.submit((truth < 0.6005).astype(float).tolist())
    assert not same.from_holdout
    assert same.score == first.score
    ladder = Ladder(json.loads(json.dumps(ladder.state())))
    better = ladder.submit((truth < 0.7).astype(float).tolist())
    assert better.from_holdout
    assert ladder.queries == 3
    with pytest.raises(ValueError):
        ladder.submit([1.0, 0.0])


def test_thresholdout_counts_and_resumes():
    holdout = Thresholdout(threshold=0.04, scale=0.01, budget=2, seed=7)
    quiet = holdout.query(0.7, 0.7)
    assert (quiet.score, quiet.from_holdout) == (0.7, False)
    resumed = Thresholdout(threshold=0.04, scale=0.01, budget=2, seed=7)
    resumed.resume(json.loads(json.dumps(holdout.state())))
    assert resumed.query(0.9, 0.6) == holdout.query(0.9, 0.6)
    assert holdout.left == 1
    assert holdout.query(0.9, 0.6).from_holdout
    assert holdout.query(0.9, 0.6) is None
    assert holdout.queries == 3


def test_rotation_uses_every_item_before_any_twice():
    items = [f"i{k}" for k in range(50)]
    rotation = Rotation(items, key=b"secret")
    first, second = rotation.draw(20), rotation.draw(20)
    assert not set(first) & set(second)
    assert rotation.unused == 10
    third = rotation.draw(20)
    assert set(items) - set(first) - set(second) <= set(third)
    resumed = Rotation(items, key=b"secret", uses=rotation.uses)
    assert resumed.draw(20) == rotation.draw(20)
    assert Rotation(items, key=b"other").draw(20) != first
    with pytest.raises(ValueError):
        rotation.draw(51)


def test_plan_grows_with_the_effect():
    curve = keep_curve(STANDARD, noise(), (0.0, 1.0, 3.0), trials=200)
    assert curve[0].keep <= 0.01
    assert curve[0].keep < curve[1].keep < curve[2].keep
    assert curve[2].keep > 0.9
    easier = keep_curve(STANDARD, noise(), (1.0,), trials=200, keeps=20)
    assert easier[0].keep > curve[1].keep
    plan = plan_run(STANDARD, noise(), trials=50)
    assert len(plan.lines()) == len(plan.curve)
    assert json.dumps(plan.to_dict(), allow_nan=False)
    effects = [d.effect for d in plan.detectable if d.effect is not None]
    assert effects == sorted(effects, reverse=True)
    with pytest.raises(ValueError):
        keep_curve(STANDARD, calibrate([1.0] * 6, [1.0] * 6))


def test_peers_do_what_they_are_known_for():
    rng = np.random.default_rng(4)
    effects = Population(median=2.0).draw(rng, 12, 200)
    rows = {}
    for peer in PEERS:
        done = peer.rule(effects, World(), np.random.default_rng(1))
        rows[peer.name] = characteristics(effects, done.kept, done.cost, done.claimed)
    assert rows["single run, keep if better than the stored best"].fdr.value > 40
    assert rows["paired t-test, n = 4, p < .05"].fdr.value > 30
    assert rows["paired t-test + LORD++, n = 8"].fdr.value < 10
    assert rows["paired t-test + LORD++, n = 8"].evaluations.value == 16
