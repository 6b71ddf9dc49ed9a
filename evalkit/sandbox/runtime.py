"""What of this machine a job must see so that the user's interpreter, with its packages, runs as it does outside.

System directories come from ``/usr``; an interpreter elsewhere (a virtual environment, pyenv, conda, uv) is bound
read-only at its own path, followed link by link, because a virtual environment's ``python`` is a link into another
prefix. Of what an editable install points at, only evalkit's own package is shown: the repository around it may hold
what candidates must not see.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import evalkit
from evalkit.errors import SandboxUnavailable

__all__ = ["FILES", "Runtime", "certificates", "discover", "system_view"]

_SYSTEM = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_EXTRA = ("/usr", "/nix/store", "/gnu/store")
_CONFIGURATION = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime")
_CERTIFICATES = ("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/pki")
_USERS = "root:x:0:0::/box:/bin/sh\nevalkit:x:1000:1000::/box:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
_GROUP = "root:x:0:\nevalkit:x:1000:\nnogroup:x:65534:\n"
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
_NAMES = "passwd: files\ngroup: files\nhosts: files\n"
FILES = {
    "/etc/passwd": _USERS,
    "/etc/group": _GROUP,
    "/etc/hosts": _HOSTS,
    "/etc/nsswitch.conf": _NAMES,
}
"""Small files that programs expect in ``/etc``, made up so that nothing of this machine is in them."""

_ASK = (
    "import json,sys,sysconfig as s;"
    "print(json.dumps([sys.executable,sys.prefix,sys.exec_prefix,sys.base_prefix,sys.base_exec_prefix,"
    "*(s.get_path(n) for n in ('stdlib','platstdlib','purelib','platlib')),s.get_config_var('LIBDIR') or '']))"
)
_MAX_LINKS = 40
_TOO_WIDE = frozenset({"/", "/home", "/root", "/tmp", "/opt", "/var", "/etc", "/usr/local"})  # noqa: S108


@dataclass(frozen=True, slots=True)
class Runtime:
    """An interpreter as jobs see it.

    Attributes:
        python: what ``argv[0] == "python"`` stands for; the path as the user knows it, links and all.
        binds: host directories to show read-only at their own paths, none inside another.
        path: the job's ``PATH``.
    """

    python: str
    binds: tuple[str, ...]
    path: str


@cache
def discover(python: Path | None = None) -> Runtime:
    """Find out what an interpreter needs.

    Args:
        python: the interpreter; None means the one that runs this.

    Raises:
        SandboxUnavailable: it can't be run.
    """
    if python is None:
        executable, *places = _ask_self()
    else:
        executable, *places = _ask(python)
    wanted = {place for place in places if place}
    for link in _links(executable):
        wanted.add(_prefix_of(link))
    wanted |= {os.path.realpath(place) for place in wanted}
    wanted.add(str(Path(evalkit.__file__).resolve().parent))
    shown = _outermost(place for place in wanted if place not in _TOO_WIDE and os.path.isdir(place))
    folders = dict.fromkeys(os.path.dirname(link) for link in _links(executable))
    return Runtime(
        python=executable,
        binds=tuple(shown),
        path=":".join([*(folder for folder in folders if folder != "/usr/bin"), "/usr/bin", "/bin"]),
    )


def _ask_self() -> list[str]:
    import sysconfig  # noqa: PLC0415 - loaded when a sandbox is opened, not when this is imported

    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    prefixes = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
    return [sys.executable, *prefixes, *paths, sysconfig.get_config_var("LIBDIR") or ""]


def _ask(python: Path) -> list[str]:
    command = [str(python), "-I", "-c", _ASK]
    try:
        answer = subprocess.run(command, capture_output=True, check=True, timeout=30, stdin=subprocess.DEVNULL)
        places = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SandboxUnavailable(
            f"the interpreter {python} can't be run: {error}", "name an interpreter that exists in the contract"
        ) from None
    return [str(place) for place in places]


def _links(path: str) -> list[str]:
    """A path and everything it points at, link by link."""
    chain = [os.path.abspath(path)]
    while os.path.islink(chain[-1]) and len(chain) < _MAX_LINKS:
        folder = os.path.dirname(chain[-1])
        chain.append(os.path.normpath(os.path.join(folder, os.readlink(chain[-1]))))
    return [*chain, os.path.realpath(path)]


def _prefix_of(executable: str) -> str:
    folder = os.path.dirname(executable)
    return os.path.dirname(folder) if os.path.basename(folder) == "bin" else folder


def _outermost(places: Iterable[str]) -> list[str]:
    """Sorted, without those that lie inside another or inside what is shown anyway."""
    shown: list[str] = []
    for place in sorted(places):
        parents = [*shown, *_EXTRA]
        if not any(place == parent or place.startswith(f"{parent}/") for parent in parents):
            shown.append(place)
    return shown


def system_view() -> tuple[list[str], list[tuple[str, str]]]:
    """What every job sees of the system at the system's own paths.

    Returns:
        Paths to bind, and ``(path, what it points at)`` for links to make.
    """
    binds = [path for path in (*_EXTRA, *_CONFIGURATION) if os.path.exists(path)]
    links = []
    for name in _SYSTEM:
        path = f"/{name}"
        if os.path.islink(path):
            links.append((path, os.readlink(path)))
        elif os.path.isdir(path):
            binds.append(path)
    return binds, links


def certificates() -> list[str]:
    """What a job needs besides to talk TLS."""
    return [path for path in _CERTIFICATES if os.path.exists(path)]
