"""Example programs as modules, and a small parent that lets a scorer and a candidate talk without any sandbox."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evalkit.protocol.frames import decode, encode, read_frame, write_frame

EXAMPLES = Path(__file__).parents[3] / "examples"
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def load() -> Callable[[str, str], ModuleType]:
    """A program of an example as a module of its own name."""

    def read(example: str, program: str) -> ModuleType:
        name = f"evalkit_example_{example}_{program}"
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / example / f"{program}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return read


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[..., Path]:
    """A copy of an example's tree, with a patch applied where one is named."""

    def make(example: str, patch: str = "") -> Path:
        target = tmp_path / f"{example}-{patch or 'anchor'}"
        shutil.copytree(EXAMPLES / example, target, ignore=shutil.ignore_patterns("patches", "__pycache__"))
        if patch:
            path = EXAMPLES / example / "patches" / f"{patch}.patch"
            command = ["git", "apply", "-p1", str(path)]
            outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
            subprocess.run(command, cwd=target, env=outside, check=True, capture_output=True)
        return target

    return make


def _start(script: list[str], tree: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *script],
        cwd=tree,
        env={**os.environ, **THREADS, "PYTHONDONTWRITEBYTECODE": "1", **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _relay(scorer: subprocess.Popen[bytes], candidate: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert scorer.stdin
    assert scorer.stdout
    assert candidate.stdin
    assert candidate.stdout
    while (frame := read_frame(scorer.stdout.fileno())) is not None:
        if frame[0] == b"R":
            result: dict[str, Any] = decode(frame[1])
            return result
        write_frame(candidate.stdin.fileno(), *frame)
        answer = read_frame(candidate.stdout.fileno())
        assert answer is not None, "the candidate is gone"
        write_frame(scorer.stdin.fileno(), *answer)
    raise AssertionError("the scorer reported nothing")


@pytest.fixture(scope="session")
def converse() -> Callable[..., dict[str, Any]]:
    """What the anchor's scorer reports of a candidate's tree: run (if there is something to run), serve, score."""

    def talk(
        example: str, tree: Path, *, serve: list[str], env: dict[str, str], run: list[str] | None = None, seed: int = 1
    ) -> dict[str, Any]:
        variables = {**env, "EVALKIT_SEED": str(seed)}
        if run:
            with _start(run, tree, variables) as trainer:
                _, complaint = trainer.communicate()
            assert trainer.returncode == 0, complaint.decode()
        vault = {"EVALKIT_VAULT": str(EXAMPLES / example / "vault" / "dev")}
        with (
            _start(serve, tree, variables) as candidate,
            _start(["score.py"], EXAMPLES / example, {**variables, **vault}) as scorer,
        ):
            assert scorer.stdin
            try:
                hello = {"nonce": "0", "split": "dev", "seed": seed}
                write_frame(scorer.stdin.fileno(), b"H", encode(hello))
                return _relay(scorer, candidate)
            finally:
                candidate.kill()
                scorer.kill()

    return talk
