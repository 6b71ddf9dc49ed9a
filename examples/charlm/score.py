"""Trusted: bits per character of text that the candidate never sees.

Every query is a batch of windows of context, cut from all over the split's text so that no two overlap, in random
order; the answer is one distribution over the 128 symbols for each. Only the true next character's probability
counts, from the whole distribution as checked here.
"""

from __future__ import annotations

import os

import numpy as np

from evalkit.protocol.scorer import InvalidAnswerError, Session

CONTEXT = 32
SYMBOLS = 128
BATCH = 512
SUM_TOLERANCE = 1e-3


def windows(text: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """At most ``count`` windows (count, CONTEXT + 1) that don't overlap, in random order.

    The grid that they lie on starts at a random place, so that each seed sees other characters.
    """
    size = CONTEXT + 1
    offset = int(rng.integers(size))
    rows = (len(text) - offset) // size
    grid = text[offset : offset + rows * size].reshape(rows, size)
    return grid[rng.permutation(rows)[:count]]


def problem(answer: object, rows: int) -> str | None:
    """What is wrong with an answer, or None."""
    if not isinstance(answer, np.ndarray) or answer.dtype.kind != "f":
        return "an answer must be an array of floats"
    if answer.shape != (rows, SYMBOLS):
        return f"an answer of shape {answer.shape}, not {(rows, SYMBOLS)}"
    if not np.isfinite(answer).all():
        return "an answer holds NaN or infinity"
    if (answer < 0).any():
        return "an answer holds negative probabilities"
    worst = float(np.abs(answer.astype(np.float64).sum(axis=1) - 1).max())
    if worst > SUM_TOLERANCE:
        return f"a distribution's sum is {worst:.3g} away from one"
    return None


def bits(answer: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Bits (rows,) that each true character costs; infinite where its probability is zero.

    Rows are divided by their sums, so that the tolerance is worth nothing.
    """
    exact = answer.astype(np.float64)
    chosen = exact[np.arange(len(truth)), truth] / exact.sum(axis=1)
    with np.errstate(divide="ignore"):
        return -np.log2(chosen)


def main() -> None:
    session = Session()
    text = np.frombuffer((session.vault / "text.txt").read_bytes(), dtype=np.uint8)
    rng = np.random.default_rng(session.seed)
    cases = windows(text, rng, int(os.environ["CHARLM_WINDOWS"]))
    losses = []
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        try:
            answer = session.ask(np.ascontiguousarray(batch[:, :CONTEXT]))
        except InvalidAnswerError as error:
            session.fail(str(error))
            return
        if (wrong := problem(answer, len(batch))) is not None:
            session.fail(wrong)
            return
        losses.append(bits(answer, batch[:, CONTEXT]))
    mean = float(np.concatenate(losses).mean())
    if not np.isfinite(mean):
        session.fail("a character that occurs was given probability zero")
        return
    session.report(val_bpb=mean)


if __name__ == "__main__":
    main()
