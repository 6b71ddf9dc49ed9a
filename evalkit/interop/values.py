"""Cells of other loops' files: numbers, statuses, times. Strict: what is not clearly one of them is none."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from functools import lru_cache

from evalkit.interop.history import Status

__all__ = ["is_baseline", "parse_fraction", "parse_number", "parse_status", "parse_time"]

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?%?")
_LONGEST_NUMBER = 64
_FRACTION = re.compile(r"([0-9]{1,9})\s*/\s*([0-9]{1,9})")
_MILLISECONDS_FROM = 1e11
_EARLIEST, _LATEST = 0.0, 4102444800.0  # 1970 to 2100

_KEEP = frozenset({"keep", "kept", "committed", "accept", "accepted"})
_DISCARD = frozenset(
    {
        *("discard", "discarded", "revert", "reverted", "reject", "rejected", "evaluated", "pruned", "no-op", "noop"),
        *("checks_failed", "checks-failed", "guard-failed", "guard_failed", "hook-blocked", "not kept"),
    }
)
_CRASH = frozenset(
    {"crash", "crashed", "error", "errored", "failed", "failure", "timeout", "oom", "metric-error", "metric_error"}
)
_BASELINE = frozenset({"baseline", "initial", "root baseline"})
_STARTING = re.compile(r"\s*(?:re-?)?(?:baseline|initial state)\b", re.IGNORECASE)
_REMARK = re.compile(r"([a-z][a-z_ -]*?)\s*[(\[].*[)\]]")


def parse_number(text: str) -> float | None:
    """A finite decimal number, with an optional percent sign (which does not scale it); None for anything else."""
    if len(text) > _LONGEST_NUMBER:
        text = text.strip()
        if len(text) > _LONGEST_NUMBER:
            return None
    found = _NUMBER.fullmatch(text) or _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    value = float(found[0].rstrip("%"))
    return value if math.isfinite(value) else None


def parse_fraction(text: str) -> tuple[int, int] | None:
    """``20/58`` as ``(20, 58)``; None unless 0 ≤ passed ≤ total and total > 0."""
    match = _FRACTION.fullmatch(text.strip())
    if not match:
        return None
    passed, total = int(match[1]), int(match[2])
    return (passed, total) if 0 <= passed <= total and total > 0 else None


@lru_cache(maxsize=256)
def parse_status(text: str) -> Status:
    """What a status word means; a remark in brackets after it is allowed (``keep (reworked)``).

    A word that is not known is :attr:`Status.UNKNOWN`. ``baseline`` counts as kept: it is what later rows stand on.
    """
    word = text.strip().strip("*`'\"").strip().lower()[:80]
    match = _REMARK.fullmatch(word)
    if match:
        word = match[1].strip()
    if word in _KEEP or word in _BASELINE:
        return Status.KEEP
    if word in _DISCARD:
        return Status.DISCARD
    return Status.CRASH if word in _CRASH else Status.UNKNOWN


def is_baseline(status_text: str, description: str, commit: str) -> bool:
    """Whether a row measures the starting point: its status, commit or first word says so."""
    return _says_baseline(status_text) or commit.strip().lower() in _BASELINE or bool(_STARTING.match(description))


@lru_cache(maxsize=256)
def _says_baseline(status_text: str) -> bool:
    return status_text.strip().lower() in _BASELINE


def parse_time(value: object) -> float | None:
    """Seconds since 1970 from seconds, milliseconds or an ISO 8601 text (without a zone it is taken as UTC)."""
    if isinstance(value, str):
        number = parse_number(value)
        if number is None:
            return _parse_iso(value)
        value = number
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    seconds = float(value) / 1000 if abs(value) >= _MILLISECONDS_FROM else float(value)
    return seconds if math.isfinite(seconds) and _EARLIEST < seconds < _LATEST else None


def _parse_iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text.strip()[:40])
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if _EARLIEST < seconds < _LATEST else None
