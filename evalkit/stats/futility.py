"""Futility: stopping when confirmation has become unlikely to end in a keep. Only rejects: no error budget spent."""

from __future__ import annotations

__all__ = ["FAR", "is_futile"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.stats.evidence import ModeratedT
    from evalkit.stats.policies import Policy


FAR = 4.0
"""Mean differences above so many noise sds are never futile: there the ratio below compares two hypotheses that are
both far from the data, and tends to none."""


def is_futile(evidence: ModeratedT, policy: Policy) -> bool:
    """Whether the log-likelihood ratio of the effect of interest against none lags behind what it should have reached.

    The bar starts at ``−futility_bound`` and rises by ``futility_growth`` a pair: evidence that doesn't grow at some
    minimal pace can't reach its level before pairs run out, and patience is better spent on the next proposal.
    """
    if evidence.mean_in_sd > FAR:
        return False
    bar = policy.futility_growth * evidence.n - policy.futility_bound
    return evidence.log_likelihood_ratio(policy.futility_effect) < bar
