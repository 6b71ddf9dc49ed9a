"""The history guard: results against the run's own past, its trials against each other (mechanism 18 and beyond)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from evalkit.contract import Metric
from evalkit.guarding import Evidence, Finding, Severity, TrialSummary
from guards.gaming.seeds import RULES as SEED_RULES
from guards.history.jumps import is_implausible, kept_gains
from guards.rule import Rule, table
from guards.source.view import FileView, views

__all__ = ["RULES", "HistoryGuard", "reported_seeds"]

_PROBE = Severity.PROBE

RULES = table(
    [
        Rule(
            "EK301",
            "implausible-jump",
            _PROBE,
            "The gain is larger than every earlier one and several times the typical one.",
            "probe it: shuffled labels, fresh inputs, a constant predictor; a real leap survives",
        ),
        Rule(
            "EK302",
            "seed-hunt",
            _PROBE,
            "The run has tried the same change with many seeds.",
            "change something that matters; the verifier chooses the seeds",
            18,
        ),
        Rule(
            "EK303",
            "one-of-n",
            _PROBE,
            "Fewer seeds are reported than were run or promised.",
            "report every seed",
            18,
        ),
        Rule(
            "EK304",
            "vanished",
            Severity.NOTE,
            "Several keeps of the run came to nothing when they were measured again.",
            "raise the number of confirm pairs, or the smallest effect that counts",
            18,
        ),
        Rule(
            "EK305",
            "too-fast",
            _PROBE,
            "The candidate is done in a small fraction of the incumbent's time, and its result is no worse.",
            "probe it: the work may be skipped, remembered or still running",
            11,
        ),
        Rule(
            "EK306",
            "no-spread",
            _PROBE,
            "The candidate's result is the same to the last digit for every seed, the incumbent's is not.",
            "probe it: the result may be a constant",
            9,
        ),
        Rule(
            "EK307",
            "at-the-limit",
            _PROBE,
            "The result is exactly zero, or the best that is possible, where the incumbent's is not.",
            "probe it: a crash, an empty set or a comparison that always holds gives such a value",
            12,
        ),
    ]
)
"""By name."""

_FAST = 0.02
"""Share of the incumbent's time below which a trial is implausibly fast."""
_HUNTS = 5
_VANISHED = 3


class HistoryGuard:
    """Looks at trials and history after the trials, at reported seeds before them."""

    name = "history"

    def inspect(self, evidence: Evidence) -> Iterable[Finding]:
        """Findings ``EK301`` to ``EK307``."""
        if evidence.stage == "before":
            yield from _hunting(evidence.history)
            yield from _vanished(evidence.history)
            for view in views(evidence):
                yield from reported_seeds(view)
        else:
            yield from _trials(evidence)


# -- trials


def _trials(evidence: Evidence) -> Iterator[Finding]:
    objective = evidence.contract.objective
    ours = _of(evidence.trials, "candidate", objective.name)
    theirs = _of(evidence.trials, "incumbent", objective.name)
    if not ours or not theirs:
        return
    gain = objective.sign * (fmean(v for v, _ in ours) - fmean(v for v, _ in theirs))
    if is_implausible(gain, kept_gains(evidence.history)):
        yield RULES["implausible-jump"].found(f"{objective.name} improves by {gain:.4g}; see the run's earlier gains")
    if gain >= 0 and objective.measure is None:
        yield from _too_fast(ours, theirs)
    yield from _spread(objective, [v for v, _ in ours], [v for v, _ in theirs])


def _of(trials: Sequence[TrialSummary], arm: str, metric: str) -> list[tuple[float, float]]:
    """Value and wall seconds of each finished trial of one arm."""
    found = [(trial.values.get(metric, math.nan), trial.wall) for trial in trials if trial.arm == arm]
    return [(value, wall) for value, wall in found if math.isfinite(value)]


def _too_fast(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> Iterator[Finding]:
    mine, other = median(wall for _, wall in ours), median(wall for _, wall in theirs)
    if other > 1.0 and mine < _FAST * other:
        yield RULES["too-fast"].found(f"{mine:.3g} s a trial; the incumbent takes {other:.3g} s")


def _spread(objective: Metric, ours: list[float], theirs: list[float]) -> Iterator[Finding]:
    several = len(ours) > 2 and len(theirs) > 2  # noqa: PLR2004 - two may agree by chance
    if several and len(set(ours)) == 1 and len(set(theirs)) > len(theirs) // 2:
        yield RULES["no-spread"].found(f"{objective.name} is {ours[0]!r} in all {len(ours)} trials")
    best = {0.0} if objective.goal == "minimize" else {1.0, 100.0}
    if set(ours) <= best and not set(theirs) <= best:
        yield RULES["at-the-limit"].found(f"{objective.name} is exactly {ours[0]:g}")


# -- history


def _hunting(history: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    seed_only = SEED_RULES["seed-only"].id
    hunts = sum(any(found.get("rule") == seed_only for found in record.get("findings") or ()) for record in history)
    if hunts >= _HUNTS:
        yield RULES["seed-hunt"].found(f"{hunts} of {len(history)} experiments changed nothing but a seed")


def _vanished(history: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Keeps whose fresh estimate (``estimate.mean``) is not positive."""
    measured = [record.get("estimate") for record in history]
    means = [found.get("mean") for found in measured if isinstance(found, Mapping)]
    gone = [mean for mean in means if isinstance(mean, int | float) and mean <= 0]
    if len(gone) >= _VANISHED and 2 * len(gone) > len(means):
        yield RULES["vanished"].found(f"{len(gone)} of {len(means)} keeps came to nothing on fresh pairs")


# -- what a change reports of itself

_PROMISED = re.compile(r"\b(\d{1,2})[- ]seeds?\b|\bn\s*=\s*(\d{1,2})\s*seeds?\b", re.IGNORECASE)


def reported_seeds(view: FileView) -> Iterator[Finding]:
    """``EK303`` in a JSON file that lists fewer results than seeds."""
    if not view.path.endswith(".json") or len(view.text) > 1 << 20:
        return
    try:
        plain = json.loads(view.text)
    except (ValueError, RecursionError):
        return
    if not isinstance(plain, dict):
        return
    seeds = next((len(v) for k, v in plain.items() if k.lower() in {"seeds", "seed_list"} and isinstance(v, list)), 0)
    results = [v for k, v in plain.items() if "seed" in k.lower() and isinstance(v, dict)]
    told = max((len(found) for found in results), default=None)
    promised = [int(a or b) for text in plain.values() if isinstance(text, str) for a, b in _PROMISED.findall(text)]
    wanted = max([seeds, *promised])
    if told is not None and told < wanted:
        yield RULES["one-of-n"].found(f"{told} results for {wanted} seeds", file=view.path, line=1)
