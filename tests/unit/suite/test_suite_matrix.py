"""Exit code, JUnit, terminal and JSON agree, with and without xdist, whatever happens to the trials."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

pytest_plugins = ["pytester"]


@dataclass(frozen=True)
class Case:
    spec: str
    code: int
    decision: str
    junit: str
    said: str
    arguments: tuple[str, ...] = ()


def _spec(body: str, *, before: str = "", value: str = "1.0", marks: str = "") -> str:
    return f"""
import os, pytest
from evalkit.suite import *
{before}
@pytest.mark.eval(metric="score", trials=2){marks}
@pytest.mark.parametrize("n", range(6))
def test_quality(trial, n):
    {body}
    trial.record("score", {value})

GATE = AtLeast("score", 0.4)
"""


_QUARANTINE = '@pytest.mark.evalkit_quarantine(reason="flaky provider", until="{day}")'

CASES = {
    "pass": Case(_spec("pass"), 0, "KEEP", "passed", "PASS"),
    "fail": Case(_spec("pass", value="0.1 * n % 0.2"), 1, "REJECT", "failure", "not at least 0.4"),
    "not enough": Case(_spec("pass", value="float(n < 3)"), 1, "INCONCLUSIVE", "failure", "not shown to be at least"),
    "assertion": Case(_spec("assert n != 3"), 1, "REJECT", "failure", "2 of 12 tests did not pass"),
    "setup error": Case(
        _spec("pass", before="@pytest.fixture(autouse=True)\ndef broken(n):\n    assert n != 3\n"),
        1,
        "ERROR",
        "error",
        "setup failed",
    ),
    "teardown error": Case(
        _spec("pass", before="@pytest.fixture(autouse=True)\ndef broken(n):\n    yield\n    assert n != 3\n"),
        1,
        "ERROR",
        "error",
        "teardown failed",
    ),
    "skip": Case(_spec("if n == 3: pytest.skip('not today')"), 1, "ERROR", "error", "call skipped"),
    "xfail": Case(_spec("if n == 3: pytest.xfail('not today')"), 1, "ERROR", "error", "call xfailed"),
    "xfail mark": Case(
        _spec("assert n != 3", marks="\n@pytest.mark.xfail(strict=False)"), 1, "ERROR", "error", "marked xfail"
    ),
    "no record": Case(_spec("return"), 1, "ERROR", "error", "recorded"),
    "not a number": Case(_spec("pass", value="float('nan')"), 1, "ERROR", "error", "finite"),
    "partial": Case(_spec("pass"), 0, "NONE", "skipped", "no verdict", ("-k", "3-")),
    "one case": Case(
        _spec("pass"), 0, "NONE", "skipped", "no verdict", ("test_spec.py::test_quality[3-candidate-t0]",)
    ),
    "quarantined": Case(
        _spec("assert n != 3", marks="\n" + _QUARANTINE.format(day="2999-12-31")), 0, "NONE", "skipped", "QUARANTINED"
    ),
    "quarantine expired": Case(
        _spec("pass", marks="\n" + _QUARANTINE.format(day="2001-01-31")), 1, "REJECT", "passed", "ended on 2001-01-31"
    ),
    "early exit": Case(
        _spec("if n == 3: pytest.exit('done', returncode=0)"), 1, "ERROR", "error", "tests did not pass"
    ),
}


def _agree(ran, case):
    gate = next((tag for title, tag in ran.cases.items() if title.startswith("GATE")), None)
    assert (ran.code, ran.result["decision"], gate) == (case.code, case.decision, case.junit), ran.text
    assert f"evalkit: {case.decision}" in ran.text
    assert case.said in ran.text
    bad = [result for result in ran.sarif["runs"][0]["results"] if result["level"] == "error"]
    assert bool(bad) == (case.code != 0)
    assert case.decision.replace("NONE", "NOTHING TO JUDGE") in ran.summary


@pytest.mark.parametrize("name", CASES)
def test_everything_agrees(bench, pytester, name):
    case = CASES[name]
    bench.write(test_spec=case.spec)
    _agree(bench.run_inside(pytester, *case.arguments), case)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in {"fail", "skip"} else [pytest.mark.slow]) for name in CASES]
)
def test_everything_agrees_with_xdist(bench, name):
    case = CASES[name]
    bench.write(test_spec=case.spec)
    _agree(bench.run(*case.arguments, "-n", "2"), case)


def test_a_worker_that_crashes_is_never_a_pass(bench):
    body = CASES["pass"].spec.replace("    pass\n", "    if n == 3: os._exit(0)\n")
    bench.write(test_spec=body)
    ran = bench.run("-n", "2")
    assert ran.code == 1, ran.text
    assert ran.result["decision"] == "ERROR"
