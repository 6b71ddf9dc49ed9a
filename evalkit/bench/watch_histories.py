"""Simulated run histories with known truth, and how an audit of one compares with measuring its keeps again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.interop import History, HistoryRow, Segment, Status
from evalkit.watch.audit import Verdict, audit

__all__ = ["Score", "Simulated", "score_of_audit", "simulate_history"]

_MEDIAN_EFFECT = 0.5
_REPEAT_PAIRS = 4
_FDR = 0.1
Shape = Literal["normal", "t4", "skewed"]


@dataclass(frozen=True, slots=True)
class Simulated:
    """A history of a loop that keeps what beats its stored best, with what was true.

    Attributes:
        history: as a reader would have given it.
        effects: true effect of each keep after the baseline, in order.
        gain: true gain of the whole run.
        sd: of one measurement.
    """

    history: History
    effects: NDArray[np.float64]
    gain: float
    sd: float


@dataclass(frozen=True, slots=True)
class Score:
    """How an audit did.

    Attributes:
        survivors: keeps on its list.
        false: of them, keeps without a true improvement.
        found: of them, keeps with one.
        replicated: true improvements that measuring every keep again in 4 fresh pairs (z-test with the true noise,
            Benjamini-Hochberg at 10 %) would have found.
        false_keeps: keeps without a true improvement in the history.
        expected_false: how many the audit expected.
        gain_covered: whether the 95 % range of the total gain holds the truth.
        sd_ratio: estimated over true noise, or None where the audit says that it can't be known.
    """

    survivors: int
    false: int
    found: int
    replicated: int
    false_keeps: int
    expected_false: float
    gain_covered: bool
    sd_ratio: float | None


def _effects(rows: int, improving: float, harming: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Mostly nothing, some harm, few improvements, log-normal around a median of 0.5."""
    kind = rng.random(rows)
    better = np.clip(_MEDIAN_EFFECT * np.exp(0.75 * rng.standard_normal(rows)), 0.05, 2.0)
    worse = -np.clip(_MEDIAN_EFFECT * np.exp(rng.standard_normal(rows)), 0.02, 10.0)
    return np.where(kind < improving, better, np.where(kind < improving + harming, worse, 0.0))


def _noise(rows: int, shape: Shape, rng: np.random.Generator) -> NDArray[np.float64]:
    """Unit variance, mean 0."""
    if shape == "t4":
        return rng.standard_t(4, rows) / math.sqrt(2)
    if shape == "skewed":
        return (np.exp(0.6 * rng.standard_normal(rows)) - math.exp(0.18)) / math.sqrt(
            (math.exp(0.36) - 1) * math.exp(0.36)
        )
    return rng.standard_normal(rows)


def simulate_history(
    seed: int,
    *,
    rows: int,
    snr: float,
    improving: float = 0.03,
    harming: float = 0.4,
    shape: Shape = "normal",
    repeats: int = 0,
) -> Simulated:
    """One run: ``rows`` proposals, one measurement each, kept when better than the best value recorded so far.

    Args:
        seed: of everything.
        rows: proposals after the baseline.
        snr: median improvement over the sd of one measurement.
        improving: share of proposals that improve.
        harming: share that harm.
        shape: of the noise.
        repeats: further measurements of the baseline, as replicate rows.
    """
    rng = np.random.default_rng(seed)
    sd = _MEDIAN_EFFECT / snr
    effects = _effects(rows, improving, harming, rng)
    noise = sd * _noise(rows + 1 + repeats, shape, rng)
    best, level = float(noise[0]), 0.0
    made = [HistoryRow(2, Status.KEEP, best, commit="base", description="baseline", baseline=True)]
    for index in range(repeats):
        value = float(noise[rows + 1 + index])
        made.append(HistoryRow(len(made) + 2, Status.DISCARD, value, commit="base", description="baseline again"))
    kept: list[float] = []
    for index in range(rows):
        value = level + float(effects[index] + noise[index + 1])
        keep = value > best
        if keep:
            best, level = value, level + float(effects[index])
            kept.append(float(effects[index]))
        status = Status.KEEP if keep else Status.DISCARD
        made.append(HistoryRow(len(made) + 2, status, value, commit=f"c{index}", description=f"change {index}"))
    history = History("simulated", "results.tsv", (Segment("score", "maximize", "stated"),), tuple(made))
    return Simulated(history, np.array(kept), level, sd)


def _replicated(simulated: Simulated, rng: np.random.Generator) -> int:
    """True improvements found by measuring every keep and its predecessor again."""
    error = simulated.sd / math.sqrt(_REPEAT_PAIRS)  # a pair shares half of the noise's variance
    means = simulated.effects + error * rng.standard_normal(simulated.effects.size)
    p_values = np.array([0.5 * math.erfc(mean / error / math.sqrt(2)) for mean in means])
    order = np.argsort(p_values)
    passing = np.flatnonzero(p_values[order] <= _FDR * np.arange(1, p_values.size + 1) / max(p_values.size, 1))
    chosen = order[: passing[-1] + 1] if passing.size else order[:0]
    return int((simulated.effects[chosen] > 0).sum())


def score_of_audit(simulated: Simulated, seed: int) -> Score:
    """Audit a simulated history and compare with its truth."""
    segment = audit(simulated.history, fdr=_FDR).segments[0]
    kept = [row for row in segment.rows if row.kept and row.verdict is not Verdict.START]
    survives = np.array([row.verdict is Verdict.SURVIVES for row in kept], dtype=bool)
    real = simulated.effects > 0
    known = segment.true_gain is not None and segment.true_gain_sd is not None
    error = abs((segment.true_gain or 0.0) - simulated.gain)
    return Score(
        survivors=int(survives.sum()),
        false=int((survives & ~real).sum()),
        found=int((survives & real).sum()),
        replicated=_replicated(simulated, np.random.default_rng([seed, 1])),
        false_keeps=int((~real).sum()),
        expected_false=segment.expected_false_keeps or 0.0,
        gain_covered=known and error <= 1.96 * (segment.true_gain_sd or 0.0),
        sd_ratio=None if segment.noise.sd is None else segment.noise.sd / simulated.sd,
    )
