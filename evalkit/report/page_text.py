"""Text of strangers on a page: what can't be seen is shown by name, and everything is cut to a length.

A candidate chooses its file names, its code, its description and what its crash says. Escaping is the template's part;
this is the other one: control, direction and invisible characters, which would let a text look like something else
(CVE-2021-42574), are written out as ``⟦U+202E⟧``.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator

from evalkit.verify.rules import Scale

__all__ = ["cut", "decimals", "effect_text", "interval_text", "signed", "visible"]

_INVISIBLE = frozenset(
    chr(code)
    for start, end in (
        (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164),
        (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF),
    )
    for code in range(start, end + 1)
)  # fmt: skip
"""Letters and marks that print as nothing, although Unicode calls them printable."""
_SUSPECT = re.compile(f"[{''.join(sorted(_INVISIBLE))}]|[^\x00-\u02ff]")
_MAX_MARKS = 3
_DIGITS = 4


def visible(text: str) -> str:
    """The text with every character that can't be seen written out; newline and tab stay.

    Of marks piled on one letter, the first three stay.
    """
    if text.isprintable() and not _SUSPECT.search(text):
        return text
    return "".join(_seen(text))


def _seen(text: str) -> Iterator[str]:
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me"} else 0
        if character in "\n\t":
            yield character
        elif character in _INVISIBLE or not character.isprintable():
            yield f"⟦U+{ord(character):04X}⟧"
        elif marks <= _MAX_MARKS:
            yield character


def cut(text: str, limit: int) -> str:
    """The text on one line, cut with an ellipsis."""
    flat = " ".join(text[: 4 * limit].split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def signed(value: float, scale: Scale = "linear", places: int | None = None) -> str:
    """A difference with its sign, in the metric's unit, or in percent for ratios.

    Args:
        value: the difference.
        scale: of its metric.
        places: decimals, so that numbers in a column can be compared; None gives three digits.
    """
    shown = 100 * value if scale == "log" else value
    size = abs(shown)
    if size == 0.0 or not math.isfinite(size):
        text = "0" if size == 0.0 else "∞"
    elif 1e-4 <= size < 1e6 or places is not None:  # noqa: PLR2004 - where plain notation is shorter
        own = max(0, _DIGITS - 2 - math.floor(math.log10(size)))
        text = f"{size:.{own if places is None else places}f}"
    else:
        text = f"{size:.{_DIGITS - 2}e}"
    sign = "" if text.strip("0.") == "" else ("+" if shown > 0 else "−")
    return f"{sign}{text} %" if scale == "log" else f"{sign}{text}"


def decimals(sd: float, scale: Scale) -> int | None:
    """Decimals that show an sd's first two digits; None where that is not the way to write it."""
    shown = 100 * sd if scale == "log" else sd
    if not 1e-6 <= shown < 1e6:  # noqa: PLR2004 - beyond, numbers are written with an exponent
        return None
    return max(0, 1 - math.floor(math.log10(shown)))


def interval_text(low: float | None, high: float | None, scale: Scale, places: int | None = None) -> str:
    """``[+0.1, +0.3]``; an end that is None is unbounded."""
    left = "−∞" if low is None else signed(low, scale, places)
    right = "∞" if high is None else signed(high, scale, places)
    return f"[{left}, {right}]"


def effect_text(centre: float, low: float | None, high: float | None, scale: Scale) -> str:
    """``+0.2 [+0.1, +0.3]``."""
    return f"{signed(centre, scale)} {interval_text(low, high, scale)}"
