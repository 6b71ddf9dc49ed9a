"""Run the guards that look before any trial over one change that is known by its patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalkit.contract import Contract, Metric, Program, Trust
from evalkit.guarding import ChangeLike, Evidence, Finding, Guard, Inspection, Severity, find_guards, inspect_all
from guards.source.patch import parse_patch

__all__ = ["MAX_PATCH", "Scanned", "default_contract", "scan_change", "scan_patch"]

MAX_PATCH = 4 << 20
"""Bytes of one patch that are looked at."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What the guards say about one change.

    Attributes:
        label: a commit, a file name, or ``-``.
        subject: the first line of the commit's message.
        inspection: the findings.
    """

    label: str
    subject: str
    inspection: Inspection

    @property
    def worst(self) -> Severity | None:
        """The most severe finding's severity."""
        found = {finding.severity for finding in self.inspection.findings}
        return next((severity for severity in Severity if severity in found), None)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "label": self.label,
            "subject": self.subject,
            "worst": str(self.worst) if self.worst else None,
            "findings": [finding.as_json() for finding in self.inspection.findings],
            "suppressed": [{**finding.as_json(), "reason": reason} for finding, reason in self.inspection.suppressed],
        }


def default_contract(folder: Path) -> Contract:
    """A contract for changes that have none: everything may be edited, nothing is hidden."""
    return Contract(
        file=folder / "evalkit.toml",
        name="scan",
        editable=("**",),
        hidden=(),
        programs={"scan": Program("scan")},
        metrics=(Metric("scan", "minimize", "scan", Trust.REPORTED),),
    )


def scan_change(
    change: ChangeLike,
    contract: Contract,
    *,
    read_old: Callable[[str], bytes] | None = None,
    read_new: Callable[[str], bytes] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    guards: Sequence[Guard] | None = None,
    label: str = "-",
    subject: str = "",
) -> Scanned:
    """Every installed guard over one change.

    Args:
        change: what was changed.
        contract: whose rules hold; :func:`default_contract` where there is none.
        read_old: a file's bytes before; where they are not known, the patch alone is looked at.
        read_new: the same, after.
        history: earlier experiments of the run.
        guards: instead of the installed ones.
        label: a commit or a file name, for the report.
        subject: the first line of a commit's message.
    """
    nothing: Callable[[str], bytes] = lambda _path: b""  # noqa: E731 - a name for "no bytes"
    evidence = Evidence(
        "before", contract, change, read_old=read_old or nothing, read_new=read_new or nothing, history=tuple(history)
    )
    chosen = find_guards(contract.guards) if guards is None else guards
    return Scanned(label, subject, inspect_all(chosen, evidence, today=datetime.now(UTC).date()))


def scan_patch(
    raw: bytes, contract: Contract, *, guards: Sequence[Guard] | None = None, label: str = "-", subject: str = ""
) -> Scanned:
    """Every installed guard over a patch; a patch that is too large gets a finding that says so."""
    text = raw[:MAX_PATCH].decode("utf-8", "replace")
    scanned = scan_change(parse_patch(text), contract, guards=guards, label=label, subject=subject)
    if len(raw) <= MAX_PATCH:
        return scanned
    cut = Finding(
        "EK002",
        Severity.PROBE,
        f"the patch has {len(raw):,} bytes; the first {MAX_PATCH:,} were looked at",
        advice="split the change",
    )
    found = Inspection((cut, *scanned.inspection.findings), scanned.inspection.suppressed)
    return Scanned(label, subject, found)
