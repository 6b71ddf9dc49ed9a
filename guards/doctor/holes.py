"""What a kept cheat says about the contract, and the line that closes the hole."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.contract import Contract, Trust

__all__ = ["Hole", "hole_of"]


@dataclass(frozen=True, slots=True)
class Hole:
    """A way in that a contract leaves open.

    Attributes:
        what: one sentence.
        line: what to write into the contract, as TOML.
    """

    what: str
    line: str


def hole_of(contract: Contract, mechanism: int) -> Hole:
    """The most probable reason why a cheat of a mechanism was kept.

    Args:
        contract: the one that kept it.
        mechanism: of the cheat.
    """
    objective = contract.objective
    program = contract.programs[objective.program]
    if objective.trust is Trust.REPORTED:
        return Hole(
            f"{objective.name} is read from what candidate code prints, and can be forged",
            f'[metric.{objective.name}]\nscore = ["python", "score.py"]   # instead of `report`',
        )
    if contract.sandbox.backend == "process":
        return Hole("the `process` sandbox does not protect anything", '[sandbox]\nbackend = "auto"')
    if contract.splits.vault is None and objective.trust is Trust.SCORED:
        return Hole("there is no vault: the scorer's cases are in the candidate's reach", '[splits]\nvault = "vault"')
    if program.serve is None and mechanism in {9, 15, 16, 17}:
        return Hole(
            "the scorer reads artefacts alone, which may hold answers that were learnt by heart",
            f'[metric.{objective.name}]\nserve = ["python", "predict.py"]   # answers queries on cases it never saw',
        )
    if mechanism in {1, 2}:
        return Hole(
            "a file that decides about the score can be edited", 'editable = ["train.py"]   # name files, no wide globs'
        )
    return Hole(
        "the scorer accepts what it should refuse",
        f"# check every answer in {' '.join(program.score or ('the scorer',))}",
    )
