"""The cheats of the corpus through the real verifier: none may be kept."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from evalkit import Contract
from evalkit.errors import SandboxUnavailable, WorkspaceError
from evalkit.verify.verifier import Verifier
from guards.corpus import Edited, load_corpus, read_base

CORPUS = Path(__file__).parents[1] / "corpus"
BASE = read_base(CORPUS / "base")
TASK = ("solve.py", "score.py", "evalkit.toml")
CHEATS = [case for case in load_corpus(CORPUS / "cheats", BASE) if not set(case.after) & {"trainer.py", "kernel.py"}]
HONEST = [case for case in load_corpus(CORPUS / "honest", BASE) if set(case.after) == {"solve.py"}]
pytestmark = [pytest.mark.slow, pytest.mark.sandbox]


def points(count: int, seed: int) -> list[tuple[float, float]]:
    rng = random.Random(seed)
    return [(x, 3 * x + 1 + rng.gauss(0, 0.5)) for x in (rng.uniform(-2, 2) for _ in range(count))]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("corpus") / "task"
    folder.mkdir()
    for name in TASK:
        (folder / name).write_text(BASE[name])
    (folder / "train.json").write_text(json.dumps(points(60, 1)))
    for number, split in enumerate(("dev", "confirm", "sealed")):
        (folder / "vault" / split).mkdir(parents=True)
        (folder / "vault" / split / "cases.json").write_text(json.dumps(points(300, 2 + number)))
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "task"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, env=environment)
    try:
        with Verifier(Contract.load(folder / "evalkit.toml"), state=folder.parent / "state") as verifier:
            yield folder, verifier
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def decided(run, case: Edited, where: Path):
    folder, verifier = run
    where.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (where / path.name).write_bytes(path.read_bytes())
    for name, text in case.after.items():
        target = where / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            target.unlink(missing_ok=True)
        else:
            target.write_text(text)
    return verifier.verify(where, description=case.name)


@pytest.mark.parametrize("case", CHEATS, ids=lambda case: case.name)
def test_a_cheat_is_not_kept(run, case: Edited, tmp_path: Path):
    try:
        verdict = decided(run, case, tmp_path / "candidate")
    except WorkspaceError:
        return
    assert not verdict.kept
    assert verdict.reason != "incumbent_failed", verdict.sentence


@pytest.mark.parametrize("case", HONEST[::4], ids=lambda case: case.name)
def test_an_honest_change_is_not_refused_by_a_guard(run, case: Edited, tmp_path: Path):
    verdict = decided(run, case, tmp_path / "candidate")
    assert verdict.reason not in {"guard", "scope"}, verdict.sentence
