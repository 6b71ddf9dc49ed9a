"""The progress chart as geometry: what was gained, what each confirmed change is worth, and where the rest ended.

Three panels over one axis of experiments. It is drawn twice, wide and narrow, because text in a picture that shrinks
with the screen can't be read on a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evalkit.report.page_data import Experiment, Run
from evalkit.report.page_figures import Belief, Gain, believed, gains
from evalkit.report.page_text import cut, effect_text, signed, visible
from evalkit.report.wording import REASONS
from evalkit.verify.rules import Scale

__all__ = ["Chart", "Frame", "Lane", "Line", "Mark", "Tick", "chart", "effect_range"]

_MAX_MARKS = 400
_DENSE = 100
_MAX_TITLED = 300
_LANES = (
    ("screened", "screened out"),
    ("refused", "refused untried"),
    ("failed", "failed"),
)
_FACTORS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LABEL_GAP = 15.0


@dataclass(frozen=True, slots=True)
class Frame:
    """Sizes in SVG units."""

    width: float
    left: float
    right: float
    gain: tuple[float, float]
    effect: tuple[float, float]
    lanes: float
    lane: float
    labels: bool

    @property
    def height(self) -> float:
        """Of the whole picture."""
        return self.lanes + self.lane * len(_LANES) + 40.0

    @property
    def edge(self) -> float:
        """Where the plot ends on the right."""
        return self.width - self.right


WIDE = Frame(1000.0, 84.0, 168.0, (34.0, 236.0), (290.0, 470.0), 496.0, 15.0, labels=True)
NARROW = Frame(400.0, 58.0, 12.0, (30.0, 200.0), (246.0, 406.0), 428.0, 14.0, labels=False)


@dataclass(frozen=True, slots=True)
class Tick:
    """A position on an axis with its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One confirmed experiment: a dot with its interval; an end that is open or off the scale carries an arrow."""

    number: int
    style: str
    x: float
    y: float
    low: float
    high: float
    below: bool
    above: bool
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line with the label at its right end."""

    path: str
    label: str
    value: str
    label_at: float
    style: str


@dataclass(frozen=True, slots=True)
class Lane:
    """Experiments that were never confirmed: one tick each; with titles while there are few, else one path."""

    style: str
    label: str
    at: float
    count: int
    ticks: tuple[tuple[float, int, str], ...]
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Geometry of the whole, in SVG units; an empty path draws nothing. Dense marks are drawn faintly, keeps last."""

    frame: Frame
    x_ticks: tuple[Tick, ...]
    gain_ticks: tuple[Tick, ...]
    gain_zero: float
    band: str
    lines: tuple[Line, ...]
    keeps: tuple[Mark, ...]
    effect_ticks: tuple[Tick, ...]
    effect_zero: float
    marks: tuple[Mark, ...]
    marks_left_out: int
    dense: bool
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values to positions."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + (self.end - self.start) * share, 1)


def chart(run: Run, frame: Frame) -> Chart:
    """The chart of a run with at least one experiment."""
    last = run.experiments[-1].number
    across = _Axis(0.5, last + 0.5, frame.left, frame.edge)
    known, belief = gains(run), believed(run)
    gain = _padded(_gain_values(known, belief), frame.gain)
    low, high = effect_range(run)
    effect = _Axis(low, high, frame.effect[1], frame.effect[0])
    confirmed = [one for one in run.experiments if one.effect is not None]
    shown = _most_telling(confirmed)
    scale = run.scale
    return Chart(
        frame=frame,
        x_ticks=tuple(Tick(across.at(tick), f"{tick:.0f}") for tick in _experiments(last, frame)),
        gain_ticks=tuple(_ticks(gain, scale)),
        gain_zero=gain.at(0.0),
        band=_band(known, across, gain, last),
        lines=_lines(known, belief, across, gain, last=last, scale=scale),
        keeps=tuple(_keep(one, across, gain, scale) for one in known),
        effect_ticks=tuple(_ticks(effect, scale)),
        effect_zero=effect.at(0.0),
        marks=tuple(_mark(one, across, effect, scale) for one in sorted(shown, key=_is_keep)),
        marks_left_out=len(confirmed) - len(shown),
        dense=len(shown) > _DENSE,
        lanes=tuple(_lane(run.experiments, across, frame, index) for index in range(len(_LANES))),
    )


def effect_range(run: Run) -> tuple[float, float]:
    """From where to where effects are drawn: every centre, and most ends of intervals.

    The first pairs of a confidence sequence leave it very wide; a few such ends must not press everything else flat.
    """
    found = [one.effect for one in run.experiments if one.effect is not None]
    centres = [one.centre for one in found]
    ends = sorted(abs(end) for one in found for end in (one.low, one.high) if end is not None)
    usual = ends[int(0.9 * (len(ends) - 1))] if ends else 0.0
    low, high = min([0.0, *centres]), max([0.0, *centres])
    lows = [max(one.low, low - usual) for one in found if one.low is not None]
    highs = [min(one.high, high + usual) for one in found if one.high is not None]
    low, high = min([low, *lows]), max([high, *highs])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _gain_values(known: Sequence[Gain], belief: Belief) -> list[float]:
    return [0.0, *(end for one in known for end in (one.low, one.high)), *(total for _, total in belief.steps)]


def _padded(values: Sequence[float], panel: tuple[float, float]) -> _Axis:
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 1.0
    return _Axis(low - margin, high + margin, panel[1], panel[0])


def _nice(low: float, high: float, count: int) -> list[float]:
    """Round numbers within a range, about ``count`` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in _FACTORS if power * factor >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _ticks(axis: _Axis, scale: Scale) -> Iterable[Tick]:
    for tick in _nice(axis.low, axis.high, 5):
        yield Tick(axis.at(tick), _short(tick, scale))


def _short(value: float, scale: Scale) -> str:
    shown = 100 * value if scale == "log" else value
    text = f"{shown:+.4g}".replace("-", "−") if shown else "0"
    return f"{text} %" if scale == "log" and shown else text


def _experiments(last: int, frame: Frame) -> list[float]:
    wanted = 10 if frame.labels else 5
    return [
        tick for tick in _nice(1.0, max(last, 2.0), min(wanted, last + 1)) if tick == int(tick) and 1 <= tick <= last
    ]


def _steps(points: Sequence[tuple[int, float]], across: _Axis, axis: _Axis, last: int) -> list[str]:
    """Corners of a step line that begins at nothing gained and goes on to the last experiment."""
    corners, level = [f"{across.at(0.5):g} {axis.at(0.0):g}"], axis.at(0.0)
    for number, value in points:
        x = across.at(number)
        corners += [f"{x:g} {level:g}", f"{x:g} {axis.at(value):g}"]
        level = axis.at(value)
    return [*corners, f"{across.at(last + 0.5):g} {level:g}"]


def _band(known: Sequence[Gain], across: _Axis, axis: _Axis, last: int) -> str:
    if not known:
        return ""
    upper = _steps([(one.number, one.high) for one in known], across, axis, last)
    lower = _steps([(one.number, one.low) for one in known], across, axis, last)
    return "M" + " L".join([*upper, *reversed(lower)]) + "Z"


def _lines(
    known: Sequence[Gain], belief: Belief, across: _Axis, axis: _Axis, *, last: int, scale: Scale
) -> tuple[Line, ...]:
    """What was verified and what would have been believed, with labels that don't cover each other."""
    total = known[-1].total if known else 0.0
    ours, theirs = axis.at(total), axis.at(belief.total)
    if abs(ours - theirs) < 2 * _LABEL_GAP:
        middle, sign = (ours + theirs) / 2, 1 if ours >= theirs else -1
        ours, theirs = middle + sign * _LABEL_GAP, middle - sign * _LABEL_GAP
    verified = _steps([(one.number, one.total) for one in known], across, axis, last)
    imagined = _steps(belief.steps, across, axis, last)
    return (
        Line("M" + " L".join(imagined), "keep-if-better believes", signed(belief.total, scale), theirs, "believed"),
        Line("M" + " L".join(verified), "verified on fresh pairs", signed(total, scale), ours, "verified"),
    )


def _keep(one: Gain, across: _Axis, axis: _Axis, scale: Scale) -> Mark:
    title = f"after experiment {one.number}: {effect_text(one.total, one.low, one.high, scale)} over the anchor"
    low, high = axis.at(one.low), axis.at(one.high)
    return Mark(one.number, "keep", across.at(one.number), axis.at(one.total), low, high, False, False, title)


def _mark(one: Experiment, across: _Axis, axis: _Axis, scale: Scale) -> Mark:
    found = one.effect
    if found is None:
        raise ValueError("only a confirmed experiment has an effect")
    return Mark(
        number=one.number,
        style=one.decision.lower(),
        x=across.at(one.number),
        y=axis.at(found.centre),
        low=axis.at(axis.low if found.low is None else found.low),
        high=axis.at(axis.high if found.high is None else found.high),
        below=found.low is None or found.low < axis.low,
        above=found.high is None or found.high > axis.high,
        title=f"{_what(one)} · {effect_text(found.centre, found.low, found.high, scale)}, {found.pairs} pairs",
    )


def _most_telling(confirmed: Sequence[Experiment]) -> list[Experiment]:
    """All, or where they are very many every keep and as many of the latest others as have room."""
    if len(confirmed) <= _MAX_MARKS:
        return list(confirmed)
    ranked = sorted(confirmed, key=lambda one: (one.decision != "KEEP", -one.number))
    return sorted(ranked[:_MAX_MARKS], key=lambda one: one.number)


def _is_keep(one: Experiment) -> bool:
    """Keeps are drawn last, so that they lie on top."""
    return one.decision == "KEEP"


def _what(one: Experiment) -> str:
    reason = REASONS.get(one.verdict["reason"], one.verdict["reason"])
    return visible(f"{one.number} {one.decision}, {reason}: {cut(one.verdict['description'], 80)}")


def _lane(experiments: Sequence[Experiment], across: _Axis, frame: Frame, index: int) -> Lane:
    stage, label = _LANES[index]
    at = frame.lanes + frame.lane * index
    inside = [one for one in experiments if one.stage == stage]
    titled = len(experiments) <= _MAX_TITLED
    return Lane(
        style=stage,
        label=label,
        at=at,
        count=len(inside),
        ticks=tuple((across.at(one.number), one.number, _what(one)) for one in inside) if titled else (),
        path="" if titled else "".join(f"M{across.at(one.number):g} {at + 2:g}v{frame.lane - 5:g}" for one in inside),
    )
