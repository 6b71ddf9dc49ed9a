"""What a budget can detect, for people: a table, a plot in letters, and one offline HTML page with the curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from evalkit.report.page_text import visible
from evalkit.report.wording import duration
from evalkit.stats.plan import Plan
from evalkit.verify.rules import Scale

__all__ = ["Subject", "plan_document", "plan_html", "plan_lines"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 760.0, 300.0, 48.0, 14.0, 14.0, 44.0
_CAPTION = (
    "Chance that a candidate is kept, by how much better it is, at the first confirmation of a run; "
    "dashed: after ten keeps."
)
_COLOURS = ("#2563eb", "#12805c", "#b7791f")
_STYLE = """:root{--paper:#fbfbf9;--ink:#1d2125;--soft:#5d666f;--line:#e2e3df}
@media (prefers-color-scheme:dark){:root{--paper:#15181b;--ink:#e8eaec;--soft:#9aa4ad;--line:#31373d}}
body{margin:0 auto;max-width:820px;padding:32px 20px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:32px}
p,figcaption{color:var(--soft)}figure{margin:0}svg{width:100%;height:auto}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}.grid{stroke:var(--line)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:4px 10px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600}"""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is planned for.

    Attributes:
        metric: its name.
        scale: ``log`` shows effects as factors.
        seconds: a trial takes, or None where that is unknown.
        seed: of the simulation.
        note: on where the noise comes from.
        above: ``min_effect``, on the scale: what an effect is worth beyond it is what counts.
    """

    metric: str
    scale: Scale
    seconds: float | None
    seed: int
    note: str
    above: float = 0.0

    def size(self, effect: float | None) -> str:
        """An effect in the metric's unit, or as a factor."""
        if effect is None:
            return "—"
        whole = effect + self.above
        return f"×{math.exp(min(whole, 690.0)):.4g}" if self.scale == "log" else f"{whole:.3g}"

    def cost(self, evaluations: float) -> str:
        """Trials, and the time that they take."""
        time = "" if self.seconds is None else f" ({duration(evaluations * self.seconds)})"
        return f"{evaluations:.1f}{time}"


def plan_document(subject: Subject, plans: Sequence[Plan]) -> dict[str, Any]:
    """Plain JSON values; effects are on the metric's scale (natural logarithms of factors where it is ``log``)."""
    return {
        "metric": subject.metric,
        "scale": subject.scale,
        "seconds": subject.seconds,
        "seed": subject.seed,
        "min_effect": subject.above,
        "noise": subject.note,
        "policies": [plan.to_dict() for plan in plans],
    }


def plan_lines(subject: Subject, plans: Sequence[Plan]) -> Iterator[str]:
    """The plan for a terminal."""
    yield f"{visible(subject.metric)}: {subject.note}"
    yield ""
    yield "chance to keep a candidate that is better by"
    sizes = [subject.size(chance.effect) for chance in plans[0].curve]
    width = max(7, *(len(size) for size in sizes)) + 1
    yield " " * 12 + "".join(f"{size:>{width}}" for size in sizes)
    for plan in plans:
        yield f"  {plan.policy:<10}" + "".join(f"{_share(chance.keep):>{width}}" for chance in plan.curve)
        yield " " * 12 + "".join(f"{_bar(chance.keep):>{width}}" for chance in plan.curve)
    yield ""
    for plan in plans:
        yield from _policy_lines(subject, plan)
    yield f"simulated with seed {subject.seed}; the first confirmation of a run, later ones are easier after keeps"


def _policy_lines(subject: Subject, plan: Plan) -> Iterator[str]:
    yield (
        f"{plan.policy}: calibration {subject.cost(plan.calibration)} trials, then "
        f"{subject.cost(plan.evaluations_null)} for a candidate that changes nothing; "
        f"a keep's claim is known to ±{_half(subject, plan)}"
    )
    for row in plan.detectable:
        seen = f"{subject.size(row.effect)} is kept 4 times in 5" if row.effect else "nothing up to 4 sd is kept 4 in 5"
        yield f"  at most {row.max_pairs:>3} pairs: {seen}, {subject.cost(row.evaluations)} trials each"


def _half(subject: Subject, plan: Plan) -> str:
    return f"{100 * math.expm1(plan.interval):.3g} %" if subject.scale == "log" else f"{plan.interval:.3g}"


def _share(chance: float) -> str:
    return f"{100 * chance:.0f} %"


def _bar(chance: float) -> str:
    return _BLOCKS[round(8 * chance)] * 3


def plan_html(subject: Subject, plans: Sequence[Plan]) -> str:
    """One page that needs nothing else: no script, no network."""
    name = escape(visible(subject.metric))
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Plan for {name}</title><style>{_STYLE}</style></head><body>",
        f"<h1>What the budget can detect in {name}</h1><p>{escape(subject.note)}.</p>",
        f"<figure>{_svg(subject, plans)}<figcaption>{_CAPTION} Simulation seed {subject.seed}.</figcaption></figure>",
        *(_policy_html(subject, plan) for plan in plans),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _svg(subject: Subject, plans: Sequence[Plan]) -> str:
    largest = max(chance.effect for plan in plans for chance in plan.curve)

    def x(effect: float) -> float:
        return _LEFT + effect / largest * (_WIDTH - _LEFT - _RIGHT)

    def y(chance: float) -> float:
        return _TOP + (1.0 - chance) * (_HEIGHT - _TOP - _BOTTOM)

    out = [f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="chance to keep by effect">']
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        line = f'<line class="grid" x1="{_LEFT:g}" x2="{_WIDTH - _RIGHT:g}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>'
        label = f'<text x="{_LEFT - 6:g}" y="{y(share) + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>'
        out += [line, label]
    for quarter in range(5):
        effect = quarter * largest / 4
        text = escape(subject.size(effect))
        out.append(f'<text x="{x(effect):.1f}" y="{_HEIGHT - _BOTTOM + 18:g}" text-anchor="middle">{text}</text>')
    for colour, plan, place in zip(_COLOURS, plans, range(len(plans)), strict=False):
        for curve, dash in ((plan.curve_later, ' stroke-dasharray="4 4" opacity=".6"'), (plan.curve, "")):
            points = " ".join(f"{x(chance.effect):.1f},{y(chance.keep):.1f}" for chance in curve)
            out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2"{dash} points="{points}"/>')
        left = _LEFT + 150 * place
        out.append(f'<rect x="{left:g}" y="{_HEIGHT - 14:g}" width="16" height="4" fill="{colour}"/>')
        out.append(f'<text x="{left + 22:g}" y="{_HEIGHT - 8:g}">{escape(plan.policy)}</text>')
    return "".join([*out, "</svg>"])


def _policy_html(subject: Subject, plan: Plan) -> str:
    head = (
        f"<h2>{escape(plan.policy)}</h2><p>Calibration takes {subject.cost(plan.calibration)} trials; a candidate that "
        f"changes nothing takes {subject.cost(plan.evaluations_null)}. The effect claimed after a keep is known to "
        f"±{_half(subject, plan)}.</p>"
    )
    chances = _table(
        ("better by", "kept", "after ten keeps", "trials"),
        [
            (subject.size(now.effect), _share(now.keep), _share(later.keep), subject.cost(now.evaluations))
            for now, later in zip(plan.curve, plan.curve_later, strict=True)
        ],
    )
    budgets = _table(
        ("at most", "kept 4 times in 5", "trials"),
        [
            (f"{row.max_pairs} pairs", subject.size(row.effect), subject.cost(row.evaluations))
            for row in plan.detectable
        ],
    )
    return head + chances + budgets


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
