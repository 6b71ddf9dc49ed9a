"""``evalkit run``: drive a proposer and keep only what survives verification."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.cli.common import contract_options, end, load, print_json

if TYPE_CHECKING:
    from evalkit.contract import Contract

__all__ = ["command"]

_INTERRUPTED = 130


@click.command(name="run")
@contract_options
@click.option("--experiments", "-n", type=click.IntRange(1), help="Stop after so many experiments of the whole run.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Begin no experiment after that.")
@click.option(
    "--patches", "source", multiple=True, metavar="SOURCE", help="Propose a folder of diffs, A..B, or a branch."
)
@click.option(
    "--proposer", type=click.Choice(["tuner", "command", "patches", "python"]), help="Instead of the contract's."
)
@click.option("--from", "revision", default="HEAD", show_default=True, help="Where a new run starts.")
@click.option("--branch", default="", help="Where keeps go. Default: evalkit/NAME.")
@click.option("--resume/--restart", default=True, help="Go on with the run that is there (default), or set it aside.")
@click.option("--entropy", type=int, default=0, help="Of the tuner's choices.")
def command(
    file: Path | None,
    profile: str,
    as_json: bool,
    experiments: int | None,
    minutes: float | None,
    source: tuple[str, ...],
    proposer: str | None,
    revision: str,
    branch: str,
    resume: bool,
    entropy: int,
) -> None:
    """Drive a proposer: every change is measured beside the incumbent, and only what survives is kept.

    Keeps become commits on a branch of their own; your checkout is never touched. Ctrl-C ends the current trial and
    says how to go on.
    """
    from evalkit.loop.choosing import proposer_of  # noqa: PLC0415 - loads late
    from evalkit.loop.session import Limits, Session  # noqa: PLC0415
    from evalkit.report.live import Live  # noqa: PLC0415
    from evalkit.report.summary import run_summary, summary_lines  # noqa: PLC0415
    from evalkit.verify.workbench import Workbench, set_aside  # noqa: PLC0415

    contract = _with_proposer(load(file, profile), proposer, source)
    if not resume and (moved := set_aside(contract)):
        click.echo(f"the old run is in {moved}", err=True)
    limits = Limits(experiments, minutes * 60 if minutes else None)
    interrupted = False
    with Workbench.open(contract, revision=revision, branch=branch) as bench:
        with Live(bench, quiet=as_json, total=experiments) as live:
            try:
                ended = Session(bench, proposer_of(contract, bench.sandbox, entropy=entropy), live).run(limits)
            except KeyboardInterrupt:
                interrupted, ended = True, "interrupted; `evalkit run` goes on from here, nothing is lost"
        summary = run_summary(contract, bench.ledger)
    if as_json:
        print_json("run", {**summary, "ended": ended})
    else:
        for line in summary_lines(contract, summary):
            click.echo(line)
        click.echo(f"\n{ended}.")
    end(_INTERRUPTED if interrupted else 0)


def _with_proposer(contract: Contract, kind: str | None, source: tuple[str, ...]) -> Contract:
    """The contract with the command line's proposer in it (who proposes is no part of what is promised)."""
    from dataclasses import replace  # noqa: PLC0415 - only with options

    settings = contract.proposer
    if source:
        settings = replace(
            settings,
            kind="patches",
            source=tuple(str(Path(entry).resolve()) if Path(entry).exists() else entry for entry in source),
        )
    if kind:
        settings = replace(settings, kind=kind)
    return replace(contract, proposer=settings)
