"""The words and numbers that all reports share, so that they agree with each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from evalkit.contract import Contract, Metric
from evalkit.verify.keeping import shown_effect
from evalkit.verify.rules import Scale, scale_of

__all__ = ["COLOURS", "REASONS", "change_text", "duration", "one_line", "pairs_text", "value_text", "why"]

COLOURS = {"KEEP": "green", "REJECT": "red", "INCONCLUSIVE": "yellow", "ERROR": "magenta"}

REASONS = {
    "improved": "improved",
    "no_change": "nothing changed",
    "duplicate": "tried before",
    "scope": "out of scope",
    "guard": "a guard refused it",
    "screened_out": "not clearly better at first sight",
    "futile": "no effect in sight",
    "not_better": "not better",
    "guard_metric": "a guarded metric got worse",
    "crash": "it crashed",
    "timeout": "out of time",
    "resources": "out of resources",
    "no_result": "no result",
    "invalid_result": "invalid result",
    "not_enough_evidence": "not enough evidence",
    "doubtful_evidence": "doubtful evidence",
    "incumbent_failed": "the incumbent failed",
    "sandbox": "the sandbox failed",
    "proposer": "the proposer failed",
    "not_confirmed": "not confirmed",
}


def duration(seconds: float) -> str:
    """``4 s``, ``3:07``, ``2:15 h``."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004 - an hour
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def one_line(text: str, width: int) -> str:
    """The text on one line, cut with an ellipsis; nothing in it can move a terminal's cursor."""
    flat = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def value_text(value: float) -> str:
    """A metric's value with five significant digits."""
    return f"{value:.5g}"


def change_text(value: float, scale: Scale) -> str:
    """An effect, + is better: in the metric's unit, or as a factor for ratios (``×1.25`` is a quarter better)."""
    return f"×{math.exp(min(value, 690.0)):.3g}" if scale == "log" else f"{value:+.4g}"


def pairs_text(metric: Metric, effect: Mapping[str, Any] | None) -> str:
    """An effect with its interval and how many pairs it rests on; positive is better."""
    if effect is None:
        return "—"
    scale = scale_of(metric)
    centre = effect.get("mean", effect.get("effect", 0.0))
    low = "−∞" if effect["low"] is None else change_text(effect["low"], scale)
    high = "∞" if effect["high"] is None else change_text(effect["high"], scale)
    return f"{change_text(centre, scale)} [{low}, {high}], {effect['pairs']} pairs"


def why(contract: Contract, verdict: Mapping[str, Any]) -> str:
    """The reason for people: what decided, with the number that did."""
    reason = REASONS.get(verdict["reason"], verdict["reason"])
    if verdict["decision"] == "KEEP":
        return shown_effect(contract, verdict)
    return f"{reason}: {verdict['sentence']}" if verdict["sentence"] else reason
