"""From a tree and a patch to a tree: strictly, in an index of its own, by ``git apply``."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from evalkit.errors import WorkspaceError
from evalkit.workspace.database import ObjectDatabase
from evalkit.workspace.disk import disk_errors
from evalkit.workspace.git import Ran, git
from evalkit.workspace.objects import EMPTY_TREE, LINK, SUBMODULE
from evalkit.workspace.paths import printable
from evalkit.workspace.trees import check_links, leaves, refuse

__all__ = ["apply_patch"]

_BINARY = re.compile(rb"^(GIT binary patch|Binary files .* differ)\r?$", re.MULTILINE)


def apply_patch(
    database: ObjectDatabase, scratch: Path, tree: str, patch: bytes, *, binary: bool = False, strip: int = 1
) -> str:
    """The tree that ``patch`` makes of ``tree``.

    Nothing is guessed: no fuzz, no other offset than git's own exact search, no whitespace forgiven.

    Args:
        database: where the tree is.
        scratch: a folder for the temporary index.
        tree: what the patch is against.
        patch: a unified or git diff.
        binary: whether binary hunks are taken.
        strip: leading components to remove from names (``-p``).

    Raises:
        WorkspaceError: it does not apply (names file and line), is empty, names files outside of the tree, holds
            binary hunks without leave, or adds a submodule or a symlink that leads out.
    """
    if not binary and _BINARY.search(patch):
        raise WorkspaceError("the patch holds binary hunks", "allow binary patches, or hand in the folder instead")
    with disk_errors("apply a patch"), tempfile.TemporaryDirectory(prefix="patch-", dir=scratch) as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        source = ["--empty"] if tree == EMPTY_TREE else [tree]
        _must(git(["read-tree", *source], git_dir=database.git_dir, extra=index))
        applied = git(
            ["apply", "--cached", "--whitespace=nowarn", f"-p{strip}", "-"],
            git_dir=database.git_dir,
            data=patch,
            extra=index,
        )
        if applied.code:
            raise _does_not_apply(applied)
        result = _must(git(["write-tree"], git_dir=database.git_dir, extra=index)).out.decode().strip()
    _check(database, result)
    return result


def _must(ran: Ran) -> Ran:
    if ran.code:
        raise WorkspaceError(f"the patch can't be applied: {ran.said}", "see whether the tree was imported")
    return ran


def _does_not_apply(ran: Ran) -> WorkspaceError:
    failed = re.search(r"^error: patch failed: (.*):(\d+)$", ran.err, re.MULTILINE)
    if failed:
        return WorkspaceError(
            f"the patch does not apply: its hunk at line {failed[2]} of {printable(failed[1])} finds other lines there",
            "make the patch against the tree that is the incumbent now",
        )
    return WorkspaceError(f"the patch does not apply: {ran.said}", "hand in a unified diff of files inside the tree")


def _check(database: ObjectDatabase, tree: str) -> None:
    found = list(leaves(database, tree))
    problems = [f"{printable(leaf.path)} is a submodule" for leaf in found if leaf.mode == SUBMODULE]
    links = [leaf for leaf in found if leaf.mode == LINK]
    targets = database.read_many([leaf.id for leaf in links], "blob")
    problems += check_links({leaf.path: target for leaf, target in zip(links, targets, strict=True)})
    refuse("the patch can't be taken", problems, "leave that out of the patch")
