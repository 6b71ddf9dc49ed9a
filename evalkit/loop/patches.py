"""A proposer that goes through changes somebody already has: a folder of diffs, a range of commits, a list of branches.

Each becomes one experiment against whatever the incumbent is by then; a patch that does not apply is one rejected
attempt. This is how a stream from any other loop is verified after the fact.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.loop.proposing import Briefing, Exhausted, Proposal, ProposalError

__all__ = ["Patches"]

_SUFFIXES = (".patch", ".diff")
_MAX_PATCH = 64 << 20
_GIT_TIMEOUT = 120


@dataclass(frozen=True, slots=True)
class _File:
    path: Path

    @property
    def label(self) -> str:
        return self.path.name

    def read(self) -> bytes:
        if self.path.stat().st_size > _MAX_PATCH:
            raise ProposalError(f"{self.path}: more than {_MAX_PATCH >> 20} MiB", description=self.label)
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class _Revisions:
    repository: Path
    old: str
    new: str
    label: str

    def read(self) -> bytes:
        return _git(self.repository, "diff-tree", "-p", "--binary", "--full-index", "--no-ext-diff", "--no-textconv",
                    "--no-renames", "--relative", self.old, self.new)  # fmt: skip


class Patches:
    """Proposes given changes, in order.

    Args:
        source: folders and files of unified diffs, ``A..B`` ranges, and branch names.
        repository: folder inside the repository that ranges and branches name (the contract's own folder: changes
            outside it are left out of the diffs).

    Raises:
        UsageError: a source names nothing.
    """

    name = "patches"

    def __init__(self, source: Sequence[str | Path], *, repository: Path) -> None:
        self._items: list[_File | _Revisions] = []
        for entry in source:
            self._items += _items(str(entry), repository)
        if not self._items:
            raise UsageError("the proposer `patches` has no source", 'say where: [proposer] source = ["patches/"]')

    def __len__(self) -> int:
        return len(self._items)

    def propose(self, briefing: Briefing) -> Proposal:
        """The next change; which one it is follows from the experiment's number, so that a resumed run goes on.

        Raises:
            Exhausted: all were proposed.
        """
        index = briefing.experiment - 1
        if index >= len(self._items):
            raise Exhausted("all patches were proposed")
        item = self._items[index]
        return Proposal(description=item.label, patch=item.read(), details={"source": item.label})


def _items(entry: str, repository: Path) -> list[_File | _Revisions]:
    path = repository / entry
    if path.is_dir():
        files: list[_File | _Revisions] = [_File(p) for p in sorted(path.iterdir()) if p.suffix in _SUFFIXES]
        if not files:
            raise UsageError(f"{path} has no {' or '.join(_SUFFIXES)} file")
        return files
    if path.is_file():
        return [_File(path)]
    if ".." in entry:
        return _range(entry, repository)
    base = _git(repository, "merge-base", "HEAD", f"refs/heads/{entry}").decode().strip()
    return [_Revisions(repository, base, f"refs/heads/{entry}", entry)]


def _range(entry: str, repository: Path) -> list[_File | _Revisions]:
    if entry.startswith("-"):
        raise UsageError(f"{entry!r} is no range of commits")
    listed = _git(repository, "log", "--reverse", "--first-parent", "--format=%H %P%x09%s", entry, "--")
    items: list[_File | _Revisions] = []
    for line in listed.decode("utf-8", "replace").splitlines():
        ids, _, subject = line.partition("\t")
        commit, *parents = ids.split()
        if parents:
            items.append(_Revisions(repository, parents[0], commit, f"{commit[:10]} {subject}"))
    if not items:
        raise UsageError(f"the range {entry} holds no commits")
    return items


def _git(repository: Path, *arguments: str) -> bytes:
    """The user's own repository, read with none of its hooks, filters or external programs."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }
    safe = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "diff.external=")
    try:
        done = subprocess.run(
            ["git", *safe, *arguments],
            cwd=repository,
            env=environment,
            capture_output=True,
            timeout=_GIT_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"`git {arguments[0]}` took more than {_GIT_TIMEOUT} s in {repository}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise UsageError(f"`git {arguments[0]}` in {repository}: {said}", "name a folder, a file, a range or a branch")
    return done.stdout
