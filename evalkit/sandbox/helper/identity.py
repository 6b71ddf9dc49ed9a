"""User namespaces whose maps show one host owner as the user that a job runs as (for idmapped mounts)."""

from __future__ import annotations

import os
import signal

from evalkit.sandbox import kernel

__all__ = ["IdentityMaps"]


class IdentityMaps:
    """Made once for each pair of owner and user, then reused."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, int, int], int] = {}

    def get(self, owner: tuple[int, int], user: list[int]) -> int:
        """Descriptor of a namespace that shows what ``owner`` (uid, gid) has as belonging to ``user``."""
        key = (*owner, user[0], user[1])
        if key not in self._made:
            self._made[key] = _namespace(*key)
        return self._made[key]


def _namespace(owner: int, group: int, uid: int, gid: int) -> int:
    """A user namespace that maps one owner and group to a user and group; a short-lived child is its first member."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go[1])  # the parent's end alone keeps it waiting
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        kernel.unshare(kernel.CLONE_NEWUSER)
        os.write(ready[1], b"1")
        os.read(go[0], 1)
        os._exit(0)
    try:
        os.close(ready[1])
        if os.read(ready[0], 1):
            for name, inside, outside in (("uid_map", owner, uid), ("gid_map", group, gid)):
                with open(f"/proc/{child}/{name}", "w") as file:
                    file.write(f"{inside} {outside} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for end in (ready[0], *go):
            os.close(end)
        if signal.getsignal(signal.SIGCHLD) != signal.SIG_IGN:
            os.waitpid(child, 0)
