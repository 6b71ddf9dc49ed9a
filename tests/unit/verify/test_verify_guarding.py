import dataclasses
from datetime import date
from importlib.metadata import EntryPoint
from unittest import mock

import pytest

from evalkit.contract import GuardSettings, Suppression
from evalkit.errors import UsageError
from evalkit.guarding import Evidence, Finding, Guard, Severity, find_guards, inspect_all

TODAY = date(2026, 1, 15)


class Says:
    def __init__(self, *findings, name="says"):
        self.name, self._findings = name, findings

    def inspect(self, evidence):
        for found in self._findings:
            if isinstance(found, BaseException):
                raise found
            yield found


class Change:
    files = ()
    patch = ""


@pytest.fixture
def look(tiny):
    def inspect(*guards, **settings):
        contract = dataclasses.replace(tiny.contract, guards=GuardSettings(**settings))
        return inspect_all(guards, Evidence("before", contract, Change()), today=TODAY)

    return inspect


def finding(rule="XX001", severity=Severity.NOTE, **changes):
    return Finding(rule, severity, "seen", **changes)


def test_findings_come_most_severe_first(look):
    found = look(Says(finding("B"), finding("A")), Says(finding("C", Severity.BLOCK), finding("D", Severity.PROBE)))
    assert [one.rule for one in found.findings] == ["C", "D", "A", "B"]
    assert [one.rule for one in found.blocking] == ["C"]
    assert [one.rule for one in found.probing] == ["D"]


@pytest.mark.parametrize("trouble", [ValueError("oh"), RecursionError("deep"), "text", None, 7])
def test_a_guard_that_fails_does_not_pass(look, trouble):
    found = look(Says(finding("A"), trouble), Says(finding("B", Severity.BLOCK)))
    assert [one.rule for one in found.findings] == ["B", "EK001"]
    assert found.probing[0].advice


def test_a_guard_that_returns_nothing_at_all_does_not_pass(look):
    class Broken:
        name = "broken"

        def inspect(self, evidence):
            return None

    assert isinstance(Broken(), Guard)
    assert [one.rule for one in look(Broken()).findings] == ["EK001"]


def test_an_interrupt_is_not_a_guards_failure(look):
    with pytest.raises(KeyboardInterrupt):
        look(Says(KeyboardInterrupt()))


def test_the_contract_changes_severities(look):
    found = look(Says(finding("A", Severity.BLOCK), finding("B")), severity={"A": "note", "B": "block"})
    assert [one.rule for one in found.blocking] == ["B"]


@pytest.mark.parametrize(("until", "silent"), [("2026-01-15", True), ("2026-01-14", False), ("2030-01-01", True)])
def test_a_suppression_holds_to_its_last_day(look, until, silent):
    found = look(Says(finding("A", Severity.BLOCK)), suppressed=(Suppression("A", "known", until),))
    assert bool(found.blocking) is not silent
    assert [why for _, why in found.suppressed] == (["known"] if silent else [])


def installed(**guards):
    points = [EntryPoint(name, value, "evalkit.guards") for name, value in guards.items()]
    return mock.patch("importlib.metadata.entry_points", return_value=points)


def test_guards_are_found_by_entry_point_in_order_of_their_names():
    with installed(b="collections:OrderedDict", a="collections:Counter"):
        assert [type(guard).__name__ for guard in find_guards(GuardSettings())] == ["Counter", "OrderedDict"]
        assert [type(guard).__name__ for guard in find_guards(GuardSettings(disabled=("a",)))] == ["OrderedDict"]


def test_a_disabled_guard_that_is_not_there_is_a_mistake():
    with installed(a="collections:Counter"), pytest.raises(UsageError, match="disables zzz"):
        find_guards(GuardSettings(disabled=("zzz",)))


@pytest.mark.parametrize("value", ["nowhere_at_all:X", "collections:Nothing", "collections:abc"])
def test_a_guard_that_cannot_be_loaded_is_named(value):
    with installed(bad=value), pytest.raises(UsageError, match=r"'bad'.*can't be loaded"):
        find_guards(GuardSettings())


def test_ours_are_installed():
    names = {guard.name for guard in find_guards(GuardSettings())}
    assert {"scope", "tamper", "gaming"} <= names


def test_a_finding_is_plain_json():
    assert finding(file="a.py", line=3, secret=True).as_json() == {
        "rule": "XX001", "severity": "note", "message": "seen", "file": "a.py", "line": 3, "evidence": "", "advice": "",
        "secret": True,
    }  # fmt: skip
