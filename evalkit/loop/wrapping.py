"""``verified``: wrap any proposer that is a Python callable.

from evalkit import Contract, verified

for verdict in verified(my_proposer, Contract.load("evalkit.toml")):
    print(verdict.decision, verdict.sentence)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evalkit.contract import Contract
from evalkit.loop.function import Function
from evalkit.loop.proposing import Briefing, Exhausted
from evalkit.loop.session import Session
from evalkit.loop.watching import Silent
from evalkit.sandbox.interface import Sandbox
from evalkit.verify.verdict import Verdict
from evalkit.verify.workbench import Workbench

__all__ = ["verified"]


def verified(
    proposer: Callable[[Briefing], Any],
    contract: Contract,
    *,
    experiments: int | None = None,
    state: Path | None = None,
    sandbox: Sandbox | None = None,
) -> Iterator[Verdict]:
    """Every verdict on what ``proposer`` proposes, as it is decided; keeps are committed on the run's branch.

    Args:
        proposer: gets a :class:`~evalkit.loop.Briefing`, edits ``briefing.workspace``, returns a description, or None
            when it has nothing more to propose.
        contract: in force.
        experiments: of the whole run, after which this ends; None goes on until the proposer has nothing more.
        state: instead of the default state folder.
        sandbox: instead of the contract's.
    """
    with Workbench.open(contract, state=state, sandbox=sandbox) as bench:
        session = Session(bench, Function(proposer), Silent())
        session.prepare()
        while experiments is None or bench.book.experiments < experiments:
            try:
                yield session.step()
            except Exhausted:
                return
