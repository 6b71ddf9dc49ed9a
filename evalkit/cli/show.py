"""``evalkit show N``: one experiment, whole."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.common import contract_options, open_ledger, print_json

__all__ = ["command"]


@click.command(name="show")
@click.argument("experiment", type=click.IntRange(1))
@contract_options
def command(experiment: int, file: Path | None, profile: str, as_json: bool) -> None:
    """One experiment: what was proposed, every trial, the statistics, the verdict and what followed."""
    from evalkit.report.summary import story_lines  # noqa: PLC0415 - loads late
    from evalkit.verify.replay import story_of  # noqa: PLC0415

    contract, ledger = open_ledger(file, profile)
    with ledger:
        story = story_of(ledger.by_experiment(experiment), experiment)
    if as_json:
        parts = ("proposed", "trials", "decided", "kept", "estimated")
        print_json("experiment", {part: getattr(story, part) for part in parts})
        return
    for line in story_lines(contract, story):
        click.echo(line)
