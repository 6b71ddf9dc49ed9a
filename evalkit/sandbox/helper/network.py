"""The network of a job that may talk through the forwarding proxy: a loopback of its own, and one listening socket.

The listener is made inside the job's network namespace and handed to the trusted parent, which accepts connections on
it from outside; no process has to run inside, and there is no other way out of the namespace.
"""

from __future__ import annotations

import fcntl
import socket
import struct

__all__ = ["loopback_up", "open_listener"]

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_BACKLOG = 64


def loopback_up() -> None:
    """Bring up ``lo`` in the current network namespace.

    Raises:
        OSError: the namespace is not ours to change.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def open_listener(port: int) -> socket.socket:
    """Listen on the IPv4 loopback of the current network namespace.

    Raises:
        OSError: the port can't be had.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", port))
    listener.listen(_BACKLOG)
    return listener
