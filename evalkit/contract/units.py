"""Amounts as people write them: ``"90s"``, ``"1h30m"``, ``"4GiB"``, ``"5%"``.

An amount of time or memory without a unit is refused: nobody should have to remember which one was meant.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from itertools import pairwise

from evalkit.contract.model import Margin

__all__ = [
    "UnitError",
    "format_duration",
    "format_margin",
    "format_size",
    "parse_duration",
    "parse_margin",
    "parse_size",
]

_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,18})?"
_SECONDS = {"h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_BYTES = {
    "B": 1,
    "KB": 10**3,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h))+")
_PART = re.compile(rf"({_NUMBER})(ms|s|m|h)")
_SIZE = re.compile(rf"({_NUMBER})({'|'.join(_BYTES)})")
_PERCENT = re.compile(rf"({_NUMBER})%")

_TIMES = 'a time with its unit, such as "500ms", "60s", "10m" or "1h30m"'
_SIZES = 'a size with its unit, such as "512MB" or "4GiB"'
_MARGINS = "what may be lost, such as 0.01 (in the metric's unit) or \"5%\" (of the anchor's value)"
_LARGEST = (1 << 63) - 1


class UnitError(ValueError):
    """An amount that can't be read.

    Attributes:
        expected: what would be right, with examples.
    """

    def __init__(self, problem: str, expected: str) -> None:
        super().__init__(problem)
        self.expected = expected


def parse_duration(text: object) -> float:
    """Seconds, more than 0. Units: ``ms``, ``s``, ``m``, ``h``, each at most once, larger ones first.

    Raises:
        UnitError: anything else, a bare number included.
    """
    if not isinstance(text, str):
        raise UnitError("has no unit" if _is_number(text) else "is no time", _TIMES)
    if not _DURATION.fullmatch(text):
        raise UnitError("is no time", _TIMES)
    parts = _PART.findall(text)
    order = [_SECONDS[unit] for _, unit in parts]
    if any(later >= earlier for earlier, later in pairwise(order)):
        raise UnitError("has its units out of order", _TIMES)
    seconds = float(sum(Decimal(number) * _SECONDS[unit] for number, unit in parts))
    if seconds <= 0:
        raise UnitError("leaves no time", _TIMES)
    return seconds


def parse_size(text: object) -> int:
    """Bytes, from 1 to 2⁶³ − 1. Units: ``B``, ``kB`` to ``TB`` (powers of 1000), ``KiB`` to ``TiB`` (of 1024).

    Raises:
        UnitError: anything else, a bare number included.
    """
    if not isinstance(text, str):
        raise UnitError("has no unit" if _is_number(text) else "is no size", _SIZES)
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UnitError("is no size", _SIZES)
    size = Decimal(match[1]) * _BYTES[match[2]]
    if size != int(size):
        raise UnitError("is not a whole number of bytes", _SIZES)
    if not 1 <= size <= _LARGEST:
        raise UnitError("is nothing" if size < 1 else "is more than any machine has", _SIZES)
    return int(size)


def parse_margin(value: object) -> Margin:
    """A loss in the metric's own unit (a number ≥ 0), or a fraction of the anchor's value (``"5%"``).

    Raises:
        UnitError: anything else.
    """
    if isinstance(value, str):
        match = _PERCENT.fullmatch(value)
        if match is None:
            raise UnitError("is no margin", _MARGINS)
        return Margin(float(Decimal(match[1]) / 100), relative=True)
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise UnitError("is no margin", _MARGINS)
    if value < 0:
        raise UnitError("is less than 0", _MARGINS)
    return Margin(float(value))


def format_duration(seconds: float) -> str:
    """The shortest text that :func:`parse_duration` reads back as the same number."""
    for unit in ("h", "m"):
        count = Decimal(repr(float(seconds))) / _SECONDS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{_plain(Decimal(repr(float(seconds))))}s"


def format_size(size: int) -> str:
    """The shortest text that :func:`parse_size` reads back as the same number."""
    counts = {
        unit: size // _BYTES[unit] for unit in reversed(_BYTES) if size >= _BYTES[unit] and size % _BYTES[unit] == 0
    }
    unit = min(counts, key=lambda name: (counts[name], len(name)), default="B")
    return f"{counts.get(unit, size)}{unit}"


def format_margin(margin: Margin) -> str:
    """``5%`` or a plain number."""
    return f"{_plain(Decimal(repr(margin.value)) * 100)}%" if margin.relative else repr(margin.value)


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
