"""Changes out of someone's repository, read with plumbing that honours none of its configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.workspace.git import git
from guards.source.patch import PatchChange, parse_patch

__all__ = ["commits", "difference"]

_CONTEXT = 40
"""Unchanged lines around each hunk: what a rule needs to see of a loop or a function."""
_MAX_BLOB = 8 << 20
_PLAIN = (
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--find-renames",
    "--full-index",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)
_MARK = "\x1e"
_RANGE = re.compile(r"[^.\s-][^\s]*?\.{2,3}[^.\s]\S*|[^.\s-]\S*")


def commits(folder: Path, span: str) -> Iterator[tuple[str, str, bytes]]:
    """Every commit of a range, oldest first.

    Args:
        folder: inside the checkout.
        span: ``A..B``.

    Yields:
        Its id, its subject and its patch against its first parent.

    Raises:
        UsageError: the range can't be read.
    """
    layout = f"--format={_MARK}%H%x09%s"
    arguments = [
        "log",
        "--reverse",
        "-m",
        "--first-parent",
        "-p",
        f"-U{_CONTEXT}",
        *_PLAIN,
        layout,
        _checked(span),
        "--",
    ]
    ran = git(arguments, folder=folder)
    if ran.code:
        raise UsageError(
            f"{span!r} can't be read here: {ran.said}", "give a range such as main..HEAD inside a git checkout"
        )
    for part in ran.out.split(b"\n" + _MARK.encode()) if ran.out else ():
        head, _, patch = part.removeprefix(_MARK.encode()).partition(b"\n")
        sha, _, subject = head.decode("utf-8", "replace").partition("\t")
        yield sha, subject, patch


def difference(folder: Path, span: str) -> tuple[PatchChange, Callable[[str], bytes], Callable[[str], bytes]]:
    """The net change of a range, with readers of both sides.

    Raises:
        UsageError: the range can't be read.
    """
    base, sign, head = _checked(span).partition("..")
    head = head.lstrip(".") or "HEAD"
    old, new = _commit(folder, base), _commit(folder, head)
    if sign and "..." in span:
        merged = git(["merge-base", old, new], folder=folder)
        old = merged.out.decode().strip() or old
    ran = git(["diff", f"-U{_CONTEXT}", *_PLAIN, old, new, "--"], folder=folder)
    if ran.code:
        raise UsageError(f"{span!r} can't be compared: {ran.said}")
    return parse_patch(ran.out.decode("utf-8", "replace")), _reader(folder, old), _reader(folder, new)


def _commit(folder: Path, revision: str) -> str:
    ran = git(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"], folder=folder)
    if ran.code:
        raise UsageError(f"{revision!r} is no commit here", "give a range such as main..HEAD inside a git checkout")
    return ran.out.decode().strip()


def _reader(folder: Path, commit: str) -> Callable[[str], bytes]:
    def read(path: str) -> bytes:
        ran = git(["cat-file", "blob", f"{commit}:{path}"], folder=folder)
        return ran.out[:_MAX_BLOB] if ran.code == 0 else b""

    return read


def _checked(span: str) -> str:
    if not _RANGE.fullmatch(span):
        raise UsageError(f"{span!r} is no range of commits", "give a range such as main..HEAD")
    return span
