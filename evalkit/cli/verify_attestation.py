"""``evalkit verify-attestation``: whether a tree may be merged, for merge queues and protected branches."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.common import contract_options, end, load, print_json

__all__ = ["command"]


@click.command(name="verify-attestation")
@click.argument("attestation", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@contract_options
@click.option("--tree", "revision", default="HEAD", show_default=True, metavar="REV", help="What is to be merged.")
@click.option(
    "--base", default="", metavar="REV", help="What it is merged into; refuses an attestation against another."
)
@click.option(
    "--key", "keys", multiple=True, required=True, type=click.Path(path_type=Path), help="Trusted public key."
)
@click.option("--allow-unsafe", is_flag=True, help="Take a verdict from a sandbox that does not protect.")
def command(
    attestation: Path,
    file: Path | None,
    profile: str,
    as_json: bool,
    revision: str,
    base: str,
    keys: tuple[Path, ...],
    allow_unsafe: bool,
) -> None:
    """Check that ATTESTATION says KEEP about this very tree, under this very contract, signed by a trusted key.

    Exit code: 0 it may be merged; 1 refused, with the reason; 2 usage.
    """
    from evalkit.ledger.attestation import AttestationError, Expected, check, load_public_key  # noqa: PLC0415

    contract = load(file, profile)
    expected = Expected(
        tree=_tree(contract.root, revision),
        contract=contract.digest,
        incumbent=_tree(contract.root, base) if base else "",
        allow_unsafe=allow_unsafe,
    )
    trusted = [load_public_key(key) for key in keys]
    try:
        statement = check(attestation.read_bytes(), trusted, expected)
    except AttestationError as error:
        if as_json:
            print_json("verify-attestation", {"valid": False, "reason": error.reason, "message": error.message})
        else:
            click.echo(f"refused ({error.reason}): {error}", err=True)
        end(1)
    if as_json:
        print_json("verify-attestation", {"valid": True, "statement": statement})
    else:
        predicate = statement["predicate"]
        click.echo(f"valid: tree {expected.tree[:12]} was kept as experiment {predicate['experiment']}")
        click.echo(f"  {predicate['evidence']['sentence']}; trust {predicate['trust']}; until {predicate['expires']}")


def _tree(folder: Path, revision: str) -> str:
    """The tree of the contract's folder at a revision."""
    from evalkit.workspace import Repository  # noqa: PLC0415

    repository = Repository.find(folder)
    return repository.resolve(f"{revision}:{repository.prefix}" if repository.prefix else revision, "tree")
