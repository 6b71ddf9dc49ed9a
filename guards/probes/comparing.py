"""The same work done again: repeated, reordered, cold and warm, and what is left running (mechanisms 10 and 11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from guards.probes.protocol import Outcome, Verdict

__all__ = ["cold_and_warm", "reordered_differ", "repeats_differ", "work_after_stop"]


def repeats_differ(first: Sequence[object], second: Sequence[object]) -> Outcome:
    """Whether the same queries with the same seed get the same answers in a fresh process. Exact.

    Raises:
        ValueError: the two have different lengths.
    """
    changed = [at for at, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if changed:
        sentence = f"{len(changed)} of {len(first)} answers change when they are asked for again"
        return Outcome("repeat", Verdict.UNDECIDED, sentence, cost=2, mechanism=10)
    return Outcome("repeat", Verdict.CLEAR, f"{len(first)} answers are the same", cost=2, mechanism=10)


def reordered_differ(given: Sequence[object], reordered: Sequence[object], repeated: Sequence[object]) -> Outcome:
    """Whether answers depend on the order of the queries: they hold memory of earlier ones.

    Args:
        given: answers in the order in which the cases came.
        reordered: answers to the same cases asked in another order, put back.
        repeated: answers in the first order once more, in a fresh process: the candidate's own variation.

    Raises:
        ValueError: lengths differ.
    """
    by_order = sum(a != b for a, b in zip(given, reordered, strict=True))
    by_chance = sum(a != b for a, b in zip(given, repeated, strict=True))
    if by_order and not by_chance:
        sentence = f"{by_order} of {len(given)} answers depend on the order of the queries"
        return Outcome("reorder", Verdict.CAUGHT, sentence, cost=3, mechanism=10)
    if by_order:
        return Outcome("reorder", Verdict.UNDECIDED, "the answers vary by themselves", cost=3, needs=3, mechanism=10)
    return Outcome("reorder", Verdict.CLEAR, "no answer depends on the order", cost=3, mechanism=10)


def cold_and_warm(cold: Sequence[float], warm: Sequence[float], *, ratio: float = 5.0, least: float = 1e-3) -> Outcome:
    """Whether calls after the first are faster than warming up explains.

    Fresh inputs in the same process are warm and honest; the *same* inputs again must not be much faster than fresh
    ones, or the answers are remembered.

    Args:
        cold: seconds of calls with fresh inputs, after warming up.
        warm: seconds of calls with inputs that were asked before.
        ratio: of medians, from which remembering is the only explanation.
        least: median seconds of the cold calls below which timing says nothing.
    """
    if len(cold) < 5 or len(warm) < 5:  # noqa: PLR2004 - a median of fewer says nothing
        needs = 10 - min(len(cold), 5) - min(len(warm), 5)
        return Outcome("cold against warm", Verdict.UNDECIDED, "too few calls", needs=needs, mechanism=10)
    slow, fast = median(cold), median(warm)
    cost = len(cold) + len(warm)
    if not (math.isfinite(slow) and math.isfinite(fast)) or slow < least:
        return Outcome(
            "cold against warm", Verdict.UNDECIDED, "the calls are too short to time", cost=cost, mechanism=10
        )
    if fast * ratio < slow:
        sentence = f"{fast:.3g} s for inputs asked before, {slow:.3g} s for fresh ones"
        return Outcome("cold against warm", Verdict.CAUGHT, sentence, cost=cost, mechanism=10)
    return Outcome("cold against warm", Verdict.CLEAR, f"{slow:.3g} s and {fast:.3g} s", cost=cost, mechanism=10)


def work_after_stop(stopped: float, alive: Sequence[str], cpu_after: float, *, allowance: float = 0.05) -> Outcome:
    """Whether something still works when the result is there.

    Args:
        stopped: CPU seconds of the process tree when the result was handed over.
        alive: names of processes and threads that were alive then, beyond the main one.
        cpu_after: CPU seconds of the tree when it was killed.
        allowance: seconds of ordinary shutdown.
    """
    extra = cpu_after - stopped
    if extra > max(allowance, 0.05 * stopped):
        who = f" in {', '.join(alive[:3])}" if alive else ""
        sentence = f"{extra:.3g} s of work after the result{who}"
        return Outcome("work after the clock", Verdict.CAUGHT, sentence, mechanism=11)
    return Outcome("work after the clock", Verdict.CLEAR, "the work was done when the result was there", mechanism=11)
