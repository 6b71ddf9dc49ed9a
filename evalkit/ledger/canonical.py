"""Canonical JSON: one sequence of bytes for one value, so that a hash of it means something.

ASCII, keys sorted by code point, no spaces, floats as ``repr`` (the shortest text that reads back exactly), no NaN and
no infinity. Only plain values: what is written is what comes back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["MAX_DEPTH", "canonical"]

MAX_DEPTH = 64
"""Containers inside containers; far below where any JSON parser gives up."""

_MAX_BITS = 4096  # Python refuses to read back integers of more than 4,300 digits


def canonical(value: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a JSON object.

    Raises:
        ValueError: it holds a NaN, an infinity, an enormous integer, or is nested too deep; names where.
        TypeError: it holds something that is not plain JSON, or a key that is not text; names where.
    """
    _check(value, "", 0)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _check(value: Any, where: str, depth: int) -> None:
    if value is None or isinstance(value, (str, int, float)):
        _check_number(value, where)
    elif depth >= MAX_DEPTH:
        raise ValueError(f"{where[:80]}… is nested more than {MAX_DEPTH} deep")
    elif isinstance(value, dict):
        for key, below in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where or 'the value'} has the key {key!r}, which is not text")
            _check(below, f"{where}.{key}" if where else key, depth + 1)
    elif isinstance(value, list):
        for index, below in enumerate(value):
            _check(below, f"{where}[{index}]", depth + 1)
    else:
        raise TypeError(f"{where or 'the value'} is a {type(value).__name__}, which is not plain JSON")


def _check_number(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where or 'the value'} is {value}")
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise ValueError(f"{where or 'the value'} is an integer of {value.bit_length()} bits")
