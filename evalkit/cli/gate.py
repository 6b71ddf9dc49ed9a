"""``evalkit gate``: in CI, a head revision against a base revision."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.common import contract_options, end, load, print_json
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.cli.gating import Change
    from evalkit.report.gating import Judged, Report

__all__ = ["command"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="gate")
@contract_options
@click.option("--base", default="", metavar="REV", help="Default: where head left the branch that CI, or git, names.")
@click.option(
    "--head", default="", metavar="REV", help="What is to be merged. Default: HEAD (in CI, the change's own)."
)
@click.option("--specs", default="", metavar="PATH", help="Judge by this suite of the base revision, too.")
@click.option(
    "--allow-empty/--refuse-empty", default=None, help="Whether nothing to judge passes. Default: [gate] empty."
)
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="Keep the evidence in this folder.")
@click.option("--continue", "more", is_flag=True, help="Add trials to the inconclusive evidence in --state.")
@click.option("--junit", type=_FILE, help="Write JUnit XML here.")
@click.option("--sarif", type=_FILE, help="Write SARIF 2.1.0 here.")
@click.option("--summary", type=_FILE, help="Append markdown here. Default: GITHUB_STEP_SUMMARY.")
@click.option("--annotations/--no-annotations", default=None, help="Workflow commands. Default: on GitHub.")
@click.option("--attest", type=_FILE, help="Where to write an attestation of a KEEP (one contract only).")
@click.option("--key", type=_FILE, help="To sign it with. Default: EVALKIT_SIGNING_KEY.")
def command(file: Path | None, profile: str, as_json: bool, base: str, head: str, **options: Any) -> None:
    """Judge HEAD against BASE in a run of its own; nothing is committed.

    Without --contract, every contract of the repository whose files the change touches is judged.

    Exit code: 0 the head is better, or has nothing to judge; 1 rejected; 2 the contract; 3 inconclusive; 4 ours.
    """
    from evalkit.cli.gating import Change, changed_between, top_of  # noqa: PLC0415 - loads late
    from evalkit.report.gating import Report  # noqa: PLC0415
    from evalkit.workspace import Repository  # noqa: PLC0415

    if options["more"] and options["state"] is None:
        raise UsageError("--continue needs the evidence that it adds to", "run the gate with --state DIR before, too")
    started = time.monotonic()
    top = top_of(file.parent if file else Path.cwd())
    tip = Repository.find(top).resolve(head or _head())
    root = Repository.find(top).resolve(base) if base else _base(top, tip)
    change = Change(top, root, tip, changed_between(top, root, tip))
    judged, unjudged = _judge(file, profile, change, quiet=as_json, options=options)
    report = Report(
        root, tip, tuple(judged), tuple(unjudged), _empty_passes(judged, options), time.monotonic() - started
    )
    if options["attest"] is not None:
        _attest(report, options["attest"], options["key"], top)
    _write(report, options, as_json=as_json)
    end(report.exit_code)


def _empty_passes(judged: list[Judged], options: dict[str, Any]) -> bool:
    """The command line's word, else that of the contracts: one that refuses is enough."""
    if options["allow_empty"] is not None:
        return bool(options["allow_empty"])
    return all(entry.empty_passes for entry in judged)


def _head() -> str:
    """GitHub checks out a merge of the change into its base, whose second parent is the change."""
    return os.environ.get("EVALKIT_HEAD") or os.environ.get("CI_COMMIT_SHA") or "HEAD"


def _base(top: Path, tip: str) -> str:
    from evalkit.suite.revisions import default_base  # noqa: PLC0415

    found = default_base(top, tip)
    if not found:
        raise UsageError("there is no main branch and no earlier commit to compare with", "say which: --base REV")
    return found


def _judge(
    file: Path | None, profile: str, change: Change, *, quiet: bool, options: dict[str, Any]
) -> tuple[list[Judged], list[str]]:
    from evalkit.cli.gating import contracts_at, judge_contract, judge_suite  # noqa: PLC0415

    specs = options["specs"].rstrip("/")
    found = [file.resolve()] if file else contracts_at(change.top, change.base)
    if not found and not specs and (change.top / "specs").is_dir():
        specs = "specs"
    if not found and not specs:
        load(None, profile)  # says that there is no contract, and how to make one
    state, more = options["state"], options["more"]
    judged = [judge_contract(load(each, profile), change, found, state=state, more=more, quiet=quiet) for each in found]
    if specs:
        judged += judge_suite(specs, change, settings=_suite_settings(profile), hidden=())
    folders = [f"{entry.folder}/" if entry.folder else "" for entry in judged]
    unjudged = [] if specs else [path for path in change.files if not path.startswith(tuple(folders))]
    return judged, unjudged


def _suite_settings(profile: str) -> dict[str, Any]:
    return {"profile": profile} if profile in {"quick", "ci", "vault"} else {}


def _attest(report: Report, target: Path, key: Path | None, top: Path) -> None:
    """Sign the one KEEP; a report that is not a pass is never signed."""
    from evalkit.ledger import attestation  # noqa: PLC0415

    private = attestation.load_private_key(key, repository=top)
    kept = [entry.plain for entry in report.judged if entry.decision == "KEEP" and entry.plain]
    verdicts = [plain for plain in kept if "ledger" in plain]
    if report.decision != "KEEP" or len(verdicts) != 1:
        return
    ledger = verdicts[0]["ledger"]
    document = attestation.statement(verdicts[0], ledger_head=ledger["head"], records=ledger["records"])
    target.write_bytes(attestation.sign(document, private))


def _write(report: Report, options: dict[str, Any], *, as_json: bool) -> None:
    """Every output that was asked for, all from one report."""
    import json  # noqa: PLC0415

    from evalkit.report import jobsummary, junit, sarif  # noqa: PLC0415

    if options["junit"] is not None:
        options["junit"].write_text(junit.junit_text(report), encoding="utf-8")
    if options["sarif"] is not None:
        options["sarif"].write_text(json.dumps(sarif.sarif_document(report), indent=1) + "\n", encoding="utf-8")
    summary = options["summary"] or os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(jobsummary.markdown(report))
    wanted = options["annotations"]
    if wanted if wanted is not None else os.environ.get("GITHUB_ACTIONS") == "true":
        for line in jobsummary.workflow_commands(report):
            click.echo(line, err=as_json)
    if as_json:
        print_json("gate", report.as_json())
    else:
        _print(report)


def _print(report: Report) -> None:
    click.echo(f"{report.headline}  (base {report.base[:10]}, head {report.head[:10]}, {report.seconds:.0f} s)")
    for entry in report.judged:
        click.echo(f"  {entry.decision:12} {entry.name}: {entry.sentence}")
        for line in filter(None, (entry.effect, *entry.details)):
            click.echo(f"      {line}")
        for finding in entry.findings:
            where = f"{entry.path_of(finding)}:{finding['line']}" if finding["line"] else entry.path_of(finding)
            click.echo(f"      {finding['rule']} ({finding['severity']}) {where} {finding['message']}")
        if entry.more:
            click.echo(f"      about {entry.more} more would probably decide: --state DIR --continue adds them")
    if report.unjudged:
        click.echo(f"  judged by nothing: {', '.join(report.unjudged[:10])}")
