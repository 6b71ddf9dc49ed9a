"""``evalkit scan``: guards on a diff, a commit range or a patch from a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

from evalkit.contract import Contract
from evalkit.errors import UsageError
from evalkit.guarding import Finding, Severity, find_guards
from guards.scanning.engine import MAX_PATCH, Scanned, default_contract, scan_change, scan_patch
from guards.scanning.revisions import commits, difference

__all__ = ["command"]

_PARALLEL = 400
"""Commits from which on several processes pay."""
_COLOURS = {Severity.BLOCK: "red", Severity.PROBE: "yellow", Severity.NOTE: "cyan"}
_SCHEMA = "evalkit.scan/1"


@click.command("scan")
@click.argument("source", required=False)
@click.option(
    "--contract", type=click.Path(path_type=Path, dir_okay=False), help="Whose editable globs and scorers hold."
)
@click.option(
    "--repo", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path(), help="Checkout of a range."
)
@click.option("--net", is_flag=True, help="One change for the whole range, not one a commit.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option(
    "--sarif",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write SARIF 2.1.0 here (- for stdout).",
)
@click.option("--fail-on", type=click.Choice(["block", "probe", "note", "never"]), default="probe", show_default=True)
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes for a long range.")
def command(  # noqa: PLR0917 - click calls it by keywords
    source: str | None,
    contract: Path | None,
    repo: Path,
    net: bool,
    as_json: bool,
    sarif: Path | None,
    fail_on: str,
    jobs: int,
) -> None:
    """Guards on a change, before anything runs.

    SOURCE is a diff file, a range of commits such as main..HEAD, or - (also when it is left out) for a patch on
    standard input. Nothing that is scanned is run or imported. Exit code 0: clean; 1: findings; 2: a usage error.
    """
    rules = Contract.load(contract) if contract else default_contract(repo.resolve())
    scans = list(_scans(source, rules, repo, net=net, jobs=jobs))
    if sarif is not None:
        _write_sarif(scans, sarif)
    if as_json:
        click.echo(json.dumps({"schema": _SCHEMA, "changes": [scan.as_json() for scan in scans]}, ensure_ascii=False))
    elif sarif is None or str(sarif) != "-":
        _print(scans)
    if fail_on != "never" and any(_at_least(scan.worst, Severity(fail_on)) for scan in scans):
        sys.exit(1)


def _scans(source: str | None, contract: Contract, repo: Path, *, net: bool, jobs: int) -> Iterable[Scanned]:
    if source is None or source == "-":
        if source is None and sys.stdin.isatty():
            raise UsageError(
                "there is no patch to read", "give a diff file, a range such as main..HEAD, or pipe a patch in"
            )
        return [scan_patch(sys.stdin.buffer.read(MAX_PATCH + 1), contract)]
    path = Path(source)
    if path.is_file():
        with path.open("rb") as stream:
            raw = stream.read(MAX_PATCH + 1)
        return [scan_patch(raw, contract, label=source)]
    if path.suffix in {".diff", ".patch"}:
        raise UsageError(f"{source} is not there")
    if net:
        change, read_old, read_new = difference(repo, source)
        return [scan_change(change, contract, read_old=read_old, read_new=read_new, label=source)]
    return _each_commit(list(commits(repo, source)), contract, jobs)


def _each_commit(found: Sequence[tuple[str, str, bytes]], contract: Contract, jobs: int) -> list[Scanned]:
    if jobs == 1 or len(found) < _PARALLEL:
        return _scan_some(found, contract)
    size = max(50, -(-len(found) // (jobs * 8)))
    parts = [found[at : at + size] for at in range(0, len(found), size)]
    with ProcessPoolExecutor(jobs) as pool:
        return [scan for part in pool.map(_scan_some, parts, [contract] * len(parts)) for scan in part]


def _scan_some(found: Sequence[tuple[str, str, bytes]], contract: Contract) -> list[Scanned]:
    guards = find_guards(contract.guards)
    return [
        scan_patch(patch, contract, guards=guards, label=sha[:12], subject=subject) for sha, subject, patch in found
    ]


def _at_least(worst: Severity | None, wanted: Severity) -> bool:
    order = list(Severity)
    return worst is not None and order.index(worst) <= order.index(wanted)


def _write_sarif(scans: Sequence[Scanned], target: Path) -> None:
    from guards.catalogue import catalogue  # noqa: PLC0415 - only for this format
    from guards.scanning.sarif import sarif_log  # noqa: PLC0415

    text = json.dumps(sarif_log(scans, catalogue()), indent=1, ensure_ascii=False) + "\n"
    if str(target) == "-":
        click.echo(text, nl=False)
    else:
        target.write_text(text, encoding="utf-8")


def _print(scans: Sequence[Scanned]) -> None:
    for scan in scans:
        if not scan.inspection.findings and not scan.inspection.suppressed:
            continue
        if scan.label != "-":
            click.secho(f"{scan.label} {scan.subject}".rstrip(), bold=True)
        for finding in scan.inspection.findings:
            _print_finding(finding)
        for finding, reason in scan.inspection.suppressed:
            click.echo(f"  {finding.rule} suppressed: {reason}")
    counts = {
        severity: sum(f.severity is severity for s in scans for f in s.inspection.findings) for severity in Severity
    }
    changes = f"{len(scans)} change{'s' if len(scans) != 1 else ''}"
    click.echo(f"{changes}: " + ", ".join(f"{count} {severity}" for severity, count in counts.items()))


def _print_finding(finding: Finding) -> None:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    click.echo("  " + click.style(f"{finding.severity:5}", fg=_COLOURS[finding.severity]) + f" {finding.rule} {place}")
    click.echo(f"        {finding.message}")
    for line in finding.evidence.split("\n")[:3]:
        if line.strip():
            click.echo(f"        | {line.strip()[:140]}")
    if finding.advice:
        click.echo(f"        → {finding.advice}")
