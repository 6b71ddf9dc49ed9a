"""Globs below the contract's folder, for the few places where a guard holds a list of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["matches"]


def matches(path: str, globs: Iterable[str]) -> bool:
    """Whether a path fits one of the globs.

    ``*`` and ``?`` stay within one name, ``**`` spans folders, a trailing ``/`` stands for everything below.
    """
    return any(_compiled(glob).fullmatch(path) for glob in globs)


@lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    glob = glob.removeprefix("./")
    if glob.endswith("/"):
        glob += "**"
    pattern = ""
    for piece in re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", glob, re.DOTALL):
        if piece == "**/":
            pattern += "(?:[^/]+/)*"
        elif piece == "**":
            pattern += ".*"
        elif piece == "*":
            pattern += "[^/]*"
        elif piece == "?":
            pattern += "[^/]"
        elif len(piece) > 1:
            pattern += ("[^" if piece[1] == "!" else "[") + piece[1:].lstrip("!").replace("\\", r"\\")
        else:
            pattern += re.escape(piece)
    return re.compile(pattern, re.DOTALL)
