"""``evalkit report``: the run as one HTML page."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.cli.common import contract_options, open_ledger, print_json

if TYPE_CHECKING:
    from evalkit.workspace import Store

__all__ = ["command"]


@click.command(name="report")
@contract_options
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file. Default: report.html beside the ledger."
)
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def command(file: Path | None, profile: str, as_json: bool, out: Path | None, show: bool) -> None:
    """The run as one HTML page that needs nothing else: what was tried, what survived, and how sure that is.

    It can be written while the run goes on. It shows results on the confirm split: pass it to people, not to proposers.
    """
    from evalkit.report.page import write_page  # noqa: PLC0415 - loads late
    from evalkit.verify.workbench import state_folder  # noqa: PLC0415

    contract, ledger = open_ledger(file, profile)
    state = state_folder(contract)
    target = out or state / "report.html"
    with ExitStack() as closing:
        closing.enter_context(ledger)
        store = _store(state / "store", closing)
        write_page(contract, ledger, store, target)
        experiments = ledger.last_experiment() or 0
    size = target.stat().st_size
    if as_json:
        document = {"file": str(target.absolute()), "bytes": size, "experiments": experiments, "diffs": bool(store)}
        print_json("report", document)
    else:
        click.echo(f"{target} ({experiments} experiments, {size / 1000:,.0f} kB)")
        if store is None:
            click.echo("without diffs: the run's store of trees can't be opened", err=True)
    if show:
        import webbrowser  # noqa: PLC0415 - only when asked for

        webbrowser.open(target.absolute().as_uri())


def _store(folder: Path, closing: ExitStack) -> Store | None:
    """The store of trees, or None where there is none that can be opened: the page is worth having without it."""
    from evalkit.errors import EvalkitError  # noqa: PLC0415
    from evalkit.workspace import Store  # noqa: PLC0415

    if not (folder / "git").is_dir():
        return None
    try:
        return closing.enter_context(Store.open(folder))
    except (EvalkitError, OSError):
        return None
