"""From pull request to merge: gate, outputs that agree, attestation, and a check that refuses what has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox.testing import open_for_test

CONTRACT = """
[evalkit]
name = "answers"
editable = ["solve.py"]

[metric.score]
goal = "maximize"
run = ["python", "solve.py"]
artifacts = ["answer.json"]
score = ["python", "score.py"]

[policy]
calibration_pairs = 5
"""
SOLVE = """
import json
json.dump([{value}] * 4, open("answer.json", "w"))
"""
SCORE = """
import json, os
answers = json.load(open(os.path.join(os.environ["EVALKIT_ARTIFACTS"], "answer.json")))
print(json.dumps({"score": sum(answers) / len(answers)}))
"""
SUITE = """
import pytest
from evalkit.suite import *

@pytest.mark.eval(metric="score", trials=1)
@pytest.mark.parametrize("n", range(6))
def test_quality(subject, trial, n):
    trial.record("score", subject.call("answers:double", n) == 2 * n)

GATE = AllOf(AtLeast("score", 0.5), NonInferior("score", margin=0.1))
"""


class Project:
    def __init__(self, folder):
        self.folder = folder
        self.git("init", "-q", "-b", "main", ".")

    def git(self, *arguments):
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, **files):
        for name, text in files.items():
            path = self.folder / name.replace("__", "/").replace("_toml", ".toml").replace("_py", ".py")
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text, encoding="utf-8")
        self.git("add", "-A")
        self.git("commit", "-qm", "x", "--allow-empty")
        return self.git("rev-parse", "HEAD")

    def evalkit(self, *arguments, **env):
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI_", "EVALKIT_"))
        }
        command = [sys.executable, "-m", "evalkit", *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=170, env={**clean, **env}, check=False
        )


@pytest.fixture
def project(tmp_path):
    try:
        open_for_test("bubblewrap").close()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    folder = tmp_path / "project"
    folder.mkdir()
    made = Project(folder)
    made.commit(evalkit_toml=CONTRACT, solve_py=SOLVE.format(value=0.25), score_py=SCORE)
    return made


def _outputs(folder):
    return [
        *("--junit", folder / "j.xml", "--sarif", folder / "s.json", "--summary", folder / "s.md"),
        *("--annotations",),
    ]


def _agree(folder, ran, decision):
    sarif = json.loads((folder / "s.json").read_text())["runs"][0]
    suite = ET.parse(folder / "j.xml").getroot()[0]  # noqa: S314 - our own
    bad = int(suite.get("failures")) + int(suite.get("errors"))
    assert sarif["properties"]["decision"] == decision
    assert sarif["invocations"][0]["exitCode"] == ran.returncode
    assert (bad > 0) == (ran.returncode != 0)
    assert any(result["level"] == "error" for result in sarif["results"]) == (ran.returncode != 0)
    assert decision.replace("NOTHING", "NOTHING TO JUDGE") in (folder / "s.md").read_text()
    assert ("::error" in ran.stdout) == (ran.returncode != 0)


def test_a_change_goes_through_gate_attestation_and_merge_check(project, tmp_path):
    project.git("checkout", "-qb", "better")
    project.commit(solve_py=SOLVE.format(value=0.75))
    made = project.evalkit("attest", "--new-key", tmp_path / "key")
    assert made.returncode == 0, made.stderr
    ran = project.evalkit("gate", *_outputs(tmp_path), "--attest", tmp_path / "a.json", "--key", tmp_path / "key")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    _agree(tmp_path, ran, "KEEP")
    check = ["verify-attestation", tmp_path / "a.json", "--key", tmp_path / "key.pub"]
    merge = project.evalkit(*check, "--tree", "better", "--base", "main")
    assert merge.returncode == 0, merge.stdout + merge.stderr
    refused = project.evalkit(*check, "--tree", "main")
    assert (refused.returncode, "wrong_tree" in refused.stderr) == (1, True)
    replayed = project.evalkit(*check, "--tree", "better", "--base", "better")
    assert (replayed.returncode, "replayed" in replayed.stderr) == (1, True)


def test_a_worse_change_is_rejected_everywhere(project, tmp_path):
    project.git("checkout", "-qb", "worse")
    project.commit(solve_py=SOLVE.format(value=0.0))
    ran = project.evalkit("gate", "--json", *_outputs(tmp_path), "--no-annotations")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["decision"] == "REJECT"


def test_nothing_to_judge_says_so(project, tmp_path):
    project.git("checkout", "-qb", "docs")
    project.commit(notes_md="hello")
    ran = project.evalkit("gate", *_outputs(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "NOTHING TO JUDGE" in ran.stdout
    _agree(tmp_path, ran, "NOTHING")
    refused = project.evalkit("gate", "--refuse-empty", *_outputs(tmp_path))
    assert refused.returncode == 1
    _agree(tmp_path, refused, "NOTHING")


def test_a_changed_scorer_is_not_nothing_to_judge(project, tmp_path):
    project.git("checkout", "-qb", "cheat")
    project.commit(score_py=SCORE + "\n# generous\n")
    ran = project.evalkit("gate", *_outputs(tmp_path))
    assert ran.returncode == 1, ran.stdout + ran.stderr
    _agree(tmp_path, ran, "REJECT")


def test_a_contract_may_refuse_what_holds_nothing_to_judge(project):
    project.commit(evalkit_toml=CONTRACT + '\n[gate]\nempty = "fail"\n[suite]\ntimeout = "20s"\nmemory = "1GiB"\n')
    project.git("checkout", "-qb", "docs")
    project.commit(notes_md="hello")
    assert project.evalkit("gate").returncode == 1
    assert project.evalkit("gate", "--allow-empty").returncode == 0


@pytest.mark.slow
def test_several_contracts_each_judge_their_own_files(project, tmp_path):
    other = CONTRACT.replace('"answers"', '"other"')
    project.commit(sub__evalkit_toml=other, sub__solve_py=SOLVE.format(value=0.1), sub__score_py=SCORE)
    project.git("checkout", "-qb", "change")
    project.commit(sub__solve_py=SOLVE.format(value=0.9))
    ran = project.evalkit("gate", "--json")
    told = {entry["name"]: entry["decision"] for entry in json.loads(ran.stdout)["judged"]}
    assert told == {"answers": "NOTHING", "other": "KEEP"}


@pytest.mark.slow
@pytest.mark.parametrize(("body", "code"), [("return x + x", 0), ("return 0", 1), ("import os; os._exit(0)", 1)])
def test_a_suite_judges_a_change(project, tmp_path, body, code):
    project.commit(specs__test_spec_py=SUITE, answers_py="def double(x):\n    return 2 * x\n")
    project.git("checkout", "-qb", "change")
    project.commit(answers_py=f"def double(x):\n    {body}\n", specs__test_spec_py="# nothing to see here\n")
    ran = project.evalkit("gate", "--specs", "specs", *_outputs(tmp_path))
    assert ran.returncode == code, ran.stdout + ran.stderr
    _agree(tmp_path, ran, "KEEP" if code == 0 else "REJECT")


def test_the_base_is_found_in_the_variables_of_a_service(project):
    project.git("checkout", "-qb", "release")
    project.commit(solve_py=SOLVE.format(value=0.5))
    base = project.git("rev-parse", "HEAD")
    project.git("checkout", "-qb", "topic")
    project.commit(readme_md="x")
    ran = project.evalkit("gate", "--json", GITHUB_BASE_REF="release")
    assert json.loads(ran.stdout)["base"] == base


NOISY = """
import json, os, random
noise = random.Random(int(os.environ["EVALKIT_SEED"])).gauss(0, 1)
json.dump([{value} + noise], open("answer.json", "w"))
"""


@pytest.mark.slow
def test_trials_are_added_to_an_inconclusive_verdict(project, tmp_path):
    project.commit(evalkit_toml=CONTRACT + "max_pairs = 2\n", solve_py=NOISY.replace("{value}", "0.0"))
    project.git("checkout", "-qb", "better")
    project.commit(solve_py=NOISY.replace("{value}", "2.5"))
    state = ["--state", tmp_path / "state", "--json"]
    first = json.loads(project.evalkit("gate", *state).stdout)
    again = json.loads(project.evalkit("gate", *state).stdout)
    assert again["decision"] == first["decision"]
    if first["decision"] != "INCONCLUSIVE":
        pytest.skip(f"the first look decided: {first['decision']}")
    more = json.loads(project.evalkit("gate", *state, "--continue").stdout)
    before, after = (told["judged"][0]["verdict"] for told in (first, more))
    assert after["level"] == before["level"]
    assert after["evaluations"] > before["evaluations"]
