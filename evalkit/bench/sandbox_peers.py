"""The same telling attacks and the same overhead for other sandboxes, each as its documentation starts it.

A peer that is not installed is left out with the reason. ``EVALKIT_SRT`` names the command of
``@anthropic-ai/sandbox-runtime`` (``npm install -g @anthropic-ai/sandbox-runtime`` gives ``srt``).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evalkit.sandbox.redteam.arena import Arena
from evalkit.sandbox.skeleton import IMAGE

__all__ = ["peer_figures"]

Command = Callable[[Sequence[str], Arena], list[str]]

# Each says so when it got through.
_ATTACKS = {
    "read a file of the host": "open(os.environ['SECRET']).read(); say()",
    "TCP to a host service": "socket.create_connection(('127.0.0.1', int(os.environ['TCP4'])), 2); say()",
    "abstract unix socket": "socket.socket(1).connect('\\0' + os.environ['ABSTRACT']); say()",
    "vsock": "socket.socket(40, 1); say()",
    "io_uring": "r = libc.syscall(425, 4, ctypes.create_string_buffer(256)); r >= 0 and say()",
    "user namespace": "libc.unshare(0x10000000) == 0 and say()",
    "kernel keyring": "libc.syscall(248, b'user', b'probe', b'x', 1, -3) >= 0 and say()",
    "core_pattern": "os.close(os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)); say()",
    "write to /usr": "open('/usr/evalkit-peer', 'w').close(); os.unlink('/usr/evalkit-peer'); say()",
    "host processes": "os.kill(int(os.environ['NEIGHBOUR']), 0); say()",
    "1,000 processes": ("[os.fork() or time.sleep(3) or os._exit(0) for _ in range(1000)]; say(); os.killpg(0, 9)"),
    "1 GiB of memory": "x = bytearray(1 << 30); x[::4096] = b'1' * len(x[::4096]); say()",
}
_HEAD = (
    "import ctypes, os, socket, time\nsay = lambda: os.write(1, b'OPEN')\nlibc = ctypes.CDLL(None)\n"
    "try: {attack}\nexcept OSError: pass\nos._exit(0)"
)


def peer_figures(tree: Path, repeats: int) -> list[dict[str, Any]]:
    """Held attacks and overhead of every peer that is here."""
    out = []
    with Arena() as arena:
        for name, command in _peers(tree):
            try:
                out += _measure(name, command, arena, repeats)
            except (OSError, subprocess.SubprocessError, RuntimeError) as error:
                out.append(_row(f"peer {name}", 0, "", f"does not run here: {str(error)[:200]}"))
    return out


def _row(name: str, value: float, unit: str, detail: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "target": "", "ok": None, "detail": detail}


def _peers(tree: Path) -> list[tuple[str, Command]]:
    peers: list[tuple[str, Command]] = [("subprocess.run, as inspect_ai's local sandbox", lambda argv, _: list(argv))]
    if bwrap := shutil.which("bwrap"):
        plain = [bwrap, "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib"]
        plain += [
            "--symlink",
            "usr/lib64",
            "/lib64",
            "--symlink",
            "usr/bin",
            "/bin",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
        ]
        plain += ["--tmpfs", "/tmp", "--bind", str(tree), "/box", "--chdir", "/box"]  # noqa: S108 - inside
        peers.append(("bwrap --unshare-all, nothing more", lambda argv, _: [*plain, *argv]))
    if docker := shutil.which("docker"):
        peers.append(
            ("docker run --network none, nothing more", lambda argv, arena: [docker, *_docker_run(arena), *argv])
        )
    if srt := os.environ.get("EVALKIT_SRT") or shutil.which("srt"):
        peers.append(("@anthropic-ai/sandbox-runtime", lambda argv, _: [srt, "--", *argv]))
    return peers


def _docker_run(arena: Arena) -> list[str]:
    facts = [part for name, value in arena.facts.items() for part in ("-e", f"{name}={value}")]
    return ["run", "--rm", "--network", "none", "-v", "/usr:/usr:ro", *facts, IMAGE]


def _measure(name: str, command: Command, arena: Arena, repeats: int) -> list[dict[str, Any]]:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **arena.facts}
    if "DOCKER_HOST" in os.environ:
        environment["DOCKER_HOST"] = os.environ["DOCKER_HOST"]

    def run(argv: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        whole = command(argv, arena)
        return subprocess.run(
            whole, env=environment, capture_output=True, timeout=60, check=False, start_new_session=True
        )

    first = run(("/usr/bin/true",))
    if first.returncode:
        raise RuntimeError(first.stderr.decode(errors="replace"))
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        run(("/usr/bin/true",))
        taken.append((time.perf_counter() - began) * 1e3)
    opened = [what for what, attack in _ATTACKS.items() if _opened(run, attack)]
    held = len(_ATTACKS) - len(opened)
    return [
        _row(f"peer {name}: true", statistics.median(taken), "ms", f"median of {repeats}"),
        _row(f"peer {name}: attacks held", held, f"of {len(_ATTACKS)}", f"open: {', '.join(opened) or 'none'}"),
    ]


def _opened(run: Callable[[Sequence[str]], subprocess.CompletedProcess[bytes]], attack: str) -> bool:
    answer = run(("/usr/bin/python3", "-c", _HEAD.format(attack=attack)))
    return b"OPEN" in answer.stdout
