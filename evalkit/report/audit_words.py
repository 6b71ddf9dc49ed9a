"""The words of an audit: numbers, sentences, what can't be known. Shared by terminal, markdown, JSON and HTML."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from evalkit.interop.own import FORM as OWN
from evalkit.watch.audit import Audit, RowVerdict, SegmentAudit, Verdict
from evalkit.watch.audit_noise import Sureness

__all__ = ["GROUPS", "clean", "headline", "limits", "number", "pairs_to_settle", "signed", "span"]

_ONE_RUN = (
    "With one run per row a change can't be told from a change of the machine, the data or the driver that came "
    "between two rows; only runs of both trees side by side can."
)
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_SETTLE = 1.645 + 0.842  # one-sided 5 %, power 80 %
_MAX_PAIRS = 9999

GROUPS: tuple[tuple[str, str, tuple[Verdict, ...]], ...] = (
    ("survives", "survive", (Verdict.SURVIVES,)),
    ("unsure", "unsure", (Verdict.UNSURE,)),
    ("noise", "look like noise", (Verdict.NOISE, Verdict.SAME, Verdict.TIE, Verdict.WORSE)),
    ("unknowable", "can't be known", (Verdict.UNKNOWABLE, Verdict.UNMEASURED)),
)
"""Groups of kept rows: id, what they do, verdicts."""


def clean(text: str, limit: int = 300) -> str:
    """Text from a file, without control and direction characters, on one line, cut off at ``limit``."""
    kept = "".join(
        " " if character in "\t\n\r" else character
        for character in text
        if character not in _BIDI and (character in "\t\n\r" or unicodedata.category(character)[0] != "C")
    )
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def number(value: float | None, digits: int = 4) -> str:
    """A number for people; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-4 <= size < 1e6:  # noqa: PLR2004 - where plain notation is shorter
        places = max(digits - 1 - math.floor(math.log10(size)), 0)
        text = f"{value:.{min(places, 8)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits - 1}g}"


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign; improvement is positive."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 else text.replace("-", "−")


def span(segment: SegmentAudit) -> str:
    """The estimated total gain with its 95 % range."""
    if segment.true_gain is None or segment.true_gain_sd is None:
        return "can't be known"
    return f"{signed(segment.true_gain)} ± {number(1.96 * segment.true_gain_sd, 2)}"


def headline(segment: SegmentAudit) -> str:
    """The audit of a segment in one sentence."""
    kept = [row for row in segment.rows if row.kept and row.verdict is not Verdict.START]
    if not kept:
        return "No row was kept, so there is nothing to doubt."
    survive = segment.count(Verdict.SURVIVES)
    if segment.noise.sd is None:
        many = f"{len(kept)} keep{'' if len(kept) == 1 else 's'}"
        again = f"; {survive} measured again on fresh pairs and found better" if survive else ""
        return f"{many}{again}. Nothing in the file tells how noisy one run is ({segment.noise.source})."
    false = segment.expected_false_keeps or 0.0
    return (
        f"{survive} of {len(kept)} keeps can be told from noise; about {false:.0f} of the {segment.tested} tested "
        f"are expected to be false. Recorded gain {signed(segment.claimed_gain)}, estimated true gain {span(segment)}."
    )


def pairs_to_settle(row: RowVerdict, sd: float | None) -> int | None:
    """Fresh pairs that would settle a keep with 80 % power if what it claims were true; None where that is unknown.

    Normal approximation for a mean of paired differences with sd √2·σ (no gain from pairing assumed):
    ``n = 2σ²(z_.95 + z_.80)²/effect²``.
    """
    if sd is None or row.claimed is None or row.claimed <= 0:
        return None
    return min(max(math.ceil(2 * (sd * _SETTLE / row.claimed) ** 2), 2), _MAX_PAIRS)


def limits(audit: Audit, segment: SegmentAudit) -> Sequence[str]:
    """What can't be known from this file, honestly."""
    noise = segment.noise
    told = ["The values are taken as they stand. Whether they were measured honestly, and on what, is not in the file."]
    if audit.history.form != OWN:
        told.append(_ONE_RUN)
    if noise.sureness is Sureness.NONE:
        told.insert(0, f"How noisy one run is: {noise.source}. A few repeats of one row would tell; or say --sd.")
    elif noise.sureness is Sureness.LOW:
        told.insert(
            0,
            "The noise is inferred, not measured: it is believable only if many of the changes really did nothing. "
            "If all of them had small effects, the true noise is smaller and more keeps are real than listed here.",
        )
    if noise.sd is not None:
        told.append("The noise is taken to be the same in every row; a change that makes runs less steady looks real.")
    if any(row.row.parent for row in segment.rows):
        told.append("The loop grows a tree; rows are compared with the best keep before them, not with their parent.")
    if segment.chains > 1:
        told.append(f"The baseline was measured anew: {segment.chains} chains are judged on their own and added up.")
    if audit.history.problems:
        told.append(f"{len(audit.history.problems)} lines could not be read as they stand; they are listed below.")
    if segment.segment.goal_source.startswith("a guess"):
        told.append(f"That {segment.segment.goal} is the goal is {segment.segment.goal_source}; --goal settles it.")
    return told
