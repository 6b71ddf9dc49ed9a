"""What stands above the table: the run in one paragraph, its figures, its conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.contract import Contract, Margin, Metric, Trust
from evalkit.report.page_data import Interval, Run
from evalkit.report.page_figures import believed, gains, reasons, smallest_step
from evalkit.report.page_rows import Glyph, glyph
from evalkit.report.page_text import cut, interval_text, signed
from evalkit.report.wording import REASONS, duration, value_text
from evalkit.verify.rules import scale_of

__all__ = ["Compared", "Figure", "MetricLine", "Overview", "overview"]

_DECISIONS = ("KEEP", "REJECT", "INCONCLUSIVE", "ERROR")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with what it is and what it rests on."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class MetricLine:
    """One metric and how it is known."""

    name: str
    role: str
    goal: str
    trust: str
    anchor: str
    noise: str
    kind: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of head against anchor."""

    name: str
    anchor: str
    anchor_interval: str
    head: str
    head_interval: str
    effect: str
    interval: str
    verdict: str
    glyph: Glyph | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything above the table."""

    headline: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    figures: tuple[Figure, ...]
    counts: tuple[tuple[str, int], ...]
    funnel: tuple[tuple[str, int], ...]
    reasons: tuple[tuple[str, str, int], ...]
    metrics: tuple[MetricLine, ...]
    compared: tuple[Compared, ...]
    compared_note: str
    conditions: tuple[tuple[str, str], ...]


def overview(run: Run, contract: Contract) -> Overview:
    """The overview of a run.

    Args:
        run: as read.
        contract: as it is on disk now.
    """
    counts = [(name, sum(one.decision == name for one in run.experiments)) for name in _DECISIONS]
    return Overview(
        headline=tuple(_headline(run)),
        warnings=tuple(_warnings(run)),
        notes=tuple(_notes(run, contract)),
        figures=tuple(_figures(run)),
        counts=tuple((name, count) for name, count in counts if count),
        funnel=tuple(_funnel(run)),
        reasons=tuple((decision, REASONS.get(reason, reason), count) for decision, reason, count in reasons(run)),
        metrics=tuple(_metric(run, metric) for metric in run.metrics),
        compared=tuple(_compared(run)),
        compared_note=_compared_note(run),
        conditions=tuple(_conditions(run)),
    )


def _headline(run: Run) -> Iterator[str]:
    total, kept = len(run.experiments), len(run.keeps)
    if not total:
        yield "Nothing has been decided yet."
        return
    plural = "" if total == 1 else "s"
    yield f"{f'{kept:,}' if kept else 'None'} of {total:,} proposed change{plural} survived verification."
    known, belief = gains(run), believed(run)
    if known:
        last = known[-1]
        many = len(known) > 1
        yield (
            f"On fresh pairs {'they make' if many else 'it makes'} {_moved(run, last.total)} "
            f"{interval_text(last.low, last.high, run.scale)}{' together' if many else ''}."
        )
    if run.first_value is not None:
        yield (
            f"A loop that keeps whatever scores better once would have kept {len(belief.steps)} of the same changes "
            f"and believed in {signed(belief.total, run.scale)}."
        )


def _moved(run: Run, gain: float) -> str:
    word = "better" if gain >= 0 else "worse"
    return f"{run.objective.name} {word} by {signed(abs(gain), run.scale).lstrip('+')}"


def _warnings(run: Run) -> Iterator[str]:
    unsafe = sum(bool(one.verdict["unsafe"]) for one in run.experiments)
    if run.opened.get("unsafe") or unsafe:
        where = f"{unsafe} of {len(run.experiments)} experiments" if unsafe else "candidates"
        yield (
            f"UNSAFE: {where} ran in the sandbox {run.opened.get('sandbox', '?')!r}, which does not contain candidate "
            "code. It could have read the vault, forged values or changed this page. Trust nothing here that you have "
            "not checked."
        )
    reported = [metric.name for metric in run.metrics if metric.trust is Trust.REPORTED]
    if reported:
        yield (
            f"{', '.join(reported)} {'is' if len(reported) == 1 else 'are'} printed by candidate code itself, which "
            "can forge it. Every verdict here rests on that: use a scorer."
        )


def _notes(run: Run, contract: Contract) -> Iterator[str]:
    unenforced = _unenforced(run)
    if unenforced:
        yield f"Not enforced on this machine: {', '.join(unenforced)}."
    if run.opened and run.opened["digest"] != contract.digest:
        yield "The contract on disk is no longer the one of this run; this page shows the run under its own."
    environments = {str(body.get("environment")) for body in run.calibrations}
    if len(environments) > 1:
        yield f"The machine or its packages changed during the run; it was calibrated {len(run.calibrations)} times."
    if run.open_number is not None:
        yield f"Experiment {run.open_number} is still open."
    pending = sum(not one.estimates for one in run.keeps)
    if pending:
        yield f"{pending} kept change{'s have' if pending > 1 else ' has'} no estimate on fresh pairs yet."


def _unenforced(run: Run) -> list[str]:
    return sorted({what for one in run.experiments for what in one.verdict.get("unenforced", ())})


def _funnel(run: Run) -> Iterator[tuple[str, int]]:
    """How far proposals came."""
    yield "proposed", len(run.experiments)
    yield "measured", sum(one.verdict["evaluations"] > 0 for one in run.experiments)
    yield "confirmed on pairs", sum(one.effect is not None for one in run.experiments)
    yield "kept", len(run.keeps)


def _figures(run: Run) -> Iterator[Figure]:
    known, belief = gains(run), believed(run)
    if known:
        last = known[-1]
        note = f"{interval_text(last.low, last.high, run.scale)}, 95 %, {run.objective.name}, + is better"
        yield Figure("verified gain", signed(last.total, run.scale), note)
    else:
        yield Figure("verified gain", "none", "nothing was kept" if not run.keeps else "not estimated yet")
    if run.first_value is not None:
        note = f"by {len(belief.steps)} keeps on single scores; {belief.unverified} of them did not survive here"
        yield Figure("keep-if-better believes", signed(belief.total, run.scale), note)
    trials = sum(one.verdict["evaluations"] for one in run.experiments)
    spent = sum(one.verdict["seconds"] for one in run.experiments)
    each = f"{trials / len(run.experiments):.1f} an experiment, " if run.experiments else ""
    yield Figure("trials", f"{trials:,}", f"{each}{duration(spent)} for all of them")
    if run.calibrations:
        yield from _noise_figures(run)


def _noise_figures(run: Run) -> Iterator[Figure]:
    noise = run.calibrations[-1]["noise"][run.objective.name]
    sd = signed(noise["sd"], run.scale).lstrip("+")
    rho = f"{noise['rho']:.2f}".replace("-", "−")
    pairs = f"{noise['pilot_df']:.0f} A/A pairs"
    yield Figure("noise", sd, f"sd of one paired difference, from {pairs}; correlation in a pair {rho}")
    step = smallest_step(run.rules)
    if step is not None:
        shown = signed(step, run.scale).lstrip("+")
        yield Figure("smallest step", shown, "about the smallest effect that is kept 4 times in 5 (simulated)")


def _metric(run: Run, metric: Metric) -> MetricLine:
    latest: Mapping[str, Any] = run.calibrations[-1] if run.calibrations else {"noise": {}, "values": {}}
    first: Mapping[str, Any] = run.calibrations[0] if run.calibrations else latest
    noise, value = latest["noise"].get(metric.name), first["values"].get(metric.name)
    return MetricLine(
        name=metric.name,
        role="decides" if metric.margin is None else f"guarded: may lose {_margin(metric.margin)}",
        goal="lower is better" if metric.goal == "minimize" else "higher is better",
        trust=str(metric.trust),
        anchor="—" if value is None else value_text(value),
        noise="—" if noise is None else signed(noise["sd"], scale_of(metric)).lstrip("+"),
        kind="" if noise is None else noise["kind"],
    )


def _margin(margin: Margin) -> str:
    return f"{100 * margin.value:g} % in all" if margin.relative else f"{margin.value:g} in all"


def _compared(run: Run) -> Iterator[Compared]:
    if run.compared is None:
        return
    for metric in run.metrics:
        found = Interval.of(run.compared["effects"].get(metric.name))
        values = run.compared.get("values", {}).get(metric.name)
        if found is None:
            continue
        scale = scale_of(metric)
        anchor, anchor_interval = _level(values, "anchor")
        head, head_interval = _level(values, "head")
        yield Compared(
            name=metric.name,
            anchor=anchor,
            anchor_interval=anchor_interval,
            head=head,
            head_interval=head_interval,
            effect=signed(found.centre, scale),
            interval=interval_text(found.low, found.high, scale),
            verdict=_settled(found),
            glyph=glyph(found, _reach(found)),
        )


def _level(values: Mapping[str, Any] | None, arm: str) -> tuple[str, str]:
    if not values or not values.get(arm):
        return "—", ""
    low, high = (values[arm].get(end) for end in ("low", "high"))
    interval = "" if low is None or high is None else f"[{value_text(low)}, {value_text(high)}]"
    return value_text(values[arm]["mean"]), interval


def _settled(found: Interval) -> str:
    if found.low is not None and found.low > 0:
        return "better"
    return "worse" if found.high is not None and found.high < 0 else "not told apart"


def _reach(found: Interval) -> tuple[float, float]:
    largest = max(abs(end) for end in (found.centre, found.low, found.high) if end is not None) or 1.0
    return -1.15 * largest, 1.15 * largest


def _compared_note(run: Run) -> str:
    if run.compared is None:
        return ""
    note = f"{run.compared['pairs']} fresh pairs, which no verdict rests on; 95 % intervals"
    later = run.keeps_since_compared
    return note + (f"; {later} keep{'s are' if later > 1 else ' is'} younger than this comparison" if later else "")


def _conditions(run: Run) -> Iterator[tuple[str, str]]:
    opened = run.opened
    if not opened:
        return
    contract, machine = opened["contract"], opened["environment"]
    policy = contract["policy"]
    yield (
        "run",
        f"anchor {opened['commit'][:12]}, keeps on {cut(opened['branch'], 80)}"
        + (f", profile {contract['profile']}" if contract["profile"] else ""),
    )
    yield "may be edited", cut(", ".join(contract["editable"]), 200)
    yield "policy", f"{policy['name']}; at most {100 * policy['alpha']:g} % of keeps expected to be false, over the run"
    yield "sandbox", opened["sandbox"] + (" (UNSAFE)" if opened["unsafe"] else "")
    enforced: list[str] = next(
        (one.verdict["enforced"] for one in reversed(run.experiments) if one.verdict.get("enforced")), []
    )
    if enforced:
        yield "enforced", ", ".join(enforced)
    unenforced = _unenforced(run)
    yield "not enforced", ", ".join(unenforced) or "nothing that was asked for"
    yield "machine", f"{machine['cpu']}, {machine['cores']} cores; {machine['system']}"
    yield "software", f"{machine['python']}, evalkit {machine['evalkit']}, packages {machine['packages'][:12]}"
    yield "contract", f"sha256 {opened['digest']}"
    if opened.get("vault"):
        yield "vault", f"sha256 {opened['vault']}"
