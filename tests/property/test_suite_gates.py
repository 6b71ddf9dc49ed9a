"""Gates hold their error levels, decide what is clear, and never pass on what is missing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.suite.deciding import State, decide_scope
from evalkit.suite.gates import (
    AllOf,
    AnyOf,
    AtLeast,
    AtMost,
    NoFindings,
    NonInferior,
    PassAll,
    PassAt,
    Superior,
    gate_as_json,
    gate_from_json,
)
from evalkit.suite.records import Row, Scope


def _scope(gate, ours, theirs=None, goal="maximize"):
    """``ours[unit][trial]``."""
    scope = Scope("s.py", "s.py", [("GATE", 1, gate_as_json(gate))], {"score": goal})
    for arm, table in (("candidate", ours), ("baseline", theirs or [])):
        scope.rows += [
            Row("s.py::t", arm, trial, str(unit), str(unit), "score", value)
            for unit, column in enumerate(table)
            for trial, value in enumerate(column)
        ]
    return scope


def _state(gate, ours, theirs=None, look=1):
    return decide_scope(_scope(gate, ours, theirs), look, lambda _: [])[0].state


@pytest.mark.parametrize(("units", "trials"), [(12, 2), (1, 8), (3, 6)])
def test_equal_arms_pass_and_fail_by_chance_alone(units, trials):
    chance = random.Random(7)
    passed = failed = 0
    for _ in range(150):
        arms = [[[chance.gauss(0, 1) for _ in range(trials)] for _ in range(units)] for _ in range(2)]
        passed += _state(Superior("score"), *arms) is State.PASS
        failed += _state(NonInferior("score", margin=0.3), *arms) is State.FAIL
    assert passed <= 15  # 5 % of 150, and three standard errors
    assert failed <= 15


def test_a_real_effect_is_seen_and_a_real_loss_too():
    chance = random.Random(3)
    table = [[[shift + chance.gauss(0, 0.1) for _ in range(4)] for _ in range(10)] for shift in (0.0, 0.5)]
    assert _state(Superior("score", min_effect=0.2), table[1], table[0]) is State.PASS
    assert _state(NonInferior("score", margin=0.2), table[0], table[1]) is State.FAIL


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), min_size=2, max_size=8), st.data())
def test_a_missing_partner_is_an_error(table, data):
    scope = _scope(NonInferior("score", margin=1e9), table, table)
    scope.rows.pop(data.draw(st.integers(0, len(scope.rows) - 1)))
    assert decide_scope(scope, 1, lambda _: [])[0].state is State.ERROR


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2), min_size=2, max_size=8))
def test_a_later_look_never_asks_for_less(table):
    order = [State.FAIL, State.INCONCLUSIVE, State.PASS]
    first, second = (_state(AtLeast("score", 0.0), table, look=look) for look in (1, 2))
    if first is State.PASS or second is State.PASS:
        assert order.index(second) <= order.index(first)


def test_one_value_has_no_uncertainty():
    assert _state(AtLeast("score", 0.5), [[1.0]]) is State.INCONCLUSIVE
    assert _state(AtLeast("score", 0.5, exact=True), [[1.0]]) is State.PASS
    assert _state(Superior("score"), [[1.0]], [[0.0]]) is State.INCONCLUSIVE


def test_a_few_perfect_cases_prove_little():
    assert _state(AtLeast("score", 0.9), [[1.0]] * 10) is State.INCONCLUSIVE
    assert _state(AtLeast("score", 0.9), [[1.0]] * 60) is State.PASS


def test_any_of_divides_its_error_level():
    chance = random.Random(5)
    passed = 0
    for _ in range(150):
        arms = [[[chance.gauss(0, 1)] for _ in range(12)] for _ in range(2)]
        passed += _state(AnyOf(*[Superior("score", min_effect=0.001 * n) for n in range(5)]), *arms) is State.PASS
    assert passed <= 10


@pytest.mark.parametrize(
    "gate",
    [
        Superior("a", 0.1, "minimize", relative=True),
        NonInferior("a", 0.1),
        AtLeast(PassAt("a", 3), 0.5),
        AtLeast(PassAll("a", 3), 0.5, exact=True),
        AtMost("a", 1.0),
        NoFindings("tamper", severity="block"),
        AllOf(AnyOf(AtLeast("a", 0)), NoFindings()),
    ],
)
def test_gates_survive_the_way_to_the_controller(gate):
    assert gate_from_json(gate_as_json(gate)) == gate
