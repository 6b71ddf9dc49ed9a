"""What a proposer may know of the past: dev results in full, the confirm pool as one bit.

Everything that candidate code printed or did where vault cases could be seen stays here: of a candidate that reached
the confirm split a proposer learns whether it was kept, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.loop.proposing import Past

__all__ = ["past_of"]


def past_of(verdict: Mapping[str, Any]) -> Past:
    """The visible part of a verdict (the ``decided`` record's body)."""
    vault_spoke = verdict["reached_confirm"]
    kept = verdict["decision"] == "KEEP"
    findings = [finding for finding in verdict["findings"] if finding["secret"]]
    hidden = (vault_spoke or bool(findings)) and not kept
    return Past(
        experiment=verdict["experiment"],
        decision="REJECT" if hidden else verdict["decision"],
        reason="not_confirmed" if hidden else verdict["reason"],
        sentence="" if vault_spoke or findings else verdict["sentence"],
        description=verdict["description"],
        details=verdict["details"],
        dev=verdict["dev"],
    )
