"""The end of a session: reports become rows, rows become gates, gates become reports that everyone sees."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from evalkit.suite.deciding import Findings, GateResult, State, decide_scope
from evalkit.suite.plugin import PROPERTY
from evalkit.suite.records import Row, Scope
from evalkit.suite.result import SuiteResult

__all__ = ["announce", "conclude", "emit", "exit_status", "merge"]

_WORDS = {
    State.PASS: ("PASS", {"green": True}),
    State.FAIL: ("FAIL", {"red": True, "bold": True}),
    State.INCONCLUSIVE: ("INCONCLUSIVE", {"yellow": True, "bold": True}),
    State.ERROR: ("ERROR", {"red": True, "bold": True}),
    State.NONE: ("NO VERDICT", {"yellow": True}),
    State.QUARANTINED: ("QUARANTINED", {"yellow": True}),
}


def merge(
    scopes: Mapping[str, Scope],
    reports: Iterable[pytest.TestReport],
    earlier: Iterable[Mapping[str, Any]],
    *,
    decided_from_record: bool = False,
) -> None:
    """Put what reports tell into their scopes.

    Args:
        scopes: by name; filled in place.
        reports: of evals and guards, every phase.
        earlier: rows of the evidence that this run continues.
        decided_from_record: nothing ran: how tests ended stands in the record.
    """
    by_evaluation = {item.evaluation: scope for scope in scopes.values() for item in scope.items.values()}
    for plain in earlier:
        scope = by_evaluation.get(plain["evaluation"])
        if scope is not None:
            scope.rows.append(Row(**plain))
    if decided_from_record:
        return
    for report in reports:
        for told in (json.loads(str(value)) for name, value in report.user_properties if name == PROPERTY):
            scope = scopes.get(told["scope"])
            if scope is not None:
                _take(scope, report.nodeid, told)


def _take(scope: Scope, nodeid: str, told: Mapping[str, Any]) -> None:
    item = scope.items.get(nodeid)
    if item is None:
        return
    item.take(told["phase"], told["ending"], told.get("problem", ""))
    shared = {name: told[name] for name in ("evaluation", "arm", "trial", "unit", "cluster")}
    for metric, (value, trust) in told.get("recorded", {}).get("values", {}).items():
        scope.rows.append(Row(**shared, metric=metric, value=value, trust=trust))


def conclude(
    scopes: Mapping[str, Scope],
    *,
    look: int,
    find: Findings,
    profile: str,
    seed: int,
    unsafe: bool,
    decide: bool,
    endings: Mapping[str, str] | None,
) -> SuiteResult:
    """Decide every gate.

    Args:
        scopes: with rows and endings.
        look: how often this evidence was looked at.
        find: runs guards.
        profile: that it ran with; ``quick`` leaves what is inconclusive without a verdict.
        seed: of the run.
        unsafe: whether the sandbox did not protect.
        decide: whether to decide at all.
        endings: of tests that did not pass, where they come from a record.
    """
    for scope in scopes.values() if endings is not None else ():
        for item in scope.items.values():
            ending = (endings or {}).get(item.nodeid, "passed")
            phases = dict.fromkeys(("setup", "call", "teardown"), "passed")
            item.phases = phases if ending == "passed" else {"call": ending}
    gates = [gate for scope in scopes.values() for gate in decide_scope(scope, look, find)] if decide else []
    items = [item for scope in scopes.values() for item in scope.items.values()]
    return SuiteResult(
        gates=tuple(_softened(gate) if profile == "quick" else gate for gate in gates),
        counts=dict(Counter("passed" if item.passed else item.ending for item in items)),
        profile=profile,
        look=look,
        seed=seed,
        unsafe=unsafe,
        manifest=tuple(item.nodeid for item in items),
        rows=tuple(row.as_json() for scope in scopes.values() for row in scope.rows),
        scopes=tuple(scope.as_json() for scope in scopes.values()),
        endings={item.nodeid: item.ending for item in items if not item.passed},
    )


def _softened(gate: GateResult) -> GateResult:
    """The quick profile is a look, not a verdict: what it can't decide is left to the full run."""
    from dataclasses import replace  # noqa: PLC0415

    if gate.state is State.INCONCLUSIVE:
        return replace(gate, state=State.NONE, sentence=f"the quick profile is too short to decide: {gate.sentence}")
    return gate


def emit(config: pytest.Config, result: SuiteResult) -> None:
    """One test report for each gate, to everyone who listens to reports."""
    now = time.time()
    for gate in result.gates:
        nodeid = f"{gate.file}::{gate.name}"
        location = (gate.file, max(0, gate.line - 1), gate.name)
        config.hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
        for phase in _phases(gate):
            report = pytest.TestReport(
                nodeid=nodeid,
                location=location,
                keywords={gate.name: 1},
                duration=0.0,
                start=now,
                stop=now,
                user_properties=[("evalkit.verdict", str(gate.state))] if phase[0] == "call" else [],
                when=phase[0],
                outcome=phase[1],
                longrepr=phase[2],
            )
            if gate.state is State.QUARANTINED and phase[1] == "skipped":
                report.wasxfail = gate.sentence
            config.hook.pytest_runtest_logreport(report=report)
        config.hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)


def _phases(gate: GateResult) -> list[tuple[Any, Any, Any]]:
    text = f"{_WORDS[gate.state][0]} {gate.name}: {gate.sentence}"
    passed: list[tuple[Any, Any, Any]] = [("setup", "passed", None)]
    done = ("teardown", "passed", None)
    match gate.state:
        case State.PASS:
            return [*passed, ("call", "passed", None), done]
        case State.ERROR:
            return [("setup", "failed", text), done]
        case State.NONE | State.QUARANTINED:
            return [*passed, ("call", "skipped", (gate.file, gate.line, text)), done]
        case _:
            return [*passed, ("call", "failed", text), done]


def exit_status(exitstatus: int, result: SuiteResult) -> int | pytest.ExitCode:
    """Pytest's exit code: any gate that is not passed fails the session, and nothing turns a failure into a pass."""
    bad = any(gate.state in {State.FAIL, State.INCONCLUSIVE, State.ERROR} for gate in result.gates)
    return pytest.ExitCode.TESTS_FAILED if bad and exitstatus == 0 else exitstatus


def announce(terminal: Any, result: SuiteResult) -> None:
    """Every gate with its numbers."""
    if not result.gates:
        return
    terminal.write_sep("=", f"evalkit: {result.decision}")
    for gate in result.gates:
        word, colour = _WORDS[gate.state]
        terminal.write(f"{word:12} ", **colour)
        place = f"{gate.file}:{gate.line}" if gate.line else gate.file
        terminal.write_line(f"{place} {gate.name}")
        if not gate.parts:
            terminal.write_line(f"    {gate.sentence}")
        for part in gate.parts:
            terminal.write_line(f"    {_WORDS[part.state][0]:12} {part.name}: {part.sentence}")
    if any(gate.trust == "reported" for gate in result.gates):
        terminal.write_line("rests on numbers that candidate code returned itself, which it can forge", yellow=True)
    if result.unsafe:
        terminal.write_line("UNSAFE: candidate code was not contained by this sandbox", red=True, bold=True)
    terminal.write_line(f"seed {result.seed}, profile {result.profile}, look {result.look}")
