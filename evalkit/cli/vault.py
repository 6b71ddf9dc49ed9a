"""``evalkit vault``: the confirm pool and the sealed set."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import click

from evalkit.cli.split import key_option, secret_of
from evalkit.errors import DataError, UsageError

__all__ = ["command"]

_OPENINGS = "openings.jsonl"
_VAULT = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group(name="vault")
def command() -> None:
    """Cases that proposers and candidates can never read."""


def _account(vault: Path, **facts: Any) -> None:
    """Write an opening down before anything is opened."""
    from evalkit.splits import Opening, file_accountant  # noqa: PLC0415 - numpy loads late

    file_accountant(vault / _OPENINGS)(Opening(who=f"evalkit vault, {getpass.getuser()}", **facts).as_record())


def _secret(key_file: Path | None) -> bytes:
    secret = secret_of(key_file)
    if secret is None:
        raise UsageError("the vault's key is needed", "give --key-file, or set EVALKIT_VAULT_KEY")
    return secret


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def key(file: Path) -> int:
    """Make a key of 32 random bytes in FILE, for you alone to read. It must not lie where candidates run."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{file} is there already", "a key is never overwritten; choose another name") from None
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}", "choose a folder that you can write to") from error
    with os.fdopen(handle, "w") as out:
        out.write(secrets.token_hex(32) + "\n")
    click.echo(f"{file}: a new key. Keep a copy elsewhere: without it, what it seals is lost.")
    return 0


@command.command()
@click.argument("vault", type=_VAULT)
@click.option("--tolerance", type=float, default=0.1, show_default=True, help="How far a mean may be off, in [0, 1].")
@click.option("--risk", type=float, default=0.05, show_default=True, help="The chance of that, over all questions.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def status(vault: Path, tolerance: float, risk: float, as_json: bool) -> int:
    """What the vault holds, who opened it, and how many questions it can still answer."""
    from evalkit.splits import queries_left, read_manifest, sealed_files  # noqa: PLC0415 - numpy loads late
    from evalkit.splits.accounting import read_openings  # noqa: PLC0415

    manifest = read_manifest(vault / "manifest.json")
    openings = read_openings(vault / _OPENINGS)
    asked = sum(record["purpose"] == "decide" for record in openings)
    sealed = sealed_files(vault)
    rows = [
        {"split": row["split"], "cases": row["cases"], "sealed": row["split"] in sealed} for row in manifest["balance"]
    ]
    confirm = next((row["cases"] for row in rows if row["split"] == "confirm"), 0)
    left = queries_left(confirm, asked, tolerance=tolerance, risk=risk) if confirm else 0
    document = {
        "splits": rows,
        "asked": asked,
        "left": left,
        "tolerance": tolerance,
        "risk": risk,
        "openings": openings,
    }
    if as_json:
        click.echo(json.dumps({"schema": "evalkit/vault/1", **document}, indent=1, ensure_ascii=False))
        return 0
    for row in rows:
        click.echo(f"{row['split']:12} {row['cases']:8,} cases  {'sealed' if row['sealed'] else 'plain'}")
    click.echo(f"{asked} questions answered; {left:,} left for means within {tolerance} at a risk of {risk}")
    for record in openings:
        click.echo(
            f"  {record['purpose']:8} {record['split']:8} {record['cases']:6,} cases  {record['who']}: {record['why']}"
        )
    return 0


@command.command(name="open")
@click.argument("vault", type=_VAULT)
@click.argument("split")
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder that isn't there."
)
@click.option("--reason", required=True, help="Why; it is written down and shows in reports.")
@key_option
def open_(vault: Path, split: str, to: Path, reason: str, key_file: Path | None) -> int:
    """Decrypt SPLIT of VAULT into a folder, for an audit. The opening is written down first."""
    from evalkit.splits import opened, read_manifest  # noqa: PLC0415 - numpy loads late

    if to.exists():
        raise UsageError(f"{to} is there already", "name a folder that isn't")
    rows = {row["split"]: row["cases"] for row in read_manifest(vault / "manifest.json")["balance"]}
    with opened(vault, split, secret_of(key_file)) as folder:
        _account(vault, why=reason, split=split, purpose="audit", cases=rows.get(split, 0), bits=0.0)
        shutil.copytree(folder, to)
    to.chmod(0o700)
    click.echo(f"{to}: {rows.get(split, 0):,} cases of {split}. Delete it when you are done.")
    return 0


@command.command()
@click.argument("vault", type=_VAULT)
@click.option("--experiment", type=click.IntRange(min=0), required=True, help="Number of the experiment, from 0.")
@click.option("--cases", type=click.IntRange(min=1), required=True, help="How many confirm cases it decides on.")
@key_option
def rotate(vault: Path, experiment: int, cases: int, key_file: Path | None) -> int:
    """Print the ids of the confirm cases that one experiment decides on, so that none decides too often."""
    from evalkit.splits import make_key, read_manifest, rotation  # noqa: PLC0415 - numpy loads late

    listed = read_manifest(vault / "manifest.json")["cases"]
    ids = [case["id"] for case in listed if case["split"] == "confirm"]
    chosen = rotation(ids, make_key(_secret(key_file)), experiment, cases)
    click.echo(json.dumps({"schema": "evalkit/rotation/1", "experiment": experiment, "cases": chosen}, indent=1))
    return 0


@command.command()
@click.argument("vault", type=_VAULT)
@click.option("--new-key-file", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--split", "splits", multiple=True, help="Only this one; may be repeated. Default: every sealed split.")
@key_option
def reseal(vault: Path, new_key_file: Path, splits: tuple[str, ...], key_file: Path | None) -> int:
    """Seal with a new key. A split that lay plain is sealed, and its plain folder deleted."""
    from evalkit.splits import seal, sealed_files, unseal  # noqa: PLC0415 - numpy loads late
    from evalkit.splits.sealing import SUFFIX  # noqa: PLC0415

    new = _secret(new_key_file)
    headers = sealed_files(vault)
    for split in splits or tuple(headers):
        packed, plain = vault / f"{split}{SUFFIX}", vault / split
        cases = int(headers.get(split, {}).get("cases", 0))
        if split in headers:
            files = list(unseal(packed, _secret(key_file)))
        elif plain.is_dir():
            files = [(str(p.relative_to(plain)), p.read_bytes()) for p in sorted(plain.rglob("*")) if p.is_file()]
        else:
            raise DataError(f"{vault}: no split {split!r}", f"it has {', '.join(headers) or 'none that is sealed'}")
        _account(vault, why="sealed with a new key", split=split, purpose="maintain", cases=cases, bits=0.0)
        seal(packed, new, files, headers.get(split, {"split": split}))
        shutil.rmtree(plain, ignore_errors=True)
        click.echo(f"{packed}: sealed with the new key")
    return 0
