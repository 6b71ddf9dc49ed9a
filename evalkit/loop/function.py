"""A proposer that is a Python callable: it gets the workspace and edits it.

The callable is the user's own code and runs in this process; what it writes into the workspace is treated as
anyone's.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from evalkit.errors import UsageError
from evalkit.loop.proposing import Briefing, Exhausted, Proposal, ProposalError

__all__ = ["Function", "find_function"]


class Function:
    """Calls ``function(briefing)`` for each proposal.

    Args:
        function: edits ``briefing.workspace`` and returns a description, or returns a :class:`Proposal`, or None when
            it has nothing more to propose.
    """

    name = "python"

    def __init__(self, function: Callable[[Briefing], Any]) -> None:
        self._function = function

    def propose(self, briefing: Briefing) -> Proposal:
        """Call it.

        Raises:
            ProposalError: it raised, or returned something else.
            Exhausted: it returned None.
        """
        try:
            returned = self._function(briefing)
        except (Exhausted, ProposalError):
            raise
        except Exception as error:
            raise ProposalError(f"the proposer raised {type(error).__name__}: {error}") from error
        if returned is None:
            raise Exhausted("the proposer has nothing more to propose")
        if isinstance(returned, Proposal):
            return returned
        if isinstance(returned, str):
            return Proposal(description=returned)
        raise ProposalError(f"the proposer returned {type(returned).__name__}, not a description or a Proposal")


def find_function(name: str) -> Callable[[Briefing], Any]:
    """``module:callable`` from the contract.

    Raises:
        UsageError: there is no such thing.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"[proposer] function = {name!r} can't be loaded: {error}", "use `module:callable`") from error
    if not callable(found):
        raise UsageError(f"[proposer] function = {name!r} is not callable")
    return found  # type: ignore[no-any-return]
