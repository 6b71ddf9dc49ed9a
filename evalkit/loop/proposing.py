"""What a proposer is: given a workspace with the incumbent's files, it edits them, or hands over a patch.

A proposer never sees the vault, the scorer, or the ledger; it gets the history of this run as far as it may be known.
One that crashes, hangs, proposes nothing, or proposes the same tree twice costs one recorded attempt, not the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from evalkit.errors import EvalkitError

__all__ = ["Briefing", "Exhausted", "Past", "Proposal", "ProposalError", "Proposer"]


@dataclass(frozen=True, slots=True)
class Past:
    """What a proposer may know of an earlier experiment.

    Attributes:
        experiment: its number.
        decision, reason, sentence: of the verdict; the sentence is left out where vault cases could speak through it.
        description: what was tried.
        details: what the proposer itself said of it (:attr:`Proposal.details`).
        dev: mean of the objective over the candidate's trials on the visible split, or None.
    """

    experiment: int
    decision: str
    reason: str
    sentence: str
    description: str
    details: Mapping[str, Any]
    dev: float | None

    def line(self) -> str:
        """One line for a prompt or a log."""
        shown = "" if self.dev is None else f" dev={self.dev:.6g}"
        return f"{self.experiment}\t{self.decision}\t{self.reason}\t{self.description}{shown}"


@dataclass(frozen=True, slots=True)
class Briefing:
    """What a proposer is given.

    Attributes:
        workspace: directory with the incumbent's files, without what the contract hides; the proposer's to edit.
        experiment: the number that this proposal will have, from 1.
        instructions: what to do, as text.
        history: earlier experiments, oldest first.
        editable: globs that a change may touch.
        wall: seconds that it may take.
    """

    workspace: Path
    experiment: int
    instructions: str
    history: Sequence[Past]
    editable: tuple[str, ...]
    wall: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a proposer proposes.

    Attributes:
        description: one line for people.
        patch: a unified diff against the incumbent, or None where the workspace was edited in place.
        details: plain JSON values that the ledger keeps and the proposer gets back in :attr:`Past.details`.
        transcript: what the proposer printed, kept whole beside the ledger; empty where it printed nothing.
    """

    description: str
    patch: bytes | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    transcript: bytes = b""


class ProposalError(EvalkitError):
    """The proposer failed: it crashed, took too long, or its patch is no patch. Costs one recorded attempt.

    Args:
        message: what happened.
        transcript: what it printed until then.
        description: what it was about to propose, where that is known.
    """

    def __init__(self, message: str, *, transcript: bytes = b"", description: str = "") -> None:
        super().__init__(message)
        self.transcript = transcript
        self.description = description


class Exhausted(Exception):  # noqa: N818 - the end of a list is no error
    """The proposer has nothing more to propose; the run ends."""


class Proposer(Protocol):
    """Anything that proposes changes."""

    name: str

    def propose(self, briefing: Briefing) -> Proposal:
        """Propose one change.

        Raises:
            ProposalError: it failed this time.
            Exhausted: there is nothing more to propose.
        """
