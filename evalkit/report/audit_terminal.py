"""An audit on a terminal: a page that fits, with the row numbers to look at."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evalkit.report.audit_words import clean, headline, limits, number, pairs_to_settle, signed
from evalkit.watch.audit import Audit, RowVerdict, SegmentAudit, Verdict

__all__ = ["show"]

_COLORS = {Verdict.SURVIVES: "green", Verdict.UNSURE: "yellow", Verdict.NOISE: "red", Verdict.SAME: "red"}
_COLUMNS = (("line", 4), ("verdict", 10), ("recorded", 9), ("estimated", 9), ("P(real)", 7), ("pairs", 5))
_MAX_KEEPS = 40
_MAX_PROBLEMS = 10


def show(audit: Audit, console: Console | None = None) -> None:
    """Print one audit."""
    out = console or Console(highlight=False)
    out.print(Text(clean(audit.history.source), style="bold"), Text(f"({audit.history.form})", style="dim"))
    for segment in audit.segments:
        _segment(out, audit, segment)
    for problem in audit.history.problems[:_MAX_PROBLEMS]:
        out.print(Text(f"  {clean(str(problem))}", style="yellow"))
    left = len(audit.history.problems) - _MAX_PROBLEMS
    if left > 0:
        out.print(Text(f"  … and {left} more lines", style="yellow"))


def _segment(out: Console, audit: Audit, segment: SegmentAudit) -> None:
    noise, named = segment.noise, segment.segment
    out.print(Text(f"{clean(named.metric, 80)} ({named.goal or 'goal unknown'}: {clean(named.goal_source)})"))
    out.print(Text(f"  {headline(segment)}", style="bold"))
    spread = (
        "unknown" if noise.sd is None else f"{number(noise.sd)} ({number(noise.low, 2)} to {number(noise.high, 2)})"
    )
    out.print(Text(f"  noise of one run: {spread}, from {noise.source}; sureness: {noise.sureness.value}"))
    rows = [row for row in segment.rows if row.kept and row.verdict is not Verdict.START]
    if rows:
        out.print(_table(segment, rows[:_MAX_KEEPS]))
    if len(rows) > _MAX_KEEPS:
        out.print(Text(f"  … and {len(rows) - _MAX_KEEPS} more keeps; --html, --markdown or --json show them"))
    for finding in segment.findings:
        lines = ", ".join(str(line) for line in finding.lines[:8])
        style = "red" if finding.grave else ""
        out.print(Text(f"  {finding.rule}: {clean(finding.text)} (line {lines})", style=style))
    out.print(Text("  What can't be known from this file:", style="dim"))
    for sentence in limits(audit, segment):
        out.print(Text(f"  - {sentence}", style="dim"))


def _table(segment: SegmentAudit, rows: list[RowVerdict]) -> Table:
    table = Table(box=None, pad_edge=True, header_style="dim")
    for name, width in _COLUMNS:
        justify = "left" if name == "verdict" else "right"
        table.add_column(name, justify=justify, no_wrap=True, min_width=width)  # type: ignore[arg-type]
    table.add_column("change", overflow="ellipsis", no_wrap=True)
    for row in rows:
        chance = "–" if row.probability is None else f"{100 * row.probability:.0f} %"
        pairs = pairs_to_settle(row, segment.noise.sd) if row.verdict in {Verdict.UNSURE, Verdict.NOISE} else None
        table.add_row(
            str(row.row.line),
            Text(row.verdict.value, style=_COLORS.get(row.verdict, "")),
            signed(row.claimed),
            signed(row.effect),
            chance,
            str(pairs or "–"),
            Text(clean(row.row.description, 70)),
        )
    return table
