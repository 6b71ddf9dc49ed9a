"""Futility: stopping when the effect of interest has become unlikely. Only rejects, so it spends no error budget."""

from __future__ import annotations

__all__ = ["is_futile"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.stats.evidence import ModeratedT
    from evalkit.stats.policies import Policy


def is_futile(evidence: ModeratedT, policy: Policy) -> bool:
    """Whether the log-likelihood ratio of the smallest effect of interest against none fell below the bound."""
    return evidence.log_likelihood_ratio(policy.futility_effect) < -policy.futility_bound
