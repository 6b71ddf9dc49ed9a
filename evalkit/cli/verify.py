"""``evalkit verify``: every byte of the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.common import contract_options, end, load, print_json

__all__ = ["command"]


@click.command(name="verify")
@contract_options
@click.option("--head", metavar="HASH", help="A head that was seen before: finds records cut off the end, too.")
def command(file: Path | None, profile: str, as_json: bool, head: str | None) -> None:
    """Check every byte of the ledger: each record's hash, and that each follows the one before."""
    from evalkit.ledger import verify_file  # noqa: PLC0415 - loads late
    from evalkit.verify.workbench import state_folder  # noqa: PLC0415

    # Not through an open ledger: a damaged one can't be opened, and says less about what is damaged.
    found = verify_file(state_folder(load(file, profile)) / "ledger" / "ledger.jsonl", expected_head=head)
    if as_json:
        problems = [str(problem) for problem in found.problems]
        print_json("verification", {"records": found.count, "head": found.head, "ok": found.ok, "problems": problems})
    else:
        for problem in found.problems:
            click.echo(f"  {problem}")
        state = "every byte is as it was written" if found.ok else f"{len(found.problems)} problem(s)"
        click.echo(f"{found.count} records, head {found.head[:16]}…: {state}")
    end(0 if found.ok else 1)
