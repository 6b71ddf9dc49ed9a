"""The caller's side of the helper: start it, keep supervisors ready, hand them jobs, start it again if it died."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox.identities import Identities

__all__ = ["Helper", "Supervisor"]

_START = Path(__file__).with_name("__main__.py")
_PATIENCE = 5.0
_READY = 1
"""Supervisors that wait for a job while none is wanted."""


@dataclass(frozen=True, slots=True)
class Supervisor:
    """One that waits for a job.

    Attributes:
        control: its socket.
        uid: user that its job will run as, or None for the caller's own.
    """

    control: socket.socket
    uid: int | None

    def submit(self, spec: dict[str, Any], payload: int, offset: int, descriptors: Sequence[int]) -> None:
        """Hand over a job.

        Args:
            spec: its description.
            payload: memfd with the job's small files; the description is appended to it.
            offset: where the description goes.
            descriptors: standard streams and whatever else the description speaks of.

        Raises:
            OSError: it is gone.
        """
        text = json.dumps(spec).encode()
        os.pwrite(payload, text, offset)
        socket.send_fds(self.control, [f"{offset} {len(text)}".encode()], [payload, *descriptors])


class Helper:
    """One helper process, started when it is first needed. Safe to use from several threads.

    Args:
        shared: what all jobs share.
        identities: users for jobs.
    """

    def __init__(self, shared: Callable[[], dict[str, Any]], identities: Identities) -> None:
        self._shared, self._identities = shared, identities
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._ready: list[Supervisor] = []
        self._closed = False

    def take(self) -> Supervisor:
        """A supervisor for one job; the next one is made ready while the job runs.

        Raises:
            SandboxUnavailable: the helper can't be reached.
        """
        with self._lock:
            requests = self._running()
            try:
                while len(self._ready) <= _READY:
                    self._ready.append(self._order(requests))
            except OSError:
                self._stop()
                requests = self._running()
                self._ready.append(self._order(requests))
            return self._ready.pop(0)

    def _order(self, requests: socket.socket) -> Supervisor:
        uid = self._identities.take()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                message = json.dumps({"ids": None if uid is None else [uid, uid]}).encode()
                socket.send_fds(requests, [message], [theirs.fileno()])
            except BaseException:
                ours.close()
                self._identities.give_back(uid)
                raise
        return Supervisor(ours, uid)

    def _running(self) -> socket.socket:
        if self._closed:
            raise SandboxUnavailable("the sandbox was closed", "open another one")
        if self._socket is None or self._process is None or self._process.poll() is not None:
            self._stop()
            self._socket = self._start()
        return self._socket

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_START), str(theirs.fileno())],
                env={},
                cwd="/",
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        text = json.dumps(self._shared()).encode()
        description = os.memfd_create("shared", os.MFD_CLOEXEC)
        try:
            os.pwrite(description, text, 0)
            socket.send_fds(ours, [str(len(text)).encode()], [description])
        finally:
            os.close(description)
        return ours

    def _stop(self) -> None:
        for supervisor in self._ready:
            supervisor.control.close()
            self._identities.give_back(supervisor.uid)
        self._ready.clear()
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
