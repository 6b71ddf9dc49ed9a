"""The network of a job that may talk through the forwarding proxy: a loopback of its own, and one listening socket.

The listener is made inside the job's network namespace and handed to the trusted parent, which accepts connections on
it from outside; no process has to run inside, and there is no other way out of the namespace.
"""

from __future__ import annotations

import fcntl
import socket
import struct

__all__ = ["open_listener"]

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_BACKLOG = 64


def open_listener(port: int) -> socket.socket:
    """Bring up ``lo`` in the current network namespace and listen on its IPv4 address.

    Raises:
        OSError: the namespace's loopback can't be used.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    request = struct.pack("16sh14x", b"lo", 0)
    flags = struct.unpack("16sh14x", fcntl.ioctl(listener, _SIOCGIFFLAGS, request))[1]
    fcntl.ioctl(listener, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
    listener.bind(("127.0.0.1", port))
    listener.listen(_BACKLOG)
    return listener
