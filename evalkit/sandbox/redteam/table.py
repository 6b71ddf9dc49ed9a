"""The table of cases and backends, for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from evalkit.sandbox.interface import Sandbox
from evalkit.sandbox.redteam.arena import Arena
from evalkit.sandbox.redteam.case import Case, Held, Mark

__all__ = ["attack", "render"]


def attack(sandbox: Sandbox, cases: Sequence[Case]) -> dict[str, Held]:
    """Run cases against one backend; a failure of ours is an open cell, never a crash of the table."""
    cells = {}
    with Arena() as arena:
        for case in cases:
            try:
                cells[case.id] = case.check(sandbox, arena)
            except ValueError as error:
                cells[case.id] = Held(Mark.OPEN, f"refused to run: {error}")
    return cells


def render(cases: Sequence[Case], columns: Mapping[str, Mapping[str, Held]]) -> Iterable[str]:
    """Lines of the table, and then the reason of every cell that is not capped."""
    names = list(columns)
    yield "case  " + "  ".join(f"{name:^{max(3, len(name))}}" for name in names) + "  attack"
    for case in cases:
        marks = (f"{columns[name][case.id].mark:^{max(3, len(name))}}" for name in names)
        yield f"{case.id:<5} " + "  ".join(marks) + f"  {case.attack}"
    yield ""
    yield "+ capped   ~ partly   - not capped   blank: held by another part of evalkit"
    yield ""
    for name in names:
        cells = columns[name]
        capped = sum(cells[case.id].mark is Mark.CAPPED for case in cases)
        here = sum(cells[case.id].mark is not Mark.NOT_HERE for case in cases)
        yield f"{name}: {capped} of {here} capped"
        for case in cases:
            cell = cells[case.id]
            if cell.mark in (Mark.OPEN, Mark.PARTLY):
                yield f"  {case.id:<4} {cell.mark}  {case.reasons.get(name.partition(':')[0], '')}  [{cell.detail}]"
    yield time.strftime("measured %Y-%m-%d")
