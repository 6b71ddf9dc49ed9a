"""What the commands share: where the contract is, and how a result is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from evalkit.contract import Contract
    from evalkit.ledger import Ledger

__all__ = ["contract_options", "end", "load", "open_ledger", "print_json"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def contract_options(command: _Command) -> _Command:
    """``--contract``, ``--profile`` and ``--json``."""
    options = (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        click.option("--profile", default="", metavar="NAME", help="Apply [profile.NAME] of the contract."),
        click.option(
            "--contract",
            "file",
            type=click.Path(path_type=Path),
            help="The contract. Default: evalkit.toml or pyproject.toml here or in a folder above.",
        ),
    )
    for option in options:
        command = option(command)
    return command


def load(file: Path | None, profile: str) -> Contract:
    """The contract that the options name.

    Raises:
        ContractError: it has mistakes.
        UsageError: there is none.
    """
    from evalkit.contract.load import find_contract, load_contract  # noqa: PLC0415 - pydantic loads late

    return load_contract(file or find_contract(Path.cwd()), profile=profile)


def open_ledger(file: Path | None, profile: str) -> tuple[Contract, Ledger]:
    """The contract and its ledger, for reading only.

    Raises:
        LedgerError: there is no ledger yet, or it can't be read.
    """
    from evalkit.ledger import Ledger  # noqa: PLC0415 - loads late
    from evalkit.verify.workbench import state_folder  # noqa: PLC0415

    contract = load(file, profile)
    return contract, Ledger.open(state_folder(contract) / "ledger", write=False)


def print_json(schema: str, document: dict[str, Any]) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps({"schema": f"evalkit/{schema}/1", **document}, indent=1, ensure_ascii=False))


def end(code: int) -> NoReturn:
    """End the process with an exit code that says how the judgement went."""
    sys.stdout.flush()
    sys.exit(code)
