"""What follows a KEEP: the commit, the branch, and what the keep is worth on fresh pairs.

Each step is recorded before it is taken and can be taken again without harm, so a kill between any two of them loses
nothing: the next start finds the first step that is missing and goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from evalkit.contract import Contract
from evalkit.measure import Observation, Pair
from evalkit.stats.estimate import Estimate, estimate_effect
from evalkit.stats.guardrail import CumulativeMargin
from evalkit.stats.protocols import Need
from evalkit.stats.screen import Baseline
from evalkit.verify.rules import NotOnScaleError, Rules, Scale, oriented, policy_of, scale_of
from evalkit.verify.workbench import Workbench

__all__ = ["effect_text", "finish_keep", "shown_effect"]


def finish_keep(bench: Workbench, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Commit what was kept, move the branch, and estimate what it is worth; does what is still missing of it.

    Args:
        bench: the open run.
        progress: called with how many fresh pairs are measured and how many are wanted.

    Raises:
        WorkspaceError: the branch moved under us, or is checked out.
    """
    if bench.book.unkept is not None:
        _plan(bench, bench.book.unkept)
    if bench.book.keeps:
        planned = bench.store.load_plan(bench.book.head_commit)
        bench.store.apply_keep(bench.contract.root, planned, bench.book.branch)
    if bench.book.unestimated is not None:
        _estimate(bench, bench.book.unestimated, progress)


def _plan(bench: Workbench, verdict: Mapping[str, Any]) -> None:
    number = verdict["experiment"]
    record = next(record for record in bench.ledger.by_experiment(number) if record.kind == "decided")
    effect = shown_effect(bench.contract, verdict)
    planned = bench.store.plan_keep(
        bench.contract.root,
        parent=bench.book.head_commit,
        tree=verdict["candidate"],
        when=int(datetime.fromisoformat(record.at).timestamp()),
        subject=f"{bench.contract.name}: {verdict['description']}",
        body=verdict["sentence"],
        trailers=[
            ("Evalkit-Verdict", f"KEEP experiment {number} ({verdict['trust']})"),
            ("Evalkit-Ledger", record.hash),
            ("Evalkit-Metric", f"{bench.contract.objective.name} {effect}"),
        ],
    )
    bench.record(
        "kept",
        {
            "experiment": number,
            "commit": planned.id,
            "parent": planned.parent,
            "tree": verdict["candidate"],
            "branch": bench.book.branch,
        },
    )


def shown_effect(contract: Contract, verdict: Mapping[str, Any]) -> str:
    """A verdict's effect for people: in the metric's unit, or in percent for ratios; better is always said as such."""
    effect = verdict["effect"]
    if effect is None:
        return "no effect measured"
    return effect_text(effect, scale_of(contract.objective))


def effect_text(effect: Mapping[str, Any], scale: Scale) -> str:
    """``better by 0.012 [0.004, 0.02] (7 pairs)``; on the logarithmic scale as a factor, ``better by ×1.25 …``.

    An interval that excludes nothing is left out, and that is said.
    """

    def number(value: float | None, unbounded: str) -> str:
        if value is None:
            return unbounded
        return f"×{math.exp(min(value, 690.0)):.3g}" if scale == "log" else f"{value:.4g}"

    centre = effect.get("mean", effect.get("effect"))
    counted = f"{effect['pairs']} pair{'s' * (effect['pairs'] != 1)}"
    if effect["low"] is None and effect["high"] is None:
        return f"better by {number(centre, '?')} ({counted}: too few for an interval)"
    low, high = number(effect["low"], "−∞"), number(effect["high"], "∞")
    return f"better by {number(centre, '?')} [{low}, {high}] ({counted})"


def _estimate(bench: Workbench, verdict: Mapping[str, Any], progress: Callable[[int, int], None] | None) -> None:
    contract, book = bench.contract, bench.book
    wanted = policy_of(contract.policy).estimate_pairs
    pairs: list[Pair] = []
    for index in range(wanted):
        if progress:
            progress(index, wanted)
        pairs.append(bench.pairing.pair(verdict["incumbent"], verdict["candidate"], split=contract.splits.confirm))
    valid = [pair for pair in pairs if pair.valid]
    estimates = {metric.name: _effect_of(bench, metric.name, valid) for metric in contract.metrics}
    baseline = _baseline(bench, verdict, valid, wanted)
    bench.record(
        "estimated",
        {
            "experiment": verdict["experiment"],
            "effects": {name: found.to_dict() if found else None for name, found in estimates.items()},
            "scale": scale_of(contract.objective),
            "spent": {metric.name: _spent(bench, metric.name, estimates) for metric in contract.guarded},
            "baseline": baseline.to_dict() if baseline else None,
            "pairs": [pair.as_json() for pair in pairs],
            "head": book.head_commit,
        },
    )


def _oriented(bench: Workbench, name: str, trial: Observation) -> float:
    metric = next(metric for metric in bench.contract.metrics if metric.name == name)
    return oriented(trial.readings[name].value, metric.sign, scale_of(metric), name)


def _effect_of(bench: Workbench, name: str, pairs: list[Pair]) -> Estimate | None:
    try:
        differences = [
            _oriented(bench, name, pair.candidate) - _oriented(bench, name, pair.incumbent) for pair in pairs
        ]
    except NotOnScaleError:
        return None
    return estimate_effect(differences, bench.book.noise[name]) if differences else None


def _spent(bench: Workbench, name: str, estimates: Mapping[str, Estimate | None]) -> float:
    """How much of a guarded metric's margin is used after this keep, by its estimated effect on fresh pairs."""
    spent = bench.book.spent.get(name, 0.0)
    found = estimates[name]
    if found is None:
        return spent
    # The margin itself plays no part in what is spent of it.
    return CumulativeMargin(margin=1.0, spent=spent).after(found.effect).spent


def _baseline(bench: Workbench, verdict: Mapping[str, Any], pairs: list[Pair], wanted: int) -> Baseline | None:
    """The new incumbent's values on the screen split, for single screens.

    Where screens and confirmations share a split, from the pairs that got it kept, corrected for having been chosen,
    and the fresh pairs; elsewhere from fresh single trials alone.
    """
    splits, name = bench.contract.splits, bench.contract.objective.name
    try:
        if splits.vault is not None and splits.screen != splits.confirm:
            singles = [bench.pairing.single(verdict["candidate"], split=splits.screen) for _ in range(wanted)]
            values = [_oriented(bench, name, trial) for trial in singles if trial.valid]
            return Baseline(0.0, 0.0).including(values) if values else None
        fresh = [_oriented(bench, name, pair.candidate) for pair in pairs]
        inherited = _inherited(bench, verdict["experiment"])
        return inherited.including(fresh) if inherited.count or fresh else None
    except NotOnScaleError:
        return None


def _inherited(bench: Workbench, number: int) -> Baseline:
    """What the pairs of a keep say about the new incumbent; nothing where there was no baseline to correct them by."""
    records = bench.ledger.by_experiment(number)
    rules = Rules.from_json(next(record.body for record in records if record.kind == "proposed")["rules"])
    objective, baseline = rules.objective, rules.baseline
    confirmed = [
        record.body for record in records if record.kind == "measured" and record.body["need"] == Need.CONFIRM_PAIR
    ]
    if baseline is None or objective.noise.sd == 0.0 or not confirmed:
        return Baseline(0.0, 0.0)
    ours, theirs = (
        [objective.oriented(Observation.from_json(body[arm]).readings[objective.name]) for body in confirmed]
        for arm in ("candidate", "incumbent")
    )
    return baseline.after_keep(ours, theirs, bench.book.noise[objective.name], shrink=rules.policy.baseline_shrink)
