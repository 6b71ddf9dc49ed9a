"""No bytes make the series reader do anything but read or refuse, and change points stay within the series."""

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.watch.series import Point, Series, changes, read_series

FIELDS = st.dictionaries(
    st.sampled_from(["timestamp", "commit", "value", "name", "ms", "benchmarks", "results", "commit_hash"]),
    st.one_of(st.none(), st.floats(), st.integers(), st.text(max_size=5), st.lists(st.none(), max_size=2)),
    max_size=4,
)
TEXT = st.one_of(
    st.text(max_size=200),
    st.lists(FIELDS.map(json.dumps), max_size=6).map("\n".join),
    st.lists(st.sampled_from(["commit,value", "a,1", "b,nan", "2024-01-01,3", '"x', ",", "7"]), max_size=8).map(
        "\n".join
    ),
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(TEXT)
def test_any_text(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "series.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = read_series(path)
    except DataError as error:
        assert error.message  # noqa: PT017 - refusing is one of the two right answers
        return
    assert all(math.isfinite(point.value) for series in found for point in series.points)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=60))
def test_any_values(values):
    series = Series("x", tuple(Point(value) for value in values))
    found = changes(series, permutations=19, significance=0.1)
    assert [change.index for change in found] == sorted({change.index for change in found})
    assert all(0 < change.index < len(values) for change in found)
