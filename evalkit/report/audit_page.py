"""An audit as one HTML file that needs nothing else: no script, no network, no font but the reader's own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING

from evalkit.report.audit_chart import claims, progress, style_of
from evalkit.report.audit_words import GROUPS, clean, headline, limits, number, pairs_to_settle, signed, span
from evalkit.watch.audit import Audit, RowVerdict, SegmentAudit, Verdict

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["as_html"]

_MAX_ROWS = 2000
_PLAIN = frozenset({Verdict.DISCARDED, Verdict.CRASH, Verdict.REPEAT})


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - 40 ms, needed only for a page

    environment = Environment(
        loader=PackageLoader("evalkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clean=clean, number=number, signed=signed)
    return environment.get_template("audit.html.j2")


def as_html(audit: Audit) -> str:
    """The page. Everything that came from the history is escaped and stripped of control characters."""
    return _template().render(
        audit=audit,
        name=PurePath(audit.history.source).name,
        segments=[_view(audit, segment) for segment in audit.segments],
        groups=GROUPS,
        problems=audit.history.problems[:200],
        problems_left=max(len(audit.history.problems) - 200, 0),
    )


def _view(audit: Audit, segment: SegmentAudit) -> dict[str, object]:
    rows = _shown(segment)
    return {
        "audit": segment,
        "headline": headline(segment),
        "span": span(segment),
        "limits": limits(audit, segment),
        "progress": progress(segment),
        "claims": claims(segment),
        "counts": [(key, words, segment.count(*verdicts)) for key, words, verdicts in GROUPS],
        "keeps": sum(row.kept for row in segment.rows) - segment.count(Verdict.START),
        "rows": [(row, style_of(row.verdict), _settle(segment, row)) for row in rows],
        "rows_left": len(segment.rows) - len(rows),
    }


def _settle(segment: SegmentAudit, row: RowVerdict) -> int | None:
    open_row = row.kept and row.verdict in {Verdict.UNSURE, Verdict.NOISE}
    return pairs_to_settle(row, segment.noise.sd) if open_row else None


def _shown(segment: SegmentAudit) -> list[RowVerdict]:
    """All rows, or where there are very many the ones that say something and as many others as fit."""
    if len(segment.rows) <= _MAX_ROWS:
        return list(segment.rows)
    telling = [row for row in segment.rows if row.kept or row.verdict not in _PLAIN][:_MAX_ROWS]
    lines = {row.row.line for row in telling}
    room = _MAX_ROWS - len(telling)
    others = [row for row in segment.rows if row.row.line not in lines][:room]
    return sorted([*telling, *others], key=lambda row: row.row.line)
