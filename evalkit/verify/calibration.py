"""Calibration: the incumbent against itself, interleaved, so that later differences have something to stand beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evalkit.contract import Contract, Metric
from evalkit.errors import TrialError
from evalkit.measure import Observation, fingerprint
from evalkit.stats.noise import Noise, calibrate
from evalkit.stats.screen import Baseline
from evalkit.verify.rules import margin_on_scale, oriented, policy_of, scale_of
from evalkit.verify.units import choose_units
from evalkit.verify.workbench import Workbench

__all__ = ["calibrate_run", "noise_of"]

_MIN_PAIRS = 3


def noise_of(metric: Metric, first: list[float], second: list[float]) -> Noise:
    """The noise of a metric from the values of A/A pairs, in the metric's own unit.

    Args:
        metric: gives orientation and scale.
        first: values of one arm, in run order.
        second: of the other.
    """
    scale = scale_of(metric)

    def arm(values: list[float]) -> list[float]:
        return [oriented(value, metric.sign, scale, metric.name) for value in values]

    return calibrate(arm(first), arm(second))


def calibrate_run(
    bench: Workbench, *, pairs: int | None = None, progress: Callable[[int, int], None] | None = None
) -> None:
    """Measure A/A pairs of the incumbent until there are enough, and record the noise of every metric.

    Pairs that an interrupted calibration has recorded already are used.

    Args:
        bench: the open run.
        pairs: how many; None for the policy's.
        progress: called with how many pairs are there and how many are wanted.

    Raises:
        TrialError: the incumbent itself has no value, or a ratio that is not positive: nothing can be verified
            against it.
    """
    wanted = max(_MIN_PAIRS, pairs or policy_of(bench.contract.policy).calibration_pairs)
    tree, split = bench.book.incumbent, bench.contract.splits.screen
    while (have := len(bench.book.calibration)) < wanted:
        if progress:
            progress(have, wanted)
        pair = bench.pairing.null_pair(tree, split=split)
        for trial in (pair.incumbent, pair.candidate):
            if not trial.valid:
                raise TrialError(
                    f"the incumbent's own trial has no value: {trial.problem}",
                    _advice(trial),
                )
            _check_scales(bench.contract, trial)
        bench.record("calibrating", {"tree": tree, **pair.as_json()})
    bench.record("calibrated", _summary(bench))


def _check_scales(contract: Contract, trial: Observation) -> None:
    """A value that can't be judged is found before it is recorded, and with it a margin that allows losing all.

    Raises:
        NotOnScaleError: names the metric.
    """
    for metric in contract.metrics:
        value, scale = trial.readings[metric.name].value, scale_of(metric)
        oriented(value, metric.sign, scale, metric.name)
        margin_on_scale(metric, scale, value)


def _advice(trial: Observation) -> str:
    said = next((phase.stderr for phase in reversed(trial.phases) if phase.stderr.strip()), "")
    last = "\n    ".join(said.strip().splitlines()[-5:])
    return f"it has to run before anything can be compared with it; it said:\n    {last}" if last else ""


def _summary(bench: Workbench) -> dict[str, Any]:
    contract: Contract = bench.contract
    seen = bench.book.calibration
    noise: dict[str, Any] = {}
    values: dict[str, float] = {}
    for metric in contract.metrics:
        arms = [[pair[arm]["readings"][metric.name]["value"] for pair in seen] for arm in ("incumbent", "candidate")]
        noise[metric.name] = noise_of(metric, *arms).to_dict()
        values[metric.name] = sum(map(sum, arms)) / sum(map(len, arms))
    objective = contract.objective
    scale = scale_of(objective)
    baseline = Baseline(0.0, 0.0).including(
        oriented(pair[arm]["readings"][objective.name]["value"], objective.sign, scale, objective.name)
        for pair in seen
        for arm in ("incumbent", "candidate")
    )
    return {
        "tree": bench.book.incumbent,
        "pairs": len(seen),
        "noise": noise,
        "evidence": choose_units(objective, Noise.from_dict(noise[objective.name]), seen).as_json(),
        "values": values,
        "baseline": baseline.to_dict(),
        "seconds": sum(pair[arm]["wall"] for pair in seen for arm in ("incumbent", "candidate")) / (2 * len(seen)),
        "environment": fingerprint().as_json(),
    }
