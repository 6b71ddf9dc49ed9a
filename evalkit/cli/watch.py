"""``evalkit watch``: head against the frozen anchor; or change points of a series from elsewhere."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.common import contract_options, end, load, print_json
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.verify.workbench import Workbench
    from evalkit.watch.bisect import Finding
    from evalkit.watch.lineage import Step
    from evalkit.watch.series import Change, Series
    from evalkit.watch.visit import MetricVisit, Visit

__all__ = ["command"]

_CLEAN, _LOST = 0, 1
_NOTHING_KEPT = "nothing was kept yet, so head is the anchor"


@click.command(name="watch")
@contract_options
@click.option("--series", type=click.Path(path_type=Path, exists=True), help="Change points of a file instead.")
@click.option("--find/--no-find", default=True, show_default=True, help="On an alarm, bisect over the keeps.")
@click.option(
    "--rollback",
    is_flag=False,
    flag_value="soft",
    type=click.Choice(["soft", "hard"]),
    help="Take the keep that is found out of head, as a commit. hard: if need be with the keeps after it.",
)
@click.option("--threshold", type=click.FloatRange(min=10), help="Visits between false alarms. Default: 1000.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write a summary; - prints it.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one offline page, all visits.")
@click.option("--every", type=click.IntRange(min=1), help="Do nothing unless so many keeps came since the last visit.")
def command(
    file: Path | None,
    profile: str,
    as_json: bool,
    series: Path | None,
    find: bool,
    rollback: str | None,
    threshold: float | None,
    markdown: Path | None,
    html: Path | None,
    every: int | None,
) -> None:
    """Has head silently lost what the run started from, and which keep lost it?

    Each call is a visit: a few pairs of head and anchor side by side, more only while the evidence grows. State is in
    the ledger, so a cron job needs nothing else. Ends with 0 when nothing is lost and 1 on an alarm.

    --rollback takes the keep that the search names out of head: one more commit on the branch of keeps, never on what
    you have checked out. Where later keeps build on it, nothing is done unless you say --rollback=hard.

    With --series FILE: CSV, JSON lines, pytest-benchmark or asv results; prints where they change. That is a diagnosis
    (a raw series can't tell the code from the machine), so it ends with 0 whatever it finds.
    """
    if series is not None:
        _series(series, as_json=as_json)
        return
    if rollback and not find:
        raise UsageError("--rollback needs the search that --no-find leaves out", "leave one of the two out")
    wanted = _Wanted(find=find, rollback=rollback, threshold=threshold, every=every, as_json=as_json)
    wanted = replace(wanted, markdown=markdown, html=html)
    end(_visit(file, profile, wanted))


def _series(path: Path, *, as_json: bool) -> None:
    from evalkit.watch.series import changes, read_series  # noqa: PLC0415 - numpy loads late

    found = [(series, changes(series)) for series in read_series(path)]
    if as_json:
        print_json("series", {"series": [_series_document(series, points) for series, points in found]})
        return
    for series, points in found:
        _say_series(series, points)
    click.echo("Change points say where to look; a raw series can't tell the code from the machine.")


def _series_document(series: Series, points: tuple[Change, ...]) -> dict[str, Any]:
    fields = ("index", "commit", "previous", "time", "before", "after", "relative", "methods", "p_value")
    changed = [{name: getattr(point, name) for name in fields} for point in points]
    return {"name": series.name, "points": len(series.points), "changes": changed}


def _say_series(series: Series, points: tuple[Change, ...]) -> None:
    from evalkit.report.audit_words import clean, number  # noqa: PLC0415

    click.echo(f"{clean(series.name, 120)}: {len(series.points)} points, {len(points) or 'no'} change points")
    for point in points:
        when = "" if point.time is None else f" {datetime.fromtimestamp(point.time, UTC):%Y-%m-%d %H:%M}"
        where = f" {clean(point.commit, 40)} (after {clean(point.previous, 40)})" if point.commit else ""
        size = "" if point.relative is None else f" ({100 * point.relative:+.2g} %)"
        sure = "" if point.p_value is None else f", p = {point.p_value:.3g}"
        level = f"{number(point.before)} → {number(point.after)}{size}"
        click.echo(f"  point {point.index + 1}{when}{where}: {level}, by {' and '.join(point.methods)}{sure}")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the options ask for."""

    find: bool
    rollback: str | None
    threshold: float | None
    every: int | None
    as_json: bool
    markdown: Path | None = None
    html: Path | None = None


def _visit(file: Path | None, profile: str, wanted: _Wanted) -> int:
    from evalkit.verify.workbench import Workbench  # noqa: PLC0415 - loads late
    from evalkit.watch.drift import DriftPolicy  # noqa: PLC0415
    from evalkit.watch.visit import visit  # noqa: PLC0415

    policy = DriftPolicy() if wanted.threshold is None else DriftPolicy(threshold=wanted.threshold)
    with Workbench.open(load(file, profile)) as bench:
        if wanted.every is not None and not _due(bench, wanted.every):
            text = f"fewer than {wanted.every} keeps since the last visit; nothing to do"
            _print(wanted.as_json, {"skipped": True}, text)
            return _CLEAN
        done = visit(bench, policy=policy, progress=None if wanted.as_json else _progress("visit"))
        document, lines = _visit_document(done), _visit_lines(done)
        if wanted.find:
            _follow(bench, done, wanted, document, lines)
        _write(bench, wanted, document, lines)
    if str(wanted.markdown) == "-" and not wanted.as_json:
        return _LOST if document["alarm"] else _CLEAN
    _print(wanted.as_json, document, "\n".join(lines))
    return _LOST if done.alarms or done.broken else _CLEAN


def _write(bench: Workbench, wanted: _Wanted, document: dict[str, Any], lines: list[str]) -> None:
    from evalkit.report.watch_page import as_html, as_markdown  # noqa: PLC0415 - loads late

    if str(wanted.markdown) == "-":
        click.echo(as_markdown(bench.contract.name, document, lines))
    elif wanted.markdown is not None:
        _save(wanted.markdown, as_markdown(bench.contract.name, document, lines))
    if wanted.html is not None:
        visits = [record.body for record in bench.ledger.records("visited")]
        _save(wanted.html, as_html(bench.contract.name, document, lines, visits))


def _save(target: Path, text: str) -> None:
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} can't be written ({error.strerror})", "name a file in a folder of yours") from None


def _follow(bench: Workbench, done: Visit, wanted: _Wanted, document: dict[str, Any], lines: list[str]) -> None:
    """Search for what raised each alarm, and roll it back; after a rollback head is another, so the rest waits."""
    for alarm in done.alarms:
        found, told, finding, step = _find(bench, alarm, quiet=wanted.as_json)
        document.setdefault("found", []).append(found)
        lines += told
        if wanted.rollback:
            found["rollback"], told = _roll_back(bench, alarm, finding, step, wanted)
            lines += told
            if found["rollback"].get("commit"):
                return


def _roll_back(
    bench: Workbench, alarm: MetricVisit, finding: Finding, step: Step, wanted: _Wanted
) -> tuple[dict[str, Any], list[str]]:
    from evalkit.watch.bisect import Outcome  # noqa: PLC0415 - loads late
    from evalkit.watch.rollback import roll_back  # noqa: PLC0415

    if finding.outcome is not Outcome.NAMED:
        return {"refused": "no keep was named"}, ["not rolled back: no single keep was named"]
    try:
        progress = None if wanted.as_json else _progress("rollback")
        done = roll_back(bench, step, hard=wanted.rollback == "hard", progress=progress)
    except UsageError as error:
        return {"refused": error.message}, [f"not rolled back: {error.message}", f"  {error.way_out}"]
    found = done.effects[alarm.name]
    gained = f": {alarm.name} {_change(alarm, found.effect)} against what head was" if found else ""
    undone = ", ".join(str(number) for number in done.undone)
    lines = [f"rolled back experiment {undone}; {done.branch} is at {done.commit[:12]} now{gained}"]
    document = {"way": str(done.way), "undone": list(done.undone), "commit": done.commit, "branch": done.branch}
    effects = {name: effect.to_dict() if effect else None for name, effect in done.effects.items()}
    return {**document, "effects": effects}, lines


def _due(bench: Workbench, every: int) -> bool:
    """Enough keeps came since the last visit, or one that a guard asked to probe."""
    from evalkit.watch.lineage import suspicious_since  # noqa: PLC0415 - loads late

    last = bench.ledger.latest("visited")
    enough = bench.book.keeps - (int(last.body["keeps"]) if last else 0) >= every
    return enough or suspicious_since(bench, last.seq if last else 0)


def _progress(what: str) -> Any:
    def show(done: int, wanted: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{what}: pair {done + 1} of about {max(wanted, done + 1)}  ", nl=False, err=True)

    return show


def _print(as_json: bool, document: dict[str, Any], text: str) -> None:
    if as_json:
        print_json("watch", json.loads(json.dumps(document, default=str)))
    else:
        click.echo(text)


def _metric_document(metric: MetricVisit) -> dict[str, Any]:
    return {
        "name": metric.name,
        "scale": metric.scale,
        "tolerance": metric.tolerance,
        **metric.report.as_json(),
        "environment_shift": metric.shift,
        "spread_ratio": metric.spread if metric.spread is None or math.isfinite(metric.spread) else None,
        "worse_slices": [{"label": s.label, "change": s.change, "cases": s.cases, "z": s.z} for s in metric.slices],
    }


def _visit_document(done: Visit) -> dict[str, Any]:
    return {
        "keeps": done.keeps,
        "alarm": bool(done.alarms or done.broken),
        "broken": done.broken,
        "metrics": [_metric_document(metric) for metric in done.metrics],
        "cost_ratio": done.cost,
        "environment_changed": {name: list(values) for name, values in done.changed.items()},
    }


def _visit_lines(done: Visit) -> list[str]:
    if done.broken:
        return [f"ALARM after {done.keeps} keeps: {done.broken}"]
    if not done.metrics:
        return ["nothing that was kept stands, so head is the anchor" if done.keeps else _NOTHING_KEPT]
    lines = [_metric_line(metric, done.keeps) for metric in done.metrics]
    for metric in done.metrics:
        if metric.shift:
            before, now = metric.shift["before"], metric.shift["now"]
            lines.append(f"  the anchor itself moved on {metric.name} ({before:.4g} → {now:.4g}): not the code")
        if metric.spread:
            lines.append(f"  {metric.name} scatters ×{metric.spread:.2g} as wide as the anchor's")
        lines += [
            f"  {metric.name} is worse on {found.label} ({found.change:+.3g} over {found.cases} cases), not overall"
            for found in metric.slices
        ]
    if done.cost:
        lines.append(f"  a trial of head takes ×{done.cost:.2g} the CPU of the anchor's, on the same cases")
    lines += [f"  environment: {name} was {old!r}, is {new!r}" for name, (old, new) in done.changed.items()]
    return lines


def _metric_line(metric: MetricVisit, keeps: int) -> str:
    report = metric.report
    low, high = report.interval
    word = "ALARM" if report.alarm else "ok"
    change = f"{_change(metric, report.change)} [{_change(metric, low)}, {_change(metric, high)}]"
    evidence = f"evidence of a loss e^{report.evidence:.1f}, may lose {_change(metric, -metric.tolerance)}"
    after = f"{keeps} keep{'' if keeps == 1 else 's'}"
    return f"{word}: {metric.name} {change} against the anchor after {after}, {report.pairs} pairs, {evidence}"


def _change(metric: MetricVisit, change: float) -> str:
    """A change for people: a factor where the scale is logarithmic, else a difference; better is larger."""
    if math.isinf(change):
        return "∞" if change > 0 else "−∞"
    return f"×{math.exp(change):.3g}" if metric.scale == "log" else f"{change + 0.0:+.3g}".replace("-", "−")


def _find(bench: Workbench, alarm: MetricVisit, *, quiet: bool) -> tuple[dict[str, Any], list[str], Finding, Step]:
    """Bisect after an alarm; the predicted cost is printed before anything is measured."""
    from dataclasses import asdict  # noqa: PLC0415

    from evalkit.watch.visit import find_keep, suspects  # noqa: PLC0415

    among = suspects(bench, alarm)
    cost = among.cost
    said = f"searching {len(among.bodies)} keeps for {alarm.name}: {cost.decisions} tests, about {cost.pairs} pairs"
    if not quiet:
        click.echo(f"{said} (at most {cost.most})")
    finding, kept = find_keep(bench, among, progress=None if quiet else _progress("search"))
    document = {"metric": alarm.name, **asdict(finding), "experiment": kept["experiment"], "commit": kept["commit"]}
    name = f"experiment {kept['experiment']} (commit {kept['commit'][:12]})"
    words = {
        "named": f"{name} lost it: {_change(alarm, finding.change)} on {alarm.name}",
        "gradual": f"no single keep lost it; about half was gone by {name}",
        "undecided": f"most likely {name}, but the pairs allowed did not settle it",
    }
    told = f"{words[finding.outcome.value]} ({finding.decisions} tests, {finding.pairs} pairs)"
    return document, [told], finding, kept
