"""``evalkit init``: write a commented contract that fits the folder."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click

from evalkit.errors import ContractError, UsageError

__all__ = ["command"]


@click.command(name="init")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".")
@click.option(
    "--template",
    type=click.Choice(["artifacts", "served", "measured"]),
    help="How a scorer meets a candidate. Default: what the folder looks like, else served.",
)
@click.option("--explain", is_flag=True, help="Print every key with its default and the reason; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--force", is_flag=True, help="Overwrite an evalkit.toml that is there.")
def command(folder: Path, template: str | None, explain: bool, as_json: bool, force: bool) -> None:
    """Write a commented contract into FOLDER (default: here).

    A folder that another loop has used is recognised: a training file with its program.md, a log of METRIC lines, a
    program with evolve blocks. What is left to do before the contract loads is listed.
    """
    if explain:
        _explain(as_json)
        return
    _write_contract(folder, template, as_json=as_json, force=force)


def _explain(as_json: bool) -> None:
    from evalkit.contract.reference import as_text, rows  # noqa: PLC0415 - pydantic loads late

    if as_json:
        _print_json({"schema": "evalkit/init-explain/1", "keys": [row.as_json() for row in rows()]})
    else:
        click.echo(as_text(), nl=False)


def _write_contract(folder: Path, template: str | None, *, as_json: bool, force: bool) -> None:
    from evalkit.contract.layout import detect, plain_layout  # noqa: PLC0415 - pydantic loads late
    from evalkit.contract.load import CONTRACT  # noqa: PLC0415
    from evalkit.contract.template import render  # noqa: PLC0415

    folder = folder.resolve()
    target = folder / CONTRACT
    if not force:
        _refuse_if_there(folder, target)
    layout = (detect(folder) if template is None else None) or plain_layout(template or "served", folder)
    _write(target, render(layout, folder.name or "task"))
    todo = _left_to_do(target)
    if as_json:
        document = {"schema": "evalkit/init/1", "file": str(target), "template": layout.template}
        _print_json({**document, "found": layout.found, "todo": todo})
    else:
        _say(target, layout.template, layout.found, todo)


def _refuse_if_there(folder: Path, target: Path) -> None:
    from evalkit.contract.load import find_contract  # noqa: PLC0415

    if os.path.lexists(target):
        raise UsageError(f"{target} is there already", "--force overwrites it")
    try:
        other = find_contract(folder)
    except ContractError:
        return
    if other.parent == folder:
        raise UsageError(
            f"{other} has a [tool.evalkit] already", "edit that, or --force writes an evalkit.toml over it"
        )


def _write(target: Path, text: str) -> None:
    """All of it or nothing, and never through a link."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, delete=False) as stream:
            temporary = Path(stream.name)
            stream.write(text)
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UsageError(f"{target} can't be written ({error.strerror})", "a folder that you may write to") from None


def _left_to_do(target: Path) -> list[str]:
    """What the contract still lacks."""
    from evalkit.contract import Contract  # noqa: PLC0415

    try:
        Contract.load(target)
    except ContractError as error:
        return [str(mistake).removeprefix(f"{target.parent}{os.sep}") for mistake in error.mistakes]
    return []


def _say(target: Path, template: str, found: str, todo: list[str]) -> None:
    click.echo(f"wrote {target} ({template})")
    if found:
        click.echo(f"found {found}")
    if template == "reported":
        click.echo(
            "caution: the metric is printed by the candidate, which can forge it; the contract says how to close that"
        )
    if todo:
        click.echo("left to do before it loads:")
        for line in todo:
            click.echo(f"  {line}")
        click.echo("then: evalkit calibrate")
    else:
        click.echo("it loads. next: evalkit calibrate")


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))
