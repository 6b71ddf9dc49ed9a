"""The git command with nothing around it: no one's configuration, hooks, filters, prompts or network.

Every call starts from an empty environment. What a repository's own configuration could still switch on is switched
off on the command line, where it wins. Only plumbing that starts no other program is used.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from evalkit.errors import InfrastructureError, WorkspaceError

__all__ = ["GIT", "Ran", "check_git", "environment", "git"]

_OLDEST = (2, 32)  # the first that can be told to read no global configuration
_TIMEOUT = 300.0

GIT: tuple[str, ...] = (
    "git",
    "--no-pager",
    "--no-replace-objects",
    "--literal-pathspecs",
    *(
        argument
        for setting in (
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.untrackedCache=false",
            "core.attributesFile=/dev/null",
            "core.quotePath=false",
            "core.fsync=committed,reference",
            "core.alternateRefsCommand=true",
            "protocol.allow=never",  # a partial clone must not start fetching
            "protocol.file.allow=never",
            "protocol.ext.allow=never",
            "gc.auto=0",
            "maintenance.auto=false",
            "submodule.recurse=false",
            "safe.directory=*",  # nothing that the owner of a repository could configure is run
        )
        for argument in ("-c", setting)
    ),
)
"""How every git command begins."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a git command left."""

    code: int
    out: bytes
    err: str

    @property
    def said(self) -> str:
        """The first lines of its complaint, on one line."""
        lines = [line.removeprefix("fatal: ").removeprefix("error: ") for line in self.err.strip().splitlines()]
        return "; ".join(lines[:3])[:400] or f"git ended with {self.code}"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which git reads no configuration but the repository's own, and asks no one."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "XDG_CONFIG_HOME") if name in os.environ}
    return {
        **kept,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        **(extra or {}),
    }


def git(
    arguments: Sequence[str],
    *,
    git_dir: Path | None = None,
    folder: Path | None = None,
    data: bytes = b"",
    extra: Mapping[str, str] | None = None,
    timeout: float = _TIMEOUT,
) -> Ran:
    """Run one git command.

    Args:
        arguments: the command and its arguments.
        git_dir: a bare repository; or
        folder: a folder inside someone's checkout.
        data: standard input.
        extra: further environment.
        timeout: seconds after which it is killed.

    Raises:
        WorkspaceError: git is missing, or too old; or an argument can't be one.
        InfrastructureError: it ran into the timeout.
    """
    where = ["--git-dir", str(git_dir)] if git_dir else []
    try:
        done = subprocess.run(
            [*GIT, *where, *arguments],
            input=data,
            capture_output=True,
            env=environment(extra),
            cwd=folder or git_dir,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise _missing(error, folder or git_dir) from None
    except ValueError:  # a NUL or half a surrogate pair: no command line can hold it
        raise WorkspaceError(f"git {arguments[0]} was asked for an impossible name", "use another name") from None
    except NotADirectoryError:
        raise WorkspaceError(f"{folder or git_dir} is not a folder") from None
    except subprocess.TimeoutExpired:
        raise InfrastructureError(f"git {arguments[0]} took longer than {timeout:.0f} s", "try again") from None
    return Ran(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def _missing(error: FileNotFoundError, folder: Path | None) -> WorkspaceError:
    if folder is not None and not folder.exists():
        return WorkspaceError(f"the folder {folder} does not exist")
    return WorkspaceError(f"git can't be started: {error.strerror}", "install git, for example: apt-get install git")


@cache
def check_git() -> tuple[int, ...]:
    """The version of git.

    Raises:
        WorkspaceError: there is none, or it is too old to be told to ignore the user's configuration.
    """
    said = git(["version"]).out.decode("utf-8", "replace").strip()
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    version = tuple(int(part) for part in found.groups(default="0")) if found else (0,)
    if version < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise WorkspaceError(f"{said or 'this git'} is too old", f"install git {oldest} or later")
    return version
