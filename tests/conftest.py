"""A tiny task, as real as any: pure Python, seeded noise, a scorer of its own; with the real sandbox or without one."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from evalkit.cli.main import main
from evalkit.contract import Contract
from evalkit.errors import SandboxUnavailable
from evalkit.measure.testing import Said, StubSandbox
from evalkit.sandbox.interface import Job, Outcome, Sandbox, SealedFile
from evalkit.sandbox.testing import open_for_test
from evalkit.verify import Workbench

CONTRACT = """\
[evalkit]
name = "tiny"
editable = ["solve.py"]
hidden = ["score.py"]

[metric.loss]
goal = "minimize"
run = ["python", "-S", "-E", "solve.py"]
artifacts = ["answer.json"]
score = ["python", "-S", "-E", "score.py"]
kind = "scalar"

[budget]
wall = "10s"
memory = "128MiB"
pids = 8
disk = "4MiB"
output = "64KiB"

[policy]
calibration_pairs = 6
estimate_pairs = 2

[guards]
disabled = ["gaming", "history", "tamper"]
"""

SOLVE = """\
import json
import os
import random

LEVEL = 1.0
SPREAD = 0.01
noise = random.Random(int(os.environ["EVALKIT_SEED"]))
with open("answer.json", "w") as file:
    json.dump(LEVEL + SPREAD * noise.gauss(0, 1), file)
"""

SCORE = """\
import json
import os

with open(os.environ["EVALKIT_ARTIFACTS"] + "/answer.json", "rb") as file:
    text = file.read().decode()
print('{"loss": ' + text + "}")
"""


@dataclass(frozen=True)
class Tiny:
    """A repository with the tiny task in it, and someone who uses it."""

    folder: Path
    top: Path

    @property
    def contract(self) -> Contract:
        return Contract.load(self.folder / "evalkit.toml")

    def git(self, *arguments: str, check: bool = True) -> str:
        who = ["-c", "user.name=U", "-c", "user.email=u@example.org", "-c", "commit.gpgsign=false"]
        allowed = ["-c", "protocol.file.allow=always"]
        done = subprocess.run(
            ["git", *who, *allowed, *arguments],
            cwd=self.folder,
            env=quiet_git({**os.environ}),
            check=check,
            capture_output=True,
            text=True,
        )
        return done.stdout.rstrip("\n")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def commit(self, message: str = "change") -> str:
        self.git("add", "-A", ":/")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def candidate(self, **literals: float) -> Path:
        """A folder with the task and other values for ``LEVEL`` or ``SPREAD``."""
        text = SOLVE
        for name, value in literals.items():
            text = re.sub(rf"^{name} = .*$", f"{name} = {value!r}", text, flags=re.MULTILINE)
        return self.candidate_with(text)

    def candidate_with(self, solve: str) -> Path:
        digest = hashlib.sha256(solve.encode()).hexdigest()[:10]
        target = self.top.parent / f"candidate-{digest}"
        target.mkdir(exist_ok=True)
        for name in ("evalkit.toml", "score.py"):
            shutil.copy(self.folder / name, target / name)
        (target / "solve.py").write_text(solve, encoding="utf-8")
        return target

    def untouched(self) -> dict[str, object]:
        """Everything of the user's that no trial and no keep may change."""
        git_dir = self.top / ".git"
        files = {
            str(path.relative_to(self.top)): (path.lstat().st_mode, _content(path))
            for path in sorted(self.top.rglob("*"))
            if ".git" not in path.relative_to(self.top).parts and ".evalkit" not in path.relative_to(self.top).parts
        }
        own = {name: _content(git_dir / name) for name in ("index", "HEAD", "config", "packed-refs", "ORIG_HEAD")}
        heads = {
            str(path.relative_to(git_dir)): _content(path)
            for path in sorted((git_dir / "refs").rglob("*"))
            if path.is_file() and "evalkit" not in path.relative_to(git_dir).parts
        }
        hooks = {path.name: _content(path) for path in sorted((git_dir / "hooks").glob("*"))}
        return {"files": files, "git": own, "refs": heads, "hooks": hooks}


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def quiet_git(environment: dict[str, str]) -> dict[str, str]:
    """The environment without anybody's git configuration, and without anybody's state folder."""
    environment.pop("EVALKIT_STATE", None)
    return {**environment, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}


@pytest.fixture
def make_tiny(tmp_path: Path) -> Callable[..., Tiny]:
    """Makes a repository with the tiny task at its top, or in a subfolder of it."""

    def make(*, subfolder: str = "", contract: str = CONTRACT, solve: str = SOLVE, score: str = SCORE) -> Tiny:
        """Makes a repository with the tiny task at its top, or in a subfolder of it."""
        top = tmp_path / "user"
        tiny = Tiny(top / subfolder if subfolder else top, top)
        tiny.folder.mkdir(parents=True)
        subprocess.run(["git", "init", "-q", "-b", "main", top], check=True, env=quiet_git({**os.environ}))
        tiny.write("evalkit.toml", contract)
        tiny.write("solve.py", solve)
        tiny.write("score.py", score)
        tiny.commit("anchor")
        return tiny

    return make


@pytest.fixture
def tiny(make_tiny: Callable[..., Tiny]) -> Tiny:
    """The tiny task in a repository of its own."""
    return make_tiny()


def pretend(job: Job) -> Said:
    """What the tiny task's two programs would do, without a process."""
    if job.identity == "scorer":
        artifact = job.files["/artifacts/answer.json"]
        text = artifact.read() if isinstance(artifact, SealedFile) else artifact
        return Said(stdout=b'{"loss": ' + text + b"}")
    assert job.tree is not None
    source = (job.tree / "solve.py").read_text(encoding="utf-8")
    values = dict(re.findall(r"^(LEVEL|SPREAD) = (\S+)$", source, flags=re.MULTILINE))
    if values.keys() != {"LEVEL", "SPREAD"}:
        return Said(Outcome.NONZERO, stderr=b"it crashed")
    noise = random.Random(int(job.env["EVALKIT_SEED"])).gauss(0, 1)
    answer = json.dumps(float(values["LEVEL"]) + float(values["SPREAD"]) * noise)
    return Said(artifacts={"answer.json": answer.encode()})


@pytest.fixture
def stub() -> Iterator[StubSandbox]:
    """A sandbox that runs nothing and answers as the tiny task would; the seeds of its trials are the same always."""
    with mock.patch("evalkit.measure.pairing.random.SystemRandom", side_effect=lambda: random.Random(20)):
        yield StubSandbox(pretend)


@pytest.fixture
def open_stub(tiny: Tiny, tmp_path: Path, stub: StubSandbox) -> Callable[..., Workbench]:
    """Opens (again) the tiny task's run on the stub sandbox; syncing is left out."""

    def opened(sandbox: Sandbox | None = None, **options: object) -> Workbench:
        return Workbench.open(tiny.contract, state=tmp_path / "state", sandbox=sandbox or stub, **options)  # type: ignore[arg-type]

    return opened


@pytest.fixture
def bench(open_stub: Callable[..., Workbench]) -> Iterator[Workbench]:
    """An open run of the tiny task on the stub sandbox."""
    with _no_syncing(), open_stub() as opened:
        yield opened


@contextmanager
def _no_syncing() -> Iterator[None]:
    with mock.patch("os.fsync"), mock.patch("os.fdatasync"):
        yield


@pytest.fixture
def no_syncing() -> Iterator[None]:
    """Waiting for the disk is what fast tests would spend their time on."""
    with _no_syncing():
        yield


@pytest.fixture(scope="session")
def bubblewrap() -> Iterator[Sandbox]:
    """The real sandbox, shared; skips where it can't run, fails where it has to."""
    try:
        sandbox = open_for_test("bubblewrap")
    except SandboxUnavailable as reason:
        pytest.skip(f"no bubblewrap: {reason}")
    yield sandbox
    sandbox.close()


@dataclass(frozen=True)
class Ran:
    """What the command line said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


@pytest.fixture
def evalkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], no_syncing: None
) -> Callable[..., Ran]:
    """Runs ``evalkit ARGUMENTS`` in a folder (by default the tiny task's), in this process: starting one costs more."""
    monkeypatch.delenv("EVALKIT_STATE", raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)

    def run(*arguments: object, folder: Path | None = None, code: int | None = None) -> Ran:
        monkeypatch.chdir(folder or tmp_path / "user")
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        told = capfd.readouterr()
        ran = Ran(int(ended.value.code or 0), told.out, told.err)
        assert code is None or ran.code == code, f"exit code {ran.code}\n{ran.out}\n{ran.err}"
        return ran

    return run


@dataclass(frozen=True)
class Running:
    """``evalkit ARGUMENTS`` as a process of its own, with what it starts."""

    process: subprocess.Popen[str]

    def until(self, ledger: Path, records: int) -> None:
        """Wait until its ledger holds so many records: it is under way then."""
        while not ledger.exists() or ledger.read_bytes().count(b"\n") < records:
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def signal(self, number: int) -> Ran:
        """Send a signal to everybody, as a terminal would, and wait."""
        os.killpg(self.process.pid, number)
        out, err = self.process.communicate(timeout=60)
        return Ran(self.process.returncode, out, err)


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Starts ``evalkit ARGUMENTS`` in a folder; whatever still runs at the end is killed."""
    started: list[Running] = []

    def begin(folder: Path, *arguments: object, **environment: str) -> Running:
        running = Running(
            subprocess.Popen(
                [sys.executable, "-m", "evalkit", *map(str, arguments)],
                cwd=folder,
                env=quiet_git({**os.environ}) | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        started.append(running)
        return running

    yield begin
    for running in started:
        if running.process.poll() is None:
            running.signal(signal.SIGKILL)
