"""Fixtures, modes and profiles, each in a suite of its own."""

from __future__ import annotations

import json

import pytest

pytest_plugins = ["pytester"]

HEAD = "import pytest\nfrom evalkit.suite import *\n"


def test_a_subject_is_called_in_the_sandbox(bench, pytester, sandboxed):
    bench.write(
        solve="import os\ndef double(x): return 2 * x\ndef place(): return [os.getcwd(), os.getpid()]\n"
        "def fail(): raise ValueError('no')\ndef slow():\n    import time\n    time.sleep(60)\n"
        "def seen(): return sorted(n for n in os.listdir('.') if n.endswith('.py'))\n"
        "def seed(): return os.environ['EVALKIT_SEED']\ndef die(): os._exit(0)\n",
        test_spec=HEAD
        + """
@pytest.mark.eval(module="solve", timeout=2)
def test_calls(subject, trial):
    assert subject.call("solve:double", [1, 2]) == [1, 2, 1, 2]
    place, pid = subject.call("place")
    assert place == "/box" and subject.call("place")[1] == pid
    assert subject.call("seen") == ["solve.py"]
    assert int(subject.call("seed")) == trial.seed
    with pytest.raises(SubjectRaisedError, match="ValueError: no"):
        subject.call("fail")
    ran = subject.run(["python", "-c", "open('a.txt', 'w').write('x'); print('hello')"], artifacts=["a.txt"])
    assert (ran.exit_code, ran.stdout.strip(), ran.artifacts) == (0, "hello", {"a.txt": b"x"})
    with pytest.raises(SubjectError):
        subject.run(["python", "-c", "raise SystemExit(3)"])
    trial.record("latency_s", subject.seconds)
    trial.record("claim", subject.call("double", 1.5))

@pytest.mark.eval(module="solve", timeout=1)
def test_ends(subject, trial):
    with pytest.raises(SubjectTimeoutError):
        subject.call("slow")
    with pytest.raises(SubjectGoneError):
        subject.call("double", 1)

@pytest.mark.guard
def test_dies(subject):
    with pytest.raises(SubjectGoneError):
        subject.call("solve:die")

GATE = AllOf(AtMost("latency_s", 60.0, exact=True), AtLeast("claim", 1.0, exact=True))
""",
    )
    ran = bench.run_inside(pytester)
    assert ran.code == 0, ran.text
    trust = {row["metric"]: row["trust"] for row in ran.result["rows"]}
    assert trust == {"latency_s": "measured", "claim": "reported"}
    assert "it can forge" in ran.text


def test_a_regression_is_seen_against_the_baseline(bench, pytester, sandboxed):
    spec = HEAD + (
        '\n@pytest.mark.eval(metric="score", trials=2)\n@pytest.mark.parametrize("n", range(8))\n'
        'def test_it(subject, trial, n):\n    trial.record("score", subject.call("solve:f", n))\n'
        'WORSE = NonInferior("score", margin=0.1)\nBETTER = Superior("score")\n'
    )
    bench.write(test_spec=spec, solve="def f(x): return x + 1.0\n")
    bench.commit()
    bench.write(solve="def f(x): return x + 0.5 + 0.01 * (x % 3)\n")
    ran = bench.run_inside(pytester)
    assert (ran.code, {gate["name"]: gate["state"] for gate in ran.result["gates"]}) == (
        1,
        {"WORSE": "fail", "BETTER": "fail"},
    ), ran.text
    bench.write(solve="def f(x): return x + 1.5 + 0.01 * (x % 3)\n")
    ran = bench.run_inside(pytester)
    assert (ran.code, ran.result["decision"]) == (0, "KEEP"), ran.text


def test_cases_by_split_profile_and_cluster(bench, pytester):
    for split, count in (("dev", 2), ("confirm", 6), ("sealed", 3)):
        rows = [{"id": f"{split}-{n}", "input": n, "expected": 2 * n, "group": f"g{n // 2}"} for n in range(count)]
        bench.write(**{f"vault__{split}__cases.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    spec = HEAD + (
        '\n@pytest.mark.eval\n@pytest.mark.parametrize("case", cases("{split}"))\n'
        'def test_it(trial, case):\n    trial.record("score", case.expected == 2 * case.input)\n'
        'GATE = AtLeast("score", 0.1)\n'
    )
    bench.write(test_spec=spec.replace("{split}", "confirm"))
    ran = bench.run_inside(pytester)
    assert "test_it[confirm-0-candidate-t0]" in ran.cases
    assert {row["cluster"] for row in ran.result["rows"]} == {"g0", "g1", "g2"}
    ran = bench.run_inside(pytester, "--evalkit-profile", "quick")
    assert {row["unit"] for row in ran.result["rows"]} == {"dev-0", "dev-1"}
    bench.write(test_sealed=spec.replace("{split}", "sealed"))
    assert "does not open the split" in bench.run_inside(pytester, "test_sealed.py").text
    assert bench.run_inside(pytester, "test_sealed.py", "--evalkit-profile", "vault").result["rows"]


NOISY = HEAD + (
    "import random\n\n@pytest.mark.eval(trials=5)\ndef test_it(trial):\n"
    '    trial.record("score", 0.5 + 0.2 * random.Random(trial.seed).random())\n'
    'GATE = AtLeast("score", {bar})\n'
)


def test_trials_are_added_to_the_same_evidence(bench, pytester):
    bench.write(test_spec=NOISY.replace("{bar}", "0.57"))
    first = bench.run_inside(pytester, "--evalkit-seed", "11")
    assert first.result["decision"] == "INCONCLUSIVE", first.text
    (bench.folder / "before.json").write_text(json.dumps(first.result))
    more = bench.run_inside(pytester, "--evalkit-continue", "before.json", "--evalkit-trials", "60")
    assert (more.result["look"], len(more.result["rows"])) == (2, 65)
    assert more.result["decision"] == "KEEP", more.text


def test_a_record_is_decided_later(bench, pytester):
    bench.write(test_spec=NOISY.replace("{bar}", "0.2"))
    recorded = bench.run_inside(pytester, "--evalkit-mode", "record")
    assert (recorded.code, (bench.folder / ".evalkit" / "suite.json").is_file()) == (0, True)
    assert "GATE" not in recorded.cases
    decided = bench.run_inside(pytester, "--evalkit-mode", "decide")
    assert (decided.result["decision"], decided.cases) == ("KEEP", {"GATE": "passed"}), decided.text


def test_coroutines_classes_and_any_of(bench, pytester):
    bench.write(
        test_spec=HEAD
        + """
class TestQuality:
    GATE = AnyOf(AtLeast("score", 2.0, exact=True), AtLeast(PassAt("ok", 2), 0.5), AtLeast(PassAll("ok", 2), 0.9))

    @pytest.mark.eval(trials=4)
    @pytest.mark.parametrize("n", range(6))
    async def test_it(self, trial, n):
        trial.record("score", 1.0)
        trial.record("ok", trial.index % 2)
"""
    )
    ran = bench.run_inside(pytester)
    assert ran.code == 0, ran.text
    parts = ran.result["gates"][0]["parts"]
    assert [part["effect"]["mean"] for part in parts] == pytest.approx([1.0, 1 - 1 / 6, 1 / 6])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("GATE = AllOf()", "without gates would pass everything"),
        ('GATE = Superior("score", min_effect=-1)', "negative"),
        ('GATE = NonInferior("score", margin=0)', "allows nothing"),
        ('GATE = AtLeast("score", float("nan"))', "finite"),
    ],
)
def test_gates_that_can_not_mean_anything_are_refused(bench, pytester, line, said):
    bench.write(test_spec=HEAD + f"\n@pytest.mark.eval\ndef test_it(trial): trial.record('score', 1)\n{line}\n")
    ran = bench.run_inside(pytester)
    assert ran.code != 0
    assert said in ran.text


@pytest.mark.parametrize(
    ("mark", "said"),
    [("eval(trails=3)", "does not know trails"), ("eval(goal='up')", "goal"), ("eval(trials=0)", "from 1")],
)
def test_markers_with_mistakes_are_refused(bench, pytester, mark, said):
    bench.write(test_spec=HEAD + f"\n@pytest.mark.{mark}\ndef test_it(trial): trial.record('score', 1)\n")
    ran = bench.run_inside(pytester)
    assert ran.code == 2
    assert said in ran.text
