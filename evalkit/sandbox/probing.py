"""Find out what a sandbox holds here, by attacking it with a few canaries that tell most.

A canary is real: a file that every user may read, a service that listens, a daemon that outlives its parent, memory
beyond the limit. What a canary shows goes before what a backend believes.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Self

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox.interface import Job, Limits, Outcome, Probe, Result, Sandbox

__all__ = ["probe"]

_LIMITS = Limits(wall=10, memory=128 << 20, pids=32, disk=8 << 20)
_CODE = """
import os, socket, sys
port, secret = int(sys.argv[1]), sys.argv[2]
def try_(name, act):
    try: act()
    except OSError: return
    print(name)
try_("network", lambda: socket.create_connection(("127.0.0.1", port), 2))
try_("filesystem", lambda: open(secret).read())
try_("read-only root", lambda: open("/usr/evalkit-canary", "w").close())
try_("processes", lambda: os.kill(int(sys.argv[3]), 0))
try_("system calls", lambda: socket.socket(40, 1))
"""
_MEMORY = "x = bytearray(512 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1"
_DISK = "\n".join(f"open('f{n}', 'wb').write(bytes(4 << 20))" for n in range(8))
_WAYS_OUT = {
    "memory of the whole tree": "systemd-run --user --scope -p Delegate=yes -- evalkit …",
    "namespaces": "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
}


def probe(sandbox: Sandbox) -> Probe:
    """Run the canaries.

    Args:
        sandbox: an open backend.

    Returns:
        What holds and what does not; unusable when not even the first job ran.
    """
    try:
        with _Target() as target:
            seen = sandbox.start(target.job()).wait()
            if seen.outcome is not Outcome.OK:
                return Probe(usable=False, reason=f"a first job failed: {seen.problem}", way_out=_way_out(seen))
            open_doors = seen.stdout.text().split("\n")[:-1]
        memory = sandbox.start(Job(("python", "-c", _MEMORY), limits=_LIMITS)).wait()
        disk = sandbox.start(Job(("python", "-c", _DISK), limits=_LIMITS)).wait()
    except SandboxUnavailable as error:
        return Probe(usable=False, reason=error.message, way_out=error.way_out)
    failed = {"memory": memory.outcome is not Outcome.OOM, "disk": disk.outcome is not Outcome.DISK}
    return _summary(seen, [*open_doors, *(name for name, bad in failed.items() if bad)])


def _summary(seen: Result, not_held: list[str]) -> Probe:
    unenforced = tuple(dict.fromkeys([*seen.unenforced, *not_held]))
    enforced = tuple(name for name in seen.enforced if name not in unenforced)
    if not unenforced:
        return Probe(usable=True, enforced=enforced)
    way_out = ""
    if "memory without gaps" in unenforced:
        way_out = _WAYS_OUT["memory of the whole tree"]
    reason = f"not enforced here: {', '.join(unenforced)}"
    return Probe(usable=True, enforced=enforced, unenforced=unenforced, reason=reason, way_out=way_out)


def _way_out(result: Result) -> str:
    """The one command that helps when namespaces can't be had."""
    text = (result.problem + result.stderr.text()).lower()
    if any(word in text for word in ("permitted", "permission", "uid_map", "setgroups", "namespace", "no space")):
        restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        if restricted.exists() and restricted.read_text().strip() == "1":
            return _WAYS_OUT["namespaces"]
        limit = Path("/proc/sys/user/max_user_namespaces")
        if limit.exists() and limit.read_text().strip() == "0":
            return "sudo sysctl -w user.max_user_namespaces=15000"
        return 'set sandbox = "landlock" in the contract (inside a container), or run outside of it'
    return ""


class _Target:
    """A service, a file and a process that no job may reach."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="evalkit-canary")
        Path(self._folder.name).chmod(0o755)
        self._secret = Path(self._folder.name, "secret")
        self._secret.write_text("canary")
        self._secret.chmod(0o644)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def _accept(self) -> None:
        while True:
            try:
                self._server.accept()[0].close()
            except OSError:
                return

    def job(self) -> Job:
        """One that tries all doors."""
        port = str(self._server.getsockname()[1])
        argv = ("python", "-c", _CODE, port, str(self._secret), str(os.getpid()))
        return Job(argv, limits=replace(_LIMITS, wall=20))

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._folder.cleanup()
