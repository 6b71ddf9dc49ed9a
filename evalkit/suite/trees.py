"""The files of both arms, without what the subject must not see: specs, configuration of the tests, the vault."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import UsageError, WorkspaceError

__all__ = ["BASELINE", "CANDIDATE", "Trees"]

CANDIDATE, BASELINE = "candidate", "baseline"
_NEVER = (".git", ".evalkit", "__pycache__", ".venv", ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache")
_BESIDE = ("conftest.py", "**/conftest.py", "pytest.ini", "evalkit.toml")


class Trees:
    """Makes a directory for each arm when it is first asked for.

    Args:
        root: the project's folder.
        hidden: globs below it that neither arm sees.
        baseline: the revision to compare with; empty where none was given.
        ready: directories that are there already, by arm; they are used as they are.
    """

    def __init__(self, root: Path, hidden: Sequence[str], baseline: str, ready: dict[str, Path]) -> None:
        self._root, self._baseline = root, baseline
        self._hidden = [*hidden, *_BESIDE]
        self._folders = dict(ready)
        self._closing = contextlib.ExitStack()
        self._scratch: Path | None = None

    def folder(self, arm: str) -> Path:
        """The directory with an arm's files; nothing ever writes to it.

        Raises:
            UsageError: there is no baseline.
            WorkspaceError: the revision can't be read.
        """
        if arm not in self._folders:
            self._folders[arm] = self._make(arm)
        return self._folders[arm]

    def _make(self, arm: str) -> Path:
        from evalkit.workspace import Repository, Store  # noqa: PLC0415 - only suites with a subject need it

        if self._scratch is None:
            self._scratch = Path(self._closing.enter_context(tempfile.TemporaryDirectory(prefix="evalkit-suite-")))
            self._scratch.chmod(0o755)
        try:
            Repository.find(self._root)
        except WorkspaceError:
            if arm == BASELINE:
                raise UsageError(
                    f"{self._root} is not in a git repository, so there is no baseline", "git init && git commit"
                ) from None
            return self._copy(self._scratch / "candidate")
        store = self._closing.enter_context(Store.open(self._scratch / f"store-{arm}"))
        if arm == CANDIDATE:
            tree = store.import_worktree(self._root)
        elif self._baseline:
            tree = store.import_revision(self._root, self._baseline)
        else:
            raise UsageError("there is no baseline to compare with", "say which revision: --evalkit-baseline REV")
        return store.pristine(tree, self._hidden)

    def _copy(self, target: Path) -> Path:
        from evalkit.workspace import Globs  # noqa: PLC0415

        hidden = Globs(self._hidden)

        def left_out(folder: str, names: list[str]) -> set[str]:
            below = Path(folder).relative_to(self._root)
            return {n for n in names if n in _NEVER or hidden.matches((below / n).as_posix())}

        shutil.copytree(self._root, target, symlinks=True, ignore=left_out)
        return target

    def close(self) -> None:
        """Remove what was made."""
        self._closing.close()
