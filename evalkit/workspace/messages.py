"""The bytes of a commit: message, trailers, people. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.errors import WorkspaceError

__all__ = ["AUTHOR", "build_commit", "build_message", "header_of"]

AUTHOR = "evalkit <evalkit@localhost>"

_TRAILER = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_PERSON = re.compile(r"[^<>\n\0]+ <[^<>\n\0]*>")


def build_message(subject: str, body: str, trailers: Sequence[tuple[str, str]]) -> str:
    """Subject, body and trailers, each in its paragraph; nothing in them can pass for more than it is.

    Raises:
        WorkspaceError: a trailer's name is malformed.
    """
    parts = [_line(subject) or "Keep a verified change"]
    if text := "\n".join(_line(line) for line in body.splitlines()).strip("\n"):
        parts.append(text)
    for name, _value in trailers:
        if not _TRAILER.fullmatch(name):
            raise WorkspaceError(f"{name!r} can't be the name of a trailer", "use letters, digits and hyphens")
    if trailers:
        parts.append("\n".join(f"{name}: {_line(value)}" for name, value in trailers))
    return "\n\n".join(parts) + "\n"


def _line(text: str) -> str:
    """One line without control characters; unprintable bytes are escaped."""
    spaced = "".join(" " if char in "\t\n\r\v\f\x85\u2028\u2029" else char for char in text)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in spaced).strip()


def build_commit(tree: str, parent: str, when: int, message: str, author: str) -> bytes:
    """The bytes of a commit object; dates before 1970, which git does not know, become 1970.

    Raises:
        WorkspaceError: ``author`` is not ``name <address>``.
    """
    if not _PERSON.fullmatch(author):
        raise WorkspaceError(f"{author!r} can't be an author", "write: name <address>")
    stamp = f"{author} {max(0, when)} +0000"
    head = f"tree {tree}\nparent {parent}\nauthor {stamp}\ncommitter {stamp}\n\n"
    return (head + message).encode("utf-8", "backslashreplace")


def header_of(commit: bytes, name: bytes) -> str:
    """The first value of a header of a commit, such as ``tree``."""
    head = commit.partition(b"\n\n")[0]
    return next(line[len(name) + 1 :].decode() for line in head.split(b"\n") if line.startswith(name + b" "))
