"""The task that the bench of the spine drives: a program of some 15 ms, or one that is only pretended.

As a program (``python -m evalkit.bench.spine_task FOLDER EXPERIMENTS``) it drives a long run with pretended trials and
prints its resident memory on the way, as JSON pairs of experiments and MiB.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from evalkit.contract import Contract
from evalkit.loop import Briefing, Session
from evalkit.loop.function import Function
from evalkit.loop.watching import Silent
from evalkit.measure.testing import Said, StubSandbox
from evalkit.sandbox.interface import Job, Sandbox, SealedFile
from evalkit.verify import Workbench
from evalkit.verify.examination import Attempt
from evalkit.workspace.git import git

__all__ = ["MEASURED", "SCORED", "attempt", "open_bench", "plain_run", "stub"]

_HEAD = '[evalkit]\nname = "bench"\neditable = ["solve.py"]\n\n[metric.loss]\ngoal = "minimize"\n'
_RUN = 'run = ["python", "-S", "-E", "solve.py"]\nartifacts = ["answer.json"]\n'
_SCORE = 'score = ["python", "-S", "-E", "score.py"]\nkind = "scalar"\n'
_POLICY = "\n[policy]\ncalibration_pairs = 8\nestimate_pairs = 2\n\n[guards]\n"
MEASURED = f'{_HEAD}{_RUN}measure = "bytes"\n{_POLICY}'
SCORED = f"{_HEAD}{_RUN}{_SCORE}{_POLICY}"

_SOLVE = """\
import os
LEVEL = 1.0
total = 0
for number in range(50_000):
    total += number * number
with open("answer.json", "w") as file:
    file.write(str(LEVEL))
"""
_SCORER = """\
import os
with open(os.environ.get("EVALKIT_ARTIFACTS", ".") + "/answer.json") as file:
    print('{"loss": ' + file.read() + '}')
"""
_LEVEL = re.compile(r"^LEVEL = (\S+)$", re.MULTILINE)
_GAIN = 0.04
_EVERY = 8
"""One proposal in so many is better."""


def open_bench(folder: Path, contract: str, sandbox: Sandbox, *, files: int = 0) -> Workbench:
    """The task in a repository of its own below ``folder``, and its run, open.

    Args:
        folder: is made.
        contract: text of ``evalkit.toml``.
        sandbox: where trials run.
        files: how many further files the repository has.
    """
    user = folder / "user"
    user.mkdir(parents=True)
    texts = {"evalkit.toml": contract, "solve.py": _SOLVE, "score.py": _SCORER}
    texts |= {f"package{number % 40}/module{number}.py": f"VALUE = {number}\n" * 40 for number in range(files)}
    for name, text in texts.items():
        (user / name).parent.mkdir(exist_ok=True)
        (user / name).write_text(text, encoding="utf-8")
    git(["init", "-q"], folder=user)
    git(["add", "-A"], folder=user)
    git(["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-q", "-m", "start"], folder=user)
    return Workbench.open(Contract.load(user / "evalkit.toml"), state=folder / "state", sandbox=sandbox)


def plain_run(work: Path, scratch: Path, *, scored: bool) -> Callable[[], object]:
    """The task's commands by plain ``subprocess.run``, in a folder that is there already."""
    own = scratch / f"plain{scored:d}"
    own.mkdir()
    for name in ("solve.py", "score.py"):
        (own / name).write_bytes((work / name).read_bytes())
    programs = ("solve.py", "score.py") if scored else ("solve.py",)
    environment = {**os.environ, "EVALKIT_SEED": "1"}

    def run() -> None:
        for program in programs:
            command = [sys.executable, "-S", "-E", program]
            subprocess.run(command, cwd=own, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    return run


def stub() -> StubSandbox:
    """A sandbox that pretends to run the task, with noise."""
    return StubSandbox(_pretend)


def _pretend(job: Job) -> Said:
    if job.identity == "scorer":
        answer = job.files["/artifacts/answer.json"]
        return Said(stdout=b'{"loss": ' + (answer.read() if isinstance(answer, SealedFile) else answer) + b"}")
    if job.tree is None:
        raise ValueError("a trial has a tree")
    found = _LEVEL.search((job.tree / "solve.py").read_text(encoding="utf-8"))
    noise = random.Random(int(job.env["EVALKIT_SEED"])).gauss(0.0, 0.01)  # noqa: S311 - noise, no secret
    return Said(artifacts={"answer.json": json.dumps(float(found[1] if found else 0) + noise).encode()})


def attempt(bench: Workbench, work: Path, number: int) -> Attempt:
    """The ``number``-th proposal, made in a workspace that is there."""
    description = _edit(work / "solve.py", number)
    return Attempt(bench.store.snapshot(work, like=bench.book.incumbent), "bench", description)


def _edit(file: Path, number: int) -> str:
    """A worse level, and now and then a better one."""
    text = file.read_text(encoding="utf-8")
    found = _LEVEL.search(text)
    level = float(found[1]) if found else 0.0
    level += -_GAIN if number % _EVERY == 0 else 0.5 + number / 1000
    file.write_text(_LEVEL.sub(f"LEVEL = {level}", text), encoding="utf-8")
    return f"level {level:g}"


def _propose(briefing: Briefing) -> str:
    return _edit(briefing.workspace / "solve.py", briefing.experiment)


def _resident() -> float:
    """MiB of this process, now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _long_run(folder: Path, experiments: int) -> list[tuple[int, float]]:
    seen = []
    with open_bench(folder, SCORED, stub()) as bench:
        driven = Session(bench, Function(_propose), Silent())
        driven.prepare()
        for number in range(1, experiments + 1):
            driven.step()
            if number % max(1, experiments // 10) == 0:
                seen.append((number, round(_resident(), 1)))
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_long_run(Path(sys.argv[1]), int(sys.argv[2]))) + "\n")
