"""The only way out of a proposer's sandbox: a forwarding proxy that knows which hosts the contract allows.

It speaks HTTP ``CONNECT`` and plain ``http://`` requests, runs in the trusted parent, and accepts on a socket that
lives in the job's own network namespace. A host that is not on the list is refused and written down; a listed name that
resolves to a private or loopback address is refused too, unless the list has that very address or ``localhost``.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

__all__ = ["Destination", "HostList", "Proxy"]

_HEAD_LIMIT = 16 << 10
_PATIENCE = 10.0
_IDLE = 300.0
_CHUNK = 64 << 10
_MOST_CONNECTIONS = 64
_MOST_NAMES = 1000
_HTTPS, _HTTP = 443, 80
_MAX_PORT = 65535
_MAX_NAME = 253


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request wants to go.

    Attributes:
        host: lower-case name or address, without brackets and without a final dot.
        port: 1 to 65535.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int) -> Self:
        """``host``, ``host:port``, ``[v6]:port``.

        Raises:
            ValueError: it is none of these.
        """
        text = text.strip().lower()
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port_text = rest.removeprefix(":")
        else:
            host, _, port_text = text.partition(":")
        host = host.removesuffix(".")
        port = int(port_text) if port_text.isascii() and port_text.isdigit() else default_port
        if (port_text and not port_text.isdigit()) or not 0 < port <= _MAX_PORT:
            raise ValueError(f"{text!r} has no usable port")
        if not host or len(host) > _MAX_NAME or not all(c.isalnum() or c in "-._*:" for c in host):
            raise ValueError(f"{text!r} has no usable host")
        return cls(host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class HostList:
    """The hosts that may be reached.

    Args:
        entries: ``host``, ``host:port``, ``*.domain`` (not the domain itself); port 443 where none is named.

    Raises:
        ValueError: an entry makes no sense.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self._entries = tuple(Destination.parse(entry, _HTTPS) for entry in entries)

    def allows(self, wanted: Destination) -> bool:
        """Whether a destination is on the list."""
        return any(entry.port == wanted.port and _matches(entry.host, wanted.host) for entry in self._entries)

    def is_local_on_purpose(self, wanted: Destination) -> bool:
        """Whether the list names this private address, or ``localhost``, itself."""
        named = any(entry == wanted for entry in self._entries)
        return named and (wanted.host == "localhost" or _address(wanted.host) is not None)


def _matches(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class Proxy:
    """A proxy for one job.

    Args:
        hosts: entries of its :class:`HostList`.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self._allowed = HostList(hosts)
        self._names: dict[str, None] = {}
        self._listener: socket.socket | None = None
        self._slots = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def serve(self, listener: socket.socket) -> None:
        """Answer connections on a listening socket from now on, in threads of its own."""
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="evalkit proxy", daemon=True).start()

    def contacted(self) -> tuple[str, ...]:
        """What was asked for, in order; refused destinations have a leading ``!``."""
        with self._lock:
            return tuple(self._names)

    def close(self) -> None:
        """Stop, and end the connections that are still open."""
        with self._lock:
            sockets = [*self._open, *([self._listener] if self._listener else [])]
        for each in sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed by its own thread in the meantime

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                if not self._slots.acquire(blocking=False):
                    client.close()
                    continue
                threading.Thread(target=self._handle, args=(client,), name="evalkit proxy", daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        self._remember(client)
        try:
            with client:
                self._converse(client)
        except (OSError, ValueError):
            return  # a connection that broke is the job's business
        finally:
            self._forget(client)
            self._slots.release()

    def _remember(self, each: socket.socket) -> None:
        with self._lock:
            self._open.add(each)

    def _forget(self, each: socket.socket) -> None:
        with self._lock:
            self._open.discard(each)

    def _converse(self, client: socket.socket) -> None:
        client.settimeout(_PATIENCE)
        head, rest = _read_head(client)
        wanted, onward = _understand(head)
        upstream = self._connect(wanted)
        if upstream is None:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        self._remember(upstream)
        try:
            with upstream:
                if onward:
                    upstream.sendall(onward)
                else:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                upstream.sendall(rest)
                _relay(client, upstream)
        finally:
            self._forget(upstream)

    def _connect(self, wanted: Destination) -> socket.socket | None:
        """A connection to an allowed destination; None where it is refused or can't be reached."""
        address = _resolve(wanted) if self._allowed.allows(wanted) else None
        if address is not None and not (address.is_global or self._allowed.is_local_on_purpose(wanted)):
            address = None
        with self._lock:
            if len(self._names) < _MOST_NAMES:
                self._names[str(wanted) if address else f"!{wanted}"] = None
        if address is None:
            return None
        try:
            return socket.create_connection((str(address), wanted.port), timeout=_PATIENCE)
        except OSError:
            return None


def _resolve(wanted: Destination) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """One address, which is then connected to as it is, so that a second look-up can't give another."""
    try:
        found = socket.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM)
    except OSError:
        return None
    return ipaddress.ip_address(str(found[0][4][0]).partition("%")[0]) if found else None


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(_CHUNK)
        data += chunk
        if not chunk or len(data) > _HEAD_LIMIT:
            raise ValueError("no request")
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _understand(head: bytes) -> tuple[Destination, bytes]:
    """Where a request wants to go, and what to send there (nothing for ``CONNECT``).

    Raises:
        ValueError: it is not a proxy request.
    """
    line, *headers = head.decode("latin-1").split("\r\n")
    method, target, version = line.split(" ")
    if method == "CONNECT":
        return Destination.parse(target, _HTTPS), b""
    scheme, _, rest = target.partition("://")
    if scheme.lower() != "http" or not rest:
        raise ValueError("not a proxy request")
    authority, slash, path = rest.partition("/")
    kept = [h for h in headers if h.partition(":")[0].strip().lower() not in ("connection", "proxy-connection")]
    kept = [h for h in kept if not h.lower().startswith("proxy-authorization")]
    lines = [f"{method} {slash or '/'}{path} {version}", *kept, "Connection: close", "", ""]
    return Destination.parse(authority, _HTTP), "\r\n".join(lines).encode("latin-1")


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until one side has said its last word to the other and nobody speaks any more."""
    peers = {one: other, other: one}
    while peers:
        readable, _, _ = select.select(list(peers), [], [], _IDLE)
        if not readable:
            return
        for source in readable:
            chunk = source.recv(_CHUNK)
            if chunk:
                peers[source].sendall(chunk)
            else:
                peers.pop(source).shutdown(socket.SHUT_WR)
