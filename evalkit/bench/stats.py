"""What the statistics claim: gain, evaluations, false keeps, beside the rules of other loops, on simulated runs.

Policies were tuned on seeds below 1,000,000; everything here runs on seeds from 91,000,000 up, which no tuning has
seen.
"""

from __future__ import annotations

__all__ = ["figures"]

import itertools
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from evalkit.stats.cases import CasesTest
from evalkit.stats.changepoint import ECusum
from evalkit.stats.evidence import ModeratedT, normal_mixture_width
from evalkit.stats.noise import Noise, calibrate
from evalkit.stats.peers import PEERS
from evalkit.stats.policies import FRUGAL, STANDARD, THOROUGH, Policy
from evalkit.stats.protocols import Need
from evalkit.stats.simulate import Characteristics, Gate, characteristics, simulate_run
from evalkit.stats.typeone import DIFFERENCES, crossing_rates
from evalkit.stats.world import Draws, Population, World

_SEED = 91_000_000
_SNRS = (2.0, 1.0, 0.5)
_RARE, _EXACT = 0.01, 1e-12
_TARGETS = {"standard": ((92.0, 72.0, 40.0), 2.5), "thorough": ((96.0, 84.0, 58.0), 4.5)}
_NULL_WORLDS = {
    "gaussian": World(),
    "t3": World(shape="t3"),
    "cauchy": World(shape="cauchy"),
    "skewed": World(shape="skewed"),
    "candidate spread changed, log-normal .5": World(spread=0.5),
    "candidate spread changed and t3": World(spread=0.5, shape="t3"),
    "unpaired noise (rho 0)": World(rho=0.0),
    "differences of twice the spread": World(factor=math.sqrt(7.0)),
    "AR(.5) differences": World(memory=0.5),
}


def figures(quick: bool = False) -> list[dict[str, Any]]:
    """Every figure of the statistics.

    Args:
        quick: 40 runs instead of 400: a look, not a claim.
    """
    runs = 40 if quick else 400
    out: list[dict[str, Any]] = []
    for part in (_whole_runs, _nulls, _type_one, _creep):
        out += part(runs)
    return out + list(_agreement()) + list(_cost())


def _figure(
    name: str, value: float, unit: str, detail: str = "", *, target: str = "", ok: bool | None = None
) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "target": target, "ok": ok, "detail": detail}


def _row(c: Characteristics) -> str:
    columns = (
        ("evaluations", c.evaluations, "{:.2f}"),
        ("FDR %", c.fdr, "{:.1f}"),
        ("any false %", c.any_false, "{:.0f}"),
        ("gain %", c.gain, "{:.1f}"),
        ("harmful keeps", c.harmful, "{:.2f}"),
        ("claimed/true", c.claimed, "{:.2f}"),
    )
    return ", ".join(f"{n} {f.format(x.value)}±{f.format(x.half_width)}" for n, x, f in columns)


def _whole_runs(runs: int) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for column, snr in enumerate(_SNRS):
        population, seed = Population(median=snr), _SEED + column
        effects = population.draw(np.random.default_rng(seed), runs, 700)
        for peer in PEERS:
            done = peer.rule(effects, World(), np.random.default_rng(seed + 100))
            row = characteristics(effects, done.kept, done.cost, done.claimed)
            out.append(_figure(f"gain, SNR {snr:g}: {peer.name}", row.gain.value, "%", _row(row)))
        for policy in (FRUGAL, STANDARD, THOROUGH):
            row = simulate_run(policy, World(), population, runs=runs, seed=seed)
            out += _ours(policy, snr, column, row)
        out.append(_oracle(snr, runs, seed))
    return out


def _ours(policy: Policy, snr: float, column: int, row: Characteristics) -> Iterator[dict[str, Any]]:
    gains, evaluations = _TARGETS.get(policy.name, ((0.0, 0.0, 0.0), math.inf))
    name, claimed = f"SNR {snr:g}: evalkit {policy.name}", policy.name in _TARGETS
    goal = gains[column]
    yield _figure(
        f"gain, {name}",
        row.gain.value,
        "%",
        _row(row),
        target=f">= {goal:g}" if claimed else "",
        ok=row.gain.value >= goal if claimed else None,
    )
    decide = row.evaluations.value - 2.0 * policy.estimate_pairs * row.keeps.value / 700.0
    yield _figure(
        f"evaluations a proposal, {name}",
        decide,
        "trials",
        f"to decide, calibration included; {row.evaluations.value:.2f} with {policy.estimate_pairs} fresh pairs a keep",
        target=f"<= {evaluations:g}" if claimed else "",
        ok=decide <= evaluations if claimed else None,
    )
    yield _figure(
        f"FDR, {name}", row.fdr.value, "%", f"±{row.fdr.half_width:.2f}", target="<= 1", ok=row.fdr.value <= 1
    )
    yield _figure(
        f"claimed over true gain, {name}",
        row.claimed.value,
        "ratio",
        f"±{row.claimed.half_width:.3f}",
        target="<= 1.05",
        ok=row.claimed.value <= 1.05,  # noqa: PLR2004
    )


def _oracle(snr: float, runs: int, seed: int) -> dict[str, Any]:
    """Told which proposals are improvements, it spends the budget on confirming those, with the same error control."""
    rng = np.random.default_rng(seed)
    effects = Population(median=snr).draw(rng, runs, 700)
    told = replace(STANDARD, screen_single=(), screen_pair=(), futility_bound=1e9, max_pairs=41, estimate_pairs=0)
    gate = Gate(told, runs, Draws(rng, World(), runs))
    kept = np.zeros(effects.shape, dtype=bool)
    order, spent = np.argsort(effects <= 0.0, axis=1, kind="stable"), gate.cost.copy()
    for k in range(int((effects > 0.0).sum(axis=1).max())):
        which, before = order[:, k], gate.cost.copy()
        effect = effects[np.arange(runs), which]
        # A run whose improvements are used up sees a hopeless candidate, free of charge, so that all stay in step.
        kept[np.arange(runs), which] |= gate.propose(np.where(effect > 0.0, effect, -50.0)) & (effect > 0.0)
        spent += np.where(effect > 0.0, gate.cost - before, 0.0)
    row = characteristics(effects, kept, spent)
    return _figure(
        f"gain, SNR {snr:g}: bound, told which are improvements, at most 41 pairs each", row.gain.value, "%", _row(row)
    )


def _nulls(runs: int) -> list[dict[str, Any]]:
    out = []
    for name, world in _NULL_WORLDS.items():
        for policy in (STANDARD, THOROUGH):
            row = simulate_run(policy, world, Population(0.0, 0.0), runs=runs, seed=_SEED + 50)
            rate = row.any_false.value / 100.0
            out.append(
                _figure(
                    f"P(any keep in 700 nulls), {name}, {policy.name}",
                    rate,
                    "",
                    f"±{row.any_false.half_width / 100.0:.3f}, {row.tests.value:.0f} confirmations a run",
                    target="<= 0.05",
                    ok=rate <= 0.05,  # noqa: PLR2004
                )
            )
    return out


def _type_one(runs: int) -> list[dict[str, Any]]:
    out = []
    for policy in (STANDARD, THOROUGH):
        for name in DIFFERENCES:
            rates = crossing_rates(policy, name, runs=100 * runs, seed=_SEED + 60)
            worst = max(rates, key=lambda r: r.ratio)
            held = all(r.low <= r.level for r in rates)
            claimed = name not in {"AR(.5)", "spread doubled"}
            out.append(
                _figure(
                    f"type I over level, {name}, {policy.name}",
                    worst.ratio,
                    "ratio",
                    "; ".join(
                        f"{r.level:g}: {r.ratio:.2f} [{r.low / r.level:.2f}, {r.high / r.level:.2f}]" for r in rates
                    ),
                    target="<= 1" if claimed else "",
                    ok=held and worst.low <= worst.level if claimed else None,
                )
            )
    return out


def _creep(runs: int) -> list[dict[str, Any]]:
    """Head against anchor: five keeps a visit, eight pairs a visit, 300 keeps."""
    out = []
    for step, target in ((0.0, None), (-0.05, 1.6), (-0.1, 2.0), (-0.2, 2.4)):
        lost, alarms = [], 0
        for run in range(runs):
            loss = _loss_at_alarm(step, np.random.default_rng(_SEED + 70 + run))
            alarms += loss is not None
            lost += [loss] if loss is not None else []
        if target is None:
            rate = alarms / runs
            out.append(
                _figure("false alarms of the anchor e-CUSUM in 300 keeps", rate, "", target="<= .01", ok=rate <= _RARE)
            )
        else:
            median = float(np.median(lost)) if lost else math.nan
            out.append(
                _figure(
                    f"loss at alarm, creep {step:g} sd a keep", median, "sd", target=f"<= {target}", ok=median <= target
                )
            )
    return out


def _loss_at_alarm(step: float, rng: np.random.Generator) -> float | None:
    noise = _noise(rng)
    detector = ECusum()
    for visit in range(1, 61):
        detector.visit((5 * visit * step + rng.standard_normal(8)).tolist(), noise)
        if detector.alarm:
            return -5 * visit * step
    return None


def _noise(rng: np.random.Generator) -> Noise:
    shared = math.sqrt(0.5) * rng.standard_normal(20)
    arms = [(shared + math.sqrt(0.5) * rng.standard_normal(20)).tolist() for _ in range(2)]
    return calibrate(*arms)


def _agreement() -> Iterator[dict[str, Any]]:
    """Only where the reference implementations are installed; they are development dependencies."""
    try:
        ville = import_module("ville")
    except ImportError:
        return
    gaps = [
        abs(normal_mixture_width(n, a) * n / float(ville.normal_mixture(n, a, 1.0)) - 1.0)
        for n in (1, 3, 24, 1000)
        for a in (0.05, 0.001)
    ]
    yield _figure(
        "relative gap to the normal mixture boundary of ville", max(gaps), "", target="<= 1e-12", ok=max(gaps) <= _EXACT
    )


def _cost() -> Iterator[dict[str, Any]]:
    evidence = ModeratedT(1.0, 20.0, STANDARD.grid, weights=STANDARD.weights)
    update = 1e6 * _median_time(lambda: evidence.update(0.1), 2000)
    yield _figure("one update of the e-process", update, "µs", target="<= 20", ok=update <= 20)  # noqa: PLR2004
    rng = np.random.default_rng(1)
    scores = [tuple(rng.random(10_000).tolist()) for _ in range(25)]
    spent = 1e3 * _median_time(lambda: _decide(scores), 3)
    yield _figure("a decision over 24 pairs × 10,000 cases", spent, "ms", target="<= 50", ok=spent <= 50)  # noqa: PLR2004
    script = "import sys, evalkit.stats as s; [getattr(s, n) for n in s.__all__]; print('scipy' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    yield _figure(
        "scipy loaded by everything that decides", float(loaded != "False"), "", target="0", ok=loaded == "False"
    )


def _decide(scores: list[tuple[float, ...]]) -> None:
    test = CasesTest(STANDARD, 1e-9, screen=False)
    for ours, theirs in itertools.pairwise(scores):
        if test.need() is None:
            break
        test.observe(Need.CONFIRM_PAIR, ours, theirs)
    test.decision()


def _median_time(call: Callable[[], object], repeats: int) -> float:
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return float(np.median(spent))
