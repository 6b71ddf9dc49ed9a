"""The proposer that a contract names."""

from __future__ import annotations

from evalkit.contract import Contract
from evalkit.errors import UsageError
from evalkit.loop.proposing import Proposer
from evalkit.sandbox.interface import Sandbox

__all__ = ["proposer_of"]


def proposer_of(contract: Contract, sandbox: Sandbox, *, entropy: int = 0) -> Proposer:
    """The proposer that ``[proposer]`` names.

    Args:
        contract: in force.
        sandbox: in which a command runs.
        entropy: of the tuner's choices.

    Raises:
        UsageError: it can't be had.
    """
    settings = contract.proposer
    match settings.kind:
        case "tuner":
            from evalkit.loop.tuner import Tuner  # noqa: PLC0415 - libcst loads late

            return Tuner(entropy=entropy)
        case "command":
            from evalkit.loop.command import Command  # noqa: PLC0415

            return Command(settings, sandbox, contract.budget)
        case "patches":
            from evalkit.loop.patches import Patches  # noqa: PLC0415

            return Patches(settings.source, repository=contract.root)
        case "python":
            from evalkit.loop.function import Function, find_function  # noqa: PLC0415

            if not settings.function:
                raise UsageError("the proposer `python` has no function", '[proposer] function = "module:callable"')
            return Function(find_function(settings.function))
        case _:
            raise UsageError(f"there is no proposer {settings.kind!r}", "use tuner, command, patches or python")
