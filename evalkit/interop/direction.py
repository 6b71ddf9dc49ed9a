"""Which way is better, where a file doesn't say: from the metric's name, and from what its keeps did."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.contract import Goal
from evalkit.interop.history import HistoryRow, Status

__all__ = ["goal_of_name", "goal_of_rows", "infer_goal"]

_LOWER_WORDS = """
bpb bpc loss nll ce ppl perplexity latency runtime time duration seconds secs sec s ms us µs ns error errors err
failures fails mse rmse mae mape wer cer eer fid brier ece regret cost size bytes kb mb kib mib memory mem vram rss
cycles instructions misses faults p50 p90 p95 p99 toffoli gates depth warnings lines loc tokens divergence distance
"""
_HIGHER_WORDS = """
acc accuracy score f1 auc auroc auprc ap map ndcg mrr precision recall r2 reward return throughput qps rps fps iops
ops tps passed passes pass rate sharpe sortino correlation corr speedup elo winrate wins bleu rouge meteor quality
coverage gain profit dice iou psnr ssim mfu utilization hits
"""
_LOWER = frozenset(_LOWER_WORDS.split())
_HIGHER = frozenset(_HIGHER_WORDS.split())
_PER_SECOND = re.compile(r"(?:.*_)?(?:tok|token|req|op|img|image|sample|step|frame|byte|row)s?_?(?:/|per_?)?_?s(?:ec)?")
_FEWEST_VOTES = 4
_MAJORITY = 0.7
_STRONG_VOTES = 8
_STRONG = 0.85


def goal_of_name(name: str) -> Goal | None:
    """What the name of a metric says, from its last telling word; None where it says nothing."""
    lowered = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if _PER_SECOND.fullmatch(lowered):
        return "maximize"
    for word in reversed(re.split(r"[^a-z0-9µ]+", lowered)):
        if word in _LOWER:
            return "minimize"
        if word in _HIGHER:
            return "maximize"
    return None


def goal_of_rows(rows: Sequence[HistoryRow]) -> tuple[Goal | None, int, int]:
    """What the decisions say: a keep is better than the keep before it, a discard worse.

    Returns:
        the goal where at least 4 decisions speak and 70 % agree, how many agree with it, and how many speak.
    """
    up, down = _votes(rows)
    votes, best = up + down, max(up, down)
    if votes < _FEWEST_VOTES or best < _MAJORITY * votes:
        return None, best, votes
    return ("maximize" if up > down else "minimize"), best, votes


def _majority(rows: Sequence[HistoryRow]) -> Goal:
    up, down = _votes(rows)
    return "maximize" if up > down else "minimize"


def _votes(rows: Sequence[HistoryRow]) -> tuple[int, int]:
    """How many decisions speak for higher, and how many for lower."""
    incumbent: float | None = None
    up = down = 0
    for row in rows:
        if row.metric is None or row.status not in {Status.KEEP, Status.DISCARD}:
            continue
        if incumbent is not None and row.metric != incumbent and not row.baseline:
            higher = (row.metric > incumbent) == (row.status is Status.KEEP)
            up, down = up + higher, down + (not higher)
        if row.status is Status.KEEP:
            incumbent = row.metric
    return up, down


def infer_goal(metric: str, rows: Sequence[HistoryRow]) -> tuple[Goal | None, str]:
    """The goal of a segment, and where it comes from in words."""
    named = goal_of_name(metric)
    shown, agree, votes = goal_of_rows(rows)
    decisions = f"{agree} of {votes} decisions agree"
    if named is None and shown is None and 2 * agree > votes:
        return _majority(rows), f"a guess: only {decisions}"
    if named is None:
        return shown, f"inferred: {decisions}" if shown else "unknown: neither the name nor the decisions say"
    if shown is not None and shown != named and votes >= _STRONG_VOTES and agree >= _STRONG * votes:
        return shown, f"inferred against the name {metric!r}: {decisions}"
    return named, f"from the name {metric!r}" + (f"; {decisions}" if shown == named else "")
