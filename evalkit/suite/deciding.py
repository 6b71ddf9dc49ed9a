"""Gates decided: from what was recorded to pass, fail, inconclusive or error, each with its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.suite.estimating import (
    Estimate,
    EvidenceError,
    Units,
    differences,
    estimate,
    level_of_look,
    more_trials,
    pass_rate,
    values,
)
from evalkit.suite.gates import (
    AllOf,
    AnyOf,
    AtLeast,
    AtMost,
    Gate,
    NoFindings,
    NonInferior,
    PassAll,
    PassAt,
    Superior,
    gate_from_json,
    goal_of_name,
    leaves,
)
from evalkit.suite.records import Item, Scope

__all__ = ["Findings", "GateResult", "State", "decide_scope"]

Findings = Callable[[NoFindings], list[Mapping[str, Any]]]
"""What the named guards find in the change; raises what they raise."""
_TRUSTS = ("measured", "scored", "reported")


class State(StrEnum):
    """How a gate stands."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    NONE = "none"
    """No verdict: only a part was selected."""
    QUARANTINED = "quarantined"


_WORST = (State.FAIL, State.ERROR, State.INCONCLUSIVE, State.NONE, State.QUARANTINED, State.PASS)
_BEST = (State.PASS, State.INCONCLUSIVE, State.NONE, State.QUARANTINED, State.FAIL, State.ERROR)


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate, decided.

    Attributes:
        name: as declared, or what it is where it is part of another.
        file, line: where.
        state: pass, fail, inconclusive, error, none or quarantined.
        sentence: why, with the numbers that decided.
        effect: an estimate as JSON, in oriented units for comparisons (larger is better); None where there is none.
        more: trials that would probably decide, for inconclusive ones; None where no number would.
        trust: the weakest among the values it rests on; empty where it rests on none.
        findings: of guards.
        parts: of a composed gate.
    """

    name: str
    file: str
    line: int
    state: State
    sentence: str
    effect: Mapping[str, Any] | None = None
    more: int | None = None
    trust: str = ""
    findings: tuple[Mapping[str, Any], ...] = ()
    parts: tuple[GateResult, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "file": self.file,
            "line": self.line,
            "state": str(self.state),
            "sentence": self.sentence,
            "effect": None if self.effect is None else dict(self.effect),
            "more": self.more,
            "trust": self.trust,
            "findings": [dict(finding) for finding in self.findings],
            "parts": [part.as_json() for part in self.parts],
        }


def decide_scope(scope: Scope, look: int, find: Findings) -> list[GateResult]:
    """Every gate of a module or class, and one more where something of it did not run as it must.

    Args:
        scope: with its rows and what became of its items.
        look: how often this evidence was looked at, from 1.
        find: runs guards.
    """
    decided = [
        _Decider(scope, scope.file, line, look, find).named(name, gate_from_json(plain))
        for name, line, plain in scope.gates
    ]
    return [*decided, *_trouble(scope)]


def _trouble(scope: Scope) -> list[GateResult]:
    """Quarantines that are over; and items that did not pass, where no gate says so."""
    found = [GateResult("quarantine", scope.file, 0, State.FAIL, sentence) for sentence in scope.expired]
    bad = list(scope.bad())
    if bad and not scope.partial and not scope.gates:
        found.append(GateResult("trials", scope.file, 0, _state_of(bad), _sentence_of(bad, len(scope.items))))
    return found


def _state_of(bad: list[Item]) -> State:
    """The candidate's own failure is a fail; whatever else went wrong is an error."""
    return State.FAIL if all(item.arm == "candidate" and item.ending == "call failed" for item in bad) else State.ERROR


def _sentence_of(bad: list[Item], total: int) -> str:
    first = bad[0]
    said = f": {first.problem}" if first.problem and first.problem not in first.ending else ""
    return f"{len(bad)} of {total} tests did not pass; {first.nodeid} {first.ending}{said}"


class _Decider:
    def __init__(self, scope: Scope, file: str, line: int, look: int, find: Findings) -> None:
        self._scope, self._file, self._line, self._look, self._find = scope, file, line, look, find
        self._rows = [row for row in scope.rows if row.evaluation not in _quarantined(scope)]

    def named(self, name: str, gate: Gate) -> GateResult:
        if self._scope.partial:
            return self._result(State.NONE, f"no verdict: {self._scope.partial}", name=name)
        bad = list(self._scope.bad())
        if bad:
            return self._result(_state_of(bad), _sentence_of(bad, len(self._scope.items)), name=name)
        decided = self.decide(gate)
        sentence = decided.sentence if decided.parts else f"{decided.name}: {decided.sentence}"
        return replace(decided, name=name, sentence=sentence, parts=decided.parts or (decided,))

    def decide(self, gate: Gate, share: int = 1) -> GateResult:
        """``share`` gates divide one error level."""
        if isinstance(gate, AllOf):
            return self._together(gate, [self.decide(part, share) for part in gate.gates], _WORST)
        if isinstance(gate, AnyOf):
            count = share * sum(1 for _ in leaves(gate))
            return self._together(gate, [self.decide(part, count) for part in gate.gates], _BEST)
        if isinstance(gate, NoFindings):
            return self._findings(gate)
        try:
            return self._measure(gate, share)
        except EvidenceError as error:
            if self._quarantined(gate):
                return self._result(State.QUARANTINED, "its evals are in quarantine", name=str(gate))
            return self._result(State.ERROR, str(error), name=str(gate))

    def _quarantined(self, gate: Gate) -> bool:
        """Whether the gate's metric was recorded by quarantined evals alone, or everything is in quarantine."""
        if not _quarantined(self._scope):
            return False
        left = [item for item in self._scope.items.values() if item.kind == "eval" and not item.quarantined]
        metric = _metric_of(gate)
        recorded = any(row.metric == metric for row in self._scope.rows)
        return not left or (recorded and not any(row.metric == metric for row in self._rows))

    def _result(self, state: State, sentence: str, **more: Any) -> GateResult:
        return GateResult(file=self._file, line=self._line, state=state, sentence=sentence, **more)

    def _together(self, gate: Gate, parts: list[GateResult], order: tuple[State, ...]) -> GateResult:
        state = min((part.state for part in parts), key=order.index)
        decisive = next(part for part in parts if part.state is state)
        mores = [part.more for part in parts if part.state is State.INCONCLUSIVE]
        known = [more for more in mores if more is not None]
        worst_trust = max((part.trust for part in parts if part.trust), key=_TRUSTS.index, default="")
        sentence = f"{decisive.name}: {decisive.sentence}"
        if state is State.PASS and isinstance(gate, AllOf):
            sentence = "; ".join(f"{part.name}: {part.sentence}" for part in parts)
        return self._result(
            state,
            sentence,
            name=str(gate),
            more=max(known) if state is State.INCONCLUSIVE and len(known) == len(mores) else None,
            trust=worst_trust,
            findings=tuple(finding for part in parts for finding in part.findings),
            parts=tuple(parts),
        )

    def _findings(self, gate: NoFindings) -> GateResult:
        try:
            found = self._find(gate)
        except EvalkitError as error:
            return self._result(State.ERROR, str(error), name=str(gate))
        if not found:
            return self._result(State.PASS, "no findings", name=str(gate))
        first = found[0]
        count = f"{len(found)} finding{'s' * (len(found) != 1)}"
        sentence = f"{count}; {first['rule']} {first['file']}: {first['message']}"
        return self._result(State.FAIL, sentence, name=str(gate), findings=tuple(found))

    def _measure(self, gate: Gate, share: int) -> GateResult:
        if isinstance(gate, AtLeast | AtMost):
            return self._bound(gate, share)
        if isinstance(gate, Superior | NonInferior):
            return self._compare(gate, share)
        raise EvidenceError(f"{gate!r} is no gate that can be decided")

    def _compare(self, gate: Superior | NonInferior, share: int) -> GateResult:
        sign = 1 if self._goal(gate) == "maximize" else -1
        units = differences(self._rows, gate.metric, sign, relative=gate.relative)
        level = level_of_look(gate.alpha, self._look) / share
        found = estimate(units, level)
        bar = _bar(gate, sign)
        shown = _comparison(found, relative=gate.relative)
        trust = self._trust(gate.metric)
        if found.low > bar:
            return self._decided(State.PASS, gate, f"{shown}, above {_plain(bar, gate)}", found, trust)
        if isinstance(gate, Superior):
            state = State.FAIL if found.mean <= bar or found.high <= bar else State.INCONCLUSIVE
        else:
            state = State.FAIL if found.high < bar or (found.mean <= bar and found.high < 0.0) else State.INCONCLUSIVE
        if found.units == 1:
            state, shown = State.INCONCLUSIVE, f"{shown}: one {found.what} has no uncertainty, give trials or cases"
        more = more_trials(units, bar, level) if state is State.INCONCLUSIVE else None
        verb = "not above" if state is State.FAIL else "not shown to be above"
        sentence = f"{shown}, {verb} {_plain(bar, gate)}{_advice(state, more, units)}"
        return self._decided(state, gate, sentence, found, trust, more)

    def _bound(self, gate: AtLeast | AtMost, share: int) -> GateResult:
        units = self._values(gate)
        sign = 1.0 if isinstance(gate, AtLeast) else -1.0
        level = level_of_look(gate.alpha, self._look) / share
        found = estimate(units, level)
        trust = self._trust(_metric_of(gate))
        shown = _level(found)
        word = "at least" if isinstance(gate, AtLeast) else "at most"
        worst = found.low if sign > 0 else found.high
        best = found.high if sign > 0 else found.low
        if gate.exact:
            state = State.PASS if sign * (found.mean - gate.value) >= 0.0 else State.FAIL
            return self._decided(state, gate, f"{found.mean:.6g}, wanted {word} {gate.value:g} (exact)", found, trust)
        if sign * (worst - gate.value) >= 0.0:
            return self._decided(State.PASS, gate, f"{shown}, {word} {gate.value:g}", found, trust)
        state = State.FAIL if sign * (best - gate.value) < 0.0 else State.INCONCLUSIVE
        flipped = replace(units, values=tuple(sign * value for value in units.values))
        more = more_trials(flipped, sign * gate.value, level) if state is State.INCONCLUSIVE else None
        verb = "not" if state is State.FAIL else "not shown to be"
        sentence = f"{shown}, {verb} {word} {gate.value:g}{_advice(state, more, units)}"
        return self._decided(state, gate, sentence, found, trust, more)

    def _values(self, gate: AtLeast | AtMost) -> Units:
        if isinstance(gate.metric, PassAt | PassAll):
            return pass_rate(self._rows, gate.metric)
        return values(self._rows, gate.metric, "candidate")

    def _decided(  # noqa: PLR0917 - the parts of one result, in its order
        self, state: State, gate: Gate, sentence: str, found: Estimate, trust: str, more: int | None = None
    ) -> GateResult:
        return self._result(state, sentence, name=str(gate), effect=found.as_json(), more=more, trust=trust)

    def _goal(self, gate: Superior | NonInferior) -> str:
        goal = gate.goal or self._scope.goals.get(gate.metric) or goal_of_name(gate.metric)
        if goal is None:
            raise EvidenceError(f'which way is {gate.metric!r} better? write {type(gate).__name__}(…, goal="maximize")')
        return goal

    def _trust(self, metric: str) -> str:
        return max((row.trust for row in self._rows if row.metric == metric), key=_TRUSTS.index, default="")


def _metric_of(gate: Gate) -> str:
    metric = getattr(gate, "metric", "")
    return metric.metric if isinstance(metric, PassAt | PassAll) else str(metric)


def _quarantined(scope: Scope) -> set[str]:
    return {item.evaluation for item in scope.items.values() if item.quarantined}


def _bar(gate: Superior | NonInferior, sign: int) -> float:
    """The effect that the lower bound has to exceed, oriented, on the scale of the comparison."""
    if isinstance(gate, Superior):
        if not gate.relative:
            return gate.min_effect
        return math.log1p(gate.min_effect) if sign > 0 else -math.log1p(-min(gate.min_effect, 0.999999))
    if not gate.relative:
        return -gate.margin
    return math.log1p(-gate.margin) if sign > 0 else -math.log1p(gate.margin)


def _plain(bar: float, gate: Superior | NonInferior) -> str:
    return f"×{math.exp(bar):.4g}" if gate.relative else f"{bar:+.4g}"


def _comparison(found: Estimate, *, relative: bool) -> str:
    def text(value: float) -> str:
        if not math.isfinite(value):
            return "∞" if value > 0 else "−∞"
        return f"×{math.exp(value):.4g}" if relative else f"{value:+.4g}"

    return f"{text(found.mean)} [{text(found.low)}, {text(found.high)}] {_basis(found)}"


def _level(found: Estimate) -> str:
    def text(value: float) -> str:
        return f"{value:.4g}" if math.isfinite(value) else ("∞" if value > 0 else "−∞")

    return f"{found.mean:.4g} [{text(found.low)}, {text(found.high)}] {_basis(found)}"


def _basis(found: Estimate) -> str:
    if found.what == "trial":
        return f"over {found.units} trial{'s' * (found.units != 1)}"
    return f"over {found.units} {found.what}s × {found.trials}"


def _advice(state: State, more: int | None, units: Units) -> str:
    if state is not State.INCONCLUSIVE:
        return ""
    if more is not None:
        return f"; about {more} more trials would probably decide"
    if units.what != "trial":
        return f"; more {units.what}s would help, more trials would not"
    return "; no number of trials in sight would decide"
