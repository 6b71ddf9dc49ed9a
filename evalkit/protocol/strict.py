"""JSON from untrusted bytes: one document, finite numbers, no duplicate keys, whole characters, bounded size and depth.

``json.loads`` accepts ``NaN``, ``Infinity``, ``1e999`` (as infinity), duplicate keys (the last one wins), halves of
surrogate pairs (text that nothing can print or encode) and raises ``RecursionError`` on deep nesting; each of these
has been used to slip a value past a grader, or to crash one.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

__all__ = ["MAX_BYTES", "MAX_DEPTH", "StrictJSONError", "loads"]

MAX_BYTES = 4 << 10
"""Default cap on a document; what a scorer's scalars need."""
MAX_DEPTH = 32
"""Default cap on nesting."""
_MAX_INT_DIGITS = 400
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class StrictJSONError(ValueError):
    """The bytes are not one strict JSON document; the message says where they stop being one."""


def _refuse_constant(name: str) -> float:
    raise StrictJSONError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise StrictJSONError(f"the number {text[:40]} is not finite in double precision")
    return value


def _bounded_int(text: str) -> int:
    if len(text) > _MAX_INT_DIGITS:
        raise StrictJSONError(f"an integer of {len(text)} digits")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise StrictJSONError(f"the key {twice[:80]!r} stands there twice")
    return document


def _check_depth(text: str, limit: int) -> None:
    depth, in_string, escaped = 0, False, False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            if depth > limit:
                raise StrictJSONError(f"nested more than {limit} deep")
        elif character in "]}":
            depth -= 1


def _check_characters(value: Any) -> None:
    """Escapes are the only way in for half a surrogate pair: UTF-8 has none."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise StrictJSONError("a text holds half of a surrogate pair") from None


def loads(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Parse one JSON document.

    Args:
        data: UTF-8, without a byte order mark; white space around the document is allowed.
        max_bytes: cap on ``len(data)``.
        max_depth: cap on nested arrays and objects.

    Raises:
        StrictJSONError: whatever is wrong with it.
    """
    if len(data) > max_bytes:
        raise StrictJSONError(f"{len(data)} bytes, more than the {max_bytes} allowed")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJSONError(f"byte {error.start} is not UTF-8") from None
    if text.count("[") + text.count("{") > max_depth:
        _check_depth(text, max_depth)
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded_int,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        raise StrictJSONError(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise StrictJSONError("nested too deep") from None
    if _SURROGATE.search(text):
        _check_characters(value)
    return value
