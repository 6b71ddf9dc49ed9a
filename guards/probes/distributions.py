"""Probabilities: do they sum to one, and does the score beat a predictor that knows nothing? (mechanism 16)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from guards.probes.protocol import Outcome, Verdict

__all__ = ["beats_constant", "constant_score", "sums_to_one"]


def sums_to_one(rows: Sequence[Sequence[float]], *, tolerance: float = 1e-3) -> Outcome:
    """Whether every row is a distribution.

    Args:
        rows: probabilities, one row a prediction, over all outcomes.
        tolerance: how far a sum may be from one.
    """
    for number, row in enumerate(rows):
        if any(not math.isfinite(p) or p < 0 for p in row):
            return _caught(f"row {number} holds a negative or undefined probability")
        total = math.fsum(row)
        if abs(total - 1) > tolerance:
            return _caught(f"row {number} sums to {total:.6g}")
    if not rows:
        return Outcome("sum to one", Verdict.UNDECIDED, "there are no predictions", needs=1, mechanism=16)
    return Outcome("sum to one", Verdict.CLEAR, f"{len(rows)} rows sum to one", mechanism=16)


def _caught(sentence: str) -> Outcome:
    return Outcome("sum to one", Verdict.CAUGHT, sentence, mechanism=16)


def constant_score(labels: Sequence[Hashable]) -> float:
    """Bits a case of the best predictor that ignores its input: the entropy of the labels.

    Raises:
        ValueError: there are no labels.
    """
    if not labels:
        raise ValueError("there are no labels")
    total = len(labels)
    return -math.fsum(n / total * math.log2(n / total) for n in Counter(labels).values())


def beats_constant(scores: Sequence[float], constant: float, *, sign: int, floor: float | None = None) -> Outcome:
    """Whether a score is possible at all, and says more than a constant prediction.

    Args:
        scores: of the candidate.
        constant: of the best constant predictor, see :func:`constant_score`.
        sign: +1 where larger is better, −1 where smaller is.
        floor: the best value that any predictor can reach (0 bits for a proper loss); a better one is caught.
    """
    if not scores:
        return Outcome("constant predictor", Verdict.UNDECIDED, "there are no scores", needs=1, mechanism=16)
    mean = math.fsum(scores) / len(scores)
    if floor is not None and sign * (mean - floor) > 0:
        sentence = f"{mean:.6g} is better than {floor:.6g}, which no proper score can beat"
        return Outcome("constant predictor", Verdict.CAUGHT, sentence, cost=len(scores), mechanism=16)
    if sign * (mean - constant) <= 0:
        sentence = f"{mean:.6g} is no better than a constant prediction ({constant:.6g})"
        return Outcome("constant predictor", Verdict.UNDECIDED, sentence, cost=len(scores), mechanism=9)
    return Outcome(
        "constant predictor", Verdict.CLEAR, f"{mean:.6g} against {constant:.6g}", cost=len(scores), mechanism=16
    )
