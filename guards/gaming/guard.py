"""The guard that runs every family of static rules over the changed files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from evalkit.guarding import Evidence, Finding
from guards.gaming import (
    answers,
    clocks,
    dataflow,
    fallbacks,
    hidden,
    memory,
    native,
    objects,
    outputs,
    reads,
    seeds,
)
from guards.gaming.cases import CaseIndex, inspect_cases, read_cases
from guards.gaming.finding import Context, Family
from guards.rule import Rule, table
from guards.source.unpack import unpacked
from guards.source.view import FileView, views

__all__ = ["FAMILIES", "RULES", "GamingGuard", "inspect_views"]

FAMILIES: tuple[Family, ...] = (
    answers.inspect,
    clocks.inspect,
    objects.inspect,
    reads.inspect,
    memory.inspect,
    outputs.inspect,
    fallbacks.inspect,
    seeds.inspect,
    dataflow.inspect,
    hidden.inspect,
    native.inspect,
)
"""Each looks at one file."""

RULES: Mapping[str, Rule] = table(
    rule
    for module in (answers, clocks, objects, reads, memory, outputs, fallbacks, seeds, dataflow, hidden, native)
    for rule in module.RULES.values()
)
"""All static rules by name."""

_PER_RULE = 3
"""Findings of one rule in one file that are reported; further ones say nothing new."""


class GamingGuard:
    """Looks at the source of a change before any trial; never runs or imports it."""

    name = "gaming"

    def inspect(self, evidence: Evidence) -> Iterable[Finding]:
        """Findings ``EK101`` to ``EK167``."""
        if evidence.stage != "before":
            return
        changed = views(evidence)
        yield from inspect_views(changed, Context.of(evidence.contract))
        if evidence.vault is not None:
            index = CaseIndex(read_cases(evidence.vault()))
            for view in changed:
                yield from inspect_cases(view, index)


def inspect_views(changed: Sequence[FileView], context: Context) -> Iterator[Finding]:
    """Every family over every file; at most three findings of a rule in a file.

    Args:
        changed: the files of one change.
        context: what the contract tells the rules.
    """
    yield from seeds.seed_only(changed)
    for view in changed:
        counted: dict[str, int] = {}
        for finding in _inspect_one(view, context):
            counted[finding.rule] = counted.get(finding.rule, 0) + 1
            if counted[finding.rule] <= _PER_RULE:
                yield finding


def _inspect_one(view: FileView, context: Context, depth: int = 0) -> Iterator[Finding]:
    for family in FAMILIES:
        try:
            yield from family(view, context)
        except RecursionError:
            yield hidden.RULES["not-analysed"].found("nested too deeply to be analysed", file=view.path)
    if view.python and depth < 2:  # noqa: PLR2004 - a package in a package is as far as honest packers go
        for call, text in unpacked(view.program):
            if text is not None and view.touches(call):
                inner = FileView(view.path, "added", None, text)
                for finding in _inspect_one(inner, context, depth + 1):
                    yield replace(
                        finding, line=call.lineno, message=f"{finding.message} (unpacked line {finding.line})"
                    )
