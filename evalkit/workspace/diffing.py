"""From two trees to a change, by git's own diff on evalkit's own bare repository."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from evalkit.errors import InfrastructureError
from evalkit.workspace.change import Change, FileChange, Status
from evalkit.workspace.database import ObjectDatabase
from evalkit.workspace.git import git
from evalkit.workspace.lru import Lru
from evalkit.workspace.objects import TREE, Item
from evalkit.workspace.paths import fold, to_text

__all__ = ["PatchCache", "diff"]

PatchCache = Lru[tuple[str, str], bytes]

_STATUS: dict[bytes, Status] = {b"A": "added", b"M": "modified", b"T": "modified", b"D": "deleted", b"R": "renamed"}
_COMMAND = ("diff-tree", "-r", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index", "-M", "-l200")
_PATCH = ("--patch", "--binary", "-U3", "--src-prefix=a/", "--dst-prefix=b/", "--diff-algorithm=myers")


def diff(database: ObjectDatabase, old: str, new: str, patches: PatchCache) -> Change:
    """The change from tree ``old`` to tree ``new``."""
    if old == new:
        return Change(old, new)
    out = _run(database.git_dir, ["--raw", "--numstat", "-z", old, new])
    files = tuple(_files(database, out))
    collisions = tuple(_collisions(database, old, new, files))
    return Change(old, new, files, collisions, functools.partial(_patch, database.git_dir, old, new, patches))


def _run(git_dir: Path, arguments: list[str]) -> bytes:
    ran = git([*_COMMAND, *arguments], git_dir=git_dir)
    if ran.code:
        raise InfrastructureError(f"the trees can't be compared: {ran.said}", "import the revisions again")
    return ran.out


def _patch(git_dir: Path, old: str, new: str, patches: PatchCache) -> bytes:
    found = patches.get((old, new))
    if found is None:
        found = _run(git_dir, [*_PATCH, old, new])
        patches.put((old, new), found)
    return found


def _files(database: ObjectDatabase, out: bytes) -> Iterator[FileChange]:
    """Parse ``--raw --numstat -z``: every raw record, then every count, in the same order."""
    fields = iter(out.split(b"\0")[:-1])
    raw: list[tuple[list[bytes], bytes, bytes]] = []
    first_count = b""
    for head in fields:
        if not head.startswith(b":"):
            first_count = head
            break
        meta = head[1:].split(b" ")
        path = next(fields)
        raw.append((meta, path, next(fields) if meta[4][:1] == b"R" else path))
    sizes = database.sizes([meta[3].decode() for meta, _, _ in raw if meta[4] != b"D"])
    by_id = dict(zip((meta[3].decode() for meta, _, _ in raw if meta[4] != b"D"), sizes, strict=True))
    for (meta, old_path, path), count in zip(raw, _counts(first_count, fields), strict=True):
        yield _file_change(meta, old_path, path, count, by_id)


def _counts(first: bytes, rest: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    head: bytes | None = first
    while head:
        added, removed, path = head.split(b"\t", 2)
        if not path:  # a rename: both paths follow
            next(rest)
            next(rest)
        yield added, removed
        head = next(rest, None)


def _file_change(
    meta: list[bytes], old_path: bytes, path: bytes, count: tuple[bytes, bytes], sizes: dict[str, int]
) -> FileChange:
    old_mode, new_mode = int(meta[0], 8), int(meta[1], 8)
    old_blob, new_blob = meta[2].decode(), meta[3].decode()
    status = _STATUS[meta[4][:1]]
    if status == "modified" and old_blob == new_blob:
        status = "mode"
    binary = count[0] == b"-"
    return FileChange(
        path=to_text(path),
        status=status,
        old_path="" if status == "added" else to_text(old_path),
        old_mode=old_mode,
        new_mode=new_mode,
        old_blob="" if status == "added" else old_blob,
        new_blob="" if status == "deleted" else new_blob,
        added=0 if binary else int(count[0]),
        removed=0 if binary else int(count[1]),
        binary=binary,
        size=0 if status == "deleted" else sizes[new_blob],
    )


def _collisions(
    database: ObjectDatabase, old: str, new: str, files: tuple[FileChange, ...]
) -> Iterator[tuple[str, str]]:
    """Names in ``new``, absent from ``old``, that equal another name beside them but for case or Unicode form."""
    if any(file.status in {"added", "renamed"} for file in files):
        yield from _collide(database, old, new, "")


def _collide(database: ObjectDatabase, old: str, new: str, prefix: str) -> Iterator[tuple[str, str]]:
    before = {item.name: item for item in (database.tree(old) if old else ())}
    items = database.tree(new)
    by_fold: dict[str, list[Item]] = {}
    for item in items:
        by_fold.setdefault(fold(to_text(item.name)), []).append(item)
    for same in by_fold.values():
        if len(same) > 1:
            for item in same:
                if item.name not in before:
                    other = next(one for one in same if one is not item)
                    yield prefix + to_text(item.name), prefix + to_text(other.name)
    for item in items:
        was = before.get(item.name)
        if item.mode == TREE and (was is None or was.id != item.id):
            below = was.id if was is not None and was.mode == TREE else ""
            yield from _collide(database, below, item.id, f"{prefix}{to_text(item.name)}/")
