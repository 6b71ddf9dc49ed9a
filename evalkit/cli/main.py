"""The ``evalkit`` command: finds the command that was asked for, loads that one alone, and turns errors into sentences.

A command lives in ``evalkit/cli/NAME.py`` as ``command``; another package adds one through the ``evalkit.commands``
entry point. The help page needs none of them: their one-line summaries stand in the table below.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from evalkit import __version__
from evalkit.errors import EvalkitError

__all__ = ["main"]

_OWN = {
    "init": "Write a commented contract.",
    "calibrate": "Run the incumbent against itself: the noise, and the smallest effect that can be seen.",
    "run": "Drive a proposer and keep only what survives verification.",
    "submit": "Verify one candidate: a folder, a patch or a revision.",
    "gate": "In CI: verify a head revision against a base revision.",
    "attest": "Sign that a tree survived verification.",
    "verify-attestation": "Check such a signature before a merge.",
    "audit": "Read another loop's history: which of its keeps are real?",
    "watch": "Head against the frozen anchor: what was lost silently, and by which keep?",
    "plan": "What the budget can detect, before it is spent.",
    "simulate": "How the loop would behave at your own noise.",
    "split": "Split cases into dev, confirm and sealed.",
    "vault": "The confirm pool and the sealed set.",
    "contamination": "Search a corpus, a change or artefacts for held-out items.",
    "log": "The experiments so far, one line each.",
    "show": "One experiment, whole.",
    "verify": "Check every byte of the ledger.",
    "replay": "Decide an experiment again from its record.",
    "report": "The run as one HTML page.",
}
_GUESTS = {
    "scan": "Guards on a diff, a commit range or a pipe; nothing is run.",
    "doctor": "Attack the contract with known-bad candidates: what would have been kept?",
}
"""One-line summaries of the commands that ``guards`` brings, so that the help page need not load them."""
_GROUP = "evalkit.commands"


def _from_packages() -> Mapping[str, Any]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, needed only here

    return {point.name: point for point in entry_points(group=_GROUP)}


class _Commands(click.Group):
    """Loads a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [*(name for name in _OWN if _exists(name)), *_from_packages()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in _OWN and _exists(cmd_name):
            command: click.Command = import_module(f"evalkit.cli.{_module(cmd_name)}").command
            return command
        point = _from_packages().get(cmd_name)
        return point.load() if point else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, _OWN.get(name) or _GUESTS.get(name) or _summary(name)) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None:
            from difflib import get_close_matches  # noqa: PLC0415 - only for a typing mistake

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " `evalkit --help` lists them."
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


def _module(name: str) -> str:
    return name.replace("-", "_")


def _exists(name: str) -> bool:
    from importlib.util import find_spec  # noqa: PLC0415

    return find_spec(f"evalkit.cli.{_module(name)}") is not None


def _summary(name: str) -> str:
    """Whose command it is; its own summary would cost loading it."""
    point = _from_packages()[name]
    return f"(from {point.dist.name})" if point.dist else ""


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="evalkit", message="%(prog)s %(version)s")
def _evalkit() -> None:
    """Only changes that survive verification are kept.

    Exit codes of everything that judges: 0 keep or clean, 1 reject or findings, 2 usage or contract error,
    3 inconclusive, 4 infrastructure error (safe to retry).
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; the process ends with the exit code."""
    try:
        code = _evalkit.main(args=arguments, prog_name="evalkit", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("stopped.", err=True)
        sys.exit(130)
    except EvalkitError as error:
        click.echo(f"evalkit: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        click.echo(f"evalkit: the operating system refused something: {error.strerror or error}{where}", err=True)
        sys.exit(EvalkitError.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
