"""Globs over the paths of a tree: which files a contract calls editable or hidden.

Paths are relative to the contract's folder and every pattern starts there: ``train.py`` is the one in that folder,
``**/train.py`` is any. ``*``, ``?`` and ``[...]`` stay within one component, ``**`` spans components, a name without
wildcards at the end (``src``) or a slash (``src/``) means everything below it, and ``!`` takes back what an earlier
pattern gave: the last pattern that matches decides, as in ``.gitignore``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.errors import WorkspaceError

__all__ = ["Globs", "glob_regex"]


class Globs:
    """An ordered set of patterns.

    Args:
        patterns: globs as described above.

    Raises:
        WorkspaceError: a pattern is empty, or leaves the folder.
    """

    __slots__ = ("_rules", "patterns")

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._rules = tuple(_rule(pattern) for pattern in patterns)

    def matches(self, path: str) -> bool:
        """Whether the patterns grant exactly this path."""
        for regex, granted in reversed(self._rules):
            if regex.fullmatch(path):
                return granted
        return False

    def covers(self, path: str) -> bool:
        """Whether the patterns match this path or a folder above it: for hiding, which must not miss anything."""
        end = path.find("/")
        while end != -1:
            if self.matches(path[:end]):
                return True
            end = path.find("/", end + 1)
        return self.matches(path)

    def __bool__(self) -> bool:
        return bool(self._rules)


def _rule(pattern: str) -> tuple[re.Pattern[str], bool]:
    granted = not pattern.startswith("!")
    body = pattern if granted else pattern[1:]
    body = body.removeprefix("./").removeprefix("/")
    if not body or "\0" in body or ".." in body.split("/"):
        raise WorkspaceError(
            f"{pattern!r} is not a pattern for paths in the tree",
            "patterns are relative to the contract's folder, such as 'train.py', 'src/**' or '!src/generated/**'",
        )
    below = "" if re.search(r"[*?\[]", body.rsplit("/", 1)[-1]) else "(?:/.*)?"
    if body.endswith("/"):
        body, below = body.rstrip("/"), "/.*"
    return re.compile(glob_regex(body) + below, re.DOTALL), granted


def glob_regex(glob: str) -> str:
    """A regular expression (for ``fullmatch``) for a glob without ``!`` and without a slash at either end."""
    parts = glob.split("/")
    out: list[str] = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            out.append(".+" if last else "(?:[^/]+/)*")
        else:
            out.append(_component(part) + ("" if last else "/"))
    return "".join(out)


def _component(part: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(part):
        char = part[at]
        if char == "*":
            while part[at : at + 1] == "*":
                at += 1
            out.append("[^/]*")
            continue
        if char == "?":
            out.append("[^/]")
        elif char == "[":
            at, piece = _char_class(part, at)
            out.append(piece)
        elif char == "\\" and at + 1 < len(part):
            at += 1
            out.append(re.escape(part[at]))
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)


def _char_class(part: str, at: int) -> tuple[int, str]:
    """The class that begins at ``part[at] == '['``: (index of its last character, regex)."""
    start = at + 1
    negated = part[start : start + 1] in {"!", "^"}
    start += negated
    end = part.find("]", start + 1)  # a ']' that comes first stands for itself
    if end == -1:
        return at, r"\["
    body = re.sub(r"([\\\[\]&~|^])", r"\\\1", part[start:end])
    return end, f"(?!/)[{'^' if negated else ''}{body}]"
