from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.contract import Contract
from evalkit.errors import ContractError, Mistake

FILES = ("train.py", "predict.py", "score.py", "vault/dev/cases.json", "vault/confirm/cases.json")


class Folder:
    """A folder with a program, a scorer and a vault, and contracts for it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in FILES:
            self.file(name)

    def file(self, name: str, text: str | bytes = "") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def load(self, text: str | bytes, *, profile: str = "", name: str = "evalkit.toml") -> Contract:
        return Contract.load(self.file(name, text), profile=profile)

    def mistakes(self, text: str | bytes, *, profile: str = "", name: str = "evalkit.toml") -> list[Mistake]:
        with pytest.raises(ContractError) as caught:
            self.load(text, profile=profile, name=name)
        assert caught.value.exit_code == 2
        prefix = f"{self.root / name}"
        for mistake in caught.value.mistakes:
            assert mistake.where.startswith(prefix)
            assert mistake.found
            assert mistake.expected
        return [Mistake(m.where.removeprefix(prefix).lstrip(":"), m.found, m.expected) for m in caught.value.mistakes]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "task")


@pytest.fixture
def smallest() -> str:
    return """\
[evalkit]
editable = ["train.py"]

[metric.loss]
goal = "minimize"
run = ["python", "train.py"]
artifacts = ["model.npz"]
score = ["python", "score.py"]
"""


@pytest.fixture
def changed(smallest: str) -> Callable[..., str]:
    """The smallest contract with one line replaced, and more at its end."""

    def make(old: str = "", new: str = "", more: str = "") -> str:
        assert old in smallest
        return smallest.replace(old, new, 1) + more if old else smallest + more

    return make
