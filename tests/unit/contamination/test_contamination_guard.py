"""The guard: a change that leaks the holdout, by each way, and honest changes."""

from __future__ import annotations

import base64
import io
import json
import random
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from evalkit.contract import Contract
from evalkit.guarding import Evidence, Finding, Guard, Severity, TrialSummary, find_guards
from evalkit.splits.canaries import FIELD, make_canaries
from evalkit.splits.keyed import make_key
from guards.contamination import ContaminationGuard, check_artifacts, trusted

RNG = random.Random(4)
THINGS = ["glaciers", "harbours", "painters", "rivers", "torches", "markets"]
MARKS = make_canaries(make_key(b"the guard's test key"), "confirm", [f"c{n}" for n in range(60)])


def _rows(split: str, count: int = 60) -> list[dict[str, str]]:
    rows = []
    for n in range(count):
        a, b = RNG.sample(THINGS, 2)
        question = (
            f"In {split}, {RNG.randrange(9999)} {a} meet {RNG.randrange(999)} {b} at night; how many stay until dawn?"
        )
        row = {"id": f"c{n}", "question": question, "answer": str(RNG.randrange(3, 9999))}
        rows.append(row | ({FIELD: MARKS.mark(f"c{n}")} if split == "confirm" else {}))
    return rows


DEV, CONFIRM = _rows("dev"), _rows("confirm")
FILES = [
    ("dev/cases.jsonl", "".join(json.dumps(row) + "\n" for row in DEV).encode()),
    ("confirm/cases.jsonl", "".join(json.dumps(row) + "\n" for row in CONFIRM).encode()),
    (f"confirm/{FIELD}.txt", f"{MARKS.unpublished}\n".encode()),
]


@dataclass(frozen=True)
class _File:
    path: str
    status: str = "modified"


@dataclass(frozen=True)
class _Change:
    files: list[_File] = field(default_factory=lambda: [_File("solve.py")])
    patch: str = ""


def _vault() -> Iterator[tuple[str, bytes]]:
    return iter(FILES)


def _inspect(contract: Contract, new: bytes, old: bytes = b"", path: str = "solve.py") -> list[Finding]:
    evidence = Evidence("before", contract, _Change([_File(path)]), lambda _: old, lambda _: new, vault=_vault)
    return list(ContaminationGuard().inspect(evidence))


@pytest.fixture
def contract() -> Contract:
    from dataclasses import replace  # noqa: PLC0415
    from unittest.mock import Mock  # noqa: PLC0415

    from evalkit.contract.model import GuardSettings, Splits  # noqa: PLC0415

    made = Mock(spec=Contract)
    made.splits = replace(Splits(), vault="vault")
    made.guards = GuardSettings()
    return made


def _answers(rows: list[dict[str, str]]) -> list[str]:
    return [row["answer"] for row in rows]


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        ("EK401", f"PROMPT = '''For example: {CONFIRM[5]['question']}'''"),
        ("EK402", f"X = {base64.b64encode(CONFIRM[5]['question'].encode()).decode()!r}"),
        ("EK404", f"TABLE = [{', '.join(_answers(CONFIRM[10:30]))}]"),
        ("EK405", "T = " + repr({row["question"][12:30]: row["answer"] for row in RNG.sample(CONFIRM, 12)})),
        ("EK406", f"# seen: {MARKS.items['c3']}"),
        ("EK406", f"# seen: {MARKS.unpublished.upper()}"),
    ],
)
def test_a_leak_of_the_vault_blocks_and_stays_secret(contract: Contract, rule: str, source: str) -> None:
    findings = _inspect(contract, f"import math\n{source}\n".encode())
    found = [finding for finding in findings if finding.rule == rule]
    assert found
    assert found[0].severity is Severity.BLOCK
    assert found[0].secret
    assert found[0].file == "solve.py"


def test_screening_cases_ask_for_a_probe(contract: Contract) -> None:
    findings = _inspect(contract, f"TABLE = [{', '.join(_answers(DEV[10:30]))}]\n".encode())
    assert [(f.rule, f.severity, f.secret) for f in findings] == [("EK404", Severity.PROBE, False)]


def test_what_the_incumbent_had_is_no_new_leak(contract: Contract) -> None:
    old = f"# {CONFIRM[5]['question']}\n".encode()
    assert _inspect(contract, old + b"x = 1\n", old) == []
    (finding,) = _inspect(contract, old + f"# {CONFIRM[6]['question']}\n".encode(), old)
    assert "c6" in finding.message


def test_honest_changes_pass(contract: Contract) -> None:
    source = (
        "def solve(question):\n    numbers = [int(n) for n in re.findall(r'\\d+', question)]\n    return max(numbers)\n"
    )
    assert _inspect(contract, source.encode()) == []
    assert _inspect(contract, b"\x00\x01\x02" * 1000, path="model.bin") == []


def test_archives_in_a_change_are_opened(contract: Contract) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", f"remember: {CONFIRM[9]['question']}")
    findings = _inspect(contract, packed.getvalue(), path="data.zip")
    assert [finding.rule for finding in findings] == ["EK401"]
    assert "notes.txt" in findings[0].message


def test_without_a_vault_there_is_nothing_to_compare(contract: Contract) -> None:
    evidence = Evidence("before", contract, _Change(), lambda _: b"", lambda _: b"x = 1")
    assert list(ContaminationGuard().inspect(evidence)) == []


def _trial(arm: str, stdout: str) -> TrialSummary:
    return TrialSummary(arm, "confirm", 1, "ok", {}, 1.0, None, stdout)


def test_a_canary_in_what_a_trial_printed_blocks(contract: Contract) -> None:
    told = f"loaded {MARKS.mark('c4')}"
    for arm, expected in (("candidate", ["EK406"]), ("incumbent", [])):
        evidence = Evidence("after", contract, _Change(), trials=[_trial(arm, told)], vault=_vault)
        findings = [f for f in ContaminationGuard().inspect(evidence) if f.severity is Severity.BLOCK]
        assert sorted({finding.rule for finding in findings}) == expected


def test_artefacts_are_checked_arrays_too(contract: Contract) -> None:
    known = trusted(FILES, "dev")
    saved = io.BytesIO()
    np.savez_compressed(saved, cache=np.array([CONFIRM[8]["question"]]), weights=np.zeros(100))
    findings = check_artifacts([("model.npz", saved.getvalue()), ("log.txt", b"all well")], known)
    assert {finding.rule for finding in findings} == {"EK407"}
    answers = ", ".join(_answers(CONFIRM[:25])).encode()
    (finding,) = check_artifacts([("cache.json", b"[" + answers + b"]")], known)
    assert finding.severity is Severity.BLOCK


def test_the_guard_is_found_by_its_entry_point() -> None:
    from evalkit.contract.model import GuardSettings  # noqa: PLC0415

    guards = {guard.name: guard for guard in find_guards(GuardSettings())}
    assert isinstance(guards["contamination"], Guard)
