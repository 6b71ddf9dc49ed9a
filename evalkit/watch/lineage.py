"""The steps from the anchor to head: keeps, less what was rolled back."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.ledger import Record
from evalkit.verify.workbench import Workbench

__all__ = ["ROLLED_BACK", "Step", "experiments_of", "lineage", "pointed_at", "suspicious_since"]

ROLLED_BACK = "rolled-back"
Step = Mapping[str, Any]
"""Body of a ``kept`` record, or of a ``rolled-back`` one that stands for the keeps after the one that was taken out."""


def lineage(bench: Workbench) -> tuple[Step, ...]:
    """The steps that lead from the anchor to head, oldest first; the last one's ``tree`` is head's.

    A keep that was taken out together with everything after it is gone. Where only its patch was taken out, the keeps
    after it were never measured without it, so that they are one step from then on: the rollback.
    """
    streams = (bench.ledger.records(kind) for kind in ("kept", ROLLED_BACK))
    steps: list[Step] = []
    for record in heapq.merge(*streams, key=_sequence):
        if record.kind == ROLLED_BACK:
            commits = [step["commit"] for step in steps]
            del steps[commits.index(record.body["lost"]) :]
            if not record.body["holds"]:
                continue
        steps.append(record.body)
    return tuple(steps)


def _sequence(record: Record) -> int:
    return record.seq


def experiments_of(step: Step) -> tuple[int, ...]:
    """The experiments whose keeps a step carries."""
    return tuple(step.get("holds", (step["experiment"],)))


def pointed_at(bench: Workbench, steps: Sequence[Step]) -> int | None:
    """The step to look at first, from 1: a keep whose change a guard asked to probe; None where there is none.

    Of several, the one nearest to the middle, which costs least where the guard was wrong.
    """
    suspicious = _probed(bench, 0)
    found = [place for place, step in enumerate(steps, 1) if not suspicious.isdisjoint(experiments_of(step))]
    return min(found, key=lambda place: abs(2 * place - len(steps))) if found else None


def suspicious_since(bench: Workbench, start: int) -> bool:
    """Whether a change that was kept after record number ``start`` is one that a guard asked to probe."""
    return bool(_probed(bench, start))


def _probed(bench: Workbench, start: int) -> frozenset[int]:
    return frozenset(
        record.body["experiment"]
        for record in bench.ledger.records("decided", start)
        if record.body["decision"] == "KEEP"
        and any(finding.get("severity") == "probe" for finding in record.body.get("findings", ()))
    )
