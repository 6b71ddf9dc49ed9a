"""Whatever a scorer and a candidate write, the parent ends with a result of finite numbers, with none, or in words."""

import json
import math
import os
from contextlib import contextmanager

from hypothesis import example, given, settings
from hypothesis import strategies as st

from evalkit.contract import Metric, Trust
from evalkit.measure.relay import RelayError, converse
from evalkit.measure.scoring import ReadingError, Seen, read_metrics
from evalkit.protocol.frames import pack

quiet = settings(derandomize=True, deadline=None, max_examples=250)

values = st.sampled_from(
    ["1", "0.5", "-3e2", "NaN", "1e400", '"1"', "true", "null", "[1]", "{}", "9" * 400, "Infinity"]
)
objects = st.builds('{{"loss": {}}}'.format, values) | st.builds('{{"loss": {}, "loss": {}}}'.format, values, values)
documents = st.one_of(
    objects,
    st.builds('{{"nonce": "x", "metrics": {}}}'.format, objects),
    st.builds('{{"metrics": {}, "cases": {{"loss": {}}}}}'.format, objects, values),
    st.text('{}[]:,"0123456789.eE+-aN ', max_size=30),
)
bodies = documents.map(lambda text: b"J" + text.encode()) | st.binary(min_size=1, max_size=40)
frames = st.builds(pack, st.sampled_from([b"Q", b"R", b"A", b"X", b"H", b"?"]), bodies)
streams = st.one_of(
    documents.map(str.encode),
    st.lists(frames | st.binary(max_size=10), max_size=4).map(b"".join),
    st.binary(max_size=60),
)


@contextmanager
def pipes(written):
    """Descriptors to somebody who has said all this already, and listens to nothing."""
    read, to_us = os.pipe()
    os.write(to_us, written)
    os.close(to_us)
    nobody, away = os.pipe()
    try:
        yield away, read
    finally:
        for handle in (read, nobody, away):
            os.close(handle)


@quiet
@given(streams, st.none() | streams)
@example(b'{"loss": 1}', None)
@example(pack(b"R", b'J{"nonce": "\\ud800", "metrics": {}}'), None)
@example(b"\x00", b"")
def test_any_streams(scorer, candidate):
    with pipes(scorer) as left, pipes(candidate or b"") as right:
        try:
            ended = converse(left, None if candidate is None else right, split="dev", seed=1)
        except RelayError as error:
            assert str(error)  # noqa: PT017 - whichever it is, it has to say something
            return
    if ended.result is not None:
        numbers = [*ended.result.metrics.values(), *(x for many in ended.result.cases.values() for x in many)]
        assert all(isinstance(number, float) and math.isfinite(number) for number in numbers)
        assert not scorer.startswith(b"\0"), "a frame without the nonce was believed"
        assert json.loads(scorer).keys() == ended.result.metrics.keys()
    reading(ended)


def reading(ended):
    """From a result to the contract's metric: one finite number, or an error that names the metric."""
    seen = Seen(usage={}, latency=0.0, queries=0, artifact_bytes=0, result=ended.result, stdout="")
    try:
        found = read_metrics([Metric("loss", "minimize", "loss", Trust.SCORED)], seen)
    except ReadingError as error:
        assert "'loss'" in str(error)  # noqa: PT017
    else:
        assert math.isfinite(found["loss"].value)


@quiet
@given(st.text(max_size=80), st.floats(allow_nan=True, allow_infinity=True))
def test_any_output_with_a_metric_line(noise, value):
    metric = Metric("loss", "minimize", "loss", Trust.REPORTED)
    stdout = f"{noise}\nMETRIC loss={value!r}\n{noise}"
    seen = Seen(usage={}, latency=0.0, queries=0, artifact_bytes=0, result=None, stdout=stdout)
    try:
        found = read_metrics([metric], seen)["loss"].value
    except ReadingError:
        assert "METRIC" in noise or not math.isfinite(value)
    else:
        assert found == value
