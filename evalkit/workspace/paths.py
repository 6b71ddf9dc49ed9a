"""Names inside a tree: bytes to text and back, which names a tree may hold, and where symlinks lead.

A path in a tree is bytes. Outside this room it is ``str``: UTF-8 with ``surrogateescape``, so that any byte comes back
unchanged. :func:`printable` makes it safe to show.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

from evalkit.errors import WorkspaceError

__all__ = ["MAX_NAME", "fold", "leads_outside", "name_problem", "printable", "relative_folder", "to_bytes", "to_text"]

MAX_NAME = 255
"""Bytes in one component of a path; what Linux file systems allow."""

_MAX_LINKS = 40  # the kernel's own limit (path_resolution(7))
_PRINTED = 200

# Code points that HFS+ leaves out when it compares names: ".g\u200cit" is ".git" there (CVE-2014-9390).
_HFS_IGNORED = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF],
)


def to_text(path: bytes) -> str:
    """The path as text; bytes that are not UTF-8 become lone surrogates and survive the way back."""
    return path.decode("utf-8", "surrogateescape")


def to_bytes(path: str) -> bytes:
    """The inverse of :func:`to_text`."""
    return path.encode("utf-8", "surrogateescape")


def printable(path: str | bytes) -> str:
    """The path for a person: control characters and bytes that are not UTF-8 are escaped, long names shortened."""
    text = to_text(path) if isinstance(path, bytes) else path
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return shown if len(shown) <= _PRINTED else f"{shown[: _PRINTED // 2]}…{shown[-_PRINTED // 2 :]}"


def fold(name: str) -> str:
    """What the name looks like to a file system that ignores case and Unicode form (APFS, NTFS)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def name_problem(name: bytes) -> str:
    """Why ``name`` may not be one component of a path in a tree; the empty string where it may."""
    if not name:
        return "has an empty name"
    if name in {b".", b".."} or b"/" in name or b"\0" in name:
        return "leaves the tree"
    if len(name) > MAX_NAME:
        return f"has a name of more than {MAX_NAME} bytes"
    if _is_dot_git(name):
        return "would be git's own folder"
    return ""


def _is_dot_git(name: bytes) -> bool:
    if name.isascii() and b"git" not in name.lower():
        return False
    text = to_text(name).translate(_HFS_IGNORED).casefold()
    stem = text.split(":", 1)[0].rstrip(". ")  # NTFS: streams, trailing dots and spaces
    return stem in {".git", "git~1"}


def relative_folder(folder: str) -> str:
    """``folder`` as a clean relative path, ``""`` for the root.

    Raises:
        WorkspaceError: it is absolute or climbs out.
    """
    pure = PurePosixPath(folder)
    if pure.is_absolute() or ".." in pure.parts or "\0" in folder:
        raise WorkspaceError(
            f"the folder {printable(folder)!r} is not below the repository",
            "give a path relative to the top of the repository, without '..'",
        )
    return "" if pure == PurePosixPath() else str(pure)


def leads_outside(link: bytes, links: Mapping[bytes, bytes]) -> bool:
    """Whether the symlink at path ``link`` can lead out of the tree, or in circles.

    Links on the way are followed as the kernel would: ``a/..`` is not always where ``a`` stands. A link to nothing
    inside the tree is harmless.

    Args:
        link: path of the link in the tree.
        links: every symlink of the tree, path to target.
    """
    todo = link.split(b"/")[::-1]
    done: list[bytes] = []
    followed = 0
    while todo:
        part = todo.pop()
        if part in {b"", b"."}:
            continue
        if part == b"..":
            if not done:
                return True
            done.pop()
            continue
        done.append(part)
        target = links.get(b"/".join(done))
        if target is None:
            continue
        followed += 1
        if followed > _MAX_LINKS or target.startswith(b"/") or not target:
            return True
        done.pop()
        todo.extend(reversed(target.split(b"/")))
    return False
