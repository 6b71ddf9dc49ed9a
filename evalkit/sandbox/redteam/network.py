"""N: ways out over sockets."""

from __future__ import annotations

import os

from evalkit.sandbox.interface import Sandbox
from evalkit.sandbox.redteam.arena import Arena
from evalkit.sandbox.redteam.case import Case, Held, door, run

__all__ = ["NETWORK"]

_OPEN = "a plain process has the host's network"


def _datagram(sandbox: Sandbox, arena: Arena) -> Held:
    before = len(arena.heard)
    run(
        sandbox,
        arena,
        """
        import os, socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.sendto(b"metric", ("127.0.0.1", int(os.environ["UDP4"])))
        """,
    )
    fresh = arena.heard[before:]
    return Held.when(not fresh, str(fresh or "nothing arrived"))


def _inherited(sandbox: Sandbox, arena: Arena) -> Held:
    left, right = os.pipe()
    os.set_inheritable(left, True)
    os.set_inheritable(right, True)
    try:
        code = """
        import os
        own = os.open("/proc/self/fd", os.O_RDONLY) if os.path.isdir("/proc/self/fd") else -1
        held = []
        for fd in range(3, 1024):
            try: os.fstat(fd)
            except OSError: continue
            if fd != own: held.append(fd)
        print(held)
        """
        said = run(sandbox, arena, code).stdout.text().strip()
    finally:
        os.close(left)
        os.close(right)
    return Held.when(said == "[]", f"descriptors above 2: {said}")


def _family(number: int, kind: int = 1) -> str:
    return f"socket.socket({number}, {kind})\nreturn 'open'"


NETWORK: tuple[Case, ...] = (
    door(
        "N1",
        "TCP to a host service on 127.0.0.1",
        "s = socket.create_connection(('127.0.0.1', int(os.environ['TCP4'])), 3)\nreturn s.recv(50)",
        process=_OPEN,
    ),
    door(
        "N2",
        "TCP to a host service on ::1",
        "s = socket.create_connection(('::1', int(os.environ['TCP6'])), 3)\nreturn s.recv(50)",
        process=_OPEN,
    ),
    door(
        "N3",
        "TCP to the local network",
        """
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect(("192.0.2.1", 9))
        return s.getsockname()
        """,
        process=_OPEN,
    ),
    Case("N4", "datagram to the host's loopback", "never arrives", _datagram, {"process": _OPEN}),
    door(
        "N5",
        "DNS look-up",
        """
        began = time.monotonic()
        try:
            return socket.getaddrinfo("example.org", 80)[0][4]
        except OSError:
            if time.monotonic() - began > 3: return "a resolver that hangs"
            raise
        """,
        safe="an error at once",
        process=_OPEN,
    ),
    door(
        "N6",
        "abstract unix socket of the host",
        "s = socket.socket(socket.AF_UNIX)\ns.connect('\\0' + os.environ['ABSTRACT'])\nreturn s.recv(50)",
        process=_OPEN,
    ),
    door(
        "N7",
        "unix socket of a host service (docker.sock, ssh-agent)",
        "s = socket.socket(socket.AF_UNIX)\ns.connect(os.environ['UNIX'])\nreturn s.recv(50)",
        process=_OPEN,
    ),
    door("N8", "vsock to the hypervisor", _family(40), process=_OPEN),
    door(
        "N9",
        "netlink, kernel crypto, bluetooth and other families",
        """
        opened = []
        for family in (16, 38, 31, 29, 21, 30, 41, 43, 44, 45):
            try: socket.socket(family, 3 if family in (16, 31, 44) else 5 if family in (38, 21, 30) else 1)
            except OSError: continue
            opened.append(family)
        if opened: return opened
        raise OSError(97, "none")
        """,
        process=_OPEN,
    ),
    door(
        "N10",
        "packet, XDP and raw sockets",
        """
        opened = []
        for family, kind in ((17, 3), (44, 3), (2, 3), (10, 3)):
            try: socket.socket(family, kind)
            except OSError: continue
            opened.append(family)
        if opened: return opened
        raise OSError(1, "none")
        """,
    ),
    door("N11", "io_uring", "return call(425, 4, ctypes.create_string_buffer(256))", process=_OPEN),
    Case("N12", "descriptors inherited from the runner", "none above 2", _inherited),
    door(
        "N13",
        "listen where another sandbox can connect",
        """
        s = socket.socket(); s.bind(("0.0.0.0", 0)); s.listen()
        inside = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
        if inside == ["lo"]: raise OSError(0, "only a loopback of its own")
        return inside
        """,
        safe="refused, or a network of its own",
        process=_OPEN,
    ),
)
