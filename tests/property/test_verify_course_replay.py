"""Any sequence of trials, good or bad, gives the same conclusion again; and no bad one ever gives a keep."""

import dataclasses
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.contract import Trust
from evalkit.measure import Fault, Observation, Reading
from evalkit.sandbox.interface import Outcome
from evalkit.stats.noise import Noise, calibrate
from evalkit.stats.policies import policy
from evalkit.stats.protocols import Need
from evalkit.stats.screen import Baseline
from evalkit.verify.course import Course
from evalkit.verify.replay import Story, replay
from evalkit.verify.rules import MetricRule, Rules
from evalkit.verify.verdict import Decision, Effect, Reason, Verdict, finite

quiet = settings(derandomize=True, deadline=None, max_examples=150)

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
small = st.floats(-0.1, 0.1)


@st.composite
def noises(draw):
    values = draw(st.lists(st.tuples(small, small), min_size=2, max_size=8))
    return calibrate([a for a, _ in values], [b for _, b in values])


@st.composite
def metric_rules(draw, name, *, margin):
    return MetricRule(
        name=name,
        sign=draw(st.sampled_from([1, -1])),
        scale=draw(st.sampled_from(["linear", "log"])),
        trust=draw(st.sampled_from(Trust)),
        noise=draw(noises()),
        min_effect=0.0 if margin else draw(st.sampled_from([0.0, 0.01])),
        margin=draw(st.floats(1e-9, 0.5)) if margin else None,
        spent=draw(st.floats(0, 0.1)) if margin else 0.0,
    )


@st.composite
def all_rules(draw):
    return Rules(
        contract="c" * 64,
        policy=dataclasses.replace(policy(draw(st.sampled_from(["standard", "frugal"]))), max_pairs=8),
        level=draw(st.floats(1e-4, 0.5)),
        index=draw(st.integers(1, 50)),
        keeps_before=draw(st.integers(0, 5)),
        objective=draw(metric_rules("score", margin=False)),
        guarded=tuple(draw(st.lists(metric_rules("side", margin=True), max_size=1))),
        baseline=draw(st.none() | st.builds(Baseline, small, st.floats(1, 60))),
        screen_split="dev",
        confirm_split="confirm",
    )


@st.composite
def trials(draw, centre):
    fault = draw(st.sampled_from([Fault.NONE] * 14 + [Fault.CANDIDATE, Fault.OURS]))
    outcome = Outcome.OK
    if fault is Fault.OURS:
        outcome = Outcome.SANDBOX_ERROR
    elif fault is Fault.CANDIDATE:
        outcome = draw(st.sampled_from([o for o in Outcome if o not in {Outcome.OK, Outcome.SANDBOX_ERROR}]))
    value = draw(st.floats(0.5, 1.5) | small | numbers) + centre
    readings = {"score": Reading(value, Trust.SCORED), "side": Reading(draw(st.floats(0.9, 1.1)), Trust.SCORED)}
    return Observation(
        tree="t" * 40,
        seed=draw(st.integers(0, 2**31)),
        scoring_seed=1,
        split="dev",
        readings=readings if fault is Fault.NONE else {},
        phases=(),
        outcome=outcome,
        fault=fault,
        problem="" if fault is Fault.NONE else "it failed",
    )


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


@quiet
@given(all_rules(), st.data())
def test_deciding_again_gives_the_same_at_every_point(rules, data):
    course = Course(rules)
    centre = data.draw(st.sampled_from([0.0, 0.0, 2.0]))
    recorded = []
    for _ in range(30):
        if (need := course.need()) is None:
            break
        candidate = data.draw(trials(centre))
        incumbent = None if need is Need.SCREEN_SINGLE else data.draw(trials(0.0))
        course.take(need, candidate, incumbent)
        recorded.append(
            through_json(
                {
                    "need": str(need.value),
                    "candidate": candidate.as_json(),
                    "incumbent": incumbent.as_json() if incumbent else None,
                }
            )
        )
        assert same_again(rules, recorded, course)
    found = course.conclusion()
    seen = [trial for record in recorded for trial in (record["candidate"], record["incumbent"]) if trial]
    if any(trial["fault"] for trial in seen):
        assert found.decision in {Decision.REJECT, Decision.ERROR}
    if any(trial["fault"] == "ours" for trial in seen):
        assert found.decision is Decision.ERROR
    if found.decision is Decision.KEEP:
        assert course.need() is None
        assert found.statistics["objective"]["log_e"] >= 0 or found.statistics["objective"]["level"] is None
    assert found.reached_confirm == any(record["need"] == "confirm pair" for record in recorded)


def same_again(rules, recorded, course):
    """What the ledger's records of this point would say, decided again."""
    found = course.conclusion()
    decided = {
        "decision": str(found.decision),
        "reason": str(found.reason),
        "statistics": through_json(finite(found.statistics)),
        "effect": through_json(finite(found.effect.as_json())) if found.effect else None,
    }
    story = Story({"rules": through_json(rules.as_json())}, tuple(recorded), decided, None, None)
    again = replay(story)
    assert again.same, again.differences
    return True


@quiet
@given(all_rules())
def test_rules_survive_json(rules):
    assert Rules.from_json(through_json(rules.as_json())) == rules


@quiet
@given(noises())
def test_noise_survives_json(noise):
    assert Noise.from_dict(through_json(noise.to_dict())) == noise


@quiet
@given(trials(0.0))
def test_what_decides_of_a_trial_survives_json(trial):
    assert Observation.from_json(through_json(trial.as_json())) == trial


@quiet
@given(
    st.sampled_from(Decision),
    st.none() | st.tuples(numbers, numbers | st.just(-float("inf")), numbers | st.just(float("inf"))),
    st.dictionaries(st.text(max_size=5).filter(lambda key: key not in Verdict.__slots__), st.integers() | numbers),
)
def test_verdicts_survive_json(decision, effect, body):

    verdict = Verdict(
        experiment=1,
        decision=decision,
        reason=Reason.FUTILE,
        sentence="s",
        incumbent="i",
        candidate="c",
        trust="scored",
        effect=None if effect is None else Effect(*effect, pairs=3),
        body=body,
    )
    assert Verdict.from_json(through_json(verdict.as_json())) == verdict
