"""SARIF 2.1.0 of a gate: a result for whatever is not a pass, and for every finding of a guard.

OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", 2020-03-27; the part that code hosts read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from evalkit import __version__
from evalkit.report.gating import Judged, Report

__all__ = ["sarif_document"]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"block": "error", "probe": "warning", "note": "note"}
_RULES = {
    "REJECT": ("gate-rejected", "The change did not pass the gate."),
    "INCONCLUSIVE": ("gate-inconclusive", "The evidence does not decide yet."),
    "ERROR": ("gate-error", "The gate could not judge the change."),
    "NOTHING": ("gate-nothing", "There was nothing to judge, and this gate does not allow that."),
}


def sarif_document(report: Report) -> dict[str, Any]:
    """One SARIF log with one run; ``executionSuccessful`` is false where the gate itself failed."""
    results: list[dict[str, Any]] = []
    rules: dict[str, dict[str, Any]] = {}
    for result, summary, level in _results(report):
        rules.setdefault(
            result["ruleId"],
            {
                "id": result["ruleId"],
                "shortDescription": {"text": summary[:1000]},
                "defaultConfiguration": {"level": level},
            },
        )
        results.append(result)
    order = {rule: index for index, rule in enumerate(sorted(rules))}
    for result in results:
        result["ruleIndex"] = order[result["ruleId"]]
    driver = {"name": "evalkit", "semanticVersion": __version__, "rules": [rules[rule] for rule in order]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": report.decision != "ERROR", "exitCode": report.exit_code}],
        "results": results,
        "properties": {"decision": report.decision, "base": report.base, "head": report.head},
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _results(report: Report) -> Iterator[tuple[dict[str, Any], str, str]]:
    for entry in report.judged:
        yield from _of_entry(entry)
    if report.decision == "NOTHING" and not report.passed:
        rule, summary = _RULES["NOTHING"]
        yield _result(rule, "error", summary, "", 0), summary, "error"


def _of_entry(entry: Judged) -> Iterator[tuple[dict[str, Any], str, str]]:
    if entry.decision in _RULES and entry.decision != "NOTHING":
        rule, summary = _RULES[entry.decision]
        text = f"{entry.name}: {entry.sentence}"
        yield _result(rule, "error", text, entry.file, entry.line), summary, "error"
    for finding in entry.findings:
        level = _LEVELS[finding["severity"]]
        result = _result(finding["rule"], level, finding["message"], entry.path_of(finding), finding["line"])
        yield _with_snippet(result, finding), finding["message"], level


def _result(rule: str, level: str, text: str, file: str, line: int) -> dict[str, Any]:
    print_ = hashlib.sha256(f"{rule}\0{file}\0{text}".encode()).hexdigest()[:32]
    result: dict[str, Any] = {
        "ruleId": rule,
        "level": level,
        "message": {"text": text},
        "partialFingerprints": {"evalkit/v1": print_},
    }
    if file:
        place: dict[str, Any] = {"artifactLocation": {"uri": quote(file), "uriBaseId": "%SRCROOT%"}}
        if line > 0:
            place["region"] = {"startLine": line}
        result["locations"] = [{"physicalLocation": place}]
    return result


def _with_snippet(result: dict[str, Any], finding: Mapping[str, Any]) -> dict[str, Any]:
    if finding.get("evidence") and "locations" in result:
        region = result["locations"][0]["physicalLocation"].get("region")
        if region is not None:
            region["snippet"] = {"text": finding["evidence"]}
    return result
