"""Reports of a contamination scan: plain JSON values, SARIF, and a section of HTML."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from evalkit.overlap.corpus import CorpusScan
from evalkit.overlap.holdout import ItemReport
from evalkit.overlap.rules import Rule

__all__ = ["as_document", "counts", "html_section", "sarif"]

_RULE_ID = "EK401"
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def counts(reports: Sequence[ItemReport]) -> dict[str, int]:
    """How many items came out clean, contaminated and uncheckable."""
    found = Counter(report.state for report in reports)
    return {state: found[state] for state in ("clean", "contaminated", "uncheckable")}


def as_document(
    reports: Sequence[ItemReport], scan: CorpusScan, rule: Rule, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Everything as plain JSON values; clean items by id only."""
    return {
        "rule": {"name": rule.name, "window": rule.window.name, "source": rule.source},
        "counts": counts(reports),
        "corpus": {"files": scan.files, "lines": scan.lines, "bytes": scan.size},
        "problems": scan.problems,
        "items": [
            {"id": report.id, "state": report.state} if report.state == "clean" else asdict(report)
            for report in reports
        ],
        **(extra or {}),
    }


def sarif(reports: Sequence[ItemReport], version: str) -> dict[str, Any]:
    """SARIF 2.1.0 (OASIS): one result for every place of a contaminated item.

    Args:
        reports: of all items.
        version: of evalkit.
    """
    results = []
    for report in reports:
        for found in report.found if report.state == "contaminated" else ():
            region = {"startLine": max(1, found.match.line), "snippet": {"text": found.match.excerpt}}
            place = {"artifactLocation": {"uri": quote(found.path)}, "region": region}
            results.append(
                {
                    "ruleId": _RULE_ID,
                    "ruleIndex": 0,
                    "level": "error",
                    "message": {"text": f"holdout item {report.id}: {report.why}"},
                    "locations": [{"physicalLocation": place}],
                    "partialFingerprints": {"evalkit/v1": f"{report.id}:{found.path}:{found.match.at}"},
                }
            )
    described = {
        "id": _RULE_ID,
        "name": "HoldoutText",
        "shortDescription": {"text": "A file holds the text of a held-out item."},
        "help": {"text": "Remove the passage, or take the item out of the holdout."},
        "defaultConfiguration": {"level": "error"},
    }
    driver = {"name": "evalkit", "semanticVersion": version, "rules": [described]}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def html_section(reports: Sequence[ItemReport], scan: CorpusScan, rule: Rule) -> str:
    """A ``<section>`` for a page: the counts, then every item that isn't clean, with the passage on both sides.

    All text from the corpus and the holdout is escaped; there is no script and no reference to anything outside.
    """
    numbers = counts(reports)
    rows = "".join(_row(report) for report in reports if report.state != "clean")
    table = f"<table><thead>{_HEAD}</thead><tbody>{rows}</tbody></table>" if rows else ""
    return (
        '<section class="contamination"><h2>Contamination</h2>'
        f"<p>{len(reports)} held-out items against {scan.files} files ({scan.size / 1e6:,.1f} MB):"
        f" <b>{numbers['contaminated']} contaminated</b>, {numbers['uncheckable']} uncheckable,"
        f" {numbers['clean']} clean. Rule: {html.escape(rule.name)}, windows of {html.escape(rule.window.name)}.</p>"
        f"{table}{_problems(scan)}</section>"
    )


_HEAD = "<tr><th>item</th><th>state</th><th>why</th><th>in the holdout</th><th>in the corpus</th><th>where</th></tr>"


def _row(report: ItemReport) -> str:
    best = report.found[0] if report.found else None
    where = f"{best.path}:{best.match.line}" if best else ""
    more = f" and {report.places - 1} more" if report.places > 1 else ""
    cells = (report.id, report.state, report.why, report.passage, best.match.excerpt if best else "", where + more)
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _problems(scan: CorpusScan) -> str:
    listed = "".join(f"<li>{html.escape(problem)}</li>" for problem in scan.problems)
    return f"<p>Not read:</p><ul>{listed}</ul>" if listed else ""
