"""An audit as one JSON document and as markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from evalkit.report.audit_words import clean, headline, limits, number, pairs_to_settle, signed, span
from evalkit.watch.audit import Audit, RowVerdict, SegmentAudit, Verdict
from evalkit.watch.audit_findings import Finding

__all__ = ["as_json", "as_markdown"]

_SCHEMA = "evalkit/audit/1"
_MAX_LINES = 12
_MAX_PROBLEMS = 50
_UNREMARKABLE = frozenset({Verdict.DISCARDED, Verdict.CRASH, Verdict.REPEAT})


def as_json(audit: Audit) -> dict[str, Any]:
    """Everything, as plain JSON values; a row's gain is positive where it is an improvement."""
    return {
        "schema": _SCHEMA,
        "source": audit.history.source,
        "format": audit.history.form,
        "fdr": audit.fdr,
        "segments": [_segment(audit, segment) for segment in audit.segments],
        "problems": [
            {"line": problem.line, "text": problem.text, "dropped": problem.dropped}
            for problem in audit.history.problems
        ],
    }


def _segment(audit: Audit, segment: SegmentAudit) -> dict[str, Any]:
    noise = segment.noise
    return {
        "metric": segment.segment.metric,
        "unit": segment.segment.unit,
        "goal": segment.segment.goal,
        "goal_source": segment.segment.goal_source,
        "headline": headline(segment),
        "noise": {
            "sd": noise.sd,
            "low": noise.low,
            "high": noise.high,
            "source": noise.source,
            "sureness": noise.sureness.value,
        },
        "claimed_gain": segment.claimed_gain,
        "true_gain": segment.true_gain,
        "true_gain_sd": segment.true_gain_sd,
        "tested_keeps": segment.tested,
        "expected_false_keeps": segment.expected_false_keeps,
        "verdicts": {verdict.value: segment.count(verdict) for verdict in Verdict if segment.count(verdict)},
        "findings": [_finding(finding) for finding in segment.findings],
        "cannot_be_known": list(limits(audit, segment)),
        "rows": [_row(row, noise.sd) for row in segment.rows],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {"rule": finding.rule, "grave": finding.grave, "text": finding.text, "lines": list(finding.lines)}


def _row(row: RowVerdict, sd: float | None) -> dict[str, Any]:
    again = row.remeasured
    document: dict[str, Any] = {
        "line": row.row.line,
        "label": row.row.label,
        "commit": row.row.commit,
        "status": row.row.status.value,
        "status_text": row.row.status_text,
        "metric": row.row.metric,
        "kept": row.kept,
        "verdict": row.verdict.value,
        "reason": row.reason,
        "claimed": row.claimed,
        "probability": row.probability,
        "effect": row.effect,
        "level": row.level,
        "marks": [mark.value for mark in row.marks],
        "description": row.row.description,
    }
    if row.kept and row.verdict in {Verdict.UNSURE, Verdict.NOISE}:
        document["pairs_to_settle"] = pairs_to_settle(row, sd)
    if again is not None:
        again_document = {"effect": again.effect, "standard_error": again.standard_error, "pairs": again.pairs}
        document["remeasured"] = again_document
    return document


def as_markdown(audit: Audit) -> str:
    """The audit for a pull request or a job summary: what matters, in a page or two."""
    return "\n".join(_page(audit)) + "\n"


def _page(audit: Audit) -> Iterator[str]:
    yield f"# Audit of `{_code(PurePath(audit.history.source).name)}`"
    yield ""
    yield f"Read as {audit.history.form}, {len(audit.history.rows)} rows."
    for segment in audit.segments:
        yield from _section(audit, segment)
    if audit.history.problems:
        yield from ("", "## Lines that could not be read as they stand", "")
        yield from (f"- {_text(str(problem))}" for problem in audit.history.problems[:_MAX_PROBLEMS])
        left = len(audit.history.problems) - _MAX_PROBLEMS
        if left > 0:
            yield f"- … and {left} more"


def _section(audit: Audit, segment: SegmentAudit) -> Iterator[str]:
    noise, unit = segment.noise, f" {segment.segment.unit}" if segment.segment.unit else ""
    yield from ("", f"## {_text(segment.segment.metric)} ({segment.segment.goal or 'goal unknown'})", "")
    yield f"**{headline(segment)}**"
    yield ""
    yield "| what | value |"
    yield "| --- | --- |"
    yield f"| goal | {segment.segment.goal or 'unknown'}, {_text(segment.segment.goal_source)} |"
    yield f"| noise of one run (sd) | {number(noise.sd)}{unit} ({number(noise.low, 2)} to {number(noise.high, 2)}) |"
    yield f"| how that is known | {noise.source}; sureness: {noise.sureness.value} |"
    yield f"| recorded gain | {signed(segment.claimed_gain)}{unit} |"
    yield f"| estimated true gain (95 %) | {span(segment)}{unit} |"
    yield f"| expected false keeps | {number(segment.expected_false_keeps, 2)} of {segment.tested} |"
    yield from _keeps(segment)
    if segment.findings:
        yield from ("", "### Findings", "")
        for finding in segment.findings:
            rule = f"**{finding.rule}**" if finding.grave else finding.rule
            yield f"- {rule}: {_text(finding.text)}{_lines(finding)}"
    yield from ("", "### What can't be known from this file", "")
    yield from (f"- {sentence}" for sentence in limits(audit, segment))


def _keeps(segment: SegmentAudit) -> Iterator[str]:
    rows = [row for row in segment.rows if row.kept and row.verdict is not Verdict.START]
    if not rows:
        return
    yield from ("", "### Keeps", "", "| line | verdict | recorded | estimated | P(real) | pairs to settle | change |")
    yield "| ---: | --- | ---: | ---: | ---: | ---: | --- |"
    for row in rows:
        chance = "–" if row.probability is None else f"{100 * row.probability:.0f} %"
        pairs = pairs_to_settle(row, segment.noise.sd) if row.verdict in {Verdict.UNSURE, Verdict.NOISE} else None
        yield (
            f"| {row.row.line} | {row.verdict.value} | {signed(row.claimed)} | {signed(row.effect)} | {chance} "
            f"| {pairs or '–'} | {_text(row.row.description, 90)} |"
        )


def _lines(finding: Finding) -> str:
    shown = ", ".join(str(line) for line in finding.lines[:_MAX_LINES])
    more = len(finding.lines) - _MAX_LINES
    return f" (line{'s' if len(finding.lines) > 1 else ''} {shown}{f' and {more} more' if more > 0 else ''})"


def _text(text: str, limit: int = 300) -> str:
    """Untrusted text that can't become markup: markdown's own characters are escaped."""
    return "".join(f"\\{character}" if character in r"\`*_[]<>|#!&" else character for character in clean(text, limit))


def _code(text: str) -> str:
    return clean(text).replace("`", "'")
