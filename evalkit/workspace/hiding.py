"""Putting back what a proposer was not shown: its workspace has no hidden files, its tree must have them."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.workspace.database import ObjectDatabase
from evalkit.workspace.globs import Globs
from evalkit.workspace.paths import to_text
from evalkit.workspace.trees import build, leaves

__all__ = ["with_hidden"]


def with_hidden(database: ObjectDatabase, tree: str, base: str, hidden: Sequence[str]) -> str:
    """``tree`` plus the files of ``base`` that ``hidden`` matches and ``tree`` does not have.

    A file that stands at a hidden path in ``tree`` stays: it is the proposer's, and whether it may be there is for
    the scope check to say.

    Args:
        database: that holds both trees.
        tree: of a workspace that was materialised without the hidden files.
        base: the tree it was materialised from.
        hidden: globs.
    """
    globs = Globs(hidden)
    if not globs:
        return tree
    present = {leaf.path: leaf for leaf in leaves(database, tree)}
    missing = [leaf for leaf in leaves(database, base) if leaf.path not in present and globs.covers(to_text(leaf.path))]
    return build(database, [*present.values(), *missing]) if missing else tree
