"""What the sandbox claims: overhead, throughput, ends that are quick and whole, right classes, and peers beside it.

On a machine that others use too, times are taken under a real-time priority where that is allowed, so that a figure is
about the sandbox and not about the neighbour; the detail of each figure says so.
"""

from __future__ import annotations

__all__ = ["figures"]

import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.bench.sandbox_peers import peer_figures
from evalkit.errors import SandboxUnavailable
from evalkit.sandbox.interface import Bind, Job, Limits, Outcome, Sandbox
from evalkit.sandbox.redteam.processes import HOSTILE_TREE, marked_processes
from evalkit.sandbox.testing import open_for_test, private_docker

Figure = dict[str, Any]
_LIMITS = Limits(wall=20, memory=256 << 20, pids=64, disk=64 << 20)
_PYTHON = "/usr/bin/python3"
_MILLI, _RATE = 1e3, 120
_TRUE, _PASS = ("/usr/bin/true",), (_PYTHON, "-c", "pass")


def figures(quick: bool = False) -> list[Figure]:
    """Every figure of the sandbox.

    Args:
        quick: a tenth of the repeats: a look, not a claim.
    """
    repeats = 15 if quick else 150
    out: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        tree = Path(folder)
        tree.chmod(0o755)
        (tree / "train.py").write_text("print('hello')\n")
        try:
            sandbox = open_for_test("bubblewrap")
        except SandboxUnavailable as error:
            return [_figure("bubblewrap", 0, "", "usable", ok=None, detail=error.message)]
        stack.callback(sandbox.close)
        with _undisturbed() as how:
            timed = open_for_test("bubblewrap")  # its helper starts here, so that it has the same priority
            stack.callback(timed.close)
            out += _overhead(timed, tree, repeats, how)
            out += _two_sandboxes(timed, tree, repeats // 3, how)
        out += _throughput(sandbox, tree, repeats)
        out += _ends(sandbox, tree, 20 if quick else 1000)
        out += _classes(sandbox, 2 if quick else 10)
        out += _precision(sandbox)
        out += _flood(sandbox)
        out += _docker(tree, max(3, repeats // 15), stack)
        out += peer_figures(tree, max(3, repeats // 15))
    return out


def _figure(name: str, value: float, unit: str, target: str, *, ok: bool | None, detail: str = "") -> Figure:
    return {"name": name, "value": value, "unit": unit, "target": target, "ok": ok, "detail": detail}


def _capped(name: str, value: float, unit: str, limit: float, detail: str = "") -> Figure:
    """A figure that may be ``limit`` at most."""
    return _figure(name, value, unit, f"<= {limit:g}", ok=value <= limit, detail=detail)


@contextmanager
def _undisturbed() -> Iterator[str]:
    """Real-time priority for this thread and all it starts, where that is allowed."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    except OSError:
        yield "at normal priority"
        return
    try:
        yield "at real-time priority"
    finally:
        os.sched_setscheduler(0, before[0], before[1])


def _times(act: Callable[[], object], repeats: int) -> list[float]:
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * _MILLI)
    return sorted(taken)


def _run(sandbox: Sandbox, job: Job, *expected: Outcome) -> None:
    result = sandbox.start(job).wait()
    result.close()
    if result.outcome not in (expected or (Outcome.OK,)):
        raise RuntimeError(f"a bench job ended as {result.outcome}: {result.problem}")


def _p90(taken: list[float]) -> float:
    return taken[int(len(taken) * 0.9)]


def _overhead(sandbox: Sandbox, tree: Path, repeats: int, how: str) -> list[Figure]:
    """Plain and sandboxed runs in turn, so that both meet the same machine."""
    out = []
    for name, argv in (("true", _TRUE), ("python3 -c pass", _PASS)):
        plain: list[float] = []
        inside: list[float] = []
        for _ in range(repeats):
            plain += _times(lambda argv=argv: subprocess.run(argv, capture_output=True, check=True), 1)  # type: ignore[misc]
            inside += _times(lambda argv=argv: _run(sandbox, Job(argv, tree=tree, limits=_LIMITS)), 1)  # type: ignore[misc]
        base, more = statistics.median(plain), statistics.median(inside)
        detail = f"plain {base:.2f} ms, sandboxed {more:.2f} ms, {repeats} in turn, {how}"
        over90 = _p90(sorted(inside)) - _p90(sorted(plain))
        out.append(_capped(f"bubblewrap over subprocess.run: {name}", more - base, "ms", 7, detail))
        out.append(_capped(f"the same, 90th percentile: {name}", over90, "ms", 12))
    return out


def _two_sandboxes(sandbox: Sandbox, tree: Path, repeats: int, how: str) -> list[Figure]:
    vault = tree / "vault.json"
    vault.write_text('{"answer": 42}')
    code = (
        "import json, sys; print(json.load(open('/artifacts/out'))['answer'] == json.load(open('/vault/a'))['answer'])"
    )
    scorer = Job((_PYTHON, "-I", "-S", "-c", code), binds=(Bind(vault, "/vault/a"),), identity="scorer", limits=_LIMITS)
    candidate = Job(
        (_PYTHON, "-c", "open('out', 'w').write('{\"answer\": 42}')"), tree=tree, artifacts=("out",), limits=_LIMITS
    )

    def trial() -> None:
        made = sandbox.start(candidate).wait()
        scored = sandbox.start(replace(scorer, files={"/artifacts/out": made.artifacts["out"]})).wait()
        made.close()
        if scored.stdout.head != b"True\n":
            raise RuntimeError(f"the scorer said {scored.stdout.text()!r} {scored.problem}")

    median = statistics.median(_times(trial, max(5, repeats)))
    return [_capped("candidate, artefact, scorer: both sandboxed", median, "ms", 45, how)]


def _throughput(sandbox: Sandbox, tree: Path, repeats: int) -> list[Figure]:
    job = Job(_PASS, tree=tree, limits=_LIMITS)
    workers = max(2, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(workers) as pool:
        began = time.perf_counter()
        list(pool.map(lambda _: _run(sandbox, job), range(repeats)))
        rate = repeats / (time.perf_counter() - began)
        began = time.perf_counter()
        list(pool.map(lambda _: subprocess.run(_PASS, capture_output=True, check=True), range(repeats)))
        plain = repeats / (time.perf_counter() - began)
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    detail = f"{workers} workers; subprocess.run {plain:.0f}/s beside it; {load}"
    return [_figure("runs of python3 -c pass", rate, "1/s", f">= {_RATE}", ok=rate >= _RATE, detail=detail)]


def _ends(sandbox: Sandbox, tree: Path, runs: int, empty_within: float = 10) -> list[Figure]:
    """Kill hostile trees and look for survivors."""
    taken, survivors = [], 0
    for number in range(runs):
        mark = f"bench-{os.getpid()}-{number}"
        code = HOSTILE_TREE.format(mark=mark) + "time.sleep(60)"
        running = sandbox.start(Job((_PYTHON, "-c", code), tree=tree, interactive=True, limits=_LIMITS))
        os.read(running.stdout, 5)
        began = time.perf_counter()
        running.kill()
        running.wait()
        taken.append((time.perf_counter() - began) * _MILLI)
        survivors += len(marked_processes(mark))
        os.close(running.stdin)
        os.close(running.stdout)
    median = statistics.median(taken)
    return [
        _figure("hostile trees: survivors", survivors, "of them", "0", ok=survivors == 0, detail=f"{runs} runs"),
        _capped("hostile trees: from kill to empty", median, "ms", empty_within, f"{runs} runs, median"),
    ]


_CLASSES: dict[str, tuple[str, Outcome, dict[str, Any]]] = {
    "oom, main": (
        "x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1",
        Outcome.OOM,
        {"memory": 64 << 20},
    ),
    "oom, child": (
        "import os\nif os.fork() == 0: x = b'x' * (1 << 30)\nelse: os.wait()",
        Outcome.OOM,
        {"memory": 64 << 20},
    ),
    "oom, faked": ("import os\nos._exit(137)", Outcome.SIGNAL, {}),
    "pids": ("import os\nwhile True: os.fork()", Outcome.PIDS, {"wall": 2.0}),
    "disk": ("open('f', 'wb').write(bytes(80 << 20))", Outcome.DISK, {}),
    "wall": ("import time; time.sleep(60)", Outcome.TIMEOUT_WALL, {"wall": 0.2}),
    "cpu": ("while True: pass", Outcome.TIMEOUT_CPU, {"cpu": 0.2}),
    "output": ("import os\nwhile True: os.write(1, b'x' * 65536)", Outcome.OUTPUT_LIMIT, {"output": 1 << 20}),
    "ok": ("print(1)", Outcome.OK, {}),
    "nonzero": ("raise SystemExit(1)", Outcome.NONZERO, {}),
}


def _classes(sandbox: Sandbox, repeats: int) -> list[Figure]:
    wrong = []
    for name, (code, expected, changes) in _CLASSES.items():
        for _ in range(repeats):
            result = sandbox.start(Job((_PYTHON, "-c", code), limits=replace(_LIMITS, **changes))).wait()
            if result.outcome is not expected:
                wrong.append(f"{name}: {result.outcome}")
    total = repeats * len(_CLASSES)
    share = 100 * (1 - len(wrong) / total)
    return [
        _figure("endings in the right class", share, "%", "100", ok=not wrong, detail=f"{total} runs {wrong[:3] or ''}")
    ]


def _precision(sandbox: Sandbox) -> list[Figure]:
    over = []
    for _ in range(5):
        began = time.perf_counter()
        limits = replace(_LIMITS, wall=0.3)
        sandbox.start(Job((_PYTHON, "-c", "import time; time.sleep(9)"), limits=limits)).wait()
        over.append((time.perf_counter() - began - 0.3) * _MILLI)
    burn = "while time.process_time() < 0.5: pass"
    fork = f"if os.fork() == 0:\n        {burn}\n        os._exit(0)"
    code = f"import os, time\nfor _ in range(2):\n    {fork}\nos.wait(); os.wait()"
    usage = sandbox.start(Job((_PYTHON, "-c", code), limits=_LIMITS)).wait().usage
    error = abs((usage.cpu or 0.0) - 1.0) * 100
    worst = statistics.median(over)
    return [
        _capped("wall limit: overshoot", worst, "ms", 20, "median of 5, end of all processes included"),
        _figure(
            "CPU of 2 processes that burn 0.5 s each: off by",
            error,
            "%",
            "",
            ok=None,
            detail=f"{usage.cpu or 0:.3f} s; start-up of python included",
        ),
    ]


def _flood(sandbox: Sandbox) -> list[Figure]:
    code = "import os\nblock = b'x' * 65536\nfor _ in range(16384): os.write(1, block)"
    before = _resident()
    limits = replace(_LIMITS, output=2 << 30)
    result = sandbox.start(Job((_PYTHON, "-c", code), limits=limits)).wait()
    grown = (_resident() - before) / (1 << 20)
    limits = replace(_LIMITS, output=16 << 20)
    began = time.perf_counter()
    capped = sandbox.start(Job((_PYTHON, "-c", code), limits=limits)).wait()
    whole = (time.perf_counter() - began) * _MILLI
    beyond = (capped.stdout.total - limits.output) / (1 << 20)
    return [
        _capped("1 GB of output: the parent grows by", grown, "MiB", 8, f"{result.stdout.total} bytes counted"),
        _figure(
            "output cap of 16 MiB: run and kill",
            whole,
            "ms",
            "",
            ok=None,
            detail=f"{beyond:.2f} MiB beyond the cap were read",
        ),
    ]


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _docker(tree: Path, repeats: int, stack: ExitStack) -> list[Figure]:
    try:
        stack.enter_context(private_docker())
        sandbox = open_for_test("docker")
    except SandboxUnavailable as error:
        return [_figure("docker", 0, "", "", ok=None, detail=f"not here: {error.message}")]
    stack.callback(sandbox.close)
    cold = statistics.median(_times(lambda: _run(sandbox, Job(_TRUE, tree=tree, limits=_LIMITS)), repeats))
    out = [_capped("docker, cold, true", cold, "ms", 190, f"median of {repeats}")]
    ends = _ends(sandbox, tree, repeats, empty_within=150)
    return out + [figure | {"name": f"docker, {figure['name']}"} for figure in ends]
