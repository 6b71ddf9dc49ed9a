"""For tests and benches: engines that are really there, and a docker of one's own where none runs.

``EVALKIT_REQUIRE=bwrap,docker`` names engines that must be there: then a missing one is a failure and not a skip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox import open_sandbox
from evalkit.sandbox.docker import connect
from evalkit.sandbox.interface import Job, Outcome, Sandbox
from evalkit.sandbox.places import remove_group

__all__ = ["open_for_test", "private_docker", "reachable_python", "required"]

_ALIASES = {"bwrap": "bubblewrap", "gvisor": "docker:runsc"}
_PATIENCE = 20.0
_PRIVATE = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")


def required(name: str) -> bool:
    """Whether ``EVALKIT_REQUIRE`` names an engine."""
    names = {word.strip() for word in os.environ.get("EVALKIT_REQUIRE", "").split(",")}
    return name in {_ALIASES.get(word, word) for word in names}


def reachable_python(name: str) -> Path | None:
    """An interpreter that another user can reach, for backends that change the user without a mount namespace."""
    if name in ("landlock", "process") and os.geteuid() == 0:
        return Path(shutil.which("python3", path="/usr/local/bin:/usr/bin") or "/usr/bin/python3")
    return None


def open_for_test(name: str) -> Sandbox:
    """An engine that has just run a job.

    Raises:
        SandboxUnavailable: it can't; the message is the reason to skip.
        AssertionError: it can't, and ``EVALKIT_REQUIRE`` names it.
    """
    try:
        sandbox = open_sandbox(name, python=reachable_python(name))
        result = sandbox.start(Job(("python", "-c", "print(42)"))).wait()
        if result.outcome is not Outcome.OK:
            sandbox.close()
            raise SandboxUnavailable(f"{name}: {result.outcome}: {result.problem}")
    except SandboxUnavailable as error:
        if required(name):
            raise AssertionError(f"EVALKIT_REQUIRE names {name}, but: {error}") from error
        raise
    return sandbox


@contextmanager
def private_docker() -> Iterator[None]:
    """A docker daemon of one's own in ``DOCKER_HOST``, unless one answers already; gone afterwards.

    Raises:
        SandboxUnavailable: there is none, and none can be started.
    """
    if _answers():
        yield
        return
    program = shutil.which("dockerd")
    if program is None or os.geteuid() != 0:
        raise SandboxUnavailable("no docker answers, and dockerd can't be started here", "apt-get install -y docker.io")
    with tempfile.TemporaryDirectory(prefix="evk-", dir="/tmp") as folder:
        host = f"unix://{folder}/s"
        places = [f"--data-root={folder}/d", f"--exec-root={folder}/e", f"--pidfile={folder}/p"]
        with Path(folder, "log").open("wb") as log:
            daemon = subprocess.Popen([program, "-H", host, *places, *_PRIVATE], stdout=log, stderr=log)
        before = os.environ.get("DOCKER_HOST")
        groups = _docker_groups()
        os.environ["DOCKER_HOST"] = host
        try:
            _await(daemon, Path(folder, "log"))
            yield
        finally:
            _restore(before)
            daemon.terminate()
            daemon.wait()
            _unmount_below(folder)
            for group in _docker_groups() - groups:
                remove_group(group)


def _docker_groups() -> set[Path]:
    return set(Path("/sys/fs/cgroup").glob("*/docker"))


def _await(daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _answers():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise SandboxUnavailable(f"dockerd does not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.05)


def _restore(host: str | None) -> None:
    if host is None:
        os.environ.pop("DOCKER_HOST", None)
    else:
        os.environ["DOCKER_HOST"] = host


def _unmount_below(folder: str) -> None:
    from evalkit.sandbox import kernel  # noqa: PLC0415 - Linux only

    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True):
        kernel.unmount(point)


def _answers() -> bool:
    try:
        client = connect()
    except SandboxUnavailable:
        return False
    client.close()
    return True
