"""``python -m evalkit.bench.redteam [ENGINE ...] [--case ID] [--strict]``: the table of attacks and engines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox.redteam import CASES, Case, Held, Mark
from evalkit.sandbox.redteam.table import attack, render
from evalkit.sandbox.testing import open_for_test, private_docker

__all__ = ["main"]

_ENGINES = ("process", "landlock", "bubblewrap", "docker", "docker:runsc")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table.

    Returns:
        0; with ``--strict`` 1 when a cell is neither capped nor documented.
    """
    parser = argparse.ArgumentParser(prog="python -m evalkit.bench.redteam", description=__doc__)
    parser.add_argument("engines", nargs="*", help=f"default: {' '.join(_ENGINES)}")
    parser.add_argument("--case", action="append", default=[], help="only these cases")
    parser.add_argument("--strict", action="store_true", help="fail on a cell that has no documented reason")
    options = parser.parse_args(arguments)
    cases = tuple(case for case in CASES if not options.case or case.id in options.case)
    with ExitStack() as stack:
        columns = {}
        for name in options.engines or _ENGINES:
            cells = _column(name, cases, stack)
            if cells is not None:
                columns[name] = cells
    for line in render(cases, columns):
        sys.stdout.write(f"{line}\n")
    undocumented = _undocumented(cases, columns)
    for line in undocumented:
        sys.stdout.write(f"no reason is documented: {line}\n")
    return 1 if options.strict and (undocumented or not columns) else 0


def _column(name: str, cases: Sequence[Case], stack: ExitStack) -> dict[str, Held] | None:
    try:
        if name.startswith("docker"):
            stack.enter_context(private_docker())
        sandbox = open_for_test(name)
    except SandboxUnavailable as error:
        sys.stderr.write(f"{name}: not here: {error.message}\n")
        return None
    try:
        return attack(sandbox, cases)
    finally:
        sandbox.close()


def _undocumented(cases: Sequence[Case], columns: dict[str, dict[str, Held]]) -> list[str]:
    return [
        f"{case.id} on {name}: {cells[case.id].detail}"
        for name, cells in columns.items()
        for case in cases
        if cells[case.id].mark in (Mark.OPEN, Mark.PARTLY) and not case.reasons.get(name.partition(":")[0])
    ]


if __name__ == "__main__":
    sys.exit(main())
