from __future__ import annotations

import random
from pathlib import Path

import pytest

from evalkit.contract import Contract, Metric, Program, SandboxSettings, Splits, Trust
from evalkit.guarding import Finding, Severity
from guards import probes
from guards.corpus import read_base
from guards.doctor import Expected, hole_of, known_bad, neutral
from guards.probes import ProbeKind, Verdict

BASE = {name: text.encode() for name, text in read_base(Path(__file__).parents[2] / "corpus" / "base").items()}


def contract(**changed: object) -> Contract:
    plain: dict[str, object] = {
        "file": Path("/task/evalkit.toml"),
        "name": "regressor",
        "editable": ("solve.py",),
        "hidden": ("score.py",),
        "programs": {
            "error": Program(
                "error",
                run=("python", "solve.py"),
                artifacts=("model.json",),
                serve=("python", "solve.py", "serve"),
                score=("python", "score.py"),
            )
        },
        "metrics": (Metric("error", "minimize", "error", Trust.SCORED),),
        "splits": Splits(vault="vault"),
        **changed,
    }
    return Contract(**plain)  # type: ignore[arg-type]


def test_distributions_that_do_not_sum_to_one_are_caught():
    assert probes.sums_to_one([[0.5, 0.5], [1, 0]]).verdict is Verdict.CLEAR
    assert probes.sums_to_one([[0.5, 0.6]]).verdict is Verdict.CAUGHT
    assert probes.sums_to_one([[-0.5, 1.5]]).verdict is Verdict.CAUGHT
    assert probes.sums_to_one([[float("nan"), 1]]).verdict is Verdict.CAUGHT
    assert probes.sums_to_one([]).verdict is Verdict.UNDECIDED


def test_constant_predictor():
    assert probes.constant_score("abab") == pytest.approx(1.0)
    assert probes.constant_score("aaaa") == 0.0
    assert probes.beats_constant([0.5, 0.6], 1.0, sign=-1, floor=0.0).verdict is Verdict.CLEAR
    assert probes.beats_constant([1.2], 1.0, sign=-1).verdict is Verdict.UNDECIDED
    assert probes.beats_constant([-0.1], 1.0, sign=-1, floor=0.0).verdict is Verdict.CAUGHT
    with pytest.raises(ValueError, match="no labels"):
        probes.constant_score([])


def test_label_shuffle_catches_a_reader_and_rarely_an_honest_one():
    assert probes.label_shuffle([0.9] * 8, [0.5] * 8, sign=1).verdict is Verdict.CAUGHT
    few = probes.label_shuffle([0.9] * 3, [0.5] * 3, sign=1)
    assert (few.verdict, few.needs) == (Verdict.UNDECIDED, 4)
    rng = random.Random(5)
    false = sum(
        probes.label_shuffle([rng.gauss(0, 1) for _ in range(10)], [rng.gauss(0, 1) for _ in range(10)], sign=1).verdict
        is Verdict.CAUGHT
        for _ in range(2000)
    )
    assert false <= 0.02 * 2000


def test_future_truncation():
    assert probes.future_truncation([[0.1, 0.9]], [[0.1, 0.9 + 1e-9]]).verdict is Verdict.CLEAR
    assert probes.future_truncation([[0.1, 0.9]], [[0.2, 0.8]]).verdict is Verdict.CAUGHT
    assert probes.future_truncation([[float("nan")]], [[0.2]]).verdict is Verdict.CAUGHT


def test_permutations_come_back():
    items = list("abcdef")
    for permutation in probes.permute_cases(6, seed=1, how_many=5):
        assert permutation.apply(items) != items
        assert permutation.undo(permutation.apply(items)) == items
    assert list(probes.permute_cases(1, seed=1)) == []


def test_shuffled_labels_leave_no_case_its_own():
    labels = list(range(20))
    shuffled = probes.shuffle_labels(labels, seed=3)
    assert sorted(shuffled) == labels
    assert all(a != b for a, b in zip(labels, shuffled, strict=True))


def test_names_are_exchanged_and_numbers_stay():
    case, table = probes.rename_fields({"q": "Tom gives Anna 12 apples. Tom has 3.", "n": 5}, seed=2)
    assert set(table) == {"Tom", "Anna"}
    assert "12 apples" in case["q"]
    assert "Tom" not in case["q"]
    assert case["n"] == 5


def test_memory_and_late_work():
    assert probes.reordered_differ([1, 2], [2, 1], [1, 2]).verdict is Verdict.CAUGHT
    assert probes.reordered_differ([1, 2], [2, 1], [2, 1]).verdict is Verdict.UNDECIDED
    assert probes.reordered_differ([1, 2], [1, 2], [1, 2]).verdict is Verdict.CLEAR
    assert probes.repeats_differ([1], [2]).verdict is Verdict.UNDECIDED
    assert probes.cold_and_warm([1.0] * 5, [0.01] * 5).verdict is Verdict.CAUGHT
    assert probes.cold_and_warm([1.0] * 5, [0.9] * 5).verdict is Verdict.CLEAR
    assert probes.cold_and_warm([1e-5] * 5, [1e-6] * 5).verdict is Verdict.UNDECIDED
    assert probes.work_after_stop(1.0, ["worker"], 3.0).verdict is Verdict.CAUGHT
    assert probes.work_after_stop(1.0, [], 1.02).verdict is Verdict.CLEAR


def test_what_is_caught_becomes_a_finding():
    finding = probes.sums_to_one([[2.0]]).finding()
    assert finding is not None
    assert (finding.rule, finding.severity) == ("EK516", Severity.BLOCK)
    assert probes.sums_to_one([[1.0]]).finding() is None


def test_findings_choose_probes():
    assert probes.plan_probes([Finding("EK153", Severity.PROBE, "x")]) == (ProbeKind.SUM_TO_ONE, ProbeKind.SHUFFLE)
    assert probes.plan_probes([Finding("EK153", Severity.NOTE, "x")]) == ()
    assert ProbeKind.SHUFFLE in probes.plan_probes([], jump=True)


def test_the_doctor_has_enough_candidates():
    bad, idle = list(known_bad(contract(), BASE)), list(neutral(contract(), BASE))
    assert len(bad) >= 40
    assert len(idle) >= 8
    assert len({c.name for c in (*bad, *idle)}) == len(bad) + len(idle)
    assert len({c.mechanism for c in bad}) >= 15
    assert all(c.expected is Expected.LEFT for c in idle)
    for candidate in idle:
        compile(candidate.files["solve.py"] or b"", "solve.py", "exec")


def test_front_code_keeps_the_program_valid():
    tree = {**BASE, "solve.py": b'"""Doc."""\n\nfrom __future__ import annotations\n\nx = 1\n'}
    for candidate in known_bad(contract(), tree):
        code = candidate.files.get("solve.py")
        if code and candidate.name not in {"not even Python", "file is binary"}:
            compile(code, "solve.py", "exec")


def test_holes_name_the_line_that_closes_them():
    reported = contract(metrics=(Metric("error", "minimize", "error", Trust.REPORTED, report="error: (.*)"),))
    assert "score" in hole_of(reported, 12).line
    assert "backend" in hole_of(contract(sandbox=SandboxSettings(backend="process")), 1).line
    assert "vault" in hole_of(contract(splits=Splits()), 7).line
    assert "editable" in hole_of(contract(), 1).line
