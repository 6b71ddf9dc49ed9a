"""The loop: proposers, and a session that keeps or discards what they propose."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.loop.proposing import Briefing, Exhausted, Past, Proposal, ProposalError, Proposer
    from evalkit.loop.session import Session
    from evalkit.loop.wrapping import verified

__all__ = ["Briefing", "Exhausted", "Past", "Proposal", "ProposalError", "Proposer", "Session", "verified"]

_HOMES = {"Session": "session", "verified": "wrapping"}


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415

    if name in __all__:
        return getattr(import_module(f"evalkit.loop.{_HOMES.get(name, 'proposing')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
