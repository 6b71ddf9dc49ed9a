"""The helper's loop: keep what all jobs share, and fork supervisors that wait for a job."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
from typing import Any

from evalkit.sandbox import kernel
from evalkit.sandbox.helper import perf
from evalkit.sandbox.helper.identity import IdentityMaps
from evalkit.sandbox.helper.supervise import supervise

__all__ = ["serve"]

_MESSAGE_SIZE = 64 << 10


def serve(descriptor: int) -> None:
    """Until the other end closes.

    The first message is a memfd with what all jobs share; every later one asks for a supervisor and carries the socket
    on which that one will hear of its job.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are reaped by the kernel
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides what Ctrl-C means
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    with socket.socket(fileno=descriptor) as requests:
        shared: dict[str, Any] = {}
        maps = IdentityMaps()
        perf.available()  # found out once, inherited by all
        gc.disable()  # a collection after a fork would copy every page that it touches
        gc.freeze()
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, _MESSAGE_SIZE, 1)
            if not message:
                return
            os.set_inheritable(descriptors[0], False)
            if not shared:
                shared = json.loads(os.pread(descriptors[0], int(message), 0))
            else:
                _fork(requests, shared, json.loads(message), descriptors[0], maps)
            os.close(descriptors[0])


def _fork(
    requests: socket.socket, shared: dict[str, Any], asked: dict[str, Any], control: int, maps: IdentityMaps
) -> None:
    """A supervisor that runs as many as one job, whose user is known beforehand."""
    if asked["ids"]:
        maps.get((os.geteuid(), os.getegid()), asked["ids"])  # made here once, inherited by all
    pid = os.fork()
    if pid == 0:
        requests.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        supervise(shared, asked["ids"], control, maps)
        os._exit(0)
    with socket.socket(fileno=os.dup(control)) as to_caller, contextlib.suppress(OSError):
        to_caller.send(b"pid %d" % pid)  # so that the caller can end one that does not answer any more
