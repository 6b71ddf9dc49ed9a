"""The two pictures of an audit as geometry for inline SVG: progress with its noise band, claims against estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.report.audit_words import clean, number
from evalkit.watch.audit import RowVerdict, SegmentAudit, Verdict

__all__ = ["Bar", "Claims", "Dot", "Progress", "Tick", "claims", "nice_ticks", "progress", "style_of"]

_WIDTH, _HEIGHT = 960.0, 400.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 76.0, 16.0, 16.0, 40.0
_MAX_DOTS = 3000
_MAX_CLAIMS = 60
_BAR_LEFT, _BAR_RIGHT, _BAR_HEIGHT = 330.0, 840.0, 22.0
_FACTORS = (1, 2, 2.5, 5, 10)
_STYLE = {
    Verdict.SURVIVES: "survives",
    Verdict.UNSURE: "unsure",
    Verdict.NOISE: "noise",
    Verdict.SAME: "noise",
    Verdict.TIE: "noise",
    Verdict.WORSE: "noise",
    Verdict.UNKNOWABLE: "unknowable",
    Verdict.UNMEASURED: "unknowable",
    Verdict.START: "start",
}


@dataclass(frozen=True, slots=True)
class Dot:
    """A point with its CSS class and its tooltip."""

    x: float
    y: float
    style: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A position on an axis with its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Geometry of the progress chart, in SVG units; paths are SVG path data, empty where there is nothing to draw.

    Attributes:
        others: rows that were not kept, thinned out where there are very many.
        keeps: rows that were kept.
        outside: rows whose value is off the scale, at its edge.
        crashes: rows without a value, on the x axis.
        recorded: step line of the recorded value of the last keep.
        estimated: step line of the true level that the model estimates.
        band: ±2 sd of one run around that level.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    others: tuple[Dot, ...]
    keeps: tuple[Dot, ...]
    outside: tuple[Dot, ...]
    crashes: tuple[Dot, ...]
    recorded: str
    estimated: str
    band: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    better: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One keep of the second picture: recorded and estimated gain, verdict; ``cut`` where it is off the scale."""

    y: float
    label: str
    style: str
    recorded: float
    estimated: float | None
    chance: str
    title: str
    cut: bool


@dataclass(frozen=True, slots=True)
class Claims:
    """Geometry of the second picture."""

    width: float
    height: float
    zero: float
    noise_left: float | None
    noise_right: float | None
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class _Plane:
    """From row numbers and values to SVG units."""

    last: int
    low: float
    high: float

    def x(self, index: float) -> float:
        return round(_LEFT + (_WIDTH - _RIGHT - _LEFT) * index / max(self.last, 1), 1)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * share, 1)


def style_of(verdict: Verdict) -> str:
    """CSS class of a verdict."""
    return _STYLE.get(verdict, "other")


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers within a range, about ``count`` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in _FACTORS if power * factor >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def progress(segment: SegmentAudit) -> Progress | None:
    """Every row in order; None where no row has a value."""
    rows = segment.rows
    if all(row.row.metric is None for row in rows):
        return None
    plane = _Plane(len(rows) - 1, *_range(segment))
    placed = list(enumerate(rows))
    inside = [(i, row) for i, row in placed if _within(plane, row)]
    beyond = [(i, row) for i, row in placed if row.row.metric is not None and not _within(plane, row)]
    others = [item for item in inside if not item[1].kept]
    stride = max(1, math.ceil(len(others) / _MAX_DOTS))
    recorded, estimated, band = _levels(segment, plane)
    return Progress(
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        top=_TOP,
        bottom=_HEIGHT - _BOTTOM,
        others=tuple(_dot(plane, index, row) for index, row in others[::stride]),
        keeps=tuple(_dot(plane, index, row) for index, row in inside if row.kept),
        outside=tuple(_dot(plane, index, row) for index, row in beyond[:_MAX_DOTS]),
        crashes=tuple(
            Dot(plane.x(i), _HEIGHT - _BOTTOM, "crash", _title(row))
            for i, row in [item for item in placed if item[1].verdict is Verdict.CRASH][:_MAX_DOTS]
        ),
        recorded=recorded,
        estimated=estimated,
        band=band,
        x_ticks=tuple(Tick(plane.x(tick), f"{tick:.0f}") for tick in nice_ticks(0, max(len(rows) - 1, 1), 8)),
        y_ticks=tuple(Tick(plane.y(tick), number(tick, 5)) for tick in nice_ticks(plane.low, plane.high)),
        better="lower is better" if segment.sign < 0 else "higher is better",
    )


def _within(plane: _Plane, row: RowVerdict) -> bool:
    return row.row.metric is not None and plane.low <= row.row.metric <= plane.high


def _range(segment: SegmentAudit) -> tuple[float, float]:
    """All keeps and most other rows; the far ones on the worse side are drawn at the edge."""
    every = sorted(row.row.metric for row in segment.rows if row.row.metric is not None)
    used = sorted(row.row.metric for row in segment.rows if row.kept and row.row.metric is not None) or every
    worse = every[int(0.9 * (len(every) - 1))] if segment.sign < 0 else every[int(0.1 * (len(every) - 1))]
    low, high = min(used[0], worse), max(used[-1], worse)
    margin = max((high - low) * 0.06, 2.2 * (segment.noise.sd or 0.0), abs(high) * 1e-9, 1e-12)
    return low - margin, high + margin


def _dot(plane: _Plane, index: int, row: RowVerdict) -> Dot:
    return Dot(plane.x(index), plane.y(row.row.metric or 0.0), style_of(row.verdict), _title(row))


def _title(row: RowVerdict) -> str:
    label = clean(row.row.commit or row.row.label, 24)
    what = clean(row.row.description, 120)
    return f"line {row.row.line} {label}: {number(row.row.metric, 7)} · {row.verdict.value} · {what}"


def _levels(segment: SegmentAudit, plane: _Plane) -> tuple[str, str, str]:
    """Step lines of the recorded and the estimated level, and the band of one run around the latter."""
    keeps = [(index, row) for index, row in enumerate(segment.rows) if row.kept and row.row.metric is not None]
    recorded = _steps([(index, row.row.metric or 0.0) for index, row in keeps], plane)
    known = [(index, row.level) for index, row in keeps if row.level is not None]
    sd = segment.noise.sd
    if not known or sd is None:
        return recorded, "", ""
    upper = _steps([(index, level + 2 * sd) for index, level in known], plane)
    lower = _corners([(index, level - 2 * sd) for index, level in known], plane)
    back = " ".join(f"L{x:g} {y:g}" for x, y in reversed(lower))
    return recorded, _steps(known, plane), f"{upper} {back} Z"


def _corners(levels: Sequence[tuple[int, float]], plane: _Plane) -> list[tuple[float, float]]:
    corners: list[tuple[float, float]] = []
    ends = [*(index for index, _ in levels[1:]), plane.last]
    for (index, level), after in zip(levels, ends[: len(levels)], strict=True):
        corners += [(plane.x(index), plane.y(level)), (plane.x(after), plane.y(level))]
    return corners


def _steps(levels: Sequence[tuple[int, float]], plane: _Plane) -> str:
    corners = _corners(levels, plane)
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in corners) if corners else ""


def claims(segment: SegmentAudit) -> Claims | None:
    """Recorded against estimated gain of each keep, in the file's order; None where no keep has a recorded gain."""
    rows = [row for row in segment.rows if row.kept and row.claimed is not None]
    if not rows:
        return None
    shown = rows if len(rows) <= _MAX_CLAIMS else sorted(rows, key=lambda row: -abs(row.claimed or 0.0))[:_MAX_CLAIMS]
    shown = sorted(shown, key=lambda row: row.row.line)
    scale = _gain_scale(segment, shown)
    noise = None if segment.noise.sd is None else math.sqrt(2) * 2 * segment.noise.sd
    bars = tuple(_bar(position, row, scale) for position, row in enumerate(shown))
    low, high = scale.low, scale.high
    return Claims(
        width=_WIDTH,
        height=_BAR_HEIGHT * len(shown) + 34,
        zero=scale.x(0.0),
        noise_left=None if noise is None else scale.x(-noise),
        noise_right=None if noise is None else scale.x(noise),
        bars=bars,
        ticks=tuple(Tick(scale.x(tick), number(tick, 3).replace("-", "−")) for tick in nice_ticks(low, high, 4)),
        left_out=len(rows) - len(shown),
    )


@dataclass(frozen=True, slots=True)
class _Gains:
    low: float
    high: float

    def x(self, gain: float) -> float:
        share = (min(max(gain, self.low), self.high) - self.low) / (self.high - self.low)
        return round(_BAR_LEFT + (_BAR_RIGHT - _BAR_LEFT) * share, 1)


def _gain_scale(segment: SegmentAudit, rows: Sequence[RowVerdict]) -> _Gains:
    """Wide enough for most; a few giants are cut off at the edge so that the others can be seen."""
    gains = sorted([row.claimed or 0.0 for row in rows] + [row.effect or 0.0 for row in rows])
    top = gains[-1]
    usual = gains[int(0.9 * (len(gains) - 1))]
    high = min(top, max(usual * 1.6, 4 * (segment.noise.sd or 0.0)))
    low = min(gains[0], 0.0)
    margin = max((high - low) * 0.04, 1e-12)
    return _Gains(low - margin, high + margin)


def _bar(position: int, row: RowVerdict, scale: _Gains) -> Bar:
    chance = "–" if row.probability is None else f"{100 * row.probability:.0f} %"
    return Bar(
        y=_BAR_HEIGHT * position + _BAR_HEIGHT / 2 + 4,
        label=clean(row.row.description or row.row.label, 44),
        style=style_of(row.verdict),
        recorded=scale.x(row.claimed or 0.0),
        estimated=None if row.effect is None else scale.x(row.effect),
        chance=chance,
        title=_title(row),
        cut=not scale.low <= (row.claimed or 0.0) <= scale.high,
    )
