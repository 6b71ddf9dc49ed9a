"""A change as coloured lines, cut where it is too long to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from evalkit.errors import EvalkitError
from evalkit.report.page_text import cut, visible

if TYPE_CHECKING:
    from evalkit.workspace import Store

__all__ = ["Block", "Diff", "read_diff"]

_MAX_LINES = 240
_MAX_LINE = 300
_MAX_FILES = 20
_READ_AHEAD = 4
_QUIET = ("index ", "--- ", "+++ ")
_SIGNS = {"+": "add", "-": "cut", "\\": "note"}


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring lines of one kind: ``file``, ``hunk``, ``add``, ``cut``, ``same`` or ``note``."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Diff:
    """A change for reading.

    Attributes:
        files: path, lines added and lines removed of each, the first twenty.
        more_files: how many further ones there are.
        blocks: the diff, in order.
        left_out: lines that were left out.
        problem: why there is nothing to show, or the empty string.
        size: bytes of the blocks on the page.
    """

    files: tuple[tuple[str, int, int], ...] = ()
    more_files: int = 0
    blocks: tuple[Block, ...] = ()
    left_out: int = 0
    problem: str = ""
    size: int = 0


def read_diff(store: Store, old: str, new: str, limit: int) -> Diff:
    """The diff from tree ``old`` to tree ``new``.

    Args:
        store: that holds both.
        old: tree id.
        new: tree id.
        limit: bytes at most that it may take on the page.
    """
    try:
        change = store.diff(old, new)
        patch = change.patch
    except (EvalkitError, OSError) as error:
        return Diff(problem=visible(cut(str(error), 300)))
    files = tuple((visible(cut(file.path, 120)), file.added, file.removed) for file in change.files[:_MAX_FILES])
    lines = patch[: _READ_AHEAD * limit].split("\n")
    if lines and not lines[-1]:
        lines.pop()
    kept, read = _within(lines, limit)
    blocks = tuple(
        Block(kind, "\n".join(text for _, text in group)) for kind, group in groupby(kept, key=lambda line: line[0])
    )
    size = sum(_cost(block.text) for block in blocks)
    return Diff(files, len(change.files) - len(files), blocks, max(0, patch.count("\n") - read), size=size)


def _cost(text: str) -> int:
    """Bytes of a line on the page: a hostile one consists of what escaping makes five times longer."""
    return len(escape(text).encode("utf-8", "replace")) + 1


def _within(lines: list[str], limit: int) -> tuple[list[tuple[str, str]], int]:
    """The lines to show, and how many lines of the patch they stand for."""
    kept: list[tuple[str, str]] = []
    for number, kind, text in _lines(lines):
        limit -= _cost(text)
        if limit < 0 or len(kept) >= _MAX_LINES:
            return kept, number
        kept.append((kind, text))
    return kept, len(lines)


def _lines(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    """Number, kind and text of every line that says something.

    Inside a hunk every line begins with a sign, so a candidate's text can't be taken for a header.
    """
    header = literal = False
    for number, line in enumerate(lines):
        if line.startswith("diff --git "):
            header, literal = True, False
            yield number, "file", _file(line.removeprefix("diff --git "))
        elif header and line.startswith("GIT binary patch"):
            header, literal = False, True
            yield number, "note", "binary; its bytes are in the store"
        elif line.startswith("@@") and not literal:
            header = False
            yield number, "hunk", _shown(line)
        elif header and not line.startswith(_QUIET):
            yield number, "note", _shown(line)
        elif not (header or literal):
            yield number, _SIGNS.get(line[:1], "same"), _shown(line)


def _file(names: str) -> str:
    """Both names, or the one where they are the same."""
    half = len(names) // 2
    same = names[:2] == "a/" and names[half : half + 3] == " b/" and names[2:half] == names[half + 3 :]
    return _shown(names[2:half] if same else names)


def _shown(line: str) -> str:
    return visible(line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}… ({len(line) - _MAX_LINE} more)")
