"""The doorway for guards: what a guard is given, what it returns, and how it is found.

A guard inspects a change, the trials or the history and returns findings. It never decides: the verifier does, from
the findings' severities. Anyone's package adds a guard through the ``evalkit.guards`` entry point; ours do the same::

    class NoTodo:
        name = "no-todo"

        def inspect(self, evidence: Evidence) -> Iterable[Finding]:
            for file in evidence.change.files:
                if b"TODO" in evidence.read_new(file.path):
                    yield Finding("XX001", Severity.NOTE, "a TODO was added", file=file.path)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

from evalkit.contract import Contract, GuardSettings
from evalkit.errors import UsageError

__all__ = [
    "ChangeLike",
    "Evidence",
    "FileChangeLike",
    "Finding",
    "Guard",
    "Inspection",
    "Severity",
    "Stage",
    "TrialSummary",
    "find_guards",
    "inspect_all",
]

Stage = Literal["before", "after"]
_GROUP = "evalkit.guards"


class Severity(StrEnum):
    """What a finding asks for."""

    BLOCK = "block"
    """Refuse the change."""
    PROBE = "probe"
    """Look closer: run the dynamic probes."""
    NOTE = "note"
    """Say it in the verdict."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a guard saw.

    Attributes:
        rule: stable id of the rule, such as ``EK101``.
        severity: what it asks for.
        message: what was seen, one sentence.
        file: path in the tree, or the empty string.
        line: from 1; 0 where there is none.
        evidence: the passage itself, at most a few lines.
        advice: what the author, or the contract's owner, should do.
        secret: whether it was found with the vault's help; it is then never shown to a proposer.
    """

    rule: str
    severity: Severity
    message: str
    file: str = ""
    line: int = 0
    evidence: str = ""
    advice: str = ""
    secret: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "rule": self.rule,
            "severity": str(self.severity),
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "evidence": self.evidence,
            "advice": self.advice,
            "secret": self.secret,
        }


class FileChangeLike(Protocol):
    """One changed file; :class:`evalkit.workspace.FileChange` is one."""

    @property
    def path(self) -> str:
        """Below the contract's folder."""

    @property
    def status(self) -> str:
        """``added``, ``modified``, ``deleted``, ``mode`` or ``renamed``."""


class ChangeLike(Protocol):
    """The diff from incumbent to candidate; :class:`evalkit.workspace.Change` is one."""

    @property
    def files(self) -> Sequence[Any]:
        """The changed files (:class:`FileChangeLike`)."""

    @property
    def patch(self) -> str:
        """The unified diff as text."""


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """What a guard may know about one trial.

    Attributes:
        arm: ``incumbent`` or ``candidate``.
        stage: ``screen``, ``confirm``, ``estimate``, ``probe``.
        seed: chosen by evalkit.
        outcome: the class of its ending.
        values: metric values, by name.
        wall: seconds of the whole trial.
        cpu: CPU seconds of candidate code, or None.
        stdout: the head and tail of what candidate code printed.
    """

    arm: str
    stage: str
    seed: int
    outcome: str
    values: Mapping[str, float]
    wall: float
    cpu: float | None
    stdout: str = ""


def _no_bytes(_path: str) -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a guard looks at.

    Attributes:
        stage: ``before`` any trial, or ``after`` them.
        contract: the contract in force.
        change: from incumbent to candidate.
        read_old, read_new: a file's bytes in the incumbent's or the candidate's tree; empty where there is none.
        trials: what was run so far (empty before).
        history: earlier experiments of the run, oldest first: one mapping each, as in the ledger's index.
        vault: reads the vault's cases for trusted checks, or None where there is none or it may not be opened.
    """

    stage: Stage
    contract: Contract
    change: ChangeLike
    read_old: Callable[[str], bytes] = _no_bytes
    read_new: Callable[[str], bytes] = _no_bytes
    trials: Sequence[TrialSummary] = ()
    history: Sequence[Mapping[str, Any]] = ()
    vault: Callable[[], Iterable[tuple[str, bytes]]] | None = None


@runtime_checkable
class Guard(Protocol):
    """Anything with a name that turns evidence into findings."""

    name: str

    def inspect(self, evidence: Evidence) -> Iterable[Finding]:
        """Look, and say what was seen; called once before and once after the trials."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """All findings of one stage.

    Attributes:
        findings: those in force, most severe first.
        suppressed: those the contract silences, each with the reason it gives.
    """

    findings: tuple[Finding, ...] = ()
    suppressed: tuple[tuple[Finding, str], ...] = field(default=())

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings that refuse the change."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.BLOCK)

    @property
    def probing(self) -> tuple[Finding, ...]:
        """The findings that ask for a closer look."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.PROBE)


def find_guards(settings: GuardSettings) -> tuple[Guard, ...]:
    """The installed guards that the contract does not disable, in the order of their names.

    Raises:
        UsageError: the contract disables a guard that is not installed, or an installed one can't be loaded.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, needed only here

    points = {point.name: point for point in entry_points(group=_GROUP)}
    if unknown := sorted(set(settings.disabled) - set(points)):
        raise UsageError(
            f"[guards] disables {', '.join(unknown)}, which is not installed", f"known: {', '.join(points)}"
        )
    guards: list[Guard] = []
    for name in sorted(set(points) - set(settings.disabled)):
        try:
            guard = points[name].load()()
        except (ImportError, AttributeError, TypeError) as error:
            raise UsageError(
                f"the guard {name!r} ({points[name].value}) can't be loaded: {error}",
                f'reinstall its package, or put it in [guards] disabled = ["{name}"]',
            ) from error
        guards.append(guard)
    return tuple(guards)


_ORDER = {Severity.BLOCK: 0, Severity.PROBE: 1, Severity.NOTE: 2}


def inspect_all(guards: Iterable[Guard], evidence: Evidence, *, today: date) -> Inspection:
    """Every guard's findings, with the contract's severities and suppressions applied.

    A guard that raises does not pass: its failure is a finding (``EK001``, probe) of its own.

    Args:
        guards: as :func:`find_guards` gives them.
        evidence: what they look at.
        today: decides whether a suppression has expired.
    """
    settings = evidence.contract.guards
    silenced = {s.rule: s.reason for s in settings.suppressed if date.fromisoformat(s.until) >= today}
    findings: list[Finding] = []
    suppressed: list[tuple[Finding, str]] = []
    for guard in guards:
        for found in _inspect_one(guard, evidence):
            finding = found
            if (changed := settings.severity.get(finding.rule)) is not None:
                finding = replace(finding, severity=Severity(changed))
            if finding.rule in silenced:
                suppressed.append((finding, silenced[finding.rule]))
            else:
                findings.append(finding)
    findings.sort(key=lambda finding: (_ORDER[finding.severity], finding.rule, finding.file, finding.line))
    return Inspection(tuple(findings), tuple(suppressed))


def _inspect_one(guard: Guard, evidence: Evidence) -> list[Finding]:
    try:
        return [_as_finding(found) for found in guard.inspect(evidence)]
    except Exception as error:  # noqa: BLE001 - a third party's guard may raise anything, and must not pass by it
        return [
            Finding(
                "EK001",
                Severity.PROBE,
                f"the guard {guard.name!r} failed: {type(error).__name__}: {error}"[:300],
                advice="report it to the guard's author, or disable it in [guards]",
            )
        ]


def _as_finding(found: object) -> Finding:
    if not isinstance(found, Finding):
        raise TypeError(f"it returned {type(found).__name__}, which is no finding")
    return found
