"""Which keep lost it, for a metric without noise: one pair a look is enough, and there is nothing to test."""

from __future__ import annotations

from collections.abc import Callable

from evalkit.watch.bisect import Finding, Outcome

__all__ = ["search_exactly"]


def search_exactly(keeps: int, loss_between: Callable[[int, int], float]) -> Finding:
    """Bisect for the keep by which half of the loss is there, and see whether it carries that half alone.

    Args:
        keeps: number of keeps between the good tree (0) and head (``keeps``), at least 1.
        loss_between: measures a newer tree beside an older one; the loss, positive where the newer one is worse.

    Returns:
        ``NAMED``, or ``GRADUAL`` where the keep found carries less than half of the whole loss.
    """
    whole = loss_between(keeps, 0)
    looks, low, high = 1, 0, keeps
    while high - low > 1:
        middle = (low + high) // 2
        looks += 1
        if 2 * loss_between(middle, 0) > whole:
            high = middle
        else:
            low = middle
    alone = loss_between(high, low) if keeps > 1 else whole
    looks += keeps > 1
    outcome = Outcome.NAMED if 2 * alone >= whole else Outcome.GRADUAL
    return Finding(outcome, high, low, -alone, looks, looks)
