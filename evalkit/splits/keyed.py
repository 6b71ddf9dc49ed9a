"""A secret key decides where a case goes: nobody can aim for a split, and nothing moves when cases are appended."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["fingerprint", "hash_split", "keyed_numbers", "make_key"]

_TWO_64 = float(1 << 64)


def make_key(secret: bytes) -> bytes:
    """32 bytes from a secret of any length."""
    return hashlib.blake2b(secret, digest_size=32, person=b"evalkit split").digest()


def fingerprint(key: bytes) -> str:
    """Sixteen hexadecimal digits that tell keys apart and give nothing away."""
    return hashlib.blake2b(key, digest_size=8, person=b"evalkit finger").hexdigest()


def keyed_numbers(key: bytes, names: Iterable[str]) -> NDArray[np.uint64]:
    """One uniform 64-bit number a name.

    BLAKE2b with the key in front of the name: a keyed function (BLAKE2 does not extend), in one block for short names.

    Args:
        key: 32 bytes.
        names: in any order; a name's number depends on nothing else.
    """
    blake = hashlib.blake2b
    digests = b"".join([blake(key + name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in names])
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def hash_split(key: bytes, names: Sequence[str], shares: Sequence[float]) -> NDArray[np.int64]:
    """The split of every name, by its own number alone.

    Args:
        key: 32 bytes.
        names: ids, or group names.
        shares: of the splits, positive, summing to 1.
    """
    edges = np.cumsum(shares)[:-1]
    return np.searchsorted(edges, keyed_numbers(key, names).astype(np.float64) / _TWO_64, "right")
