"""``evalkit calibrate``: the incumbent against itself."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.common import contract_options, load, print_json

__all__ = ["command"]


@click.command(name="calibrate")
@contract_options
@click.option("--pairs", type=click.IntRange(3), help="A/A pairs. Default: the policy's.")
def command(file: Path | None, profile: str, as_json: bool, pairs: int | None) -> None:
    """Run the incumbent against itself: how large noise is, and the smallest effect that the budget can see."""
    from evalkit.report.calibration import calibration_lines  # noqa: PLC0415 - loads late
    from evalkit.report.live import Live  # noqa: PLC0415
    from evalkit.verify.calibration import calibrate_run  # noqa: PLC0415
    from evalkit.verify.workbench import Workbench  # noqa: PLC0415

    with Workbench.open(load(file, profile)) as bench, Live(bench, quiet=as_json) as live:
        calibrate_run(bench, pairs=pairs, progress=live.calibrating)
        body = bench.ledger.latest("calibrated")
    if body is None:
        raise AssertionError("a calibration that ended has a record")
    if as_json:
        print_json("calibration", dict(body.body))
    else:
        for line in calibration_lines(bench.contract, body.body):
            click.echo(line)
