"""Which files of the contract's folder a command names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

__all__ = ["looks_like_script", "named_files", "program_file"]

_INTERPRETER = re.compile(r"(?:python|pypy)[0-9.]*|bash|sh|dash|zsh|node|deno|bun|ruby|perl|Rscript|julia|lua|php")
_TAKES_VALUE = {"-W", "-X", "--check-hash-based-pycs"}
_STANDALONE = {"-c", "-e", "-"}
_SCRIPTS = {".py", ".sh", ".bash", ".js", ".mjs", ".ts", ".rb", ".pl", ".r", ".jl", ".lua", ".php"}


def program_file(argv: Sequence[str], root: Path) -> str | None:
    """The script that a command starts, as a path from ``root``; None where it starts none of that folder.

    The file need not exist, except for ``-m package.module``, which may as well be installed.
    """
    program = argv[0]
    if not _INTERPRETER.fullmatch(PurePosixPath(program).name):
        own = "/" in program and not program.startswith("/")
        return _relative(program, root) if own else None
    rest = iter(argv[1:])
    for argument in rest:
        if argument in _STANDALONE or argument.startswith("{"):
            return None
        if argument == "-m":
            return _module_file(next(rest, ""), root)
        if argument in _TAKES_VALUE:
            next(rest, None)
        elif not argument.startswith("-"):
            return _relative(argument, root)
    return None


def named_files(argv: Sequence[str], root: Path) -> Iterator[str]:
    """Every existing file below ``root`` that a command names, its script first."""
    program = program_file(argv, root)
    if program is not None and (root / program).is_file():
        yield program
    for argument in argv[1:]:
        path = _relative(argument.rpartition("=")[2], root)
        if path is not None and path != program and _is_file(root / path):
            yield path


def looks_like_script(path: str) -> bool:
    """Whether a name is a program's, by its ending."""
    return PurePosixPath(path).suffix.lower() in _SCRIPTS


def _module_file(module: str, root: Path) -> str | None:
    place = module.replace(".", "/")
    for path in (f"{place}.py", f"{place}/__main__.py"):
        if place and (root / path).is_file():
            return path
    return None


def _relative(argument: str, root: Path) -> str | None:
    """A path from the folder in its plain form; None for what can't be one."""
    if not argument or "\0" in argument or "{" in argument:
        return None
    path = PurePosixPath(argument)
    if path.is_absolute():
        if not path.is_relative_to(root):
            return None
        path = path.relative_to(root)
    return str(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
