import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from evalkit.contract import Contract
from evalkit.verify.verdict import Decision, Reason

EXAMPLES = Path(__file__).parents[3] / "examples"
NAMES = ("charlm", "fraud", "templates")
PATCHES = sorted(EXAMPLES.glob("*/patches/**/*.patch"))


def expected(name):
    return tomllib.loads((EXAMPLES / name / "patches" / "expected.toml").read_text(encoding="utf-8"))


def touched(patch):
    return set(re.findall(r"^\+\+\+ b/(\S+)$", patch.read_text(encoding="utf-8"), flags=re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_contracts_load(name):
    contract = Contract.load(EXAMPLES / name / "evalkit.toml")
    assert contract.name == name
    assert contract.guarded
    assert {"score.py", "patches/**"} <= set(contract.hidden)


def test_the_demo_is_quick():
    contract = Contract.load(EXAMPLES / "charlm" / "evalkit.toml", profile="demo")
    assert float(contract.environment["CHARLM_SECONDS"]) <= 0.5


@pytest.mark.parametrize("name", NAMES)
def test_every_patch_has_an_expectation_and_every_expectation_a_patch(name):
    there = {patch.name for patch in (EXAMPLES / name / "patches").glob("*.patch")}
    assert there == set(expected(name))
    assert sum(patch.startswith("good-") for patch in there) >= 1
    assert sum(patch.startswith("bad-") for patch in there) >= 6


@pytest.mark.parametrize("name", NAMES)
def test_expectations_are_words_of_the_verifier(name):
    for patch, wanted in expected(name).items():
        assert wanted.keys() == {"why", "verdict", "reason"}
        assert set(wanted["verdict"]) <= {str(decision) for decision in Decision}
        assert set(wanted["reason"]) <= {str(reason) for reason in Reason}
        assert (wanted["verdict"] == ["KEEP"]) == patch.startswith("good-")


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: f"{patch.relative_to(EXAMPLES)}")
def test_patches_apply(patch, copy_of, tmp_path):
    tree = copy_of(patch.relative_to(EXAMPLES).parts[0])
    command = ["git", "apply", "--check", "-p1", str(patch)]
    outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    subprocess.run(command, cwd=tree, env=outside, check=True)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: f"{patch.relative_to(EXAMPLES)}")
def test_only_patches_named_for_it_leave_the_editable_files(patch):
    contract = Contract.load(EXAMPLES / patch.relative_to(EXAMPLES).parts[0] / "evalkit.toml")
    assert touched(patch) <= set(contract.editable) or "scope" in patch.name


def test_the_demo_plants_what_it_says():
    demo = EXAMPLES / "charlm" / "patches" / "demo"
    assert [patch.name[2:-6] for patch in sorted(demo.glob("*.patch"))] == [
        "noop", "worse", "lucky-seed", "forged-metric", "early-exit", "out-of-scope",
    ]  # fmt: skip
