"""The noun that guards, verifier and report share: what a candidate changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Change", "FileChange", "Status"]

Status = Literal["added", "modified", "deleted", "mode", "renamed"]


@dataclass(frozen=True, slots=True)
class FileChange:
    """One changed file.

    Attributes:
        path: its path in the new tree (in the old one where it was deleted).
        status: ``mode`` means that only the executable bit changed; ``renamed`` that it came from ``old_path``,
            perhaps with changes.
        old_path: its path in the old tree; ``""`` where it was added.
        old_mode: as git writes it (``0o100644``, ``0o100755``, ``0o120000``); 0 where it was added.
        new_mode: the same in the new tree; 0 where it was deleted.
        old_blob: id of its bytes in the old tree; ``""`` where it was added.
        new_blob: the same in the new tree; ``""`` where it was deleted.
        added: lines that are new; 0 for binary files.
        removed: lines that are gone; 0 for binary files.
        binary: whether either side holds bytes that git takes for binary.
        size: bytes in the new tree; 0 where it was deleted.
    """

    path: str
    status: Status
    old_path: str = ""
    old_mode: int = 0
    new_mode: int = 0
    old_blob: str = ""
    new_blob: str = ""
    added: int = 0
    removed: int = 0
    binary: bool = False
    size: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; modes as octal text."""
        return {
            "path": self.path,
            "status": self.status,
            "old_path": self.old_path,
            "old_mode": f"{self.old_mode:06o}",
            "new_mode": f"{self.new_mode:06o}",
            "old_blob": self.old_blob,
            "new_blob": self.new_blob,
            "added": self.added,
            "removed": self.removed,
            "binary": self.binary,
            "size": self.size,
        }


def _no_patch() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Change:
    """The difference between two trees.

    Attributes:
        old: tree id.
        new: tree id.
        files: what changed, in the order of paths.
        collisions: pairs of a path that is new and one beside it that some file systems can't tell from it, because
            they ignore case or the Unicode form.
    """

    old: str
    new: str
    files: tuple[FileChange, ...] = ()
    collisions: tuple[tuple[str, str], ...] = ()
    _load: Callable[[], bytes] = field(default=_no_patch, repr=False, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether both trees are the same."""
        return self.old == self.new

    @property
    def patch_bytes(self) -> bytes:
        """The unified diff with binary hunks, made when asked for; ``git apply`` takes it."""
        return self._load()

    @property
    def patch(self) -> str:
        """The unified diff as text; bytes that are not UTF-8 come back with ``surrogateescape``."""
        return self._load().decode("utf-8", "surrogateescape")

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that is touched, on either side."""
        both = (path for file in self.files for path in (file.old_path, file.path) if path)
        return tuple(dict.fromkeys(both))

    @property
    def added(self) -> int:
        """Lines that are new."""
        return sum(file.added for file in self.files)

    @property
    def removed(self) -> int:
        """Lines that are gone."""
        return sum(file.removed for file in self.files)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, without the patch."""
        return {
            "old": self.old,
            "new": self.new,
            "files": [file.as_json() for file in self.files],
            "collisions": [list(pair) for pair in self.collisions],
        }
