"""Deciding an experiment again: from its records alone, byte for byte, or from new trials."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.errors import UsageError
from evalkit.measure import Observation
from evalkit.stats.protocols import Need
from evalkit.verify.course import Conclusion, Course
from evalkit.verify.rules import Rules
from evalkit.verify.runbook import RecordLike
from evalkit.verify.verdict import finite
from evalkit.verify.workbench import Workbench

__all__ = ["Replay", "Story", "replay", "rerun_course", "story_of"]


@dataclass(frozen=True, slots=True)
class Story:
    """All records of one experiment.

    Attributes:
        proposed: what was proposed, with the rules.
        trials: as measured, in order.
        decided: the verdict; None while the experiment is open.
        kept, estimated: what followed a KEEP.
    """

    proposed: Mapping[str, Any]
    trials: tuple[Mapping[str, Any], ...]
    decided: Mapping[str, Any] | None
    kept: Mapping[str, Any] | None
    estimated: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Replay:
    """What deciding again gave.

    Attributes:
        same: whether it is what the ledger says.
        differences: one line for each field that is not.
        conclusion: of the replay; None where the verdict rests on no trials.
    """

    same: bool
    differences: tuple[str, ...]
    conclusion: Conclusion | None


def story_of(records: Iterable[RecordLike], experiment: int) -> Story:
    """The records of one experiment.

    Raises:
        UsageError: there is none of that number.
    """
    single: dict[str, Mapping[str, Any]] = {}
    trials: list[Mapping[str, Any]] = []
    for record in records:
        if record.body.get("experiment") != experiment:
            continue
        if record.kind == "measured":
            trials.append(record.body)
        else:
            single[record.kind] = record.body
    if "proposed" not in single:
        raise UsageError(f"the ledger has no experiment {experiment}", "`evalkit log` lists them")
    return Story(single["proposed"], tuple(trials), single.get("decided"), single.get("kept"), single.get("estimated"))


def replay(story: Story) -> Replay:
    """Decide again from the recorded rules and trials, and compare with the recorded verdict.

    Raises:
        UsageError: the experiment was not decided yet.
    """
    if story.decided is None:
        raise UsageError("this experiment is not decided yet", "`evalkit run` goes on with it")
    if story.proposed["rules"] is None:
        unfounded = ("decision: a KEEP that rests on no trial",) if story.decided["decision"] == "KEEP" else ()
        return Replay(same=not unfounded, differences=unfounded, conclusion=None)
    course = Course(Rules.from_json(story.proposed["rules"]))
    for number, trial in enumerate(story.trials, 1):
        needed = course.need()
        if needed is None or needed != trial["need"]:
            said = f"trial {number} is a {trial['need']}, deciding again needs {needed or 'no further trial'}"
            return Replay(same=False, differences=(said,), conclusion=None)
        incumbent = Observation.from_json(trial["incumbent"]) if trial["incumbent"] else None
        course.take(needed, Observation.from_json(trial["candidate"]), incumbent)
    conclusion = course.conclusion()
    differences = tuple(_differences(conclusion, story.decided))
    return Replay(same=not differences, differences=differences, conclusion=conclusion)


def rerun_course(bench: Workbench, story: Story, *, progress: Callable[[Need, int], None] | None = None) -> Conclusion:
    """Decide an experiment again from new trials of the same trees, under the recorded rules; records nothing.

    Args:
        bench: the open run.
        story: of the experiment.
        progress: called before each trial or pair.

    Raises:
        UsageError: the experiment was refused before any trial.
    """
    if story.proposed["rules"] is None:
        raise UsageError("this experiment was refused before any trial; there is nothing to measure again")
    rules = Rules.from_json(story.proposed["rules"])
    course, trials = Course(rules), 0
    candidate, incumbent = story.proposed["candidate"], story.proposed["incumbent"]
    while (need := course.need()) is not None:
        if progress:
            progress(need, trials)
        if need is Need.SCREEN_SINGLE:
            course.take(need, bench.pairing.single(candidate, split=course.split(need)), None)
            trials += 1
        else:
            pair = bench.pairing.pair(incumbent, candidate, split=course.split(need))
            course.take(need, pair.candidate, pair.incumbent)
            trials += 2
    return course.conclusion()


def _differences(conclusion: Conclusion, decided: Mapping[str, Any]) -> Iterable[str]:
    again: dict[str, Any] = {
        "decision": str(conclusion.decision),
        "reason": str(conclusion.reason),
        "statistics": finite(conclusion.statistics),
        "effect": finite(conclusion.effect.as_json()) if conclusion.effect else None,
    }
    if decided["reason"] == "guard":
        # A guard's finding after the trials overrules them; what was found stands in the record itself.
        del again["decision"], again["reason"]
    for name, value in again.items():
        if value != decided[name]:
            yield f"{name}: the ledger says {decided[name]!r}, deciding again gives {value!r}"
