"""Walking trees: every file below a tree, one path in it, one folder replaced, and what no tree may hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from evalkit.errors import WorkspaceError
from evalkit.workspace.database import ObjectDatabase
from evalkit.workspace.objects import EXECUTABLE, FILE, LINK, TREE, Item, build_tree, object_id
from evalkit.workspace.paths import leads_outside, printable

__all__ = ["Caps", "Entry", "Leaf", "build", "check_links", "find", "leaves", "refuse", "replace_folder", "same_kind"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Caps:
    """What a tree may hold at most.

    Attributes:
        files: files and symlinks in all.
        file_bytes: bytes of one file.
        total_bytes: bytes of all files; of a snapshot, of those that changed.
        depth: folders inside folders.
    """

    files: int = 100_000
    file_bytes: int = 256 << 20
    total_bytes: int = 4 << 30
    depth: int = 128


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a tree.

    Attributes:
        mode: ``0o100644``, ``0o100755`` or ``0o120000`` (a symlink).
        blob: id of its bytes.
        size: how many bytes.
    """

    mode: int
    blob: str
    size: int

    @property
    def executable(self) -> bool:
        """Whether it may be run."""
        return self.mode == EXECUTABLE

    @property
    def symlink(self) -> bool:
        """Whether the bytes are the target of a symlink."""
        return self.mode == LINK


class Leaf(NamedTuple):
    """A file, symlink or submodule at its path."""

    path: bytes
    mode: int
    id: str


def leaves(database: ObjectDatabase, tree: str, prefix: bytes = b"", depth: int = 0) -> Iterator[Leaf]:
    """Everything below ``tree`` that is not a folder, depth first, in git's order.

    Raises:
        WorkspaceError: folders are nested deeper than :class:`Caps` allows.
    """
    if depth > Caps().depth:
        raise WorkspaceError(f"the folders at {printable(prefix)} are nested too deep", f"at most {Caps().depth} deep")
    for mode, name, id_ in database.tree(tree):
        if mode == TREE:
            yield from leaves(database, id_, prefix + name + b"/", depth + 1)
        else:
            yield Leaf(prefix + name, mode, id_)


def find(database: ObjectDatabase, tree: str, path: bytes) -> Item | None:
    """The item at ``path``, or None; ``b""`` is the tree itself."""
    found = Item(TREE, b"", tree)
    for part in path.split(b"/") if path else ():
        if found.mode != TREE:
            return None
        below = next((item for item in database.tree(found.id) if item.name == part), None)
        if below is None:
            return None
        found = below
    return found


def replace_folder(source: ObjectDatabase, target: ObjectDatabase, root: str, folder: bytes, tree: str) -> str:
    """The tree ``root`` with the folder at ``folder`` replaced by ``tree``; new trees are written to ``target``."""
    if not folder:
        return tree
    first, _, rest = folder.partition(b"/")
    items = source.tree(root)
    below = next((item for item in items if item.name == first), None)
    if rest and below is None:
        raise WorkspaceError(f"the folder {printable(folder)} is not in the commit", "commit it first")
    inner = replace_folder(source, target, below.id, rest, tree) if rest and below else tree
    return target.write_tree([*(item for item in items if item.name != first), Item(TREE, first, inner)])


def check_links(links: Mapping[bytes, bytes]) -> list[str]:
    """What is wrong with the symlinks of a tree (path to target), one sentence each."""
    return [
        f"{printable(path)} is a symlink to {printable(target)}, which leads out of the tree"
        for path, target in links.items()
        if leads_outside(path, links)
    ]


def build(database: ObjectDatabase, found: Iterable[Leaf]) -> str:
    """The tree that holds these files; written to ``database``.

    Raises:
        WorkspaceError: a path is a file and a folder at once.
    """
    root: dict[bytes, Any] = {}
    for leaf in found:
        *folders, name = leaf.path.split(b"/")
        at: Any = root
        for folder in folders:
            at = at.setdefault(folder, {})
            if isinstance(at, Leaf):
                raise _both(at.path)
        if name in at:
            raise _both(leaf.path)
        at[name] = leaf
    objects: dict[str, tuple[str, bytes]] = {}
    tree = _build(root, objects)
    database.store(objects)
    return tree


def _both(path: bytes) -> WorkspaceError:
    return WorkspaceError(f"{printable(path)} would be two things at once", "give one of them another name")


def _build(folder: Mapping[bytes, Any], objects: dict[str, tuple[str, bytes]]) -> str:
    items = [
        Item(below.mode, name, below.id) if isinstance(below, Leaf) else Item(TREE, name, _build(below, objects))
        for name, below in folder.items()
    ]
    data = build_tree(items)
    id_ = object_id("tree", data)
    objects[id_] = ("tree", data)
    return id_


def refuse(what: str, problems: list[str], way_out: str) -> None:
    """Raise a :class:`WorkspaceError` that lists the first problems, if there are any."""
    if not problems:
        return
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    raise WorkspaceError(f"{what}: {'; '.join(problems[:_SHOWN])}{more}", way_out)


def same_kind(old: int, new: int) -> bool:
    """Whether two modes mean the same to us: some old trees hold 100664."""
    regular = {FILE, 0o100664}
    return old == new or (old in regular and new in regular)
