"""Label shuffle and future truncation: a candidate that still scores is reading what it should predict (15, 16)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from guards.probes.protocol import Outcome, Verdict

__all__ = ["future_truncation", "label_shuffle"]


def label_shuffle(shuffled: Sequence[float], null: Sequence[float], *, sign: int, level: float = 0.01) -> Outcome:
    """Whether a candidate still scores when the labels that it is scored against are shuffled.

    With shuffled labels nothing can be learnt from the inputs, so an honest candidate does no better than the best
    constant prediction does on the same shuffled labels. Pairs are compared by a sign test: each is at most
    as likely to favour the candidate as not, so its p-value is valid whatever the distributions.

    Args:
        shuffled: the candidate's score on each of several shuffles.
        null: the constant predictor's score on the same shuffles, in the same order.
        sign: +1 where larger is better, −1 where smaller is.
        level: false-alarm rate; at 0.01 at least 7 shuffles are needed.

    Raises:
        ValueError: the two have different lengths.
    """
    differences = [sign * (one - two) for one, two in zip(shuffled, null, strict=True)]
    decided = [difference for difference in differences if difference != 0]
    p_value = _sign_test(sum(difference > 0 for difference in decided), len(decided))
    needed = math.ceil(math.log2(1 / level))
    cost = len(differences)
    if p_value <= level:
        sentence = f"it scores on shuffled labels in {sum(d > 0 for d in decided)} of {len(decided)} shuffles"
        return Outcome("label shuffle", Verdict.CAUGHT, sentence, p_value, cost, mechanism=15)
    if len(decided) < needed and all(difference > 0 for difference in decided):
        more = needed - len(decided)
        return Outcome("label shuffle", Verdict.UNDECIDED, "too few shuffles", p_value, cost, more, mechanism=15)
    return Outcome("label shuffle", Verdict.CLEAR, "nothing is left on shuffled labels", p_value, cost, mechanism=15)


def _sign_test(wins: int, total: int) -> float:
    """P(at least ``wins`` of ``total``) at one half."""
    return math.fsum(math.comb(total, k) for k in range(wins, total + 1)) / 2**total if total else 1.0


def future_truncation(
    whole: Sequence[Sequence[float]], truncated: Sequence[Sequence[float]], *, tolerance: float = 1e-6
) -> Outcome:
    """Whether predictions change when what comes after them is taken away.

    Exact: a causal predictor's answers up to a point do not depend on what follows, beyond rounding.

    Args:
        whole: predictions for each position, with the rest of the input present.
        truncated: predictions for the same positions, with the input cut right after each.
        tolerance: largest absolute difference that is rounding.

    Raises:
        ValueError: the two have different shapes.
    """
    worst, place = 0.0, -1
    for position, (one, two) in enumerate(zip(whole, truncated, strict=True)):
        for a, b in zip(one, two, strict=True):
            if abs(a - b) > worst or abs(a - b) != abs(a - b):
                worst, place = abs(a - b), position
    cost = len(truncated)
    if worst > tolerance or worst != worst:  # noqa: PLR0124 - NaN
        sentence = f"the prediction at {place} changes by {worst:.3g} when the future is cut off"
        return Outcome("future truncation", Verdict.CAUGHT, sentence, cost=cost, mechanism=15)
    if not cost:
        return Outcome("future truncation", Verdict.UNDECIDED, "nothing was compared", needs=1, mechanism=15)
    return Outcome(
        "future truncation", Verdict.CLEAR, f"{cost} predictions do not see the future", cost=cost, mechanism=15
    )
