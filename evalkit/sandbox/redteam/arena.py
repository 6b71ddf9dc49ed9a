"""What attacks aim at: services, secrets and processes on the host, all harmless and gone afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Arena"]

_SHM_KEY = 0x4556414C
_IPC_CREAT, _IPC_RMID = 0o1000, 0
_SECRET = "the hidden answer is 42"  # noqa: S105 - a canary, not a password


class Arena:
    """A context manager; its attributes are facts that attacks may know.

    Attributes:
        tree: a small pristine tree that jobs get.
        secret: a file that every user of the host may read, and no job.
        facts: environment of the attacks (ports, paths, pids).
        heard: what reached the host's listeners.
    """

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="arena-")
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        self.tree = folder / "tree"
        self.tree.mkdir()
        (self.tree / "train.py").write_text("print('hello')\n")
        self.secret = folder / "holdout.json"
        self.secret.write_text(f'{{"answer": "{_SECRET}"}}')
        self.secret.chmod(0o644)
        self.heard: list[str] = []
        self._sockets: list[socket.socket] = []
        ports = {
            "TCP4": self._listen(socket.AF_INET, ("127.0.0.1", 0)),
            "TCP6": self._listen(socket.AF_INET6, ("::1", 0)),
            "UDP4": self._datagrams(),
        }
        abstract = f"arena-{os.getpid()}-{id(self)}"
        self._listen(socket.AF_UNIX, f"\0{abstract}")
        unix = folder / "service.sock"
        self._listen(socket.AF_UNIX, str(unix))
        unix.chmod(0o777)
        self._neighbour = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={})
        self._segment = ctypes.CDLL(None).shmget(_SHM_KEY, 4096, _IPC_CREAT | 0o666)
        self.facts = {
            **{name: str(port) for name, port in ports.items()},
            "ABSTRACT": abstract,
            "UNIX": str(unix),
            "SECRET": str(self.secret),
            "NEIGHBOUR": str(self._neighbour.pid),
            "RUNNER": str(os.getpid()),
            "SHM_KEY": str(_SHM_KEY),
        }
        return self

    def _listen(self, family: int, address: object) -> int:
        server = socket.socket(family, socket.SOCK_STREAM)
        server.bind(address)  # type: ignore[arg-type]
        server.listen(8)
        self._sockets.append(server)
        threading.Thread(target=self._answer, args=(server,), daemon=True).start()
        name = server.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    def _answer(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                self.heard.append(f"connection to {server.getsockname()!r}")
                with contextlib.suppress(OSError):  # it may hang up first
                    client.sendall(_SECRET.encode())

    def _datagrams(self) -> int:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        self._sockets.append(server)
        threading.Thread(target=self._receive, args=(server,), daemon=True).start()
        return int(server.getsockname()[1])

    def _receive(self, server: socket.socket) -> None:
        while True:
            try:
                data, _ = server.recvfrom(100)
            except OSError:
                return
            if data:
                self.heard.append(f"datagram {data!r}")

    def neighbour_lives(self) -> bool:
        """Whether the process beside the sandbox is still unharmed."""
        return self._neighbour.poll() is None

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._sockets:
            with contextlib.suppress(OSError):  # a datagram socket has nothing to shut down
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        self._neighbour.kill()
        self._neighbour.wait()
        ctypes.CDLL(None).shmctl(self._segment, _IPC_RMID, None)
        self._folder.cleanup()
