"""One changed file as the guards of source code see it: before, after, and which lines are new."""

from __future__ import annotations

import ast
import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from evalkit.guarding import Evidence
from guards.source.fragments import parse, parse_fragments
from guards.source.patch import Hunk, PatchFile, parse_patch
from guards.source.program import Program
from guards.text import decode, is_binary, is_python

__all__ = ["FileView", "views"]

MAX_FILE = 2 << 20
"""Bytes of a file beyond which its source is not looked at; the scope guard says that it is too large."""
_MAX_PATCH = 8 << 20


@dataclass(frozen=True)
class FileView:
    """A changed file.

    Attributes:
        path: after the change.
        status: as in the change.
        old, new: the whole text, or None where it is not known or there is none.
        hunks: of the patch, where it has them.
    """

    path: str
    status: str
    old: str | None
    new: str | None
    hunks: tuple[Hunk, ...] = ()

    @property
    def python(self) -> bool:
        """Whether it is Python source."""
        return is_python(self.path)

    @property
    def whole(self) -> bool:
        """Whether the whole text after the change is known."""
        return self.new is not None

    @cached_property
    def added(self) -> dict[int, str]:
        """Lines that the change adds, by their number."""
        if self.hunks:
            return {n: text for hunk in self.hunks for n, text, new in hunk.new_side() if new}
        return _new_lines(self.old or "", self.new or "")

    @cached_property
    def removed(self) -> list[tuple[int, str]]:
        """Lines that the change takes away, with their old number."""
        if self.hunks:
            return [(n, text) for hunk in self.hunks for n, text, gone in hunk.old_side() if gone]
        return sorted(_new_lines(self.new or "", self.old or "").items())

    @cached_property
    def text(self) -> str:
        """The text after the change, as far as it is known."""
        if self.new is not None:
            return self.new
        return "\n".join(text for hunk in self.hunks for _, text, _ in hunk.new_side())

    @cached_property
    def program(self) -> Program:
        """The tree after the change, as far as it is known."""
        if self.new is not None:
            return Program(parse(self.new))
        return Program(parse_fragments([[(n, t) for n, t, _ in hunk.new_side()] for hunk in self.hunks]))

    @cached_property
    def before(self) -> Program:
        """The tree before the change, as far as it is known."""
        if self.old is not None or not self.hunks:
            return Program(parse(self.old or ""))
        return Program(parse_fragments([[(n, t) for n, t, _ in hunk.old_side()] for hunk in self.hunks]))

    def touches(self, node: ast.AST) -> bool:
        """Whether the change adds one of a node's lines."""
        first = getattr(node, "lineno", None)
        if first is None:
            return False
        last = getattr(node, "end_lineno", None) or first
        if last - first > len(self.added):
            return any(first <= line <= last for line in self.added)
        return any(line in self.added for line in range(first, last + 1))

    def line(self, number: int) -> str:
        """One line after the change, or the empty string."""
        if number in self.added:
            return self.added[number]
        if self.new is not None:
            lines = self._lines
            return lines[number - 1] if 0 < number <= len(lines) else ""
        return ""

    @cached_property
    def _lines(self) -> list[str]:
        return (self.new or "").split("\n")


_last: tuple[Evidence, list[FileView]] | None = None


def views(evidence: Evidence) -> list[FileView]:
    """The changed files as text; binary files are left out.

    Several guards look at the same evidence, one after the other: the last answer is kept, so that each file is parsed
    once.
    """
    global _last  # noqa: PLW0603 - one slot, replaced whole
    if _last is None or _last[0] is not evidence:
        _last = (evidence, _views(evidence))
    return _last[1]


def _views(evidence: Evidence) -> list[FileView]:
    patched = _hunks(evidence)
    found: list[FileView] = []
    for file in evidence.change.files:
        hunks = tuple(patched[file.path].hunks) if file.path in patched else ()
        raw_new = b"" if file.status == "deleted" else evidence.read_new(file.path)
        raw_old = evidence.read_old(getattr(file, "old_path", None) or file.path)
        if len(raw_new) > MAX_FILE or (is_binary(raw_new) and not is_python(file.path)):
            continue
        new = decode(raw_new, cap=MAX_FILE).text if raw_new else None
        old = decode(raw_old, cap=MAX_FILE).text if raw_old else None
        if new is None and file.status == "added" and hunks:
            new = "\n".join(text for hunk in hunks for _, text, _ in hunk.new_side())
        found.append(FileView(file.path, file.status, old, new, hunks))
    return found


def _hunks(evidence: Evidence) -> dict[str, PatchFile]:
    files: Iterable[object] = evidence.change.files
    ready = [file for file in files if isinstance(file, PatchFile)]
    if not ready and len(patch := evidence.change.patch) <= _MAX_PATCH:
        ready = list(parse_patch(patch).files)
    return {file.path: file for file in ready}


def _new_lines(old: str, new: str) -> dict[int, str]:
    """Lines of ``new`` that are not in ``old``; exact up to 5,000 lines, by content beyond."""
    before, after = old.split("\n") if old else [], new.split("\n") if new else []
    if len(before) + len(after) > 5_000:  # noqa: PLR2004 - difflib is quadratic
        left = Counter(before)
        found = {}
        for number, line in enumerate(after, 1):
            if left[line] > 0:
                left[line] -= 1
            else:
                found[number] = line
        return found
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=True)
    return {
        at + 1: after[at]
        for tag, _, _, start, end in matcher.get_opcodes()
        if tag in {"insert", "replace"}
        for at in range(start, end)
    }
