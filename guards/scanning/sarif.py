"""SARIF 2.1.0 (OASIS standard, 2020-03-27), the part that code hosts read: rules, results, places, fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from evalkit import __version__
from evalkit.guarding import Finding, Severity
from guards.rule import Rule
from guards.scanning.engine import Scanned

__all__ = ["sarif_log"]

_LEVEL = {Severity.BLOCK: "error", Severity.PROBE: "warning", Severity.NOTE: "note"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif_log(scans: Iterable[Scanned], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """One SARIF log with one run.

    Args:
        scans: what was found, change by change.
        rules: by id; ids that are not among them (another package's) are described by their first finding.
    """
    results: list[dict[str, Any]] = []
    used: dict[str, Finding] = {}
    for scan in scans:
        for finding in scan.inspection.findings:
            used.setdefault(finding.rule, finding)
            results.append(_result(finding, scan))
        for finding, reason in scan.inspection.suppressed:
            used.setdefault(finding.rule, finding)
            suppression = {"kind": "external", "status": "accepted", "justification": reason}
            results.append({**_result(finding, scan), "suppressions": [suppression]})
    order = {rule: index for index, rule in enumerate(sorted(used))}
    for result in results:
        result["ruleIndex"] = order[result["ruleId"]]
    driver = {
        "name": "evalkit",
        "semanticVersion": __version__,
        "rules": [_described(rule, used[rule], rules.get(rule)) for rule in order],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _described(rule_id: str, finding: Finding, rule: Rule | None) -> dict[str, Any]:
    summary = rule.summary if rule else finding.message
    advice = (rule.advice if rule else finding.advice) or "see the guard's documentation"
    severity = rule.severity if rule else finding.severity
    described: dict[str, Any] = {
        "id": rule_id,
        "shortDescription": {"text": summary},
        "help": {"text": advice},
        "defaultConfiguration": {"level": _LEVEL[severity]},
    }
    if rule:
        described["name"] = "".join(part.capitalize() for part in rule.name.split("-"))
    return described


def _result(finding: Finding, scan: Scanned) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "level": _LEVEL[finding.severity],
        "message": {"text": finding.message},
        "partialFingerprints": {"evalkit/v1": _fingerprint(finding)},
    }
    if finding.file:
        place: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.file), "uriBaseId": "%SRCROOT%"}}
        if finding.line > 0:
            place["region"] = {"startLine": finding.line}
            if finding.evidence:
                place["region"]["snippet"] = {"text": finding.evidence}
        result["locations"] = [{"physicalLocation": place}]
    if scan.label != "-":
        result["properties"] = {"change": scan.label, "subject": scan.subject}
    return result


def _fingerprint(finding: Finding) -> str:
    """Stable while the passage stays, wherever it moves within the file."""
    passage = " ".join(finding.evidence.split()) or finding.message
    return hashlib.sha256(f"{finding.rule}\0{finding.file}\0{passage}".encode()).hexdigest()[:32]
