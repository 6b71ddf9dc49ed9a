"""The examples with the real sandbox: each known-good patch is kept, each known-bad one is refused for its reason."""

import os
import shutil
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.contract import Contract
from evalkit.loop import Session
from evalkit.loop.function import Function
from evalkit.loop.session import Limits
from evalkit.loop.watching import Silent
from evalkit.verify import Workbench
from evalkit.verify.calibration import calibrate_run
from evalkit.verify.replay import replay, story_of
from evalkit.verify.verdict import Decision
from evalkit.verify.verifier import verify_with

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_syncing")]

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("charlm", "fraud", "templates")


def copied(example, target):
    """The example in a repository of its own."""
    shutil.copytree(EXAMPLES / example, target, ignore=shutil.ignore_patterns(".evalkit", "__pycache__"))
    who = ["-c", "user.name=U", "-c", "user.email=u@example.org", "-c", "commit.gpgsign=false"]
    environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-q", "-m", "the anchor"]):
        subprocess.run(["git", *command], cwd=target, check=True, env=environment)
    return target


class Calibrated:
    """An example, calibrated once; each patch is verified in a copy of the state, against the anchor."""

    def __init__(self, example, folder, sandbox, quick):
        self.name, self.folder, self.sandbox = example, folder, sandbox
        profile = "demo" if example == "charlm" else ""  # trials of a second instead of five
        contract = Contract.load(copied(example, folder / example) / "evalkit.toml", profile=profile)
        policy = replace(contract.policy, calibration_pairs=3) if quick else contract.policy
        self.contract = replace(contract, policy=policy)
        with self.open(folder / "state") as bench:
            calibrate_run(bench)

    def open(self, state):
        return Workbench.open(self.contract, state=state, sandbox=self.sandbox)

    def verify(self, patch):
        state = self.folder / f"state-{patch.stem}"
        shutil.copytree(self.folder / "state", state)
        with self.open(state) as bench:
            verdict = verify_with(bench, patch)
            assert replay(story_of(bench.ledger.by_experiment(1), 1)).same
        git = ["git", "-C", str(self.contract.root)]
        subprocess.run([*git, "branch", "-q", "-D", f"evalkit/{self.name}"], check=False, capture_output=True)
        return verdict


def expected(example):
    return tomllib.loads((EXAMPLES / example / "patches" / "expected.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def calibrated(bubblewrap, tmp_path_factory):
    """Examples by name, each calibrated when it is first asked for."""
    made = {}

    def get(example, *, quick=False):
        if (example, quick) not in made:
            made[example, quick] = Calibrated(example, tmp_path_factory.mktemp(example), bubblewrap, quick)
        return made[example, quick]

    return get


def holds(wanted, verdict):
    told = f"{verdict.decision} {verdict.reason}: {verdict.sentence}"
    assert str(verdict.decision) in wanted["verdict"], told
    assert str(verdict.reason) in wanted["reason"], told


def test_leaving_early_with_a_friendly_exit_code_gains_nothing(calibrated):
    patch = EXAMPLES / "charlm" / "patches" / "bad-early-exit.patch"
    holds(expected("charlm")[patch.name], calibrated("charlm", quick=True).verify(patch))


@pytest.mark.slow
@pytest.mark.parametrize(("example", "patch"), [(name, patch) for name in NAMES for patch in sorted(expected(name))])
def test_every_patch_gets_its_verdict(calibrated, example, patch):
    holds(expected(example)[patch], calibrated(example).verify(EXAMPLES / example / "patches" / patch))


def rewrites():
    """A hundred programs that are the same program: comments, docstrings, blank lines, the order of nothing."""
    number = 0
    while True:
        number += 1
        yield f"\n# rewrite {number}: nothing changes\n"


@pytest.mark.slow
def test_of_a_hundred_null_proposals_hardly_any_is_kept(bubblewrap, tmp_path):
    contract = Contract.load(copied("charlm", tmp_path / "charlm") / "evalkit.toml", profile="demo")
    comments = rewrites()

    def null(briefing):
        file = briefing.workspace / "train.py"
        file.write_text(file.read_text(encoding="utf-8") + next(comments), encoding="utf-8")
        return f"null {briefing.experiment}"

    with Workbench.open(contract, state=tmp_path / "state", sandbox=bubblewrap, expected_tests=100) as bench:
        Session(bench, Function(null), Silent()).run(Limits(experiments=100))
        verdicts = [record.body for record in bench.ledger.records("decided")]
    kept = sum(body["decision"] == Decision.KEEP for body in verdicts)
    confirmed = sum(bool(body["reached_confirm"]) for body in verdicts)
    trials = sum(body["evaluations"] for body in verdicts)
    print(f"A/A: {kept} of 100 null proposals kept, {confirmed} confirmed, {trials} trials")  # noqa: T201 - a figure
    assert kept <= 100 * contract.policy.alpha
