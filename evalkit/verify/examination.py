"""One experiment, driven with real trials: guards before, the course, guards after, the verdict.

Every trial is on disk before the next one starts; a run that is killed goes on with the same evidence at the same
level, so that starting again can't be used to draw a better sample.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from evalkit.guarding import Evidence, Inspection, TrialSummary, inspect_all
from evalkit.measure import Observation, fingerprint
from evalkit.stats.protocols import Need
from evalkit.verify.course import Conclusion, Course
from evalkit.verify.rules import Rules, weakest_trust
from evalkit.verify.verdict import Decision, Reason, Verdict
from evalkit.verify.workbench import Workbench
from evalkit.workspace import Change, printable

__all__ = ["Attempt", "examine", "refuse"]

_SCOPE_RULES = ("EK01", "EK02")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is to be examined.

    Attributes:
        candidate: tree id; empty where the proposer produced none.
        proposer: its name.
        description: one line.
        details: the proposer's own.
        transcript: sha256 of what it printed, or empty.
    """

    candidate: str
    proposer: str
    description: str
    details: Mapping[str, Any] = field(default_factory=dict)
    transcript: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "candidate": self.candidate,
            "proposer": self.proposer,
            "description": printable(self.description)[:300],
            "details": dict(self.details),
            "transcript": self.transcript,
        }

    @classmethod
    def of_record(cls, proposed: Mapping[str, Any]) -> Attempt:
        """From a ``proposed`` record's body."""
        return cls(**{name: proposed[name] for name in cls.__slots__})


def refuse(bench: Workbench, attempt: Attempt, decision: Decision, reason: Reason, sentence: str) -> Verdict:
    """Record an attempt that is over before it began: the proposer failed, or there is nothing to examine."""
    return _Examination(bench, attempt).refuse(decision, reason, sentence, Inspection())


def examine(bench: Workbench, attempt: Attempt, *, progress: Callable[[Need, int], None] | None = None) -> Verdict:
    """Decide about one candidate, and record it.

    Where the run has an open experiment, this goes on with it; ``attempt`` has to be the same then.

    Args:
        bench: the open, calibrated run.
        attempt: what to examine.
        progress: called before each trial or pair with what it is and how many there were.

    Raises:
        SandboxUnavailable: the engine can't run here (any more).
        LedgerError: a record can't be written.
    """
    return _Examination(bench, attempt, progress).run()


class _Examination:
    def __init__(self, bench: Workbench, attempt: Attempt, progress: Callable[[Need, int], None] | None = None) -> None:
        self._bench = bench
        self._attempt = attempt
        self._progress = progress
        self._number = bench.book.experiments + 1
        self._incumbent = bench.book.incumbent
        self._trials: list[TrialSummary] = []
        self._enforced: set[str] = set()
        self._unenforced: set[str] = set()
        self._started = time.monotonic()

    def run(self) -> Verdict:
        change = self._bench.store.diff(self._incumbent, self._attempt.candidate)
        if change.is_empty:
            return self.refuse(Decision.REJECT, Reason.NO_CHANGE, "the candidate is the incumbent", Inspection())
        if (earlier := self._earlier()) is not None:
            sentence = f"this tree was decided in experiment {earlier} against the same incumbent"
            return self.refuse(Decision.REJECT, Reason.DUPLICATE, sentence, Inspection())
        before = self._inspect("before", change)
        if before.blocking:
            first = before.blocking[0]
            where = f"{printable(first.file)}: " if first.file and first.file not in first.message else ""
            reason = Reason.SCOPE if first.rule.startswith(_SCOPE_RULES) else Reason.GUARD
            return self.refuse(Decision.REJECT, reason, f"{first.rule} {where}{first.message}", before)
        rules = self._begin()
        conclusion, dev = self._follow(rules)
        after = self._inspect("after", change)
        return self._decide(rules, conclusion, dev, before, after)

    def refuse(self, decision: Decision, reason: Reason, sentence: str, findings: Inspection) -> Verdict:
        if self._bench.book.open_experiment is None:
            self._propose(None)
        verdict = Verdict(
            experiment=self._number,
            decision=decision,
            reason=reason,
            sentence=printable(sentence)[:600],
            incumbent=self._incumbent,
            candidate=self._attempt.candidate,
            trust=str(weakest_trust(self._bench.contract)),
            unsafe=self._unsafe(),
            findings=tuple(finding.as_json() for finding in findings.findings),
            body={
                **self._common(findings, Inspection()),
                "settled": None,
                "statistics": None,
                "reached_confirm": False,
                "dev": None,
            },
        )
        self._bench.record("decided", verdict.as_json())
        return verdict

    def _propose(self, rules: Rules | None) -> None:
        self._bench.record(
            "proposed",
            {
                "experiment": self._number,
                "incumbent": self._incumbent,
                **self._attempt.as_json(),
                "rules": rules.as_json() if rules else None,
            },
        )

    def _begin(self) -> Rules:
        """The rules, fixed and on disk before the first trial."""
        already = self._bench.book.open_experiment
        if already is not None and already["rules"] is not None:
            return Rules.from_json(already["rules"])
        rules = self._bench.book.rules(self._bench.contract, digest=self._bench.contract.digest)
        self._propose(rules)
        return rules

    def _earlier(self) -> int | None:
        return self._bench.decided_before(self._attempt.candidate, self._incumbent)

    def _follow(self, rules: Rules) -> tuple[Conclusion, float | None]:
        course = Course(rules)
        for recorded in self._bench.book.trials:
            need = Need(recorded["need"])
            candidate = Observation.from_json(recorded["candidate"])
            incumbent = Observation.from_json(recorded["incumbent"]) if recorded["incumbent"] else None
            self._summarise(need, candidate, incumbent)
            course.take(need, candidate, incumbent)
        while (needed := course.need()) is not None:
            if self._progress:
                self._progress(needed, len(self._trials))
            candidate, incumbent, first = self._measure(course, needed)
            self._bench.record(
                "measured",
                {
                    "experiment": self._number,
                    "need": str(needed.value),
                    "first": first,
                    "candidate": candidate.as_json(),
                    "incumbent": incumbent.as_json() if incumbent else None,
                },
            )
            self._summarise(needed, candidate, incumbent)
            course.take(needed, candidate, incumbent)
        values = course.dev_values
        dev = sum(values) / len(values) * rules.objective.sign if values and rules.objective.scale == "linear" else None
        return course.conclusion(), dev

    def _measure(self, course: Course, need: Need) -> tuple[Observation, Observation | None, str]:
        pairing, split = self._bench.pairing, course.split(need)
        if need is Need.SCREEN_SINGLE:
            return pairing.single(self._attempt.candidate, split=split), None, "candidate"
        pair = pairing.pair(self._incumbent, self._attempt.candidate, split=split)
        return pair.candidate, pair.incumbent, pair.first

    def _summarise(self, need: Need, candidate: Observation, incumbent: Observation | None) -> None:
        stage = "confirm" if need is Need.CONFIRM_PAIR else "screen"
        for arm, trial in (("incumbent", incumbent), ("candidate", candidate)):
            if trial is None:
                continue
            self._enforced.update(trial.enforced)
            self._unenforced.update(trial.unenforced)
            self._trials.append(
                TrialSummary(
                    arm=arm,
                    stage=stage,
                    seed=trial.seed,
                    outcome=str(trial.outcome),
                    values={name: reading.value for name, reading in trial.readings.items()},
                    wall=trial.wall,
                    cpu=trial.candidate_cpu if trial.phases else None,
                    stdout="\n".join(phase.stdout for phase in trial.phases if phase.phase == "run"),
                )
            )

    def _inspect(self, stage: Any, change: Change) -> Inspection:
        store = self._bench.store
        old, new = store.files(self._incumbent), store.files(self._attempt.candidate)

        def reader(tree: str, files: Mapping[str, Any]) -> Callable[[str], bytes]:
            return lambda path: store.read(tree, path) if path in files else b""

        evidence = Evidence(
            stage=stage,
            contract=self._bench.contract,
            change=change,
            read_old=reader(self._incumbent, old),
            read_new=reader(self._attempt.candidate, new),
            trials=tuple(self._trials),
            history=tuple(self._bench.history),
            vault=self._bench.vault_files if self._bench.contract.splits.vault else None,
        )
        return inspect_all(self._bench.guards, evidence, today=datetime.now(UTC).date())

    def _decide(
        self, rules: Rules, conclusion: Conclusion, dev: float | None, before: Inspection, after: Inspection
    ) -> Verdict:
        decision, reason, sentence = conclusion.decision, conclusion.reason, conclusion.sentence
        if after.blocking and decision is not Decision.ERROR:
            first = after.blocking[0]
            decision, reason, sentence = Decision.REJECT, Reason.GUARD, f"{first.rule} {first.message}"
        verdict = Verdict(
            experiment=self._number,
            decision=decision,
            reason=reason,
            sentence=printable(sentence)[:600],
            incumbent=self._incumbent,
            candidate=self._attempt.candidate,
            trust=str(weakest_trust(self._bench.contract)),
            unsafe=self._unsafe(),
            effect=conclusion.effect,
            evaluations=len(self._trials),
            more_pairs=conclusion.more_pairs,
            findings=_unique(before, after),
            body={
                **self._common(before, after),
                "scale": rules.objective.scale,
                "level": rules.level,
                "statistics": conclusion.statistics,
                "reached_confirm": conclusion.reached_confirm,
                "settled": {
                    "objective": rules.objective.name,
                    "index": rules.index,
                    "level": rules.level,
                    "keeps_before": rules.keeps_before,
                    "confirmed": conclusion.statistics["confirming"],
                    "log_e": conclusion.statistics["objective"]["log_e"],
                    "residuals": conclusion.statistics["residuals"],
                },
                "dev": dev,
            },
        )
        self._bench.record("decided", verdict.as_json())
        return verdict

    def _common(self, before: Inspection, after: Inspection) -> dict[str, Any]:
        return {
            "proposer": self._attempt.proposer,
            "description": printable(self._attempt.description)[:300],
            "details": dict(self._attempt.details),
            "contract": self._bench.contract.digest,
            "environment": fingerprint().digest,
            "sandbox": self._bench.sandbox.name,
            "enforced": sorted(self._enforced - self._unenforced),
            "unenforced": sorted(self._unenforced),
            "suppressed": [
                {**finding.as_json(), "reason": why} for finding, why in (*before.suppressed, *after.suppressed)
            ],
            "seconds": round(time.monotonic() - self._started, 3),
        }

    def _unsafe(self) -> str:
        if not self._bench.sandbox.unsafe:
            return ""
        return f"UNSAFE: the sandbox {self._bench.sandbox.name!r} does not protect; candidate code could do anything"


def _unique(*inspections: Inspection) -> tuple[Mapping[str, Any], ...]:
    seen: dict[str, Mapping[str, Any]] = {}
    for inspection in inspections:
        for finding in inspection.findings:
            seen.setdefault(repr(finding), finding.as_json())
    return tuple(seen.values())
