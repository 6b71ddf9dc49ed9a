"""Which probes a set of findings asks for, cheapest first."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from evalkit.guarding import Finding, Severity
from guards.catalogue import catalogue

__all__ = ["ProbeKind", "plan_probes"]


class ProbeKind(StrEnum):
    """The behavioural probes, in the order of their cost."""

    SUM_TO_ONE = "sum to one"
    WORK_AFTER = "work after the clock"
    REPEAT = "repeat"
    REORDER = "reorder"
    COLD_WARM = "cold against warm"
    CANARY = "canary"
    FRESH_INPUTS = "fresh inputs"
    FUTURE = "future truncation"
    SEEDS = "seed rerun"
    SHUFFLE = "label shuffle"


_BY_MECHANISM: dict[int, tuple[ProbeKind, ...]] = {
    5: (ProbeKind.CANARY,),
    6: (ProbeKind.CANARY,),
    7: (ProbeKind.CANARY, ProbeKind.FRESH_INPUTS),
    9: (ProbeKind.FRESH_INPUTS, ProbeKind.REORDER),
    10: (ProbeKind.REPEAT, ProbeKind.REORDER, ProbeKind.COLD_WARM),
    11: (ProbeKind.WORK_AFTER, ProbeKind.COLD_WARM),
    12: (ProbeKind.REPEAT,),
    13: (ProbeKind.FRESH_INPUTS,),
    14: (ProbeKind.FRESH_INPUTS, ProbeKind.CANARY),
    15: (ProbeKind.FUTURE, ProbeKind.SHUFFLE),
    16: (ProbeKind.SUM_TO_ONE, ProbeKind.SHUFFLE),
    17: (ProbeKind.CANARY, ProbeKind.SHUFFLE),
    18: (ProbeKind.SEEDS,),
    19: (ProbeKind.WORK_AFTER,),
}


def plan_probes(findings: Iterable[Finding], *, jump: bool = False) -> tuple[ProbeKind, ...]:
    """The probes to run, each once, cheapest first.

    Args:
        findings: those that ask for a probe count; notes do not.
        jump: whether the score leapt; then label shuffle, fresh inputs and a sum check are asked for in any case.
    """
    wanted: set[ProbeKind] = set()
    if jump:
        wanted |= {ProbeKind.SUM_TO_ONE, ProbeKind.FRESH_INPUTS, ProbeKind.SHUFFLE}
    rules = catalogue()
    for finding in findings:
        if finding.severity is not Severity.NOTE and (rule := rules.get(finding.rule)) is not None:
            wanted |= set(_BY_MECHANISM.get(rule.mechanism, ()))
    return tuple(kind for kind in ProbeKind if kind in wanted)
