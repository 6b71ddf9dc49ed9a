"""Takes a keep that lost something out of head again: as a commit of its own, recorded before the branch moves.

Nothing is rewritten: the branch gets one more commit. A kill after the record and before the branch moved loses
nothing: the next ``evalkit run`` puts the recorded commit on the branch (:func:`evalkit.verify.keeping.finish_keep`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from evalkit.errors import TrialError, UsageError, WorkspaceError
from evalkit.measure import Pair
from evalkit.stats.estimate import Estimate, estimate_effect
from evalkit.stats.guardrail import CumulativeMargin
from evalkit.verify.keeping import effect_text, finish_keep
from evalkit.verify.rules import NotOnScaleError, oriented, policy_of, scale_of
from evalkit.verify.workbench import Workbench
from evalkit.watch.lineage import ROLLED_BACK, Step, experiments_of, lineage

__all__ = ["Rollback", "Way", "roll_back"]

_MAX_INVALID = 2


class Way(StrEnum):
    """How a keep was taken out."""

    NEWEST = "newest"
    """It was the last one: back to the tree that it was made on."""
    PATCH = "patch"
    """Its patch was taken out of head; the keeps after it stay."""
    HARD = "hard"
    """Back to the tree that it was made on; the keeps after it are given up with it."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """What was done.

    Attributes:
        way: see :class:`Way`.
        experiment: whose keep lost it.
        undone: experiments whose keeps head carries no longer.
        tree, commit, branch: of head now.
        effects: by metric, the new head against the old one on fresh pairs, oriented so that larger is better.
    """

    way: Way
    experiment: int
    undone: tuple[int, ...]
    tree: str
    commit: str
    branch: str
    effects: Mapping[str, Estimate | None]


@dataclass(frozen=True, slots=True)
class _Plan:
    way: Way
    tree: str
    holds: tuple[int, ...]
    """Experiments of the keeps after the one that goes, if they stay."""
    remaining: tuple[int, ...]
    undone: tuple[int, ...]


def roll_back(
    bench: Workbench, lost: Step, *, hard: bool = False, progress: Callable[[int, int], None] | None = None
) -> Rollback:
    """Take a keep out of head, measure what that gives, record it and move the branch.

    Args:
        bench: the open run.
        lost: the step to take out, from :func:`evalkit.watch.lineage.lineage`.
        hard: where its patch can't be taken out alone, give up the keeps after it too.
        progress: called with how many pairs are measured and how many are wanted.

    Raises:
        UsageError: an experiment is open, or the patch can't be taken out alone and ``hard`` is not set.
        TrialError: the tree to go back to has no value.
        WorkspaceError: the branch moved under us, or is checked out; nothing is recorded then.
    """
    if bench.book.open_experiment is not None:
        number = bench.book.experiments + 1
        raise UsageError(
            f"experiment {number} is open and was made on the present head", "`evalkit run` decides it; then roll back"
        )
    finish_keep(bench)
    plan = _plan(bench, lost, hard=hard)
    pairs = _measure(bench, plan, progress)
    effects = {metric.name: _effect(bench, metric.name, pairs) for metric in bench.contract.metrics}
    return _carry_out(bench, lost, plan, effects)


def _plan(bench: Workbench, lost: Step, *, hard: bool) -> _Plan:
    steps = lineage(bench)
    place = next((index for index, step in enumerate(steps) if step["commit"] == lost["commit"]), None)
    if place is None:
        raise UsageError(f"head does not carry the commit {lost['commit'][:12]} any more", "evalkit watch")
    before = steps[place - 1]["tree"] if place else bench.book.anchor
    earlier, own, later = _numbers(steps[:place]), experiments_of(lost), _numbers(steps[place + 1 :])
    if not later:
        return _Plan(Way.NEWEST, before, (), earlier, own)
    try:
        patch = bench.store.diff(lost["tree"], before).patch_bytes
        tree = bench.store.apply_patch(bench.book.incumbent, patch, binary=True)
    except WorkspaceError as error:
        if not hard:
            raise UsageError(
                f"experiment {lost['experiment']} can't be taken out alone, {len(later)} later keeps build on it "
                f"({error.message})",
                "evalkit watch --rollback=hard goes back to the tree before it and gives those keeps up too",
            ) from error
        return _Plan(Way.HARD, before, (), earlier, (*own, *later))
    return _Plan(Way.PATCH, tree, later, (*earlier, *later), own)


def _numbers(steps: Sequence[Step]) -> tuple[int, ...]:
    return tuple(number for step in steps for number in experiments_of(step))


def _measure(bench: Workbench, plan: _Plan, progress: Callable[[int, int], None] | None) -> list[Pair]:
    """Fresh pairs of the tree that head is to become and head: it has to run, and what it regains is to be known."""
    wanted, invalid = policy_of(bench.contract.policy).estimate_pairs, 0
    pairs: list[Pair] = []
    while len(pairs) < wanted:
        if progress:
            progress(len(pairs), wanted)
        pair = bench.pairing.pair(bench.book.incumbent, plan.tree, split=bench.contract.splits.confirm)
        if not pair.candidate.valid:
            invalid += 1
            if invalid >= _MAX_INVALID:
                raise _no_value(plan, pair)
        elif pair.incumbent.valid:
            pairs.append(pair)
        else:  # a head that no longer runs is a reason to roll back, not an obstacle
            return pairs
    return pairs


def _no_value(plan: _Plan, pair: Pair) -> TrialError:
    if plan.way is Way.PATCH:
        return TrialError(
            f"head without that keep's patch has no value: {pair.candidate.problem}",
            "later keeps seem to need it; `git revert` by hand, or start a new run from the tree before it",
        )
    return TrialError(
        f"the tree to go back to has no value: {pair.candidate.problem}", "look at what changed on this machine"
    )


def _effect(bench: Workbench, name: str, pairs: Sequence[Pair]) -> Estimate | None:
    metric = next(metric for metric in bench.contract.metrics if metric.name == name)
    scale = scale_of(metric)
    try:
        arms = [
            [
                oriented(trial.readings[name].value, metric.sign, scale, name)
                for trial in (pair.candidate, pair.incumbent)
            ]
            for pair in pairs
        ]
    except NotOnScaleError:
        return None
    return estimate_effect([new - old for new, old in arms], bench.book.noise[name]) if arms else None


def _carry_out(bench: Workbench, lost: Step, plan: _Plan, effects: Mapping[str, Estimate | None]) -> Rollback:
    number, book = lost["experiment"], bench.book
    planned = bench.store.plan_keep(
        bench.contract.root,
        parent=book.head_commit,
        tree=plan.tree,
        when=int(time.time()),
        subject=f"{bench.contract.name}: roll back experiment {number}",
        body=_message(plan, lost),
        trailers=[("Evalkit-Rollback", f"experiment {number} ({plan.way})"), *_metric_trailers(bench, effects)],
    )
    body: dict[str, Any] = {
        "experiment": number,
        "lost": lost["commit"],
        "way": str(plan.way),
        "undone": list(plan.undone),
        "holds": list(plan.holds),
        "tree": plan.tree,
        "commit": planned.id,
        "parent": planned.parent,
        "branch": book.branch,
        "spent": _spent(bench, frozenset(plan.remaining)),
        "effects": {name: found.to_dict() if found else None for name, found in effects.items()},
    }
    bench.record(ROLLED_BACK, body)
    bench.store.apply_keep(bench.contract.root, planned, book.branch)
    return Rollback(plan.way, number, plan.undone, plan.tree, planned.id, book.branch, effects)


def _message(plan: _Plan, lost: Step) -> str:
    commit = lost["commit"][:12]
    if plan.way is Way.PATCH:
        return f"Takes the patch of {commit} out of head; the keeps after it stay."
    if plan.way is Way.NEWEST:
        return f"Back to the tree before {commit}."
    return f"Back to the tree before {commit}; {len(plan.undone) - 1} later keeps that build on it go with it."


def _metric_trailers(bench: Workbench, effects: Mapping[str, Estimate | None]) -> list[tuple[str, str]]:
    return [
        ("Evalkit-Metric", f"{metric.name} {effect_text(found.to_dict(), scale_of(metric))}")
        for metric in bench.contract.metrics
        if (found := effects[metric.name]) is not None
    ]


def _spent(bench: Workbench, remaining: frozenset[int]) -> dict[str, float]:
    """What of each guarded metric's margin the keeps that remain have used, by their effects on fresh pairs."""
    budgets = {metric.name: CumulativeMargin(margin=1.0) for metric in bench.contract.guarded}
    for record in bench.ledger.records("estimated"):
        if record.body["experiment"] not in remaining:
            continue
        for name, budget in budgets.items():
            found = record.body["effects"][name]
            if found is not None:
                budgets[name] = budget.after(found["effect"])
    return {name: budget.spent for name, budget in budgets.items()}
