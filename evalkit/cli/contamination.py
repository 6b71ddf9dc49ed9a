"""``evalkit contamination``: are held-out items in a corpus, in sources, in artefacts, in git?"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.overlap import CorpusScan, Holdout, ItemReport

__all__ = ["command"]

_CLEAN, _FOUND, _UNCHECKABLE = 0, 1, 3
_SHOWN = 20
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="contamination")
@click.argument("corpus", nargs=-1, type=str)
@click.option("--against", "holdout", multiple=True, metavar="HOLDOUT", help="Held-out items: files or folders.")
@click.option("--field", "fields", multiple=True, metavar="NAME", help="Look for this field only; may be repeated.")
@click.option("--id", "id_field", metavar="NAME", help="The field with the items' ids.")
@click.option("--rule", "rule_name", type=click.Choice(["default", "gpt3", "palm", "llama"]), default="default")
@click.option("--source", is_flag=True, help="The corpus is source: look for encoded items, digests and answers too.")
@click.option("--canaries", "marked", multiple=True, metavar="VAULT", help="Look for the marks of this vault's files.")
@click.option("--git", "repositories", multiple=True, metavar="REPO", help="Look for marks in every object of REPO.")
@click.option("--paraphrases", type=float, metavar="SHARE", help="List this share of the texts, nearest first.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes. Default: one a core.")
@click.option("--engine", default="local", show_default=True, help="local, or an installed engine such as ray.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="Go on from here after a stop.")
@click.option("--keep-going", is_flag=True, help="Leave out what can't be read, and say so.")
@click.option("--strict", is_flag=True, help="End with 3 when an item can't be checked.")
@click.option("--html", type=_FILE, help="Write a section of HTML.")
@click.option("--sarif", type=_FILE, help="Write SARIF 2.1.0.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(corpus: tuple[str, ...], **options: Any) -> int:
    """Look for held-out items in CORPUS: files, folders, or - for standard input.

    Reads JSON lines, text and parquet, plain or compressed, of any size. Every item comes out clean, contaminated (with
    the passage on both sides) or uncheckable (with the reason). Ends with 0 when nothing was found, 1 when something
    was.
    """
    if not corpus and not options["repositories"]:
        raise UsageError("there is nothing to look in", "name files or folders, or give --git REPO")
    if not (options["holdout"] or options["marked"]):
        raise UsageError("there is nothing to look for", "give --against HOLDOUT, or --canaries VAULT")
    sightings = _canaries(corpus, options["marked"], options["repositories"])
    if not options["holdout"]:
        return _end_with_marks(sightings, as_json=options["as_json"])
    return _items(corpus, options, sightings)


def _items(corpus: Sequence[str], options: dict[str, Any], sightings: list[dict[str, Any]]) -> int:
    from evalkit.overlap import RULES, Holdout, Problems, plan_shards, read_items  # noqa: PLC0415 - numpy loads late
    from evalkit.overlap.rendering import as_document  # noqa: PLC0415

    problems = Problems(keep_going=options["keep_going"])
    items = read_items(options["holdout"], problems, fields=options["fields"], id_field=options["id_field"])
    holdout = Holdout(items, RULES[options["rule_name"]])
    scan = holdout.scan_files(
        plan_shards(corpus),
        jobs=options["jobs"] or os.cpu_count() or 1,
        executor=_engine(options["engine"]),
        state=options["state"],
        keep_going=options["keep_going"],
        progress=_progress() if sys.stderr.isatty() else None,
    )
    scan.problems[:0] = problems.found
    reports = holdout.report(scan)
    leaks = _source_leaks(corpus, items) if options["source"] else []
    queue = _queue(corpus, items, options["paraphrases"]) if options["paraphrases"] else []
    _write_files(reports, scan, holdout, options)
    extra = {"leaks": leaks, "canaries": sightings, "paraphrases": queue}
    document = as_document(reports, scan, holdout.rule, extra)
    if options["as_json"]:
        click.echo(json.dumps({"schema": "evalkit/contamination/1", **document}, ensure_ascii=False, indent=1))
    else:
        _say(document, reports)
    found = document["counts"]["contaminated"] or leaks or sightings
    if found:
        return _FOUND
    return _UNCHECKABLE if options["strict"] and document["counts"]["uncheckable"] else _CLEAN


def _check(name: str) -> Any:
    """A check that the guards bring; they are found as anyone's would be."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, needed only here

    points = {point.name: point for point in entry_points(group="evalkit.contamination")}
    if name not in points:
        raise UsageError("the contamination guards are not installed", "install evalkit-guards again")
    return points[name].load()


def _engine(name: str) -> Any:
    """An executor for shards, or None for processes of our own."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, needed only here

    if name == "local":
        return None
    points = {point.name: point for point in entry_points(group="evalkit.engines")}
    if name not in points:
        raise UsageError(f"there is no engine {name!r}", f"installed: {', '.join(['local', *points])}")
    return points[name].load()()


def _canaries(corpus: Sequence[str], marked: Sequence[str], repositories: Sequence[str]) -> list[dict[str, Any]]:
    """Marks of the vault that were found, with what each stands for."""
    if not marked:
        return []
    from dataclasses import asdict  # noqa: PLC0415

    from evalkit.overlap.sources import find_files  # noqa: PLC0415

    marks: dict[str, str] = {}
    for path in find_files(marked):
        marks |= _check("marks")(str(path), path.read_bytes())
        if path.name == "manifest.json":
            listed = json.loads(path.read_text(encoding="utf-8")).get("canaries", {})
            marks |= {mark: f"the split {name}" for name, mark in listed.items()}
    if not marks:
        raise UsageError(f"no marks in {', '.join(marked)}", "`evalkit split` writes them; open sealed splits first")
    found = list(_check("files")(corpus, marks)) if corpus else []
    for repository in repositories:
        found += _check("git")(Path(repository), marks)
    return [asdict(sighting) for sighting in found]


def _end_with_marks(sightings: list[dict[str, Any]], *, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"schema": "evalkit/contamination/1", "canaries": sightings}, indent=1))
    else:
        _say_marks(sightings)
        click.echo(f"{len(sightings)} marks found." if sightings else "no mark found.")
    return _FOUND if sightings else _CLEAN


def _source_leaks(corpus: Sequence[str], items: Sequence[Any]) -> list[dict[str, Any]]:
    from dataclasses import asdict  # noqa: PLC0415

    from evalkit.overlap.sources import find_files  # noqa: PLC0415

    checker = _check("sources")(items)
    leaks: list[dict[str, Any]] = []
    for path in find_files(corpus):
        leaks += ({"file": str(path), **asdict(leak)} for leak in checker.check(path.read_bytes()))
    return leaks


def _queue(corpus: Sequence[str], items: Sequence[Any], share: float) -> list[dict[str, Any]]:
    """The texts nearest to an item, for a person to read."""
    from evalkit.overlap import Problems, read_rows  # noqa: PLC0415
    from evalkit.overlap.items import text_parts  # noqa: PLC0415
    from evalkit.overlap.paraphrase import ParaphraseIndex  # noqa: PLC0415

    if not 0 < share <= 1:
        raise UsageError(f"{share} is no share of the texts", "for example --paraphrases 0.02")
    rows = [row for path in corpus for row in read_rows(path, Problems(keep_going=True))]
    texts = ["\n".join(text for _, text in text_parts(dict(row.data))) for row in rows]
    index = ParaphraseIndex([item.text for item in items], texts[:: max(1, len(texts) // 5000)])
    nearest = sorted(index.candidates(texts, 0.2), key=lambda candidate: -candidate.cosine)
    return [
        {"where": rows[c.text].where, "item": items[c.item].id, "cosine": c.cosine, "text": texts[c.text][:400]}
        for c in nearest[: max(1, int(share * len(texts)))]
    ]


def _progress() -> Callable[[int, int], None]:
    begun = time.monotonic()

    def show(done: int, total: int) -> None:
        left = (time.monotonic() - begun) * (total - done) / max(1, done)
        click.echo(
            f"\r{done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {left:,.0f} s left \033[K", nl=done >= total, err=True
        )

    return show


def _write_files(reports: Sequence[ItemReport], scan: CorpusScan, holdout: Holdout, options: dict[str, Any]) -> None:
    from evalkit import __version__  # noqa: PLC0415
    from evalkit.overlap.rendering import html_section, sarif  # noqa: PLC0415

    if options["html"]:
        options["html"].write_text(html_section(reports, scan, holdout.rule), encoding="utf-8")
    if options["sarif"]:
        options["sarif"].write_text(json.dumps(sarif(reports, __version__), indent=1), encoding="utf-8")


def _say(document: dict[str, Any], reports: Sequence[ItemReport]) -> None:
    for problem in document["problems"]:
        click.echo(f"not read: {problem}", err=True)
    found = [report for report in reports if report.state == "contaminated"]
    for report in found[:_SHOWN]:
        best = report.found[0] if report.found else None
        place = f"{best.path}:{best.match.line}" if best else "the corpus as a whole"
        more = f" and {report.places - 1} more places" if report.places > 1 else ""
        click.echo(f"CONTAMINATED {report.id}: {report.why}; {place}{more}")
        if best:
            click.echo(f"    holdout: {_line(report.passage)}\n    corpus:  {_line(best.match.excerpt)}")
    if len(found) > _SHOWN:
        click.echo(f"… and {len(found) - _SHOWN} more; --json lists them all")
    for leak in document["leaks"][:_SHOWN]:
        click.echo(f"LEAK {leak['file']}:{leak['line']}: {leak['message']}")
    _say_marks(document["canaries"])
    for near in document["paraphrases"][:_SHOWN]:
        click.echo(f"read     {near['where']} beside item {near['item']} (cosine {near['cosine']:.2f})")
    _say_reasons(reports)
    numbers, corpus = document["counts"], document["corpus"]
    click.echo(
        f"{numbers['contaminated']} contaminated, {numbers['uncheckable']} uncheckable, {numbers['clean']} clean;"
        f" {corpus['files']} files, {corpus['bytes'] / 1e6:,.1f} MB"
    )


def _say_reasons(reports: Iterable[ItemReport]) -> None:
    """Why items could not be checked, by reason."""
    from collections import Counter  # noqa: PLC0415

    reasons = Counter(report.why for report in reports if report.state == "uncheckable")
    for reason, count in reasons.most_common(5):
        click.echo(f"uncheckable ({count}): {reason}")


def _say_marks(sightings: Sequence[dict[str, Any]]) -> None:
    for sighting in sightings:
        click.echo(f"CANARY {sighting['where']} at byte {sighting['offset']}: {sighting['meaning']}")


def _line(text: str) -> str:
    return " ".join(text.split())[:140]
