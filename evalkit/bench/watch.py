# ruff: noqa: PLR2004 - the targets stand beside what they are compared with
"""What watch and audit claim: early alarms, few false ones beside other detectors, a named keep, honest audits.

Other detectors run where their Python is named: ``EVALKIT_BENCH_PEERS`` (river, ruptures) and ``EVALKIT_BENCH_OTAVA``
(apache-otava); without them their rows say so.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.bench import watch_peers
from evalkit.bench.watch_histories import Score, score_of_audit, simulate_history
from evalkit.errors import DataError
from evalkit.interop import read_history
from evalkit.stats.noise import Noise, calibrate
from evalkit.watch.bisect import Bisection, Outcome
from evalkit.watch.drift import DriftPolicy, DriftWatch

__all__ = ["figures"]

_SEED = 90210
_KEEPS = 300
_TOLERANCE = 0.25
_RHO = 0.5
_RUNS = 20
"""Runs that the machine makes between two keeps."""
_Floats = NDArray[np.float64]


def figures(*, quick: bool = False) -> list[dict[str, Any]]:
    """Simulations with known truth, one seed, and the histories under ``EVALKIT_DATA``."""
    runs = 60 if quick else 400
    return [
        *_creep(runs),
        *_false_alarms(runs),
        *_bisect(runs),
        *_audit(12 if quick else 60),
        _ledgers(),
        *_large(),
    ]


def _figure(name: str, value: float, unit: str, target: str, detail: str, *, ok: bool | None) -> dict[str, Any]:
    return {"name": name, "value": round(value, 4), "unit": unit, "target": target, "ok": ok, "detail": detail}


def _noise(environment: _Floats, rng: np.random.Generator) -> Noise:
    """Calibration of a run: 20 A/A pairs, one after the other, whose own noise has sd 1 a difference."""
    own = math.sqrt(0.5) * rng.standard_normal(40)
    values = environment[:40] + own
    return calibrate(values[::2].tolist(), values[1::2].tolist())


def _watch(
    levels: _Floats, environment: _Floats, rng: np.random.Generator, tolerance: float
) -> tuple[int | None, int, int]:
    """Index of the keep after which the alarm came, visits and pairs.

    Args:
        levels: true level of head against the anchor after each keep, in sd of a paired difference.
        environment: level of the machine at every run, ``_RUNS`` of them a keep.
        rng: of the noise and of the order within pairs.
        tolerance: allowed loss.
    """
    policy = DriftPolicy()
    watch = DriftWatch(_noise(environment, rng), tolerance, policy)
    visits = pairs = 0
    for keep in range(policy.every - 1, levels.size, policy.every):
        at = keep * _RUNS
        while watch.needs_pair():
            machine = environment[[at % environment.size, (at + 1) % environment.size]]
            at += 2
            head, anchor = rng.permutation(machine) + math.sqrt(0.5) * rng.standard_normal(2)
            watch.observe(levels[keep] + head, anchor)
            pairs += 1
        visits += 1
        if watch.close().alarm:
            return keep, visits, pairs
    return None, visits, pairs


def _creep(runs: int) -> list[dict[str, Any]]:
    still = np.zeros(64)
    rows = []
    for creep, target in ((-0.05, 1.6), (-0.1, 2.0), (-0.2, 2.4)):
        for tolerance in (_TOLERANCE, 0.5):
            levels = creep * np.arange(1.0, _KEEPS + 1)
            found = [_watch(levels, still, np.random.default_rng([_SEED, run]), tolerance) for run in range(runs)]
            lost = [-levels[keep] for keep, _, _ in found if keep is not None]
            value = statistics.median(lost) if len(lost) > runs / 2 else math.inf
            detail = f"{len(lost)} of {runs} runs alarm; tolerance {tolerance} sd"
            name = f"lost at the alarm, creep {creep} sd a keep, tolerance {tolerance}"
            rows.append(_figure(name, value, "sd", f"≤ {target}", detail, ok=value <= target))
    levels = np.where(np.arange(_KEEPS) >= 100, -1.0, 0.0)
    found = [_watch(levels, still, np.random.default_rng([_SEED, 7, run]), _TOLERANCE) for run in range(runs)]
    late = [keep - 99 for keep, _, _ in found if keep is not None and keep >= 100]
    value = statistics.median(late)
    rows.append(
        _figure("keeps until a step of −1 sd is caught", value, "keeps", "≤ 25", f"{len(late)}", ok=value <= 25)
    )
    return rows


def _environments(rng: np.random.Generator, runs: int) -> dict[str, _Floats]:
    """The machine's own level at each of so many runs, which both trees of a pair meet; unit: sd of a difference."""
    shared = math.sqrt(_RHO) * rng.standard_normal(runs)
    steps = math.sqrt(1 - 0.9**2) * rng.standard_normal(runs)
    wandering = np.empty(runs)
    wandering[0] = rng.standard_normal()
    for index in range(1, runs):
        wandering[index] = 0.9 * wandering[index - 1] + steps[index]
    return {
        "iid": np.zeros(runs) if runs > _KEEPS else shared,
        "linear": np.linspace(0, -6, runs),
        "step": np.where(np.arange(runs) > runs // 2, -3.0, 0.0),
        "AR .9": wandering,
    }


def _false_alarms(runs: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    pairs = visits = 0
    raw: dict[str, list[list[float]]] = {}
    for name in _environments(np.random.default_rng(0), 2):
        alarms = 0
        for run in range(runs):
            rng = np.random.default_rng([_SEED, 11, run])
            environment = _environments(rng, _RUNS * _KEEPS)[name]
            keep, seen, spent = _watch(np.zeros(_KEEPS), environment, rng, _TOLERANCE)
            alarms += keep is not None
            pairs, visits = pairs + spent, visits + seen
            alone = _environments(rng, _KEEPS)[name] + math.sqrt(0.5) * rng.standard_normal(_KEEPS)
            raw.setdefault(name, []).append(alone.tolist())
        share = alarms / runs
        detail = f"{alarms} of {runs} runs"
        rows.append(_figure(f"false alarms in 300 keeps, {name}", share, "share", "≤ 0.01", detail, ok=share <= 0.01))
    cost = pairs / visits
    rows.append(_figure("pairs a visit when nothing is lost", cost, "pairs", "≤ 8", f"{visits} visits", ok=cost <= 8))
    return rows + [row for name, series in raw.items() for row in _peers(name, series)]


def _peers(environment: str, series: list[list[float]]) -> list[dict[str, Any]]:
    """Share of runs in which another detector alarms on the head's own series, where nothing was lost."""
    rows = []
    for name in ("cusum", "page-hinkley", "adwin", "pelt", "otava"):
        found = _peer(name, series)
        title = f"  beside it: {name} on the raw head, {environment}"
        if found is None:
            rows.append(_figure(title, math.nan, "share", "", "its Python is not named", ok=None))
        else:
            share = sum(alarm is not None for alarm in found) / len(found)
            rows.append(_figure(title, share, "share", "", f"of {len(found)} runs, same environment", ok=None))
    return rows


def _peer(name: str, series: list[list[float]]) -> list[int | None] | None:
    plain = watch_peers.PLAIN.get(name)
    if plain is not None:
        return [plain(values) for values in series]
    python = os.environ.get("EVALKIT_BENCH_OTAVA" if name == "otava" else "EVALKIT_BENCH_PEERS")
    if not python:
        return None
    done = subprocess.run(
        [python, watch_peers.__file__, name], input=json.dumps(series), capture_output=True, text=True, check=True
    )
    alarms: list[int | None] = json.loads(done.stdout)
    return alarms


def _bisect(runs: int) -> list[dict[str, Any]]:
    rows = []
    for keeps in (8, 16, 32, 60):
        right = steps = named = 0
        spent: list[int] = []
        for run in range(runs):
            rng = np.random.default_rng([_SEED, 13, keeps, run])
            planted = int(rng.integers(1, keeps + 1))
            machine = Bisection(keeps, float(rng.uniform(0.9, 1.4)), _noise(np.zeros(64), rng))
            while (asked := machine.next()) is not None:
                noise = math.sqrt(0.5) * rng.standard_normal(2)
                machine.observe(-float(asked.newer >= planted) + noise[0], -float(asked.older >= planted) + noise[1])
            finding = machine.finding
            assert finding is not None  # noqa: S101 - next() was None
            right += finding.keep == planted
            named += finding.outcome is Outcome.NAMED
            steps = max(steps, finding.decisions)
            spent.append(finding.pairs)
        share, bound = right / runs, 1.5 * math.log2(keeps)
        cost = f"at most {steps} decisions (bound {bound:.1f}), {statistics.mean(spent):.0f} pairs"
        detail = f"{named} of {runs} confirmed; {cost}"
        ok = share >= 0.95 and steps <= bound
        rows.append(
            _figure(f"bisect over {keeps} keeps names the planted one", share, "share", "≥ 0.95", detail, ok=ok)
        )
    return rows


_SCENES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("126 rows, SNR 2", {"rows": 126, "snr": 2.0}),
    ("126 rows, SNR 1", {"rows": 126, "snr": 1.0}),
    ("700 rows, SNR 2", {"rows": 700, "snr": 2.0}),
    ("700 rows, SNR 1", {"rows": 700, "snr": 1.0}),
    ("700 rows, SNR .5", {"rows": 700, "snr": 0.5}),
    ("300 rows, SNR 2, 6 repeats of the baseline", {"rows": 300, "snr": 2.0, "repeats": 6}),
    ("300 rows, SNR 2, t4 noise", {"rows": 300, "snr": 2.0, "shape": "t4"}),
    ("300 rows, SNR 2, skewed noise", {"rows": 300, "snr": 2.0, "shape": "skewed"}),
    ("300 rows, SNR 2, 10 % improve", {"rows": 300, "snr": 2.0, "improving": 0.1}),
    ("300 rows, SNR 2, 90 % harm", {"rows": 300, "snr": 2.0, "harming": 0.9}),
)


def _audit(runs: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    every: list[Score] = []
    for number, (name, settings) in enumerate(_SCENES):
        seeds = range(1000 * number, 1000 * number + runs)
        scores = [score_of_audit(simulate_history(seed, **settings), seed) for seed in seeds]
        every += scores
        rate = statistics.mean(score.false / max(score.survivors, 1) for score in scores)
        rows.append(
            _figure(f"audit, {name}: FDR of the survivors", rate, "share", "≤ 0.1", _detail(scores), ok=rate <= 0.1)
        )
    share = _found(every)
    expected = sum(score.expected_false for score in every) / max(sum(score.false_keeps for score in every), 1)
    covered = statistics.mean(score.gain_covered for score in every)
    rows += [
        _figure("audit, all: found of what 4 fresh pairs a keep find", share, "share", "≥ 0.7", "", ok=share >= 0.7),
        _figure("audit, all: expected over true number of false keeps", expected, "ratio", "", "", ok=None),
        _figure("audit, all: 95 % range of the total gain holds it", covered, "share", "", "", ok=None),
    ]
    return rows


def _found(scores: Sequence[Score]) -> float:
    return sum(score.found for score in scores) / max(sum(score.replicated for score in scores), 1)


def _detail(scores: Sequence[Score]) -> str:
    ratios = [score.sd_ratio for score in scores if score.sd_ratio is not None]
    found, could = sum(score.found for score in scores), sum(score.replicated for score in scores)
    ratio = f"sd ×{statistics.median(ratios):.2f}" if ratios else "sd unknown"
    expected = sum(score.expected_false for score in scores)
    false = sum(score.false_keeps for score in scores)
    return (
        f"found {found} of {could} that 4 fresh pairs find; false keeps {expected:.0f} expected, {false} true; {ratio}"
    )


def _ledgers() -> dict[str, Any]:
    """Every history under ``EVALKIT_DATA`` (else the folder beside the repository) is read without a hint."""
    folder = Path(os.environ.get("EVALKIT_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "ledgers"
    files = sorted(folder.glob("*")) if folder.is_dir() else []
    name = "real histories read without a hint"
    if not files:
        return _figure(name, math.nan, "share", "1", f"no {folder}", ok=None)
    bad = 0
    for file in files:
        try:
            history = read_history(file)
        except DataError:
            bad += 1
            continue
        best = [row.metric for row in history.rows if row.metric is not None]
        bad += any(problem.dropped for problem in history.problems) or 0.0 in best
    share = 1 - bad / len(files)
    return _figure(
        name, share, "share", "1", f"{len(files)} files, no row lost, no crash taken for a value", ok=share == 1
    )


_MEASURE = """
import resource, sys, time
start = time.perf_counter()
from evalkit.interop import read_history
from evalkit.watch.audit import audit
audit(read_history(sys.argv[1]))
usage = resource.getrusage(resource.RUSAGE_SELF)
print(time.perf_counter() - start, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)
"""


def _large() -> list[dict[str, Any]]:
    """A history of 100,000 rows, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="evalkit-bench-") as folder:
        path = Path(folder) / "results.tsv"
        _write_large(path)
        done = subprocess.run([sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True)
    seconds, mebibytes, cpu = (float(part) for part in done.stdout.split())
    return [
        _figure("audit of 100,000 rows, imports included", seconds, "s", "≤ 3", f"{cpu:.1f} s of CPU", ok=seconds <= 3),
        _figure("its peak memory", mebibytes, "MiB", "≤ 300", "", ok=mebibytes <= 300),
    ]


def _write_large(path: Path) -> None:
    rng = np.random.default_rng(_SEED)
    values = 1.0 + 0.001 * rng.standard_normal(100_000) - np.cumsum(rng.random(100_000) < 0.001) * 0.0005
    best = math.inf
    with path.open("w", encoding="utf-8") as stream:
        stream.write("commit\tval_bpb\tmemory_gb\tstatus\tdescription\n")
        for index, value in enumerate(values):
            kept = value < best
            best = min(best, value)
            stream.write(f"{index:07x}\t{value:.6f}\t44.0\t{'keep' if kept else 'discard'}\tchange number {index}\n")
