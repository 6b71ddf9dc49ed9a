"""``evalkit verify``: every byte of the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.common import contract_options, end, open_ledger, print_json

__all__ = ["command"]


@click.command(name="verify")
@contract_options
@click.option("--head", metavar="HASH", help="A head that was seen before: finds records cut off the end, too.")
def command(file: Path | None, profile: str, as_json: bool, head: str | None) -> None:
    """Check every byte of the ledger: each record's hash, and that each follows the one before."""
    _, ledger = open_ledger(file, profile)
    with ledger:
        found = ledger.verify(expected_head=head)
    if as_json:
        problems = [str(problem) for problem in found.problems]
        print_json("verification", {"records": found.count, "head": found.head, "ok": found.ok, "problems": problems})
    else:
        for problem in found.problems:
            click.echo(f"  {problem}")
        state = "every byte is as it was written" if found.ok else f"{len(found.problems)} problem(s)"
        click.echo(f"{found.count} records, head {found.head[:16]}…: {state}")
    end(0 if found.ok else 1)
