"""Marks that have no business anywhere else: an id an item, a GUID a split, and one GUID that is never published.

A mark that turns up in code, an artefact, a log or a model's output shows that the split it belongs to was read.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["FIELD", "Canaries", "make_canaries"]

FIELD = "evalkit_canary"
"""Name of the field, or of the file, that carries a mark."""


@dataclass(frozen=True, slots=True)
class Canaries:
    """All marks of one split.

    Attributes:
        split: name of the split.
        published: GUID that the manifest lists, for others to filter by.
        unpublished: GUID that only the vault knows; finding it proves that the sealed bytes were read.
        items: mark of every item, 32 hexadecimal digits, by id.
    """

    split: str
    published: str
    unpublished: str
    items: dict[str, str]

    def mark(self, item: str) -> str:
        """What is written beside one item."""
        return f"EVALKIT CANARY {self.published} {self.items[item]}"

    def all_marks(self) -> dict[str, str]:
        """What each mark stands for, by mark."""
        marks = {mark: f"item {item} of {self.split}" for item, mark in self.items.items()}
        return {
            self.published: f"the split {self.split}",
            self.unpublished: f"the sealed bytes of {self.split}",
            **marks,
        }


def _derived(key: bytes, *parts: str) -> bytes:
    return hashlib.blake2b("\x00".join(parts).encode(), key=key, digest_size=16, person=b"evalkit canary").digest()


def make_canaries(key: bytes, split: str, ids: Iterable[str]) -> Canaries:
    """The marks of a split; the key alone gives them again.

    Args:
        key: the split's 32 secret bytes.
        split: its name.
        ids: of its items.
    """
    return Canaries(
        split,
        str(uuid.UUID(bytes=_derived(key, split, "published"), version=4)),
        str(uuid.UUID(bytes=_derived(key, split, "unpublished"), version=4)),
        {item: _derived(key, split, "item", item).hex() for item in ids},
    )
