"""Unified diffs, read tolerantly: what git writes, what ``diff -u`` writes, and what is left when half is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["Hunk", "PatchChange", "PatchFile", "parse_patch"]

_HUNK = re.compile(r"@@+ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@+")
_ESCAPE = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(slots=True)
class Hunk:
    """One hunk.

    Attributes:
        old_start, new_start: line of the first old and new line, from 1.
        lines: each with its sign (``" "``, ``"+"``, ``"-"``) in front.
    """

    old_start: int
    new_start: int
    lines: list[str] = field(default_factory=list)

    def new_side(self) -> list[tuple[int, str, bool]]:
        """Number, text and whether it is added, of each line after the change."""
        return [(number, text, sign == "+") for number, text, sign in self._numbered(self.new_start, "+")]

    def old_side(self) -> list[tuple[int, str, bool]]:
        """Number, text and whether it is removed, of each line before the change."""
        return [(number, text, sign == "-") for number, text, sign in self._numbered(self.old_start, "-")]

    def _numbered(self, start: int, keep: str) -> Iterator[tuple[int, str, str]]:
        number = start
        for line in self.lines:
            if line[0] == " " or line[0] == keep:
                yield number, line[1:], line[0]
                number += 1


@dataclass(slots=True)
class PatchFile:
    """One file of a patch; fits :class:`evalkit.guarding.FileChangeLike`.

    Attributes:
        path: after the change (before it, where the file is deleted).
        status: ``added``, ``modified``, ``deleted``, ``mode`` or ``renamed``.
        old_path: before the change, where that differs.
        old_mode, new_mode: as git writes them, or the empty string.
        binary: whether the patch says that the file is binary.
        hunks: in their order.
    """

    path: str = ""
    status: str = "modified"
    old_path: str | None = None
    old_mode: str = ""
    new_mode: str = ""
    binary: bool = False
    hunks: list[Hunk] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PatchChange:
    """A change that is known only by its patch; fits :class:`evalkit.guarding.ChangeLike`."""

    files: tuple[PatchFile, ...]
    patch: str


def parse_patch(text: str) -> PatchChange:
    """Read a patch; what is no diff (mail headers, a commit message) is passed over.

    Counts in hunk headers are believed only as far as the lines bear them out, so a half patch gives half a change.
    """
    reader = _Reader()
    for line in text.split("\n"):
        reader.take(line.removesuffix("\r") if line[:1] not in {"+", "-", " "} else line)
    return PatchChange(tuple(_finished(reader.files)), text)


@dataclass(slots=True)
class _Reader:
    """The state between lines."""

    files: list[PatchFile] = field(default_factory=list)
    hunk: Hunk | None = None
    old_left: int = 0
    new_left: int = 0
    in_header: bool = False

    def take(self, line: str) -> None:
        """One line."""
        if self.hunk is not None and (self.old_left > 0 or self.new_left > 0) and self._hunk_line(line):
            return
        self.hunk = None
        if line.startswith("diff --git "):
            self._start(line)
        elif line.startswith("--- "):
            self._old_name(line[4:])
        elif line.startswith("+++ "):
            self._new_name(line[4:])
        elif line.startswith("@@"):
            self._start_hunk(line)
        elif self.in_header:
            _extended(self.files[-1], line)

    def _hunk_line(self, line: str) -> bool:
        sign = line[:1]
        if sign == "\\":
            return True
        if line == "":
            line, sign = " ", " "  # editors strip the blank of an empty context line
        if sign not in {" ", "+", "-"}:
            return False
        self.old_left -= sign != "+"
        self.new_left -= sign != "-"
        if self.hunk is not None:
            self.hunk.lines.append(line)
        return True

    def _start(self, line: str) -> None:
        self.files.append(PatchFile(*_git_names(line[len("diff --git ") :])))
        self.in_header = True

    def _old_name(self, name: str) -> None:
        path = _name(name)
        if not self.in_header:
            self.files.append(PatchFile())
        self.in_header = True
        if path is None:
            self.files[-1].status = "added"
        else:
            self.files[-1].old_path = path

    def _new_name(self, name: str) -> None:
        if not self.files:
            return
        path = _name(name)
        if path is None:
            self.files[-1].status = "deleted"
        else:
            self.files[-1].path = path

    def _start_hunk(self, line: str) -> None:
        match = _HUNK.match(line)
        if match is None or not self.files:
            return
        old, old_count, new, new_count = match.groups()
        self.hunk = Hunk(int(old), int(new))
        self.old_left = int(old_count) if old_count is not None else 1
        self.new_left = int(new_count) if new_count is not None else 1
        self.files[-1].hunks.append(self.hunk)
        self.in_header = False


def _extended(file: PatchFile, line: str) -> None:
    """One of git's header lines."""
    for prefix, attribute in (("old mode ", "old_mode"), ("new mode ", "new_mode")):
        if line.startswith(prefix):
            setattr(file, attribute, line[len(prefix) :].strip())
    if line.startswith("new file mode "):
        file.status, file.new_mode = "added", line[len("new file mode ") :].strip()
    elif line.startswith("deleted file mode "):
        file.status, file.old_mode = "deleted", line[len("deleted file mode ") :].strip()
    elif line.startswith(("rename from ", "copy from ")):
        file.old_path = _unquote(line.split(" from ", 1)[1])
        file.status = "renamed" if line.startswith("rename") else "added"
    elif line.startswith(("rename to ", "copy to ")):
        file.path = _unquote(line.split(" to ", 1)[1])
    elif line.startswith(("Binary files ", "GIT binary patch")):
        file.binary = True
    elif line.startswith("index ") and line.count(" ") == 2:  # noqa: PLR2004 - "index OLD..NEW MODE"
        file.old_mode = file.new_mode = line.rsplit(" ", 1)[1].strip()


def _finished(files: Iterable[PatchFile]) -> Iterator[PatchFile]:
    for file in files:
        if not file.path:
            file.path = file.old_path or ""
        if file.old_path == file.path:
            file.old_path = None
        mode_changed = bool(file.old_mode and file.new_mode and file.old_mode != file.new_mode)
        if file.status == "modified" and file.old_path and file.hunks == []:
            file.status = "renamed"
        if file.status == "modified" and mode_changed and not file.hunks and not file.binary:
            file.status = "mode"
        if file.path:
            yield file


def _git_names(rest: str) -> tuple[str, str, str | None]:
    """Path, status and old path of a ``diff --git`` line."""
    if rest.startswith('"'):
        parts = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', rest)
        names = [_strip(_unescape(a) if a else b) for a, b in parts]
    else:
        half = len(rest) // 2
        same = len(rest) % 2 == 1 and rest[half] == " " and rest[:half][2:] == rest[half + 1 :][2:]
        names = [rest[:half][2:]] * 2 if same else [_strip(part) for part in rest.rsplit(" ", 1)]
    old, new = names[0], names[-1]
    return new, "modified", old if old != new else None


def _name(raw: str) -> str | None:
    """The path of a ``---`` or ``+++`` line; None for ``/dev/null``."""
    name = _unquote(raw.split("\t", 1)[0].strip())
    return None if name == "/dev/null" else _strip(name)


def _strip(name: str) -> str:
    return name[2:] if name[:2] in {"a/", "b/", "i/", "w/", "c/", "o/"} else name


def _unquote(name: str) -> str:
    return _unescape(name[1:-1]) if len(name) > 1 and name[0] == name[-1] == '"' else name


def _unescape(text: str) -> str:
    """Undo git's quoting of unusual names: octal bytes and C escapes."""

    def one(match: re.Match[str]) -> str:
        code = match.group(1)
        return chr(int(code, 8) & 255) if len(code) == 3 else _NAMED.get(code, code)  # noqa: PLR2004

    return _ESCAPE.sub(one, text).encode("latin-1", "replace").decode("utf-8", "replace")
