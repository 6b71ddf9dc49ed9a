"""Policies: the parameter sets that decide how much is spent on whom. None of them changes the error guarantee.

``alpha`` and ``expected_tests`` follow Xu & Ramdas (2024); ``grid``, ``weights`` and ``prior_df`` parametrise the
evidence of
:mod:`evalkit.stats.evidence`; the screen and futility numbers were found by random search in the simulation of
:mod:`evalkit.stats.simulate` (seeds below 1,000,000), for the most gain per trial over effects of 0.5, 1 and 2 noise
sds.
"""

from __future__ import annotations

__all__ = ["FRUGAL", "POLICIES", "STANDARD", "THOROUGH", "Policy", "policy"]

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


_FAR = (10.0, 25.0, 62.0, 156.0, 390.0)
_FAR_WEIGHTS = (0.008,) * len(_FAR)
"""Bets on effects far above the noise. With few degrees of freedom a bet of 4 sds hardly grows on an effect of 15,
which would then look futile; these cost the others 0.04 of log evidence."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to spend trials.

    Attributes:
        name: what the contract calls it.
        alpha: false discovery rate that the whole run keeps, in (0, 1).
        expected_tests: how many confirmations the error budget is planned for; more of them only get smaller levels,
            never none.
        calibration_pairs: A/A pairs at the start.
        screen_single: thresholds on ``mean·√i / single sd`` after the i-th unpaired screen trial.
        screen_pair: the same on paired differences.
        screen_promote: a screen that exceeds this goes to confirmation at once.
        paired_screen_rho: screen by pairs from this within-pair correlation on.
        prior_df: lower end of the evidence's bracket (see :mod:`evalkit.stats.evidence`). A small one is what keeps
        heavy
            tails and a candidate that varies more from passing for an effect; the price is power in the first few
            pairs.
        grid: effects, in units of the noise sd, that the evidence bets on; the last few, with little weight, are for
            effects far above the noise, which bets below them could never confirm.
        weights: share of each bet.
        max_pairs: confirm pairs at most.
        futility_effect: the smallest effect of interest, in units of the noise sd.
        futility_bound: stop when the log-likelihood ratio of that effect against none falls below minus this …
        futility_growth: … plus this for every pair seen.
        baseline_shrink: how far a new incumbent's baseline is moved down for the winner's curse, in standard errors.
        estimate_pairs: fresh pairs after a keep, for the effect that is claimed.
        min_pairs: confirm pairs before a keep, so that diagnostics have something to look at.
    """

    name: str
    alpha: float = 0.05
    expected_tests: int = 60
    calibration_pairs: int = 20
    screen_single: tuple[float, ...] = (0.2, 0.62, 0.96, 1.1, 1.2, 1.42, 1.5)
    screen_pair: tuple[float, ...] = (0.4, 0.8, 1.1, 1.35)
    screen_promote: float = 2.1
    paired_screen_rho: float = 0.75
    prior_df: float = 3.0
    grid: tuple[float, ...] = (0.7, 1.5, 4.0, *_FAR)
    weights: tuple[float, ...] = (0.55, 0.28, 0.17, *_FAR_WEIGHTS)
    max_pairs: int = 48
    futility_effect: float = 0.6
    futility_bound: float = 0.8
    futility_growth: float = 0.1
    baseline_shrink: float = 0.5
    estimate_pairs: int = 3
    min_pairs: int = 2

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Policy:
        """The inverse of :meth:`to_dict`."""
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known}
        return cls(**values)


STANDARD = Policy("standard")
"""About 2.5 trials a proposal."""

THOROUGH = Policy(
    "thorough",
    screen_single=(-0.55, -0.1, 0.1, 0.35, 0.5, 0.65, 0.8, 1.0),
    screen_pair=(0.0, 0.3, 0.6, 0.8, 1.0),
    screen_promote=1.75,
    grid=(0.5, 1.3, 5.0, *_FAR),
    weights=(0.48, 0.38, 0.14, *_FAR_WEIGHTS),
    max_pairs=96,
    futility_effect=0.43,
    futility_bound=0.84,
    futility_growth=0.068,
    baseline_shrink=0.4,
    estimate_pairs=4,
)
"""About 4.5 trials a proposal, for effects near half the noise sd."""

FRUGAL = Policy(
    "frugal",
    screen_single=(0.7, 1.1, 1.4, 1.6),
    screen_pair=(0.9, 1.4),
    screen_promote=2.2,
    grid=(1.0, 2.2, 4.5, *_FAR),
    weights=(0.6, 0.25, 0.15, *_FAR_WEIGHTS),
    max_pairs=20,
    futility_effect=0.9,
    futility_bound=0.6,
    futility_growth=0.15,
    estimate_pairs=2,
)
"""One or two trials for most proposals, for trials that take minutes on hardware that runs one at a time."""

POLICIES = {p.name: p for p in (STANDARD, THOROUGH, FRUGAL)}


def policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        ValueError: no such policy; names those that there are.
    """
    if name not in POLICIES:
        raise ValueError(f"no policy {name!r}; there are {', '.join(sorted(POLICIES))}")
    return POLICIES[name]
