"""What a code host shows of a gate: a markdown job summary and annotations at file and line."""

from __future__ import annotations

from evalkit.report.gating import Judged, Report

__all__ = ["MAX_ANNOTATIONS", "MAX_SUMMARY", "markdown", "workflow_commands"]

MAX_SUMMARY = 1 << 20
"""Bytes that GitHub takes of a step's summary."""
MAX_ANNOTATIONS = 10
"""Annotations of one level that GitHub shows for a step."""
_MARKS = {"KEEP": "✅", "REJECT": "❌", "INCONCLUSIVE": "❔", "ERROR": "⚠️", "NOTHING": "➖"}
_CUT = "\n\n… cut here: the whole is in the JSON output.\n"
_CELL = 600


def markdown(report: Report) -> str:
    """The job summary; at most :data:`MAX_SUMMARY` bytes of UTF-8."""
    lines = [f"## evalkit gate: {_MARKS[report.decision]} {report.headline}", ""]
    lines += [f"base `{report.base[:12]}` → head `{report.head[:12]}`, {report.seconds:.0f} s", ""]
    if report.judged:
        lines += ["| | what | verdict | why |", "| --- | --- | --- | --- |"]
        lines += [_row(entry) for entry in report.judged]
    for entry in report.judged:
        lines += _section(entry)
    if report.unjudged:
        shown = ", ".join(_code(path) for path in report.unjudged[:20])
        more = f" and {len(report.unjudged) - 20} more" if len(report.unjudged) > 20 else ""  # noqa: PLR2004
        lines += ["", f"Changed and judged by nothing: {shown}{more}"]
    return _capped("\n".join(lines) + "\n")


def _row(entry: Judged) -> str:
    why = entry.effect + "; " + entry.sentence if entry.effect else entry.sentence
    more = f" (about {entry.more} more would probably decide)" if entry.more else ""
    return f"| {_MARKS[entry.decision]} | {_cell(entry.name)} | {entry.decision} | {_cell(why)}{more} |"


def _section(entry: Judged) -> list[str]:
    if not entry.findings and not entry.details:
        return []
    lines = ["", f"### {_cell(entry.name)}", ""]
    lines += [f"- {_cell(line)}" for line in entry.details]
    for finding in entry.findings:
        where = f"{entry.path_of(finding)}:{finding['line']}" if finding["line"] else entry.path_of(finding)
        lines.append(f"- **{finding['rule']}** ({finding['severity']}) {_code(where)}: {_cell(finding['message'])}")
    return lines


def _cell(text: str) -> str:
    """Text from outside inside a table: no markup of its own takes effect."""
    flat = " ".join(text.split())[:_CELL]
    for character in ("\\", "|", "`", "*", "_", "[", "]", "!", "#", "~", "@"):
        flat = flat.replace(character, f"\\{character}")
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    return "`" + " ".join(text.split()).replace("`", "'").replace("|", "¦")[:_CELL] + "`"


def _capped(text: str) -> str:
    raw = text.encode("utf-8", "replace")
    if len(raw) <= MAX_SUMMARY:
        return raw.decode()
    return raw[: MAX_SUMMARY - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT


def workflow_commands(report: Report) -> list[str]:
    """GitHub workflow commands, at most :data:`MAX_ANNOTATIONS`, the verdicts before the findings."""
    found = [
        _command("error", f"evalkit: {entry.decision}", entry.file, entry.line, f"{entry.name}: {entry.sentence}")
        for entry in report.judged
        if entry.decision in {"REJECT", "ERROR", "INCONCLUSIVE"}
    ]
    for entry in report.judged:
        for finding in entry.findings:
            level = {"block": "error", "probe": "warning"}.get(finding["severity"], "notice")
            title = f"evalkit {finding['rule']}"
            found.append(_command(level, title, entry.path_of(finding), finding["line"], finding["message"]))
    if report.decision == "NOTHING":
        found.append(_command("notice" if report.passed else "error", "evalkit", "", 0, report.headline))
    return found[:MAX_ANNOTATIONS]


def _command(level: str, title: str, file: str, line: int, text: str) -> str:
    named = {"file": file, "line": str(line) if line else "", "title": title}
    properties = ",".join(f"{name}={_property(value)}" for name, value in named.items() if value)
    return f"::{level} {properties}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
