"""Which files of the contract's folder a command names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

__all__ = ["is_file", "is_folder", "looks_like_script", "named_files", "program_file", "programs_of"]

_INTERPRETER = re.compile(r"(?:python|pypy)[0-9.]*|bash|sh|dash|zsh|node|deno|bun|ruby|perl|Rscript|julia|lua|php")
_TAKES_VALUE = {"-W", "-X", "--check-hash-based-pycs"}
_NO_FILE = {"-c", "-e", "-"}
_SCRIPTS = {".py", ".sh", ".bash", ".js", ".mjs", ".ts", ".rb", ".pl", ".r", ".jl", ".lua", ".php"}
_BETWEEN_WORDS = re.compile(r"""[\s=;&|<>()"']+""")


def program_file(argv: Sequence[str], root: Path) -> str | None:
    """The script that a command starts, as a path from ``root``; None where it starts none of that folder.

    Looks behind wrappers (``env A=1 python x.py``). The file need not exist, except for ``-m package.module``, which
    may as well be installed.
    """
    path = _program_path(argv, root)
    package = f"{path}/__main__.py"
    return package if path is not None and is_file(root / package) else path


def _program_path(argv: Sequence[str], root: Path) -> str | None:
    if "/" in argv[0] and not _is_interpreter(argv[0]):
        return _relative(argv[0], root)
    start = next((i for i, argument in enumerate(argv) if _is_interpreter(argument)), None)
    if start is not None:
        return _interpreted(argv[start + 1 :], root)
    script = next((argument for argument in argv[1:] if looks_like_script(argument)), None)
    return _relative(script, root) if script else None


def programs_of(argv: Sequence[str], root: Path) -> set[str]:
    """The script that a command starts, or, where that can't be told, every existing script that it names."""
    program = program_file(argv, root)
    return {program} if program else set(filter(looks_like_script, named_files(argv, root)))


def named_files(argv: Sequence[str], root: Path) -> Iterator[str]:
    """Every existing file below ``root`` that a command names, its script first; also the words of a shell's text."""
    program = program_file(argv, root)
    if program is not None and is_file(root / program):
        yield program
    for argument in argv:
        for word in dict.fromkeys((argument, *_BETWEEN_WORDS.split(argument))):
            path = _relative(word, root)
            if path is not None and path != program and is_file(root / path):
                yield path


def looks_like_script(path: str) -> bool:
    """Whether a name is a program's, by its ending."""
    return PurePosixPath(path).suffix.lower() in _SCRIPTS


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file system takes is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name that no file system takes is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _is_interpreter(argument: str) -> bool:
    return _INTERPRETER.fullmatch(PurePosixPath(argument).name) is not None


def _interpreted(arguments: Sequence[str], root: Path) -> str | None:
    """The script among an interpreter's arguments."""
    rest = iter(arguments)
    for argument in rest:
        if argument in _NO_FILE or argument.startswith("{"):
            return None
        if argument == "-m":
            return _module_file(next(rest, ""), root)
        if argument in _TAKES_VALUE:
            next(rest, None)
        elif not argument.startswith("-"):
            return _relative(argument, root)
    return None


def _module_file(module: str, root: Path) -> str | None:
    place = module.replace(".", "/")
    for path in (f"{place}.py", f"{place}/__main__.py"):
        if place and not place.startswith("/") and is_file(root / path):
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
