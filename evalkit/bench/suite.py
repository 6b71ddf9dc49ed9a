"""What suites cost, what cheats achieve, and how often a gate fails without a reason, beside a plain threshold."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from evalkit.errors import SandboxUnavailable
from evalkit.suite.deciding import State, decide_scope
from evalkit.suite.gates import NonInferior, gate_as_json
from evalkit.suite.records import Row, Scope

__all__ = ["figures"]

_HEAVY = ("scipy", "numpy", "docker", "pydantic", "ray")
_PLAIN = "import pytest\n" + "".join(f"def test_{n}(): assert True\n" for n in range(100))
_TIMED = """
import sys, time, pytest
started = time.process_time()
code = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:terminal", *sys.argv[1:], "test_plain.py"])
print(code + 0, time.process_time() - started, *sorted({name.partition(".")[0] for name in sys.modules} & set(%r)))
"""
_THRESHOLD = 0.05


def figures(*, quick: bool = False) -> list[dict[str, Any]]:
    """One list of figures; those that need a sandbox say so where there is none."""
    return [
        *_plugin(5 if quick else 15),
        *_calls(200 if quick else 1000),
        *_false_fails(50 if quick else 200),
        _cheats(quick=quick),
    ]


def _figure(name: str, value: float, unit: str, limit: float | None, detail: str) -> dict[str, Any]:
    shown = "" if limit is None else f"≤ {limit:g}"
    ok = None if limit is None else value <= limit
    return {"name": name, "value": round(value, 4), "unit": unit, "target": shown, "ok": ok, "detail": detail}


def _plugin(repeats: int) -> list[dict[str, Any]]:
    """A suite of 100 tests with and without the plugins, taking turns; medians of CPU time, bytecode cached."""
    without = ["-p", "no:evalkit", "-p", "no:evalkit-report"]
    seconds: dict[bool, list[float]] = {True: [], False: []}
    heavy: set[str] = set()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory(prefix="evalkit-bench-") as folder:
        Path(folder, "test_plain.py").write_text(_PLAIN, encoding="utf-8")
        for _ in range(repeats):
            for loaded in (True, False):
                command = [sys.executable, "-c", _TIMED % (_HEAVY,), *([] if loaded else without)]
                ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
                _, spent, *modules = ran.stdout.strip().splitlines()[-1].split()
                seconds[loaded].append(float(spent))
                heavy |= set(modules) if loaded else set()
    cost = 1000.0 * (statistics.median(seconds[True]) - statistics.median(seconds[False]))
    detail = f"median of {repeats}; a suite of 100 tests takes {1000 * statistics.median(seconds[False]):.0f} ms"
    return [
        _figure("plugin cost in a suite that does not use it", cost, "ms", 5.0, detail),
        _figure("heavy packages that it loads there", len(heavy), "packages", 0.0, " ".join(sorted(heavy))),
    ]


def _calls(count: int) -> list[dict[str, Any]]:
    from evalkit.sandbox import open_sandbox  # noqa: PLC0415 - only where there is a sandbox
    from evalkit.sandbox.interface import Limits  # noqa: PLC0415
    from evalkit.suite.workers import Worker  # noqa: PLC0415

    try:
        sandbox = open_sandbox()
    except SandboxUnavailable as error:
        return [{**_figure("subject.call", 0.0, "ms", None, str(error)), "value": "no sandbox"}]
    with tempfile.TemporaryDirectory(prefix="evalkit-bench-") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "solve.py").write_text("def double(x):\n    return 2 * x\n", encoding="utf-8")
        started = time.perf_counter()
        spent: list[float] = []
        for _ in range(2):
            worker = Worker(sandbox, Path(folder), {}, Limits(wall=600.0))
            for number in range(count):
                before = time.perf_counter()
                worker.call("solve:double", (number,), {}, 10.0)
                spent.append(time.perf_counter() - before)
            worker.close()
        whole = time.perf_counter() - started
    sandbox.close()
    return [
        _figure(
            "subject.call, warm round trip", 1000.0 * statistics.median(spent), "ms", 1.0, f"median of {len(spent)}"
        ),
        _figure(f"{count} cases × 2 arms, trivial subject", whole, "s", 5.0, "both workers' start and end included"),
    ]


def _false_fails(gates: int) -> list[dict[str, Any]]:
    """A/A gates on this machine's own timing noise, and a fixed threshold on the same data."""
    chance = random.Random(20300101)  # noqa: S311 - order within pairs
    failed = undecided = above = 0
    for _ in range(gates):
        pairs = [_pair(chance) for _ in range(8)]
        state = _decided(pairs)
        failed += state is State.FAIL
        undecided += state is State.INCONCLUSIVE
        ours, theirs = (statistics.fmean(pair[arm] for pair in pairs) for arm in (0, 1))
        above += ours > theirs * (1.0 + _THRESHOLD)
    bound = 0.05 + 1.645 * (0.05 * 0.95 / gates) ** 0.5
    rule = f"mean above {100 * _THRESHOLD:.0f} % of the baseline's: pytest-benchmark's --benchmark-compare-fail=mean:5%"
    return [
        _figure("A/A gates that fail", failed / gates, "share", round(bound, 3), f"{gates} gates, nominal 0.05"),
        _figure("A/A gates that stay undecided", undecided / gates, "share", None, "8 pairs, margin 5 %"),
        _figure("the same data, fixed threshold of 5 %", above / gates, "share", None, rule),
    ]


def _pair(chance: random.Random) -> tuple[float, float]:
    first, second = _timed(), _timed()
    return (first, second) if chance.getrandbits(1) else (second, first)


def _timed() -> float:
    started = time.perf_counter()
    total = 0
    for number in range(4000):
        total += number * number
    return time.perf_counter() - started


def _decided(pairs: list[tuple[float, float]]) -> State:
    gate = gate_as_json(NonInferior("run_s", margin=_THRESHOLD, relative=True))
    scope = Scope("bench.py", "bench.py", [("GATE", 1, gate)])
    for trial, values in enumerate(pairs):
        for arm, value in zip(("candidate", "baseline"), values, strict=True):
            scope.rows.append(Row("bench.py::test", arm, trial, "", "", "run_s", value, "measured"))
    return decide_scope(scope, 1, lambda _: [])[0].state


def _cheats(*, quick: bool) -> dict[str, Any]:
    """The cheats of the tests, each in a trusted run of its own."""
    file = Path(__file__).parents[2] / "tests" / "e2e" / "test_e2e_gate_cheats.py"
    name = "cheats that turn a red gate green"
    if not file.is_file():
        return {**_figure(name, 0.0, "cheats", None, "the tests are not here"), "value": "not run"}
    command = [sys.executable, "-m", "pytest", "-q", str(file), *(["-m", "not slow"] if quick else [])]
    ran = subprocess.run(command, cwd=file.parents[2], capture_output=True, text=True, check=False)
    last = ran.stdout.strip().splitlines()[-1] if ran.stdout.strip() else "nothing was said"
    green = ran.stdout.count("FAILED ")
    return _figure(name, float(green if ran.returncode in {0, 1} else -1), "cheats", 0.0, last)
