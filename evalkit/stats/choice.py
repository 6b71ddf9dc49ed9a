"""Which evidence fits a metric: from its declared kind, or from what the data look like, always with the reason."""

from __future__ import annotations

__all__ = ["SHARED_SEED", "Choice", "MetricKind", "choose_evidence", "kind_of_cases"]

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from evalkit.stats.bounded import BettingEvidence
from evalkit.stats.discrete import BinaryEvidence
from evalkit.stats.evidence import DEFAULT_GRID, ModeratedT, RatioEvidence
from evalkit.stats.percase import ClusteredEvidence, PerCaseEvidence, shared_seed_effect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evalkit.stats.noise import Noise

MetricKind = Literal["scalar", "ratio", "binary", "bounded", "clustered", "per-case"]
AnyEvidence = ModeratedT | RatioEvidence | BinaryEvidence | BettingEvidence | ClusteredEvidence | PerCaseEvidence

SHARED_SEED = 1.5
"""Above this ratio a pair is one unit. Twenty A/A pairs of independent cases exceed it one time in thirteen, which
costs power alone; at a true ratio of three, evidence over cases would overstate every z by three quarters."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A fresh evidence and why it was chosen.

    Attributes:
        evidence: nothing seen yet.
        kind: the metric kind it is for.
        reason: one sentence to print.
    """

    evidence: AnyEvidence
    kind: MetricKind
    reason: str


def choose_evidence(
    kind: MetricKind | None = None,
    *,
    noise: Noise | None = None,
    differences: Sequence[Sequence[float]] | None = None,
    clustered: bool = False,
    grid: Sequence[float] = DEFAULT_GRID,
) -> Choice:
    """The evidence for a metric.

    Args:
        kind: what the contract declares; None looks at the data.
        noise: the noise model, for ``scalar`` and ``ratio`` (of logarithms there).
        differences: A/A differences, pairs × cases, for a metric with cases.
        clustered: whether cases come in clusters.
        grid: effects to bet on, in units of the noise sd.

    Raises:
        ValueError: the kind needs a noise model with a positive sd that isn't there.
    """
    declared = kind is not None
    chosen, why = (kind, "the contract declares it") if kind is not None else _look(differences, clustered)
    reason = f"{chosen}: {why}" if not declared else f"{chosen}: declared in the contract"
    return Choice(_build(chosen, noise, grid), chosen, reason)


def _look(differences: Sequence[Sequence[float]] | None, clustered: bool) -> tuple[MetricKind, str]:
    if differences is None or len(differences) == 0 or len(differences[0]) == 0:
        return "scalar", "one number per trial"
    if clustered:
        return "clustered", "cases come in clusters, and a cluster is one unit"
    d = np.asarray(differences, dtype=float)
    if min(d.shape) >= 2 and d.any():  # noqa: PLR2004
        ratio = shared_seed_effect(d)
        if ratio > SHARED_SEED:
            return "scalar", f"pair means vary {ratio:.0f} times as much as independent cases would: a pair is one unit"
        return "per-case", f"A/A cases vary on their own (ratio {ratio:.1f}): cases and seeds are used together"
    return "bounded", "A/A runs agree on every case: seeds say nothing, so the units are cases"


def kind_of_cases(values: Sequence[float] | np.ndarray) -> Literal["binary", "bounded"] | None:
    """``binary`` if every value is 0 or 1, ``bounded`` if all lie in [0, 1], else None."""
    x = np.asarray(values, dtype=float)
    if x.size == 0 or not np.isfinite(x).all():
        return None
    if bool(np.isin(x, (0.0, 1.0)).all()):
        return "binary"
    return "bounded" if float(x.min()) >= 0.0 and float(x.max()) <= 1.0 else None


def _build(kind: MetricKind, noise: Noise | None, grid: Sequence[float]) -> AnyEvidence:
    if kind == "binary":
        return BinaryEvidence()
    if kind == "bounded":
        return BettingEvidence()
    if kind == "clustered":
        return ClusteredEvidence()
    if kind == "per-case":
        return PerCaseEvidence()
    if noise is None or noise.pilot_sd <= 0.0:
        raise ValueError(f"evidence for a {kind} metric needs a noise model with a positive sd")
    if kind == "ratio":
        return RatioEvidence(noise.pilot_sd, noise.pilot_df, grid)
    return ModeratedT(noise.pilot_sd, noise.pilot_df, grid)
