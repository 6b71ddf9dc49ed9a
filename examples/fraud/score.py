"""Trusted: average precision, and the Brier score that guards calibration, from probabilities as checked here.

Queries are single rows in random order: every sheet holds the same digits in the same order, so that a row's place
would give its label away.
"""

from __future__ import annotations

import os

import numpy as np

from evalkit.protocol.scorer import InvalidAnswerError, Session


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the precision-recall steps, AP = Σ (R_n − R_{n−1}) P_n over distinct thresholds.

    Rows with equal scores come in at once, so that their order is worth nothing (the definition that
    ``sklearn.metrics.average_precision_score`` documents).

    Args:
        labels: (n,) of 0 and 1, at least one 1.
        scores: (n,) finite.
    """
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(labels[order])
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    precision = found[ends] / (ends + 1)
    recall = found[ends] / found[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def problem(answer: object, rows: int) -> str | None:
    """What is wrong with an answer, or None."""
    if not isinstance(answer, np.ndarray) or answer.dtype.kind != "f":
        return "an answer must be an array of floats"
    if answer.shape != (rows,):
        return f"an answer of shape {answer.shape}, not {(rows,)}"
    if not np.isfinite(answer).all():
        return "an answer holds NaN or infinity"
    if (answer < 0).any() or (answer > 1).any():
        return "a probability lies outside [0, 1]"
    return None


def main() -> None:
    session = Session()
    rows = np.loadtxt(session.vault / "cases.csv", delimiter=",", skiprows=1)
    rng = np.random.default_rng(session.seed)
    rows = rows[rng.permutation(len(rows))[: int(os.environ["FRAUD_CASES"])]]
    labels = rows[:, 1]
    scores = np.empty(len(rows))
    for number, row in enumerate(rows):
        try:
            answer = session.ask(np.ascontiguousarray(row[None, 2:]))
        except InvalidAnswerError as error:
            session.fail(str(error))
            return
        if (wrong := problem(answer, 1)) is not None:
            session.fail(wrong)
            return
        scores[number] = answer[0]
    errors = (scores - labels) ** 2
    session.report(average_precision=average_precision(labels, scores), brier=float(errors.mean()))


if __name__ == "__main__":
    main()
