"""The course of one experiment: a pure machine that says which trial it needs next, and at the end what follows.

No clock, no sandbox, no ledger: trials go in, a conclusion comes out, and the same trials always give the same
conclusion. The live run and ``replay`` drive the same machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from evalkit.measure import Fault, Observation
from evalkit.stats.guardrail import GuardrailTest
from evalkit.stats.protocols import Decision as Statistics
from evalkit.stats.protocols import ExperimentTest, Need, Value
from evalkit.stats.sequential import experiment
from evalkit.verify.rules import MetricRule, NotOnScaleError, Rules
from evalkit.verify.units import CasesError, Units, units_of
from evalkit.verify.verdict import Decision, Effect, Reason, reason_of_outcome

__all__ = ["Conclusion", "Course"]

_REASONS = {
    "screen": Reason.SCREENED_OUT,
    "futility": Reason.FUTILE,
    "exact-not-better": Reason.NOT_BETTER,
    "pairs-exhausted": Reason.NOT_ENOUGH_EVIDENCE,
    "cases-exhausted": Reason.NOT_ENOUGH_EVIDENCE,
    "unfinished": Reason.NOT_ENOUGH_EVIDENCE,
    "diagnostic": Reason.DOUBTFUL_EVIDENCE,
    "not-exact": Reason.DOUBTFUL_EVIDENCE,
}
_NO_LOSS = 1e-9
_DECISIONS = {"keep": Decision.KEEP, "reject": Decision.REJECT, "inconclusive": Decision.INCONCLUSIVE}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What follows from the trials.

    Attributes:
        decision, reason, sentence: as in the verdict.
        effect: on the objective in oriented units of its scale, where pairs were measured.
        more_pairs: that would probably decide, or None.
        reached_confirm: whether any trial on the confirm split was run, with or without a value: from then on
            nothing but the verdict may be known to a proposer.
        statistics: of the objective and of each guarded metric, as JSON.
    """

    decision: Decision
    reason: Reason
    sentence: str
    effect: Effect | None
    more_pairs: int | None
    reached_confirm: bool
    statistics: dict[str, Any]


class Course:
    """One experiment.

    Args:
        rules: fixed before the first trial.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._units = Units.from_json({"kind": rules.objective.evidence, "why": rules.objective.why})
        self._test = _test_of(rules, self._units)
        self._guards = {
            rule.name: GuardrailTest(
                rule.noise,
                rule.margin or 0.0,
                rules.policy.alpha,
                spent=rule.spent,
                max_pairs=rules.policy.max_pairs,
                prior_df=rules.policy.prior_df,
            )
            for rule in rules.guarded
        }
        self._failed: tuple[Decision, Reason, str] | None = None
        self._pairs = self._cases = 0
        self._reached_confirm = False
        self._incumbent: list[float] = []
        self._candidate: list[float] = []
        self._dev: list[float] = []

    @property
    def dev_values(self) -> tuple[float, ...]:
        """The candidate's screen values, oriented: what its proposer may see."""
        return tuple(self._dev)

    @property
    def incumbent_values(self) -> tuple[float, ...]:
        """The incumbent's oriented values on the screen split, in order."""
        return tuple(self._incumbent)

    def need(self) -> Need | None:
        """The trial that is needed next; None when the conclusion is final."""
        if self._failed:
            return None
        standings = {self._standing(name).outcome for name in self._guards} if self._pairs else set()
        if "reject" in standings:
            return None
        if (need := self._test.need()) is not None:
            return need
        if self._test.decision().outcome != "keep" or self._pairs >= self._rules.policy.max_pairs:
            return None
        return Need.CONFIRM_PAIR if "inconclusive" in standings else None

    def split(self, need: Need) -> str:
        """On which cases a trial is run."""
        return self._rules.confirm_split if need is Need.CONFIRM_PAIR else self._rules.screen_split

    def take(self, need: Need, candidate: Observation, incumbent: Observation | None) -> None:
        """A trial that was needed, or a pair of them.

        Args:
            need: as :meth:`need` said.
            candidate: may be invalid; that ends the experiment.
            incumbent: None for a single screen trial.
        """
        self._reached_confirm |= need is Need.CONFIRM_PAIR
        if incumbent is not None and (problem := self._problem(incumbent)):
            self._fail_incumbent(incumbent, problem)
            return
        if not candidate.valid:
            self._fail_candidate(candidate)
            return
        if problem := self._problem(candidate):
            self._failed = (Decision.REJECT, Reason.INVALID_RESULT, problem)
            return
        if self._units.by_case and incumbent is not None and (failed := self._mismatch(need, candidate, incumbent)):
            self._failed = failed
            return
        self._take_values(need, candidate, incumbent)

    def _problem(self, trial: Observation) -> str:
        """Why a trial can't be judged, or the empty string."""
        if not trial.valid:
            return trial.problem or "it failed"
        try:
            for rule in (self._rules.objective, *self._rules.guarded):
                rule.oriented(trial.readings[rule.name])
            if self._units.by_case:
                units_of(trial.readings[self._rules.objective.name], self._rules.objective.sign)
        except (NotOnScaleError, CasesError) as error:
            return error.message
        return ""

    def _mismatch(
        self, need: Need, candidate: Observation, incumbent: Observation
    ) -> tuple[Decision, Reason, str] | None:
        """Both arms, and all confirm pairs, have to be about the same number of cases in the same clusters."""
        name = self._rules.objective.name
        ours, theirs = candidate.readings[name], incumbent.readings[name]
        if len(ours.cases) != len(theirs.cases) or ours.clusters != theirs.clusters:
            counted = f"{len(ours.cases)} cases of the candidate and {len(theirs.cases)} of the incumbent"
            return Decision.REJECT, Reason.INVALID_RESULT, f"{name}: the scorer reported {counted}, or other clusters"
        if need is Need.CONFIRM_PAIR:
            before, self._cases = self._cases, len(set(theirs.clusters) or theirs.cases)
            if before not in {0, self._cases}:
                changed = f"{name}: {before} cases, and {self._cases} in the next pair"
                return Decision.ERROR, Reason.INCUMBENT_FAILED, changed
        return None

    def _value(self, trial: Observation) -> Value:
        """What the statistics are told of a trial's objective."""
        rule = self._rules.objective
        reading = trial.readings[rule.name]
        return units_of(reading, rule.sign) if self._units.by_case else rule.oriented(reading)

    def _take_values(self, need: Need, candidate: Observation, incumbent: Observation | None) -> None:
        rule = self._rules.objective
        ours = rule.oriented(candidate.readings[rule.name])
        theirs = rule.oriented(incumbent.readings[rule.name]) if incumbent else None
        if need is not Need.CONFIRM_PAIR:
            self._dev.append(ours)
            self._incumbent += [theirs] if theirs is not None else []
        elif incumbent is not None:
            self._pairs += 1
            for guard in self._rules.guarded:
                self._guards[guard.name].observe(
                    guard.oriented(candidate.readings[guard.name]), guard.oriented(incumbent.readings[guard.name])
                )
        if self._test.need() is not None:
            self._test.observe(need, self._value(candidate), self._value(incumbent) if incumbent else None)

    def _fail_candidate(self, trial: Observation) -> None:
        reason = reason_of_outcome(trial.outcome)
        decision = Decision.ERROR if trial.fault is Fault.OURS else Decision.REJECT
        self._failed = (decision, reason, trial.problem)

    def _fail_incumbent(self, trial: Observation, problem: str) -> None:
        reason = Reason.SANDBOX if trial.fault is Fault.OURS else Reason.INCUMBENT_FAILED
        self._failed = (Decision.ERROR, reason, f"the incumbent's own trial has no value: {problem}")

    def _standing(self, name: str) -> Statistics:
        return self._guards[name].decision()

    def conclusion(self) -> Conclusion:
        """What follows; final once :meth:`need` is None."""
        statistics = self._test.decision()
        decision, reason, sentence = self._failed or self._weigh(statistics)
        return Conclusion(
            decision=decision,
            reason=reason,
            sentence=sentence,
            effect=_effect(statistics, self._pairs),
            more_pairs=self._more_pairs(statistics) if decision is Decision.INCONCLUSIVE else None,
            reached_confirm=self._reached_confirm,
            statistics={
                "objective": statistics.to_dict(),
                "evidence": self._units.as_json(),
                "guarded": {name: self._standing(name).to_dict() for name in self._guards},
                "residuals": list(self._test.residuals()),
                "confirming": self._test.confirming,
            },
        )

    def _more_pairs(self, statistics: Statistics) -> int | None:
        """Where seeds change nothing, no number of further pairs would."""
        return None if self._units.kind == "cases-once" else statistics.more_pairs

    def _weigh(self, statistics: Statistics) -> tuple[Decision, Reason, str]:
        for rule in self._rules.guarded if self._pairs else ():
            standing = self._standing(rule.name)
            if standing.outcome == "reject":
                return Decision.REJECT, Reason.GUARD_METRIC, _guard_sentence(rule, standing)
        decision = _DECISIONS[statistics.outcome]
        if decision is not Decision.KEEP:
            return decision, _REASONS[statistics.reason], self._sentence(statistics)
        for rule in self._rules.guarded:
            standing = self._standing(rule.name)
            if standing.outcome == "inconclusive":
                return Decision.INCONCLUSIVE, Reason.NOT_ENOUGH_EVIDENCE, _guard_sentence(rule, standing)
        return decision, Reason.IMPROVED, self._sentence(statistics)

    def _sentence(self, statistics: Statistics) -> str:
        """What decided, with the numbers that did; the statistics' own message where there is nothing better to say."""
        rule, level = self._rules.objective, statistics.level
        counted = _counted(statistics)
        if statistics.reason == "screen" and self._dev:
            looks = f"{len(self._dev)} look{'s' * (len(self._dev) != 1)}"
            return f"{rule.name} {_moved(rule, self._screened())} after {looks}"
        if statistics.reason in {"evidence", "futility", "pairs-exhausted", "cases-exhausted"} and level:
            return f"{rule.name}: evidence {_odds(statistics.log_e)} after {counted}, {_odds(-math.log(level))} needed"
        return f"{rule.name}: {statistics.message}"

    def _screened(self) -> float:
        """Mean difference of the screen's looks to what they were compared with."""
        ours = math.fsum(self._dev) / len(self._dev)
        if self._incumbent:
            return ours - math.fsum(self._incumbent) / len(self._incumbent)
        return ours - self._rules.baseline.mean if self._rules.baseline else 0.0


def _test_of(rules: Rules, units: Units) -> ExperimentTest:
    """The machine for the objective's units of evidence."""
    objective = rules.objective
    if not units.by_case:
        return experiment(
            rules.policy,
            objective.noise,
            rules.level,
            baseline=rules.baseline,
            null=objective.min_effect,
            min_effect=objective.min_effect,
        )
    from evalkit.stats.cases import CasesTest  # noqa: PLC0415 - numpy loads late

    once = units.kind == "cases-once"
    policy = replace(rules.policy, max_pairs=1) if once else rules.policy
    return CasesTest(policy, rules.level, null=objective.min_effect, fresh=once)


def _counted(statistics: Statistics) -> str:
    """``7 pairs`` or ``300 cases``."""
    return f"{statistics.pairs:,} {statistics.unit}{'s' * (statistics.pairs != 1)}"


def _effect(statistics: Statistics, pairs: int) -> Effect | None:
    if statistics.mean is None or not statistics.pairs:
        return None
    low, high = statistics.interval
    return Effect(
        mean=statistics.mean,
        low=float("-inf") if low is None else low,
        high=float("inf") if high is None else high,
        pairs=statistics.pairs if statistics.unit == "pair" else pairs,
    )


def _guard_sentence(rule: MetricRule, standing: Statistics) -> str:
    """How a guarded metric moved, and what it was allowed."""
    margin = rule.margin or 0.0
    allowed = "no loss is allowed" if margin < _NO_LOSS else f"a loss of {_amount(rule, margin)} is allowed in all"
    spent = f", {_amount(rule, rule.spent)} of it was lost before" if rule.spent > _NO_LOSS else ""
    verdict = "not shown to be within its margin" if standing.outcome == "inconclusive" else "beyond its margin"
    counted = f"{standing.pairs} pair{'s' * (standing.pairs != 1)}"
    return f"{rule.name} {_moved(rule, standing.mean or 0.0)} over {counted}, {verdict}: {allowed}{spent}"


def _amount(rule: MetricRule, size: float) -> str:
    """A size of effect: in the metric's unit, or in percent for ratios."""
    return f"{100 * math.expm1(size):.3g} %" if rule.scale == "log" else f"{size:.4g}"


def _moved(rule: MetricRule, effect: float) -> str:
    """``better by 0.01`` or ``worse by 3 %``."""
    return f"{'better' if effect > 0 else 'worse'} by {_amount(rule, abs(effect))}"


def _odds(log_e: float) -> str:
    """An e-value as odds against "no better": ``2,400 : 1``."""
    value = math.exp(min(log_e, 690.0))
    if value >= 1e6:  # noqa: PLR2004 - longer numbers are not read
        return f"{value:.0e} : 1".replace("e+0", "e").replace("e+", "e")
    return f"{value:,.0f} : 1" if value >= 10 else f"{value:.2g} : 1"  # noqa: PLR2004
