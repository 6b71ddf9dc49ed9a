"""A corpus of changes as small text files: base programs, and edits to them with a name and a mechanism.

A file holds blocks; a block begins with ``=== name`` and holds sections that begin with ``--- path#how``:

- ``path#=``: the file's whole text; ``path#delete``: the file is gone;
- ``path#anchor``: text in front of the line ``# <anchor>`` of the base's file, which is indented already;
- ``path#replace``: the text before a line ``=>`` is replaced by the text after it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import DataError

__all__ = ["Edited", "load_corpus", "read_base"]


@dataclass(frozen=True, slots=True)
class Edited:
    """One change of the corpus.

    Attributes:
        name: ``file/block``.
        group: the file's name without its ending, such as ``04_timers``.
        before: the base's files that the change touches.
        after: the same after the change; None where a file is gone.
    """

    name: str
    group: str
    before: Mapping[str, str]
    after: Mapping[str, str | None]

    @property
    def mechanism(self) -> int:
        """The number that the group's name begins with; 0 where there is none."""
        head = self.group.split("_")[0]
        return int(head) if head.isdigit() else 0

    @property
    def patch(self) -> str:
        """The change as git writes it."""
        return "".join(_diff(path, self.before.get(path), self.after[path]) for path in sorted(self.after))


def read_base(folder: Path) -> dict[str, str]:
    """The files of a base, by name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()) if path.is_file()}


def load_corpus(folder: Path, base: Mapping[str, str]) -> Iterator[Edited]:
    """Every change of a folder's ``*.txt`` files.

    Raises:
        DataError: a block can't be applied to the base.
    """
    for file in sorted(folder.glob("*.txt")):
        for block in ("\n" + file.read_text(encoding="utf-8")).split("\n=== ")[1:]:
            name, _, rest = block.partition("\n")
            yield _edited(f"{file.stem}/{name.strip()}", file.stem, rest, base)


def _edited(name: str, group: str, text: str, base: Mapping[str, str]) -> Edited:
    after: dict[str, str | None] = {}
    for section in ("\n" + text).split("\n--- ")[1:]:
        head, _, body = section.partition("\n")
        path, _, how = head.strip().partition("#")
        before = after.get(path, base.get(path))
        after[path] = _apply(name, before, how, body)
    if not after:
        raise DataError(f"{name} changes nothing")
    return Edited(name, group, {path: base[path] for path in after if path in base}, after)


def _apply(name: str, before: str | None, how: str, body: str) -> str | None:
    if how == "delete":
        return None
    if how == "=":
        return body.rstrip("\n") + "\n"
    if before is None:
        raise DataError(f"{name}: there is no such file in the base")
    if how == "replace":
        old, _, new = body.partition("\n=>\n" if "\n=>\n" in body else "\n=>")
        new = new.removesuffix("\n") if new.endswith("\n") else new
        if old not in before:
            raise DataError(f"{name}: {old[:60]!r} is not in the base")
        return before.replace(old, new, 1)
    mark = f"# <{how}>\n"
    at = before.find(mark)
    if at < 0:
        raise DataError(f"{name}: the base has no anchor {how!r}")
    start = before.rfind("\n", 0, at) + 1
    return before[:start] + body.rstrip("\n") + "\n" + before[start:]


def _diff(path: str, before: str | None, after: str | None) -> str:
    old, new = (before or "").splitlines(keepends=True), (after or "").splitlines(keepends=True)
    head = f"diff --git a/{path} b/{path}\n"
    if before is None:
        head += "new file mode 100644\n"
    elif after is None:
        head += "deleted file mode 100644\n"
    source = f"a/{path}" if before is not None else "/dev/null"
    target = f"b/{path}" if after is not None else "/dev/null"
    return head + "".join(difflib.unified_diff(old, new, source, target))
