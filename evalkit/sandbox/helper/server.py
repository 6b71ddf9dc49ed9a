"""The helper's loop: receive a job, fork a supervisor for it, forget about it."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any

from evalkit.sandbox import kernel
from evalkit.sandbox.helper.supervise import supervise

__all__ = ["serve"]

MAX_DESCRIPTORS = 250


def serve(descriptor: int) -> None:
    """Until the other end closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are reaped by the kernel
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides what Ctrl-C means
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    with socket.socket(fileno=descriptor) as requests:
        maps = IdentityMaps()
        while received := _receive(requests):
            spec, descriptors = received
            _dispatch(requests, spec, descriptors, maps)


def _receive(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    message, descriptors, _, _ = socket.recv_fds(requests, 64, MAX_DESCRIPTORS)
    if not message:
        return None
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003
    offset, size = (int(number) for number in message.split())
    return json.loads(os.pread(descriptors[1], size, offset)), descriptors


def _dispatch(requests: socket.socket, spec: dict[str, Any], descriptors: list[int], maps: IdentityMaps) -> None:
    try:
        owners = maps.prepare(spec)
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            supervise(spec, descriptors, owners)
            os._exit(0)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


class IdentityMaps:
    """User namespaces whose maps show one host owner as the user that a job runs as; made once, then reused."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, int, int], int] = {}

    def prepare(self, spec: dict[str, Any]) -> dict[str, int]:
        """A namespace for every source that needs one, by its path; sources that can't be looked at are left out."""
        if not spec["ids"]:
            return {}
        uid, gid = spec["ids"]
        owners: dict[str, int] = {}
        for source in spec["mapped"]:
            try:
                status = os.stat(source)
            except OSError:
                continue  # staging the job meets the same error and reports it
            key = (status.st_uid, status.st_gid, uid, gid)
            if key not in self._made:
                self._made[key] = _namespace(*key)
            owners[source] = self._made[key]
        return owners


def _namespace(owner: int, group: int, uid: int, gid: int) -> int:
    """A user namespace that maps one owner and group to a user and group; a short-lived child is its first member."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go[1])  # the parent's end alone keeps it waiting
        kernel.unshare(kernel.CLONE_NEWUSER)
        os.write(ready[1], b"1")
        os.read(go[0], 1)
        os._exit(0)
    try:
        os.close(ready[1])
        if os.read(ready[0], 1):
            for name, inside, outside in (("uid_map", owner, uid), ("gid_map", group, gid)):
                with open(f"/proc/{child}/{name}", "w") as file:  # noqa: PTH123 - pathlib is not worth loading here
                    file.write(f"{inside} {outside} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for end in (ready[0], *go):
            os.close(end)
