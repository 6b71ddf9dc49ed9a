"""``evalkit split``: cases into dev, confirm and sealed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from evalkit.errors import DataError, UsageError

__all__ = ["command", "key_option", "secret_of"]

_CLEAN, _FOUND = 0, 1
_KEY = "EVALKIT_VAULT_KEY"


def key_option(function: Any) -> Any:
    """``--key-file``."""
    option = click.option(
        "--key-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"File with the vault's key. Default: the environment variable {_KEY}.",
    )
    return option(function)


def secret_of(key_file: Path | None) -> bytes | None:
    """The vault's secret, or None where none was given.

    Raises:
        DataError: the file can't be read.
    """
    if key_file is None:
        value = os.environ.get(_KEY, "")
        return value.encode() if value else None
    try:
        return key_file.read_bytes().strip()
    except OSError as error:
        raise DataError(f"{key_file}: {error.strerror}", "`evalkit vault key FILE` makes one") from error


def _shares(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            shares[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"{part!r} is no share", "write them as dev=0.5,confirm=0.3,sealed=0.2") from None
        if not name.strip() or "/" in name or name.strip().startswith("."):
            raise UsageError(f"{name!r} is no name for a split", "use letters and digits")
    return shares


@click.command(name="split")
@click.argument("cases", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The vault folder.")
@click.option("--shares", default="dev=0.5,confirm=0.3,sealed=0.2", show_default=True)
@click.option("--method", type=click.Choice(["hash", "stratified", "time"]), default="hash", show_default=True)
@click.option("--id", "id_field", metavar="FIELD", help="The cases' ids. Default: a usual name, or the content's hash.")
@click.option("--group", metavar="FIELD", help="Cases of one group never part.")
@click.option("--label", metavar="FIELD", help="The class, for balance.")
@click.option("--time", "time_field", metavar="FIELD", help="When it happened: numbers or ISO 8601 dates.")
@click.option("--gap", type=float, default=0.0, help="Time left unused before a boundary (seconds for dates).")
@click.option("--embargo", type=float, default=0.0, help="Time left unused after a boundary.")
@click.option(
    "--duplicates", type=click.FloatRange(0, 1, min_open=True), help="Keep near-duplicates together; try 0.5."
)
@click.option("--seal", multiple=True, metavar="SPLIT", help="Encrypt this split; may be repeated.")
@click.option("--previous", type=click.Path(path_type=Path, exists=True), help="An earlier manifest; its cases stay.")
@click.option("--no-canaries", is_flag=True, help="Write no marks beside the cases.")
@click.option("--check", is_flag=True, help="Write nothing: does the manifest in --out still fit the cases?")
@click.option("--keep-going", is_flag=True, help="Leave out cases that can't be read, and say so.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@key_option
def command(cases: tuple[Path, ...], **options: Any) -> int:
    """Split CASES (JSON lines, CSV, parquet, folders) and write the vault's layout.

    A secret key decides, so nobody can aim for a split, and with `hash` nothing moves when cases are appended. Prints
    the balance; refuses splits that would be empty, overlap, or part a group or near-duplicates.
    """
    from evalkit.overlap import Problems  # noqa: PLC0415 - numpy loads late
    from evalkit.splits import (  # noqa: PLC0415
        Plan,
        assign,
        check_manifest,
        make_key,
        previous_split,
        read_cases,
        read_manifest,
        write_layout,
    )

    secret = secret_of(options["key_file"])
    if secret is None:
        raise UsageError("a split needs a key", f"`evalkit vault key FILE` makes one; give --key-file or set {_KEY}")
    key = make_key(secret)
    problems = Problems(keep_going=options["keep_going"])
    table = read_cases(
        cases,
        problems,
        id_field=options["id_field"],
        group_field=options["group"],
        label_field=options["label"],
        time_field=options["time_field"],
    )
    if options["check"]:
        found = check_manifest(read_manifest(options["out"] / "manifest.json"), table, key)
        return _say_check(found, as_json=options["as_json"])
    plan = Plan(
        _shares(options["shares"]), options["method"], options["duplicates"], options["gap"], options["embargo"]
    )
    previous = previous_split(read_manifest(options["previous"])) if options["previous"] else None
    assignment = assign(table, plan, key, previous)
    sealed = dict.fromkeys(options["seal"], secret)
    manifest = write_layout(
        options["out"], table, plan, assignment, key, sealed=sealed, canaries=not options["no_canaries"]
    )
    _say(manifest, problems.found, as_json=options["as_json"])
    return _CLEAN


def _say_check(found: list[str], *, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"schema": "evalkit/split-check/1", "problems": found}, indent=1))
    else:
        click.echo("\n".join(found) or "the manifest fits the cases.")
    return _FOUND if found else _CLEAN


def _say(manifest: dict[str, Any], problems: list[str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**manifest, "problems": problems}, ensure_ascii=False, indent=1))
        return
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    click.echo(f"{'split':12} {'cases':>8} {'share':>7} {'wanted':>7} {'groups':>7}  classes")
    for row in manifest["balance"]:
        groups = row.get("groups", "")
        classes = "  ".join(f"{name} {count / row['cases']:.1%}" for name, count in row.get("classes", {}).items())
        gap = f"  (worst class off by {row['worst_class_gap']:.1%})" if "worst_class_gap" in row else ""
        shares = f"{row['share']:7.1%} {row['wanted']:7.1%}"
        click.echo(f"{row['split']:12} {row['cases']:8,} {shares} {groups!s:>7}  {classes}{gap}")
    if manifest["unused"]:
        click.echo(f"{'unused':12} {manifest['unused']:8,}  (the manifest says why, case by case)")
    click.echo(f"key {manifest['key']}")
