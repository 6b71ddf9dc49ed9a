"""Which new files in a proposer's folder are no part of its proposal.

Running code leaves things behind (caches, build output). What the incumbent tree's own ``.gitignore`` files name is
left out, and so are a few names that are never part of a change. A file that the incumbent tree holds is never left
out. Leaving a file out is always safe: it is then in no tree, and no trial ever sees it.

Patterns: gitignore(5), for files inside the tree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

from evalkit.workspace.globs import Globs, glob_regex
from evalkit.workspace.paths import to_text

__all__ = ["JUNK", "Ignored"]

JUNK = (
    "**/.git",
    "**/.evalkit",
    "**/__pycache__",
    "**/*.pyc",
    "**/.pytest_cache",
    "**/.mypy_cache",
    "**/.ruff_cache",
    "**/.hypothesis",
    "**/.ipynb_checkpoints",
    "**/.DS_Store",
)
"""Left behind by tools; never part of a proposal."""


class _Rule(NamedTuple):
    regex: re.Pattern[str]
    ignored: bool
    folders_only: bool


class Ignored:
    """The rules that hold in one folder: those of the folders above it, then its own; the last that matches decides.

    Args:
        extra: further globs (:mod:`evalkit.workspace.globs`) to leave out.
    """

    __slots__ = ("_always", "_rules")

    def __init__(self, extra: Sequence[str] = ()) -> None:
        self._always = Globs((*JUNK, *extra))
        self._rules: tuple[_Rule, ...] = ()

    def below(self, folder: bytes, gitignore: bytes) -> Ignored:
        """The rules inside ``folder`` (ends with a slash, or is empty), whose ``.gitignore`` holds these bytes."""
        found = [_parse(to_text(folder), to_text(line)) for line in gitignore.splitlines()]
        inner = copy(self)
        inner._rules += tuple(rule for rule in found if rule is not None)  # noqa: SLF001 - one of us
        return inner

    def ignored(self, path: bytes, *, folder: bool) -> bool:
        """Whether a new file, or folder, at ``path`` is left out."""
        text = to_text(path)
        if self._always.matches(text):
            return True
        for rule in reversed(self._rules):
            if (folder or not rule.folders_only) and rule.regex.fullmatch(text):
                return rule.ignored
        return False

    def within(self, path: bytes) -> bool:
        """Whether ``path``, or a folder above it, is never part of a tree (:data:`JUNK` and the extra globs)."""
        return self._always.covers(to_text(path))


def _parse(folder: str, line: str) -> _Rule | None:
    if not line.endswith("\\ "):
        line = line.rstrip(" \t\r")
    if not line or line.startswith("#"):
        return None
    ignored = not line.startswith("!")
    body = line if ignored else line[1:]
    folders_only = body.endswith("/")
    body = body.rstrip("/")
    if not body:
        return None
    anchored = "/" in body
    glob = body.lstrip("/") if anchored else f"**/{body}"
    return _Rule(re.compile(re.escape(folder) + glob_regex(glob), re.DOTALL), ignored, folders_only)
