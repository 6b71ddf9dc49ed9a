"""Whether a change stays within what the contract calls editable. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit.workspace.change import Change, FileChange
from evalkit.workspace.globs import Globs
from evalkit.workspace.objects import EXECUTABLE, FILE, LINK, SUBMODULE
from evalkit.workspace.paths import name_problem, printable, to_bytes

__all__ = ["Violation", "out_of_scope"]

_REGULAR = frozenset({0, FILE, EXECUTABLE, 0o100664})
_DID = {"added": "was added", "modified": "was changed", "deleted": "was deleted", "mode": "got another mode"}


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that a change may not do.

    Attributes:
        path: the file.
        why: one sentence without the path.
    """

    path: str
    why: str

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.why}"


def out_of_scope(change: Change, editable: Sequence[str]) -> tuple[Violation, ...]:
    """What in ``change`` goes beyond ``editable``.

    Args:
        change: the difference to judge.
        editable: globs (:mod:`evalkit.workspace.globs`); none grants nothing.

    Returns:
        Every violation, in the order of the change; none where the change is in scope.

    Raises:
        WorkspaceError: a glob is malformed.
    """
    granted = Globs(editable)
    found = [violation for file in change.files for violation in _judge(file, granted)]
    found.extend(
        Violation(path, f"some file systems can't tell this name from {printable(other)!r} beside it")
        for path, other in change.collisions
    )
    return tuple(found)


def _judge(file: FileChange, granted: Globs) -> Iterator[Violation]:
    renamed = file.status == "renamed"
    if renamed and not granted.matches(file.old_path):
        yield Violation(file.old_path, f"it is not editable and was renamed to {printable(file.path)!r}")
    if not granted.matches(file.path):
        did = f"was renamed from {printable(file.old_path)!r}" if renamed else _DID[file.status]
        yield Violation(file.path, f"it is not editable and {did}")
    for problem in dict.fromkeys(name_problem(part) for part in to_bytes(file.path).split(b"/")):
        if problem:
            yield Violation(file.path, f"its path {problem}")
    if file.new_mode not in _REGULAR:
        yield Violation(file.path, _kind(file.new_mode))
    elif file.old_mode not in _REGULAR:
        yield Violation(file.path, f"it was something else before: {_kind(file.old_mode)}")


def _kind(mode: int) -> str:
    if mode == LINK:
        return "it is a symlink; a change may hold regular files only"
    if mode == SUBMODULE:
        return "it is a submodule; a change may hold regular files only"
    return f"it has the mode {mode:06o}; a change may hold regular files only"
