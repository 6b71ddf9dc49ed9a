"""The caller's side of the helper: start it, hand it jobs, start it again should it have died."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import SandboxUnavailable

__all__ = ["Helper"]

_START = Path(__file__).with_name("__main__.py")
_PATIENCE = 5.0
_ATTEMPTS = 2


class Helper:
    """One helper process, started when it is first needed. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._closed = False

    @property
    def pid(self) -> int:
        """Of the process; it is started if need be."""
        with self._lock:
            return self._running()[1].pid

    def _running(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        if self._closed:
            raise SandboxUnavailable("the sandbox was closed", "open another one")
        if self._socket is None or self._process is None or self._process.poll() is not None:
            self._stop()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                command = [sys.executable, "-I", "-S", str(_START), str(theirs.fileno())]
                self._process = subprocess.Popen(
                    command,
                    env={},
                    cwd="/",
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._socket = ours
        return self._socket, self._process

    def submit(self, spec: dict[str, Any], payload: int, offset: int, descriptors: Sequence[int]) -> socket.socket:
        """Hand over a job.

        Args:
            spec: its description.
            payload: memfd with the job's small files; the description is appended to it.
            offset: where the description goes.
            descriptors: standard streams and whatever else the description speaks of.

        Returns:
            The job's control socket; its report arrives there.

        Raises:
            SandboxUnavailable: the helper can't be reached.
        """
        text = json.dumps(spec).encode()
        os.pwrite(payload, text, offset)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            message = f"{offset} {len(text)}".encode()
            try:
                self._send(message, [theirs.fileno(), payload, *descriptors])
            except BaseException:
                ours.close()
                raise
        return ours

    def _send(self, message: bytes, descriptors: Sequence[int]) -> None:
        with self._lock:
            for attempt in range(_ATTEMPTS):
                requests, _ = self._running()
                try:
                    socket.send_fds(requests, [message], descriptors)
                except (BrokenPipeError, ConnectionResetError) as error:
                    self._stop()
                    if attempt + 1 == _ATTEMPTS:
                        raise SandboxUnavailable(f"the sandbox helper does not run: {error}") from None
                else:
                    return

    def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket = self._process = None

    def close(self) -> None:
        """Stop the helper. Jobs under way end by themselves or by their limits."""
        with self._lock:
            self._stop()
            self._closed = True
