import math

import pytest

from evalkit.contract import Metric, Trust
from evalkit.measure import Reading
from evalkit.measure.relay import ScorerResult
from evalkit.measure.scoring import ReadingError, Seen, read_metrics
from evalkit.sandbox.interface import Usage

USAGE = {
    "run": Usage(wall=2.0, user=1.0, system=0.5, peak_memory=100, instructions=1000),
    "serve": Usage(wall=30.0, user=0.25, system=0.25, peak_memory=300, instructions=500),
}


def metric(name="loss", trust=Trust.SCORED, **changes):
    return Metric(name=name, goal="minimize", program="loss", trust=trust, **changes)


def seen(*, stdout="", result=None, usage=USAGE, queries=4):
    return Seen(usage=usage, latency=0.5, queries=queries, artifact_bytes=77, result=result, stdout=stdout)


def value(one, **what):
    return read_metrics([one], seen(**what))[one.name]


def scored(metrics, cases=None, clusters=()):
    return ScorerResult(metrics, cases or {}, clusters)


def test_scored_values_keep_their_cases_and_clusters():
    found = value(metric(), result=scored({"loss": 1.0}, {"loss": (0.5, 1.5)}, ("a", "b")))
    assert found == Reading(1.0, Trust.SCORED, (0.5, 1.5), ("a", "b"))
    assert Reading.from_json(found.as_json()) == found


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (None, "nothing"),
        (scored({}), "reported nothing, but not 'loss'"),
        (scored({"accuracy": 1.0}), "accuracy, but not 'loss'"),
        (scored({"loss": math.nan}), "finite"),
        (scored({"loss": math.inf}), "finite"),
        (scored({"loss": 1.0}, {"loss": (1.0, math.nan)}), "finite"),
        (scored({"loss": 1.0}, {"loss": (1.0, 2.0)}, ("a",)), "cluster"),
    ],
)
def test_a_scored_value_that_is_missing_or_not_finite(result, said):
    with pytest.raises(ReadingError, match=said):
        value(metric(), result=result)


@pytest.mark.parametrize(
    ("measure", "phase", "expected"),
    [
        ("wall", "run", 2.0), ("wall", "serve", 0.5), ("wall", "all", 2.5),
        ("cpu", "run", 1.5), ("cpu", "serve", 0.5), ("cpu", "all", 2.0),
        ("memory", "run", 100), ("memory", "all", 300),
        ("instructions", "all", 1500), ("bytes", "all", 77), ("latency", "serve", 0.125),
    ],
)  # fmt: skip
def test_measured_values(measure, phase, expected):
    found = value(metric(trust=Trust.MEASURED, measure=measure, phase=phase))
    assert found.value == pytest.approx(expected)
    assert found.trust is Trust.MEASURED


@pytest.mark.parametrize("measure", ["cpu", "memory", "instructions"])
def test_what_the_machine_cannot_tell_is_no_value(measure):
    usage = {**USAGE, "serve": Usage(wall=1.0)}
    with pytest.raises(ReadingError, match="can't be measured"):
        value(metric(trust=Trust.MEASURED, measure=measure), usage=usage)


def test_a_latency_without_queries_is_no_value():
    with pytest.raises(ReadingError):
        value(metric(trust=Trust.MEASURED, measure="latency", phase="serve"), queries=0)


def test_a_phase_that_the_program_does_not_have():
    with pytest.raises(ReadingError, match="does not have"):
        value(metric(trust=Trust.MEASURED, measure="cpu", phase="serve"), usage={"run": USAGE["run"]})


@pytest.mark.parametrize(
    ("stdout", "expected"),
    [("METRIC loss=0.25\n", 0.25), ("a\nMETRIC  loss=-1e-3  \nb", -1e-3), ("METRIC loss=7", 7.0)],
)
def test_reported_values(stdout, expected):
    found = value(metric(trust=Trust.REPORTED), stdout=stdout)
    assert (found.value, found.trust) == (expected, Trust.REPORTED)


@pytest.mark.parametrize(
    "stdout",
    ["", "loss=1", "METRIC loss=", "METRIC loss=nan", "METRIC loss=inf", "METRIC loss=1e400", "METRIC loss=x",
     "METRIC loss=1\nMETRIC loss=1", "METRIC other=1", "METRIC losses=1", "METRIC loss=true", "METRIC loss=1_000",
     "METRIC loss=\u0661\u0662"],
)  # fmt: skip
def test_a_reported_value_that_does_not_stand_there_exactly_once(stdout):
    with pytest.raises(ReadingError):
        value(metric(trust=Trust.REPORTED), stdout=stdout)


def test_one_bad_metric_leaves_none():
    with pytest.raises(ReadingError):
        read_metrics([metric(), metric("other")], seen(result=scored({"loss": 1.0})))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_reading_is_finite(number):
    with pytest.raises(ValueError, match="finite"):
        Reading(number, Trust.SCORED)
