"""A visit of ``evalkit watch`` as markdown for a job summary, and as one offline HTML page with all visits so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from evalkit.report.audit_words import clean

__all__ = ["as_html", "as_markdown"]

_WIDTH, _HEIGHT, _PAD = 640, 160, 28
_COLUMNS = ("metric", "head against anchor", "95 % interval", "may lose", "pairs", "evidence of a loss", "")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}"
    "table{border-collapse:collapse}td,th{padding:.25rem .7rem;text-align:left;border-bottom:1px solid #ddd}"
    "td{font-variant-numeric:tabular-nums}.alarm{color:#a40000;font-weight:600}.ok{color:#14632b;font-weight:600}"
    "svg{max-width:100%;height:auto}svg text{font-size:11px;fill:#555}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#e8e8e8}td,th{border-color:#444}"
    ".alarm{color:#ff8a80}.ok{color:#8fd6a3}svg text{fill:#aaa}}"
)


def as_markdown(name: str, document: Mapping[str, Any], lines: Sequence[str]) -> str:
    """A heading, a table of the metrics, and what else was found.

    Args:
        name: of the contract.
        document: of the visit, as ``--json`` prints it.
        lines: what the terminal shows.
    """
    rows = [f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
    rows += [f"| {' | '.join(_plain(cell) for cell in _cells(metric))} |" for metric in document["metrics"]]
    table = "\n".join(rows) if document["metrics"] else ""
    more = "\n".join(f"- {_plain(line.strip())}" for line in _others(document, lines))
    return "\n\n".join(part for part in (f"# Watch: {_plain(name)}: {_state(document)}", table, more) if part) + "\n"


def _plain(text: str) -> str:
    """Without what markdown, or HTML inside it, would take for its own."""
    for mark in "\\`*_[]|#":
        text = text.replace(mark, f"\\{mark}")
    return escape(clean(text, 400), quote=False)


def _state(document: Mapping[str, Any]) -> str:
    after = f"{document['keeps']} keep{'' if document['keeps'] == 1 else 's'}"
    return f"{'ALARM' if document['alarm'] else 'nothing lost'} after {after}"


def _others(document: Mapping[str, Any], lines: Sequence[str]) -> list[str]:
    """The terminal's lines without those that the table shows."""
    return list(lines[len(document["metrics"]) :])


def _cells(metric: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = (_change(metric, bound) for bound in metric["interval"])
    evidence = "beyond doubt" if metric["evidence"] is None else f"e^{metric['evidence']:.1f}"
    change, tolerance = _change(metric, metric["change"]), _change(metric, -metric["tolerance"])
    word = "ALARM" if metric["alarm"] else "ok"
    return metric["name"], change, f"{low} to {high}", tolerance, str(metric["pairs"]), evidence, word


def _change(metric: Mapping[str, Any], value: float | None) -> str:
    """A factor where the scale is logarithmic, else a difference; larger is better, None is unbounded."""
    if value is None:
        return "unbounded"
    if metric["scale"] == "log":
        return f"×{math.exp(min(value, 690.0)):.3g}"
    return f"{value + 0.0:+.3g}".replace("-", "−")


def as_html(name: str, document: Mapping[str, Any], lines: Sequence[str], visits: Sequence[Mapping[str, Any]]) -> str:
    """One page that needs nothing else: the visit, and of each metric every visit's change with its interval.

    Args:
        name: of the contract.
        document: of the visit, as ``--json`` prints it.
        lines: what the terminal shows.
        visits: bodies of all ``visited`` records, in order.
    """
    head = "".join(f"<th>{escape(column)}</th>" for column in _COLUMNS)
    body = "".join(_row(metric) for metric in document["metrics"])
    others = "".join(f"<li>{escape(clean(line.strip(), 400))}</li>" for line in _others(document, lines))
    charts = "".join(_chart(metric, visits) for metric in document["metrics"])
    title = escape(clean(f"{name}: {_state(document)}", 200))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        + (f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else "")
        + (f"<ul>{others}</ul>" if others else "")
        + f"{charts}</body></html>\n"
    )


def _row(metric: Mapping[str, Any]) -> str:
    *cells, word = (escape(clean(cell, 120)) for cell in _cells(metric))
    mark = "alarm" if metric["alarm"] else "ok"
    return f'<tr>{"".join(f"<td>{cell}</td>" for cell in cells)}<td class="{mark}">{word}</td></tr>'


def _chart(metric: Mapping[str, Any], visits: Sequence[Mapping[str, Any]]) -> str:
    """Every visit's change with its interval; a dashed line where too much is lost."""
    known = [(body["keeps"], body["metrics"][metric["name"]]["report"]) for body in visits if not body.get("broken")]
    if not known:
        return ""
    floor = -metric["tolerance"]
    values: list[float] = [0.0, floor, *(report["change"] for _, report in known)]
    room = 0.25 * (max(values) - min(values)) or 1.0
    low, high = min(values) - room, max(values) + room
    step = (_WIDTH - 2 * _PAD) / max(len(known) - 1, 1)

    def at(value: float) -> float:
        return round(_HEIGHT - _PAD - (min(max(value, low), high) - low) / (high - low) * (_HEIGHT - 2 * _PAD), 1)

    marks = []
    for index, (keeps, report) in enumerate(known):
        x = round(_PAD + index * step, 1)
        ends = [default if end is None else end for end, default in zip(report["interval"], (low, high), strict=True)]
        colour = "#c62828" if report["alarm"] else "#2e7d32"
        marks.append(
            f'<line x1="{x}" x2="{x}" y1="{at(ends[0])}" y2="{at(ends[1])}" stroke="{colour}" stroke-opacity=".5"/>'
            f'<circle cx="{x}" cy="{at(report["change"])}" r="3" fill="{colour}"><title>after {keeps} keeps: '
            f"{_change(metric, report['change'])}</title></circle>"
        )
    lines = "".join(
        f'<line x1="{_PAD}" x2="{_WIDTH - _PAD}" y1="{at(level)}" y2="{at(level)}" stroke="#888" {dash}/>'
        for level, dash in ((0.0, ""), (floor, 'stroke-dasharray="4 3"'))
    )
    name = escape(clean(metric["name"], 80))
    return (
        f'<h2>{name}</h2><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name}, visit by visit">'
        f'{lines}{"".join(marks)}<text x="{_PAD}" y="{_HEIGHT - 6}">visits, after {known[0][0]} to {known[-1][0]} '
        f"keeps; solid: as the anchor, dashed: all that may be lost</text></svg>"
    )
