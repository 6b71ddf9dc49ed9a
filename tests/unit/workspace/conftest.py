from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from evalkit.workspace import Store


class User:
    """Someone's repository, driven by the git command as they would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_DATE": "1700000000 +0000",
            "GIT_COMMITTER_DATE": "1700000000 +0000",
        }
        command = ["git", "-c", "user.name=U", "-c", "user.email=u@example.org", "-c", "protocol.file.allow=always"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=folder or self.folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.rstrip("\n")

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, files: dict[str, str | bytes] | None = None, message: str = "change") -> str:
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def state(self) -> tuple[str, bytes, str, str]:
        """What a trial or a keep must leave as it is."""
        index = (self.folder / ".git" / "index").read_bytes()
        return self.git("rev-parse", "HEAD"), index, self.git("status", "--porcelain"), self.git("symbolic-ref", "HEAD")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Syncing is what these tests would spend their time on; processes that are killed sync as they always do."""
    with mock.patch("os.fsync"):
        yield


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "user")


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def make_tree(store: Store, tmp_path: Path):
    """A tree from names and contents."""
    counter = iter(range(1000))

    def make(files: dict[str, str | bytes], like: str = "") -> str:
        folder = tmp_path / f"tree-{next(counter)}"
        folder.mkdir()
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return store.snapshot(folder, like=like)

    return make
