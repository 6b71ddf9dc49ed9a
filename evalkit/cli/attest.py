"""``evalkit attest``: sign that a tree survived verification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.common import contract_options, open_ledger, print_json

if TYPE_CHECKING:
    from evalkit.ledger import Ledger

__all__ = ["command", "top_of"]


@click.command(name="attest")
@contract_options
@click.option("--experiment", type=int, help="Which KEEP; default: the latest.")
@click.option("--key", type=click.Path(path_type=Path), help="Private key (PEM); default: EVALKIT_SIGNING_KEY.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write; default: standard output.")
@click.option("--days", type=float, default=30.0, show_default=True, help="Valid for so long.")
@click.option("--new-key", type=click.Path(path_type=Path), help="Make a key pair: FILE and FILE.pub, and end.")
def command(
    file: Path | None,
    profile: str,
    as_json: bool,
    experiment: int | None,
    key: Path | None,
    out: Path | None,
    days: float,
    new_key: Path | None,
) -> None:
    """Sign a KEEP of this run's ledger: an in-toto statement about the tree, in a DSSE envelope, ed25519."""
    from evalkit.ledger import attestation  # noqa: PLC0415 - loads late

    if new_key is not None:
        public = attestation.new_key(new_key, repository=top_of(Path.cwd()))
        click.echo(f"private key: {new_key} (keep it secret); public key: {public}")
        return
    contract, ledger = open_ledger(file, profile)
    with ledger:
        verdict = _kept(ledger, experiment)
        private = attestation.load_private_key(key, repository=top_of(contract.root))
        document = attestation.statement(verdict, ledger_head=ledger.head, records=ledger.count, days=days)
    envelope = attestation.sign(document, private)
    if out is not None:
        out.write_bytes(envelope)
    if as_json:
        print_json("attestation", {"statement": document, "file": str(out) if out else None})
    elif out is None:
        click.echo(envelope.decode(), nl=False)
    else:
        click.echo(f"attested tree {verdict['candidate'][:12]} (experiment {verdict['experiment']}) in {out}")


def _kept(ledger: Ledger, experiment: int | None) -> Mapping[str, Any]:
    """The verdict that is to be signed."""
    from evalkit.errors import UsageError  # noqa: PLC0415

    found: Mapping[str, Any] | None = None
    for record in ledger.records("decided"):
        body = record.body
        if body["decision"] == "KEEP" and experiment in {None, body["experiment"]}:
            found = body
    if found is None:
        wanted = "KEEP" if experiment is None else f"KEEP with the number {experiment}"
        raise UsageError(f"the ledger has no {wanted}", "`evalkit log` lists the experiments")
    return found


def top_of(folder: Path) -> Path | None:
    """The top of the checkout around a folder; None outside of one."""
    from evalkit.errors import WorkspaceError  # noqa: PLC0415
    from evalkit.workspace import Repository  # noqa: PLC0415

    try:
        prefix = Repository.find(folder).prefix
    except WorkspaceError:
        return None
    resolved = folder.resolve()
    return resolved.parents[len(Path(prefix).parts) - 1] if prefix else resolved
