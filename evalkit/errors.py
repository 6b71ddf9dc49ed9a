"""Every error that a user can meet, one tree.

    EvalkitError                    exit code 4 unless a subclass says otherwise
    ├── UsageError                  2: asked for something that can't be done as asked
    │   ├── ContractError           2: evalkit.toml is wrong; carries every mistake that was found
    │   ├── WorkspaceError          2: a tree or a repository that evalkit refuses to work with
    │   │   └── ScopeError          2: a change that touches what it may not
    │   └── DataError               2: a data file that can't be read as what it should be
    └── InfrastructureError         4: not the candidate's fault; safe to retry
        ├── SandboxUnavailable      4: the engine can't run here, and the one command that would help
        ├── LedgerError             4: the ledger can't be written or read
        │   ├── LedgerLocked        4: another run holds it; names its pid
        │   └── LedgerCorrupt       4: a byte is not what was written; names the record
        └── TrialError              4: evalkit's own part of a trial failed

Each error has a message (what was wrong, and where) and a way out (what to do). Neither is a traceback.
"""

from __future__ import annotations

__all__ = [
    "ContractError",
    "DataError",
    "EvalkitError",
    "InfrastructureError",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerLocked",
    "SandboxUnavailable",
    "ScopeError",
    "TrialError",
    "UsageError",
    "WorkspaceError",
]

from dataclasses import dataclass


class EvalkitError(Exception):
    """The root of the tree.

    Args:
        message: what was wrong and where, one or two sentences.
        way_out: what to do about it; empty where there is nothing to do.
    """

    exit_code = 4

    def __init__(self, message: str, way_out: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.way_out = way_out

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.way_out}" if self.way_out else self.message


class UsageError(EvalkitError):
    """The user asked for something that can't be done as asked."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a contract file.

    Attributes:
        where: ``file:line: key`` as far as it is known.
        found: what stands there.
        expected: what would be right, with an example.
    """

    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where}: {self.found}; {self.expected}"


class ContractError(UsageError):
    """A contract file with one or more mistakes; all of them are listed."""

    def __init__(self, mistakes: tuple[Mistake, ...], way_out: str = "") -> None:
        self.mistakes = mistakes
        count = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
        lines = "\n".join(f"  {mistake}" for mistake in mistakes)
        super().__init__(f"the contract has {count}:\n{lines}", way_out)


class WorkspaceError(UsageError):
    """A tree or a repository that evalkit refuses to work with."""


class ScopeError(WorkspaceError):
    """A change that touches what it may not."""


class DataError(UsageError):
    """A data file that can't be read as what it should be."""


class InfrastructureError(EvalkitError):
    """Not the candidate's fault; safe to retry."""


class SandboxUnavailable(InfrastructureError):  # noqa: N818 - the name says the state, not the event
    """The sandbox engine can't run here."""


class LedgerError(InfrastructureError):
    """The ledger can't be written or read."""


class LedgerLocked(LedgerError):  # noqa: N818
    """Another process holds the ledger."""


class LedgerCorrupt(LedgerError):  # noqa: N818
    """A byte of the ledger is not what was written."""


class TrialError(InfrastructureError):
    """evalkit's own part of a trial failed."""
