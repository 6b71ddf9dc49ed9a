"""No bytes make a reader do anything but read or refuse, and its three rules hold for whatever it reads."""

import json
import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.interop import Status, read_history

LINES = st.lists(
    st.one_of(
        st.just("commit\tval_bpb\tmemory_gb\tstatus\tdescription"),
        st.just("# metric_direction: lower"),
        st.tuples(
            st.text(alphabet="abc0189-", max_size=8),
            st.sampled_from(["0.99", "0.000000", "nan", "-", "", "1e999", "12", "inf", "0.98"]),
            st.sampled_from(["44.0", "0.0", "", "-"]),
            st.sampled_from(["keep", "discard", "crash", "", "Keep", "maybe", "KEEP (x)", "keep\t"]),
            st.text(max_size=12),
        ).map("\t".join),
        st.dictionaries(
            st.sampled_from(["run", "metric", "status", "type", "child_metrics", "commit", "metrics", "timestamp"]),
            st.one_of(
                st.none(),
                st.integers(-5, 10**20),
                st.floats(),
                st.sampled_from(["keep", "crash", "config", "?"]),
                st.dictionaries(st.sampled_from(["combined_score", "error", "a"]), st.floats(), max_size=2),
            ),
            max_size=5,
        ).map(json.dumps),
        st.text(max_size=30),
    ),
    max_size=12,
)


def check(history):
    for row in history.rows:
        assert row.metric is None or math.isfinite(row.metric)
        assert row.status is not Status.CRASH or row.metric is None
        if row.status is Status.KEEP:
            assert (
                row.status_text.strip("*`'\" ").lower().startswith(("keep", "kept", "commit", "accept", "base", "init"))
            )
        assert 0 <= row.segment < len(history.segments)
    assert [row.line for row in history.rows] == sorted(row.line for row in history.rows)
    assert all(problem.line > 0 for problem in history.problems)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from([b"", b"\xef\xbb\xbf"]), st.integers(0, 40))
def test_any_lines(tmp_path_factory, lines, end, mark, cut):
    path = tmp_path_factory.getbasetemp() / "fuzz.tsv"
    data = mark + end.join(lines).encode("utf-8", "surrogatepass")
    path.write_bytes(data[: len(data) - cut] if cut else data)
    try:
        check(read_history(path))
    except DataError as error:
        assert error.message  # noqa: PT017 - refusing is one of the two right answers


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=400))
@example(b"SQLite format 3\0" + b"\0" * 100)
@example(b"\x1f\x8b\x08\0garbage")
@example(b'{"nodes": {"a": []}}\n')
@example(b"{\n")
def test_any_bytes(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.bin"
    path.write_bytes(data)
    try:
        check(read_history(path))
    except DataError as error:
        assert error.message  # noqa: PT017
