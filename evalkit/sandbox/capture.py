"""What a job writes: the first and last bytes are kept, all are counted, too many end the job."""

from __future__ import annotations

import os
from collections import deque

from evalkit.sandbox.interface import Captured

__all__ = ["CHUNK", "Capture"]

CHUNK = 64 << 10


class Capture:
    """One stream.

    Args:
        kept: bytes of the head, and again of the tail, that are kept.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._in_tail = 0
        self.total = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.total += len(chunk)
        room = self._kept - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if not chunk or not self._kept:
            return
        self._tail.append(chunk)
        self._in_tail += len(chunk)
        while self._in_tail - len(self._tail[0]) >= self._kept:
            self._in_tail -= len(self._tail.popleft())

    def pull(self, descriptor: int) -> int:
        """Read once from a non-blocking descriptor; the number of bytes, 0 at the end of the stream."""
        chunk = os.read(descriptor, CHUNK)
        self.feed(chunk)
        return len(chunk)

    def result(self) -> Captured:
        """What was kept."""
        tail = b"".join(self._tail)[-self._kept :] if self._kept else b""
        return Captured(head=bytes(self._head), tail=tail, total=self.total)
