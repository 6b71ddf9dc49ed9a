"""``evalkit submit``: verify one candidate; for loops that drive themselves."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.common import contract_options, end, load, print_json

__all__ = ["command"]


@click.command(name="submit")
@click.argument("candidate")
@contract_options
@click.option("--message", "-m", "description", default="", help="One line for the ledger.")
def command(candidate: str, file: Path | None, profile: str, as_json: bool, description: str) -> None:
    """Verify CANDIDATE (a folder, a .patch against the incumbent, or a revision); a KEEP becomes the incumbent.

    Exit code: 0 kept, 1 rejected, 3 inconclusive, 4 infrastructure error.
    """
    from evalkit.report.live import Live  # noqa: PLC0415 - loads late
    from evalkit.report.summary import verdict_lines  # noqa: PLC0415
    from evalkit.verify.verifier import verify_with  # noqa: PLC0415
    from evalkit.verify.workbench import Workbench  # noqa: PLC0415

    contract = load(file, profile)
    with Workbench.open(contract) as bench, Live(bench, quiet=as_json, verdicts=False) as live:
        verdict = verify_with(
            bench,
            candidate,
            description=description,
            progress=live.submitting,
            calibrating=live.calibrating,
            estimating=live.estimating,
        )
    if as_json:
        print_json("verdict", verdict.as_json())
    else:
        for line in verdict_lines(contract, verdict.as_json()):
            click.echo(line)
    end(verdict.decision.exit_code)
