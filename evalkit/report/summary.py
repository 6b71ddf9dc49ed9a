"""Tables and texts about experiments that were decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from evalkit.contract import Contract
from evalkit.report.wording import COLOURS, REASONS, change_text, one_line, pairs_text, value_text, why
from evalkit.verify.rules import scale_of

if TYPE_CHECKING:
    from evalkit.ledger import Ledger
    from evalkit.verify.replay import Story

__all__ = ["log_line", "run_summary", "story_lines", "summary_lines", "verdict_lines"]

_DESCRIPTION = 48


def run_summary(contract: Contract, ledger: Ledger) -> dict[str, Any]:
    """The run in numbers, as plain JSON values.

    Args:
        contract: in force.
        ledger: open for reading.
    """
    decisions: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    evaluations = 0
    for record in ledger.records("decided"):
        decisions[record.body["decision"]] += 1
        reasons[record.body["reason"]] += record.body["decision"] != "KEEP"
        evaluations += record.body["evaluations"]
    opened = ledger.latest("opened")
    moved = [move for move in (ledger.latest("kept"), ledger.latest("rolled-back")) if move is not None]
    head = max(moved, key=lambda move: move.seq) if moved else None
    gains = [record.body["effects"][contract.objective.name] for record in ledger.records("estimated")]
    return {
        "name": contract.name,
        "experiments": sum(decisions.values()),
        "decisions": dict(decisions),
        "reasons": {reason: count for reason, count in reasons.items() if count},
        "evaluations": evaluations,
        "branch": opened.body["branch"] if opened else "",
        "anchor": opened.body["commit"] if opened else "",
        "head": head.body["commit"] if head else (opened.body["commit"] if opened else ""),
        "estimates": gains,
        "ledger": str(ledger.folder),
        "ledger_head": ledger.head,
    }


def summary_lines(contract: Contract, summary: Mapping[str, Any]) -> Iterator[str]:
    """The run in a few lines."""
    decisions = summary["decisions"]
    counted = ", ".join(f"{decisions[name]} {name}" for name in COLOURS if name in decisions) or "none"
    yield ""
    yield f"{summary['name']}: {summary['experiments']} experiments, {summary['evaluations']} trials: {counted}"
    for reason, count in sorted(summary["reasons"].items(), key=lambda item: -item[1]):
        yield f"  {count:4d} × {REASONS.get(reason, reason)}"
    if decisions.get("KEEP"):
        found = [effect for effect in summary["estimates"] if effect]
        total = sum(effect["effect"] for effect in found)
        scale = scale_of(contract.objective)
        gain = change_text(total, scale)
        yield f"  gain of all keeps on fresh pairs: {gain} ({contract.objective.name}, + is better)"
        yield f"  keeps are on the branch {summary['branch']} ({summary['head'][:10]})"
    yield f"  ledger: {summary['ledger']} (head {summary['ledger_head'][:16]}…)"


def log_line(contract: Contract, verdict: Mapping[str, Any]) -> str:
    """One experiment on one line."""
    description = one_line(verdict["description"], _DESCRIPTION)
    return (
        f"{verdict['experiment']:4d}  {verdict['decision']:12}  {description:{_DESCRIPTION}}  {why(contract, verdict)}"
    )


def verdict_lines(contract: Contract, verdict: Mapping[str, Any]) -> Iterator[str]:
    """A verdict for people."""
    yield f"{verdict['decision']}: {REASONS.get(verdict['reason'], verdict['reason'])}"
    yield f"  {verdict['sentence']}"
    if verdict["unsafe"]:
        yield f"  {verdict['unsafe']}"
    if verdict["effect"]:
        yield f"  {contract.objective.name}: {pairs_text(contract.objective, verdict['effect'])} (+ is better)"
    if verdict["more_pairs"]:
        yield f"  about {verdict['more_pairs']} more pairs would probably decide"
    if verdict["trust"] == "reported":
        yield "  rests on values that candidate code printed itself, which it can forge: use a scorer"
    for finding in verdict["findings"]:
        where = f"{finding['file']}:{finding['line']}" if finding["line"] else finding["file"]
        yield f"  {finding['rule']} ({finding['severity']}) {where} {finding['message']}"
    for finding in verdict.get("suppressed", ()):
        yield f"  {finding['rule']} suppressed by the contract: {finding['reason']}"
    if verdict.get("unenforced"):
        yield f"  not enforced here: {', '.join(verdict['unenforced'])}"
    candidate = verdict["candidate"][:12] or "—"
    yield f"  experiment {verdict['experiment']}, {verdict['evaluations']} trials, candidate {candidate}"


def story_lines(contract: Contract, story: Story) -> Iterator[str]:
    """One experiment, whole."""
    proposed = story.proposed
    yield f"experiment {proposed['experiment']}: {proposed['description']} (by {proposed['proposer']})"
    yield f"incumbent {proposed['incumbent'][:12]}, candidate {proposed['candidate'][:12] or '—'}"
    if proposed["rules"]:
        rules = proposed["rules"]
        yield f"policy {rules['policy']['name']}, level {rules['level']:.3g} (confirmation {rules['index']} of the run)"
    for number, trial in enumerate(story.trials, 1):
        arms = " ".join(_arm(contract, trial, arm) for arm in ("incumbent", "candidate"))
        yield f"  {number:3d} {trial['need']:13} {arms}"
    if story.decided is None:
        yield "not decided yet: `evalkit run` goes on with it"
        return
    yield from verdict_lines(contract, story.decided)
    if story.kept:
        yield f"kept as {story.kept['commit'][:12]} on {story.kept['branch']}"
    if story.estimated:
        for name, effect in story.estimated["effects"].items():
            metric = next(metric for metric in contract.metrics if metric.name == name)
            yield f"on fresh pairs {name}: {pairs_text(metric, effect)} (+ is better)"


def _arm(contract: Contract, trial: Mapping[str, Any], arm: str) -> str:
    seen = trial[arm]
    if seen is None:
        return f"{'':28}"
    if not seen["readings"]:
        return f"{arm} {seen['outcome']}: {one_line(seen['problem'], 60)}"
    value = seen["readings"][contract.objective.name]["value"]
    return f"{arm} {value_text(value):>10} (seed {seen['seed']})"
