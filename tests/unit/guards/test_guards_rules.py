from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from evalkit.contract import Contract, Metric, Program, Splits, Trust
from evalkit.guarding import Evidence, Severity, TrialSummary, inspect_all
from guards.catalogue import catalogue
from guards.corpus import Edited, load_corpus, read_base
from guards.gaming import GamingGuard
from guards.gaming.cases import CaseIndex, answered, read_cases
from guards.history import HistoryGuard, is_implausible, kept_gains, records
from guards.scanning import scan_change, scan_patch
from guards.scope import ScopeGuard
from guards.source import Program as Parsed
from guards.source import parse, parse_patch
from guards.tamper import TamperGuard, collected_ids, protected_digest

CORPUS = Path(__file__).parents[2] / "corpus"
BASE = read_base(CORPUS / "base")
GUARDS = (ScopeGuard(), TamperGuard(), GamingGuard(), HistoryGuard())
CONTRACT = Contract(
    file=Path("/task/evalkit.toml"),
    name="regressor",
    editable=("**", "!score.py", "!evalkit.toml"),
    hidden=("score.py",),
    programs={"error": Program("error", run=("python", "solve.py"), score=("python", "score.py"))},
    metrics=(Metric("error", "minimize", "error", Trust.SCORED),),
    splits=Splits(vault="vault"),
)
BY_SCORER_ALONE = {
    "09_hard_coded/constant",
    "09_hard_coded/match-table",
    "12_metric_spoofed/nan",
    "12_metric_spoofed/infinite",
    "12_metric_spoofed/huge",
    "12_metric_spoofed/string",
    "16_improper_metric/unnormalised",
    "18_seeds/seed-fixed",
    "19_untimed/trains-while-serving",
}
"""Nothing in the text of these gives them away; the scorer, the budget and the sandbox do."""
CHEATS = list(load_corpus(CORPUS / "cheats", BASE))
HONEST = list(load_corpus(CORPUS / "honest", BASE))


def findings(case: Edited, *, whole: bool = True):
    if not whole:
        return scan_patch(case.patch.encode(), CONTRACT, guards=GUARDS).inspection.findings
    return scan_change(
        parse_patch(case.patch),
        CONTRACT,
        guards=GUARDS,
        read_old=lambda path: case.before.get(path, "").encode(),
        read_new=lambda path: (case.after.get(path) or "").encode(),
    ).inspection.findings


def test_the_corpus_is_large_and_covers_every_mechanism():
    assert len(CHEATS) >= 150
    assert len(HONEST) >= 150
    assert {case.mechanism for case in CHEATS} == set(range(1, 23))
    assert len({case.name for case in (*CHEATS, *HONEST)}) == len(CHEATS) + len(HONEST)


@pytest.mark.parametrize("case", CHEATS, ids=lambda case: case.name)
def test_a_cheat_leaves_a_trace(case: Edited):
    assert findings(case) or case.name in BY_SCORER_ALONE


@pytest.mark.parametrize("case", HONEST, ids=lambda case: case.name)
def test_an_honest_change_is_not_probed(case: Edited):
    assert [f for f in findings(case) if f.severity is not Severity.NOTE] == []


def test_a_patch_alone_says_nearly_as_much():
    flagged = sum(any(f.severity is not Severity.NOTE for f in findings(case, whole=False)) for case in CHEATS)
    false = [case.name for case in HONEST if any(f.severity is Severity.BLOCK for f in findings(case, whole=False))]
    assert flagged >= 0.85 * len(CHEATS)
    assert false == []


def test_findings_point_at_the_place():
    [case] = [case for case in CHEATS if case.name == "04_timers/time-patched"]
    [found] = [f for f in findings(case) if f.rule == "EK101"]
    assert found.evidence == "time.time = lambda: 0.0"
    assert BASE["solve.py"].split("\n")[found.line - 1] == "# <top>"
    assert found.advice


def test_what_was_there_before_is_nobody_s_fault():
    text = "import time\ntime.time = lambda: 0\n\nx = 1\n"
    change = parse_patch("--- a/a.py\n+++ b/a.py\n@@ -4 +4 @@\n-x = 1\n+x = 2\n")
    scanned = scan_change(change, CONTRACT, guards=GUARDS, read_new=lambda _p: text.replace("1", "2").encode())
    assert scanned.inspection.findings == ()


def test_ids_are_unique_and_documented():
    rules = catalogue()
    page = (Path(__file__).parents[3] / "docs" / "guards.md").read_text()
    for rule in rules.values():
        assert rule.summary.endswith(".")
        assert rule.advice
        assert f"`{rule.id}`" in page, f"{rule.id} is missing in docs/guards.md"


# -- tamper


def test_the_scorer_s_own_file_blocks_even_where_it_is_editable():
    contract = Contract(**{**{f: getattr(CONTRACT, f) for f in CONTRACT.__slots__}, "editable": ("**",), "hidden": ()})
    change = parse_patch("--- a/score.py\n+++ b/score.py\n@@ -1 +1 @@\n-a\n+b\n")
    found = inspect_all([TamperGuard()], Evidence("before", contract, change), today=date(2026, 1, 1))
    assert [f.rule for f in found.blocking] == ["EK201"]


def test_collected_ids_and_digests():
    sources = [
        ("test_a.py", Parsed(parse("def test_x(): pass\nclass TestY:\n    def test_z(self): pass\ndef help(): pass")))
    ]
    assert collected_ids(sources) == {"test_a.py::test_x", "test_a.py::TestY.test_z"}
    files = {"a": b"1", "b": b"2"}
    before = protected_digest(files, files.__getitem__)
    assert before == protected_digest(["b", "a"], files.__getitem__)
    assert before != protected_digest(files, {"a": b"1", "b": b"3"}.__getitem__)


# -- history


def test_only_a_leap_beyond_every_earlier_gain_is_implausible():
    gains = [0.03, 0.01, 0.01, 0.005]
    assert is_implausible(0.2, gains)
    assert not is_implausible(0.031, gains)
    assert not is_implausible(0.029, gains)
    assert not is_implausible(5.0, [0.1, 0.1])
    assert not is_implausible(float("nan"), gains)
    assert records([3.0, 2.5, 2.7, 2.0], sign=-1) == (2.0, [0.5, 0.5])
    assert kept_gains(
        [{"decision": "KEEP", "effect": {"mean": 0.1}}, {"decision": "REJECT", "effect": {"mean": 9}}, {}]
    ) == [0.1]


def after(*trials: TrialSummary, history=()):
    evidence = Evidence("after", CONTRACT, parse_patch(""), trials=trials, history=history)
    return {f.rule for f in HistoryGuard().inspect(evidence)}


def trial(arm: str, value: float, wall: float = 10.0, seed: int = 0) -> TrialSummary:
    return TrialSummary(arm, "screen", seed, "ok", {"error": value}, wall, None)


def test_trials_that_are_too_good_in_one_way_or_another():
    usual = [trial("incumbent", 1.0 + i / 100, seed=i) for i in range(4)]
    assert after(*usual, *(trial("candidate", 0.98 + i / 100, seed=i) for i in range(4))) == set()
    assert "EK306" in after(*usual, *(trial("candidate", 0.5, seed=i) for i in range(4)))
    assert "EK307" in after(*usual, *(trial("candidate", 0.0, seed=i) for i in range(2)))
    assert "EK305" in after(*usual, *(trial("candidate", 0.9 + i / 100, wall=0.01) for i in range(3)))
    past = [{"decision": "KEEP", "effect": {"mean": 0.01}}] * 4
    assert "EK301" in after(*usual, *(trial("candidate", 0.2 + i / 100) for i in range(3)), history=past)


def test_a_run_that_hunts_seeds_is_told():
    past = [{"findings": [{"rule": "EK145"}]}] * 5
    found = list(HistoryGuard().inspect(Evidence("before", CONTRACT, parse_patch(""), history=past)))
    assert [f.rule for f in found] == ["EK302"]


# -- cases

ROWS = [
    {"question": f"What is {a} times {b}?", "answer": a * b}
    for a, b in [(37, 41), (53, 29), (61, 83), (97, 13), (71, 19), (43, 67)]
]


def cases(name: str = "dev.jsonl") -> CaseIndex:
    return CaseIndex(read_cases([(name, "\n".join(json.dumps(row) for row in ROWS).encode())]))


def hits(text: str) -> int:
    return len(answered(Parsed(parse(text)), cases())[0])


def test_literals_that_answer_cases_are_found():
    table = repr({row["question"]: row["answer"] for row in ROWS})
    chain = "def f(q):\n" + "".join(f"    if q == {r['question']!r}:\n        return {r['answer']}\n" for r in ROWS)
    listed = repr([row["answer"] for row in ROWS])
    text = repr(" ".join(str(row["answer"]) for row in ROWS))
    match = "def f(q):\n    match q:\n" + "".join(
        f"        case {r['question']!r}:\n            return {r['answer']}\n" for r in ROWS
    )
    for program in (f"T = {table}", chain, f"L = {listed}", f"L = {text}.split()", match):
        assert hits(program) == 6
    assert hits("def f(a, b):\n    return a * b\n") == 0
    assert hits(f"L = {sorted(row['answer'] for row in ROWS)!r}") == 0


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[1, 2", b"a,b\n1,2\n", b"{}", b"null", b'{"a": [[1, 2], [3, 4]]}', b"[" * 5000]
)
def test_cases_in_any_shape_are_read_or_passed_over(content: bytes):
    read_cases([("confirm/x", content)])


def test_a_match_with_the_vault_stays_secret():
    text = f"T = { ({row['question']: row['answer'] for row in ROWS})!r}\n"
    change = parse_patch("--- /dev/null\n+++ b/solve.py\n@@ -0,0 +1 @@\n+" + text)
    evidence = Evidence(
        "before",
        CONTRACT,
        change,
        read_new=lambda _p: text.encode(),
        vault=lambda: [("confirm/cases.json", json.dumps(ROWS).encode())],
    )
    found = [f for f in GamingGuard().inspect(evidence) if f.rule == "EK141"]
    assert [(f.severity, f.secret, f.evidence) for f in found] == [(Severity.BLOCK, True, "")]
