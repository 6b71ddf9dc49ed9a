"""git's objects as bytes: names, trees, packs. Pure; nothing here touches a disk.

Formats: gitformat-pack(5) for the pack stream, git-mktree(1) and ``tree.c`` of git for the order inside a tree.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from evalkit.errors import WorkspaceError
from evalkit.workspace.paths import name_problem, printable

__all__ = [
    "EMPTY_TREE",
    "EXECUTABLE",
    "FILE",
    "LINK",
    "SUBMODULE",
    "TREE",
    "Item",
    "build_pack",
    "build_tree",
    "object_id",
    "parse_tree",
]

FILE = 0o100644
EXECUTABLE = 0o100755
LINK = 0o120000
SUBMODULE = 0o160000
TREE = 0o040000
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

_ID_BYTES = 20
_PACK_KIND = {"commit": 1, "tree": 2, "blob": 3}
_KNOWN_MODES = frozenset({FILE, EXECUTABLE, LINK, SUBMODULE, TREE, 0o100664})


class Item(NamedTuple):
    """One line of a tree."""

    mode: int
    name: bytes
    id: str


def object_id(kind: str, data: bytes) -> str:
    """The SHA-1 name of an object, 40 hex digits."""
    return hashlib.sha1(b"%s %d\0%s" % (kind.encode(), len(data), data), usedforsecurity=False).hexdigest()


def _order(item: Item) -> bytes:
    return item.name + b"/" if item.mode == TREE else item.name


def build_tree(items: Iterable[Item]) -> bytes:
    """The bytes of a tree object, its items in git's order."""
    ordered = sorted(items, key=_order)
    return b"".join(b"%o %s\0%s" % (item.mode, item.name, bytes.fromhex(item.id)) for item in ordered)


def parse_tree(data: bytes) -> tuple[Item, ...]:
    """The items of a tree object, strictly.

    Raises:
        WorkspaceError: it is cut short, holds a name that leaves the tree or stands twice, or an unknown kind of entry.
    """
    items: list[Item] = []
    seen: set[bytes] = set()
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        zero = data.find(b"\0", space)
        if space == -1 or zero == -1 or zero + 1 + _ID_BYTES > len(data):
            raise WorkspaceError("a tree object in the repository is damaged", "run: git fsck")
        name = data[space + 1 : zero]
        mode = _mode(data[at:space], name)
        at = zero + 1 + _ID_BYTES
        problem = name_problem(name) or ("stands twice in its folder" if name in seen else "")
        if problem:
            raise WorkspaceError(f"the tree holds {printable(name)!r}, which {problem}", "remove that entry")
        seen.add(name)
        items.append(Item(mode, name, data[zero + 1 : at].hex()))
    return tuple(items)


def _mode(digits: bytes, name: bytes) -> int:
    mode = int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else 0
    if mode not in _KNOWN_MODES:
        raise WorkspaceError(
            f"the tree holds {printable(name)!r} with the unknown mode {printable(digits)}", "remove that entry"
        )
    return mode


def build_pack(objects: Iterable[tuple[str, bytes]]) -> bytes:
    """A pack stream (version 2, no deltas) of (kind, data), for ``git index-pack --stdin`` and ``unpack-objects``."""
    entries = [_pack_entry(kind, data) for kind, data in objects]
    body = b"PACK" + struct.pack(">II", 2, len(entries)) + b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _pack_entry(kind: str, data: bytes) -> bytes:
    size = len(data)
    byte = _PACK_KIND[kind] << 4 | size & 0x0F
    size >>= 4
    head = bytearray()
    while size:
        head.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    head.append(byte)
    return bytes(head) + zlib.compress(data, 1)
