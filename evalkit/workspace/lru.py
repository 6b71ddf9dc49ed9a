"""A bounded cache: the memory of a run must stay flat over ten thousand experiments."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Lru"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def _one(_value: object) -> int:
    return 1


class Lru(Generic[K, V]):
    """The most recently used values, safe between threads.

    Args:
        capacity: how much is kept.
        weight: what one value counts for; 1 unless told.
    """

    def __init__(self, capacity: int, weight: Callable[[V], int] = _one) -> None:
        self._capacity = capacity
        self._weight = weight
        self._held = 0
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, or None."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> None:
        """Keep a value; the longest unused ones make room."""
        with self._lock:
            self._forget(key)
            self._values[key] = value
            self._held += self._weight(value)
            while self._held > self._capacity and self._values:
                self._forget(next(iter(self._values)))

    def _forget(self, key: K) -> None:
        value = self._values.pop(key, None)
        if value is not None:
            self._held -= self._weight(value)

    def __len__(self) -> int:
        return len(self._values)
