"""``evalkit audit``: read another loop's history and say which of its keeps are real."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from evalkit.contract import Goal
    from evalkit.interop import Found
    from evalkit.watch.audit import Audit, Explain

__all__ = ["command"]

_CLEAN, _FINDINGS, _INCONCLUSIVE = 0, 1, 3


@click.command(name="audit")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--goal", type=click.Choice(["minimize", "maximize"]), help="Which way is better, where the file is silent."
)
@click.option("--sd", type=float, help="Standard deviation of one run, if you know it; overrides what the file tells.")
@click.option("--fdr", type=float, default=0.1, show_default=True, help="Share of the survivors that may be false.")
@click.option(
    "--repo",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The loop's repository: could what each keep changed explain a gain at all?",
)
@click.option("--rerun", is_flag=True, help="Measure keeps again, through --contract and in the repository around it.")
@click.option(
    "--contract", "contract", type=click.Path(path_type=Path, exists=True), help="What --rerun measures with."
)
@click.option("--limit", type=click.IntRange(min=1), help="Keeps of one history to measure again; the least certain.")
@click.option("--pairs", type=click.IntRange(min=2), default=8, show_default=True, help="Fresh pairs a keep.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one offline HTML page.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write markdown; - prints it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--exit-zero", is_flag=True, help="End with 0 whatever was found.")
def command(
    path: Path,
    goal: str | None,
    sd: float | None,
    fdr: float,
    repo: Path | None,
    rerun: bool,
    contract: Path | None,
    limit: int | None,
    pairs: int,
    html: Path | None,
    markdown: Path | None,
    as_json: bool,
    exit_zero: bool,
) -> int:
    """Which keeps of a finished run are real? PATH is a history file, or a folder that holds some.

    Reads results.tsv and its variants, pi-autoresearch and other JSON lines, evo graphs, OpenEvolve traces and
    ShinkaEvolve results; what a file is is found from its contents. Ends with 0 when every keep that could be tested
    survives, 1 when some look like noise or something grave was found, 3 when the file can't tell.

    --rerun settles what the file can't tell: it measures the least certain keeps again, each beside the keep before it,
    in the sandbox. It needs --contract, in the repository that holds the commits.
    """
    _check(sd, fdr)
    if rerun != (contract is not None):
        raise UsageError("--rerun and --contract need each other", "evalkit audit FILE --rerun --contract evalkit.toml")
    audits, skipped = _audits(path, goal, sd, fdr, repo)
    if contract is not None:
        audits = _rerun(audits, contract, sd=sd, fdr=fdr, repo=repo, limit=limit, pairs=pairs, quiet=as_json)
    _write(audits, path, html, _page)
    _write(audits, path, markdown, _markdown)
    if as_json:
        click.echo(json.dumps(_document(audits, skipped), ensure_ascii=False, indent=2, allow_nan=False))
    elif markdown is None or str(markdown) != "-":
        _say(audits, skipped)
    return _CLEAN if exit_zero else max((_code(audit) for audit in audits), key=[0, 3, 1].index)


def _check(sd: float | None, fdr: float) -> None:
    if sd is not None and not (sd > 0 and sd < float("inf")):
        raise UsageError(f"--sd {sd} is not a standard deviation", "give a number above 0")
    if not 0 < fdr < 1:
        raise UsageError(f"--fdr {fdr} is not a share", "give a number between 0 and 1")


def _audits(
    path: Path, goal: str | None, sd: float | None, fdr: float, repo: Path | None
) -> tuple[list[Audit], list[Found]]:
    """Audits of everything at ``path``, and the files there that could not be read."""
    from evalkit.interop import find_histories, read_history  # noqa: PLC0415 - numpy loads late
    from evalkit.watch.audit import audit  # noqa: PLC0415

    explain = _explain(repo)
    wanted: Goal | None = "minimize" if goal == "minimize" else ("maximize" if goal == "maximize" else None)
    if path.is_file():
        return [audit(read_history(path, goal=wanted), sd=sd, fdr=fdr, explain=explain)], []
    found = list(find_histories(path, goal=wanted))
    audits = [audit(item.history, sd=sd, fdr=fdr, explain=explain) for item in found if item.history is not None]
    skipped = [item for item in found if item.history is None]
    if not audits:
        reasons = "".join(f"\n  {item.reason}" for item in skipped[:5])
        raise DataError(f"{path} holds no history that could be read{reasons}", "name the file")
    return audits, skipped


def _explain(repo: Path | None) -> Explain | None:
    if repo is None:
        return None
    from evalkit.watch.audit_tree import tree_reader  # noqa: PLC0415 - loads late

    return tree_reader(repo)


def _rerun(
    audits: Sequence[Audit],
    file: Path,
    *,
    sd: float | None,
    fdr: float,
    repo: Path | None,
    limit: int | None,
    pairs: int,
    quiet: bool,
) -> list[Audit]:
    """The same audits with the least certain keeps measured again; what it will cost is said first."""
    from evalkit.cli.common import load  # noqa: PLC0415 - loads late
    from evalkit.watch.audit import audit  # noqa: PLC0415
    from evalkit.watch.remeasure import choose, remeasurer  # noqa: PLC0415

    def progress(what: str, have: int, wanted: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\rmeasuring {what}: pair {have + 1} of {wanted}  ", nl=False, err=True)

    keeps = sum(len(choose(item, limit)) for item in audits)
    if not quiet:
        click.echo(f"measuring {keeps} keeps again: about {keeps * pairs} pairs", err=True)
    explain, done = _explain(repo), []
    with remeasurer(load(file, ""), audits, limit=limit, pairs=pairs, progress=None if quiet else progress) as measures:
        for item, measure in zip(audits, measures, strict=True):
            done.append(audit(item.history, sd=sd, fdr=fdr, remeasure=measure, explain=explain))
            for note in measure.notes:
                click.echo(note, err=True)
    return done


def _page(audit: Audit) -> str:
    from evalkit.report.audit_page import as_html  # noqa: PLC0415 - jinja2 loads late

    return as_html(audit)


def _markdown(audit: Audit) -> str:
    from evalkit.report.audit_data import as_markdown  # noqa: PLC0415

    return as_markdown(audit)


def _write(audits: Sequence[Audit], path: Path, target: Path | None, render: Callable[[Audit], str]) -> None:
    """One file per audit; of several, each carries the name of its history."""
    if target is None:
        return
    for index, audit in enumerate(audits):
        text = render(audit)
        if str(target) == "-":
            click.echo(text)
            continue
        name = target if len(audits) == 1 else target.with_name(_numbered(target, audit, path, index))
        try:
            name.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{name} can't be written ({error.strerror})", "name a file in a folder of yours"
            ) from None


def _numbered(target: Path, audit: Audit, root: Path, index: int) -> str:
    source = Path(audit.history.source)
    inner = source.relative_to(root) if source.is_relative_to(root) else Path(source.name)
    slug = "-".join(inner.with_suffix("").parts) or str(index)
    return f"{target.stem}-{slug}{target.suffix}"


def _document(audits: Sequence[Audit], skipped: Sequence[Found]) -> dict[str, object]:
    from evalkit.report.audit_data import as_json  # noqa: PLC0415

    documents = [as_json(audit) for audit in audits]
    if len(documents) == 1 and not skipped:
        return documents[0]
    unread = [{"path": str(item.path), "reason": item.reason} for item in skipped]
    return {"schema": "evalkit/audits/1", "audits": documents, "unread": unread}


def _say(audits: Sequence[Audit], skipped: Sequence[Found]) -> None:
    from evalkit.report.audit_terminal import show  # noqa: PLC0415 - rich loads late

    for audit in audits:
        show(audit)
    for item in skipped:
        click.echo(f"not read: {item.path}: {item.reason}", err=True)


def _code(audit: Audit) -> int:
    from evalkit.watch.audit import Verdict  # noqa: PLC0415

    doubtful = (Verdict.NOISE, Verdict.SAME, Verdict.IMPLAUSIBLE)
    for segment in audit.segments:
        if segment.count(*doubtful) or any(finding.grave for finding in segment.findings):
            return _FINDINGS
    open_keeps = (Verdict.UNSURE, Verdict.UNKNOWABLE, Verdict.UNMEASURED, Verdict.TIE, Verdict.WORSE)
    return _INCONCLUSIVE if any(segment.count(*open_keeps) for segment in audit.segments) else _CLEAN
