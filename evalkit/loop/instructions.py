"""What a proposer is told, where the contract brings no text of its own."""

from __future__ import annotations

from evalkit.contract import Contract
from evalkit.errors import UsageError

__all__ = ["instructions_for"]


def instructions_for(contract: Contract) -> str:
    """The contract's own instructions, or a text made from it.

    Raises:
        UsageError: the instructions file can't be read.
    """
    if contract.proposer.instructions:
        file = contract.root / contract.proposer.instructions
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"[proposer] instructions = {str(file)!r} can't be read: {error}") from error
    return _default(contract)


def _default(contract: Contract) -> str:
    objective = contract.objective
    guarded = "".join(f"- `{metric.name}` must not get worse ({metric.goal} it)\n" for metric in contract.guarded)
    return f"""# {contract.name}

Propose one change that makes `{objective.name}` better ({objective.goal} it). Edit the files in this folder, then end.

You may change only: {", ".join(f"`{glob}`" for glob in contract.editable)}. Everything else is read-only, and a change
that touches it is refused unseen.

How it is judged:
- your change is run beside the present version, with seeds that nobody knows beforehand, on cases that you can't see
- what your program prints is not believed; it is measured and scored from outside
- a change is kept only when repeated pairs show that it is better; luck does not survive that
{guarded}
One idea at a time. `/evalkit/history.tsv` lists what was tried before and what became of it. End with one line that
says what you changed and why.
"""
