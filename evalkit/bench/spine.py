"""What evalkit itself costs: around a trial, around an experiment, at its start, and over a long run.

Each cost is taken beside the same work without evalkit, in pairs and by turns, so that a busy machine slows both.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.bench import spine_storage, spine_task
from evalkit.errors import SandboxUnavailable
from evalkit.verify.calibration import calibrate_run
from evalkit.verify.examination import examine
from evalkit.verify.keeping import finish_keep

__all__ = ["figures"]

_MS = 1e3
_TRIAL_TARGET = 15.0
_EXPERIMENT_TARGET = 60.0
_IMPORT_TARGET = 60.0
_HELP_TARGET = 120.0
_MEMORY_TARGET = 150.0
_FLAT = 1.1
"""Memory at the end over memory at a tenth of the run, at most."""


def figures(*, quick: bool = False) -> list[dict[str, Any]]:
    """Figures of the spine; see the project's table of promises for where the targets come from.

    Args:
        quick: fewer repeats and a shorter run.
    """
    with tempfile.TemporaryDirectory(prefix="evalkit-bench-") as folder:
        root = Path(folder)
        return [
            *_trials(root, 15 if quick else 60),
            *_experiments(root, 12 if quick else 40),
            *_starts(5 if quick else 15),
            *spine_storage.figures(quick=quick),
            *_memory(root, 400 if quick else 10_000),
        ]


def _figure(name: str, value: float, unit: str, target: float | None, detail: str) -> dict[str, Any]:
    ok = None if target is None else value <= target
    shown = "" if target is None else f"≤ {target:g}"
    return {"name": name, "value": round(value, 3), "unit": unit, "target": shown, "ok": ok, "detail": detail}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _added(ours: Callable[[], object], plain: Callable[[], object], repeats: int) -> tuple[float, float, str]:
    """Median milliseconds that ``ours`` takes longer than ``plain``, by turns; plain's own; the former's spread."""
    found: dict[Callable[[], object], list[float]] = {ours: [], plain: []}
    ours(), plain()
    for number in range(repeats):
        for work in (ours, plain) if number % 2 else (plain, ours):
            found[work].append(_seconds(work) * _MS)
    differences = [a - b for a, b in zip(found[ours], found[plain], strict=True)]
    low, _, high = statistics.quantiles(differences, n=4)
    quiet = statistics.quantiles(found[ours], n=10)[0] - statistics.quantiles(found[plain], n=10)[0]
    spread = f"middle half {low:.1f} to {high:.1f}; between the fastest tenths {quiet:.1f}"
    return statistics.median(differences), statistics.median(found[plain]), spread


def _trials(root: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """A trial of a program of a few milliseconds, beside the same command by plain ``subprocess.run``."""
    from evalkit.sandbox import open_sandbox  # noqa: PLC0415 - engines load late

    name = "trial: wall time added, bubblewrap"
    try:
        sandbox = open_sandbox("bubblewrap")
    except SandboxUnavailable as reason:
        yield {**_figure(name, 0.0, "ms", _TRIAL_TARGET, f"not measured: {reason.message}"), "value": None, "ok": None}
        return
    try:
        for label, contract in (("", spine_task.MEASURED), (" and a scorer", spine_task.SCORED)):
            with spine_task.open_bench(root / f"trial{len(label)}", contract, sandbox) as bench:
                trial = partial(bench.pairing.single, bench.book.anchor, split="dev")
                plain = spine_task.plain_run(bench.contract.root, root, scored=bool(label))
                added, alone, spread = _added(trial, plain, repeats)
            target = None if label else _TRIAL_TARGET
            detail = f"{repeats} pairs by turns; the command alone {alone:.0f} ms; {spread}"
            yield _figure(name + label, added, "ms", target, detail)
    finally:
        sandbox.close()


def _experiments(root: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """Experiments on a repository of 1,000 files whose trials take no time: diff, guards, ledger, verdict, commit.

    What is written to disk for a proposer and for a trial (all files, twice) is measured apart.
    """
    found: dict[bool, list[tuple[float, int]]] = {False: [], True: []}
    written: list[float] = []
    sandbox = spine_task.stub()
    with spine_task.open_bench(root / "experiment", spine_task.SCORED, sandbox, files=1000) as bench:
        calibrate_run(bench)
        for number in range(1, repeats + 1):
            work = root / f"work{number}"
            took = _seconds(partial(bench.store.materialise, bench.book.incumbent, work))
            attempt = spine_task.attempt(bench, work, number)
            took += _seconds(partial(bench.store.pristine, attempt.candidate, bench.contract.hidden))
            written.append(took * _MS)
            began, jobs = time.perf_counter(), sandbox.jobs
            verdict = examine(bench, attempt)
            finish_keep(bench)
            found[verdict.kept].append(((time.perf_counter() - began) * _MS, sandbox.jobs - jobs))
    for kept, label in ((False, "rejected"), (True, "kept, with its estimate")):
        taken = [milliseconds for milliseconds, _ in found[kept]]
        pretended = statistics.median([jobs for _, jobs in found[kept]] or [0])
        detail = f"median of {len(taken)}; {pretended:.0f} pretended jobs in it; every trial is a synced record"
        value = statistics.median(taken or [math.nan])
        yield _figure(f"experiment: {label}, 1,000 files", value, "ms", _EXPERIMENT_TARGET, detail)
    name = "experiment: files for proposer and trial, 1,000 each"
    yield _figure(name, statistics.median(written), "ms", None, "two copies of the tree, written")


def _starts(repeats: int) -> Iterator[dict[str, Any]]:
    def python(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    for name, arguments, target in (
        ("start: import evalkit", ("-c", "import evalkit"), _IMPORT_TARGET),
        ("start: evalkit --help", ("-m", "evalkit", "--help"), _HELP_TARGET),
    ):
        added, alone, spread = _added(python(*arguments), python("-c", "pass"), repeats)
        yield _figure(name, added, "ms", target, f"over `python -c pass` ({alone:.0f} ms); {spread}")


def _memory(root: Path, experiments: int) -> Iterator[dict[str, Any]]:
    """Resident memory of a process that drives so many experiments; trials are pretended."""
    command = [sys.executable, "-m", "evalkit.bench.spine_task", str(root / "memory"), str(experiments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "EVALKIT_STATE": ""})
    seen: list[tuple[int, float]] = json.loads(done.stdout)
    early = next(mib for number, mib in seen if number >= experiments // 10)
    last, growth = seen[-1][1], seen[-1][1] / early
    steps = ", ".join(f"{mib:.0f} after {number:,}" for number, mib in seen)
    name = f"memory of the harness after {experiments:,} experiments"
    yield _figure(name, last, "MiB", _MEMORY_TARGET, steps)
    yield _figure("memory: last over a tenth of the way", growth, "×", _FLAT, "flat is 1")
