"""``evalkit log``: the experiments so far, one line each."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.common import contract_options, open_ledger, print_json

__all__ = ["command"]

_SHOWN = ("experiment", "decision", "reason", "sentence", "description", "effect", "evaluations", "candidate")


@click.command(name="log")
@contract_options
@click.option("--kept", is_flag=True, help="Only what was kept.")
def command(file: Path | None, profile: str, as_json: bool, kept: bool) -> None:
    """The experiments so far, one line each."""
    from evalkit.report.summary import log_line  # noqa: PLC0415 - loads late

    contract, ledger = open_ledger(file, profile)
    with ledger:
        verdicts = (record.body for record in ledger.records("decided"))
        chosen = [body for body in verdicts if not kept or body["decision"] == "KEEP"]
    if as_json:
        print_json("log", {"experiments": [{name: body[name] for name in _SHOWN} for body in chosen]})
        return
    for body in chosen:
        click.echo(log_line(contract, body))
    if not chosen:
        click.echo("nothing was decided yet" if not kept else "nothing was kept yet")
