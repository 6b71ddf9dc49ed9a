"""Whatever a history says, the audit gives a verdict a row and never believes more than there is."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.bench.watch_histories import score_of_audit, simulate_history
from evalkit.interop import History, HistoryRow, Segment, Status
from evalkit.report.audit_data import as_json, as_markdown
from evalkit.report.audit_page import as_html
from evalkit.watch.audit import Verdict, audit

ROWS = st.lists(
    st.tuples(
        st.sampled_from(list(Status)),
        st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, 1.0, 1.5, 2.0])),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["baseline", "seed 4", "rerun baseline", "x", "", "no change", "add comments"]),
        st.booleans(),
        st.integers(0, 1),
    ),
    max_size=25,
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(ROWS, st.sampled_from(["minimize", "maximize", None]), st.sampled_from([None, 0.1, 1e-12]))
def test_any_history(rows, goal, sd):
    made = tuple(
        HistoryRow(
            line=index + 2,
            status=status,
            metric=None if status is Status.CRASH else metric,
            commit=commit,
            description=text,
            detail=detail,
            segment=segment,
            baseline=text == "baseline",
        )
        for index, (status, metric, commit, text, detail, segment) in enumerate(rows)
    )
    done = audit(History("x", "results.tsv", (Segment("m", goal),) * 2, made), sd=sd)
    assert sum(len(segment.rows) for segment in done.segments) == len(made)
    for segment in done.segments:
        for row in segment.rows:
            assert row.probability is None or 0 <= row.probability <= 1 + 1e-9
            assert row.verdict is not Verdict.SURVIVES or (row.kept and row.row.metric is not None)
            assert row.row.status is not Status.CRASH or not row.kept
        expected = segment.expected_false_keeps
        assert expected is None or -1e-6 <= expected <= segment.tested + 1e-6
    json.dumps(as_json(done), allow_nan=False)
    assert as_html(done)
    assert as_markdown(done)


@pytest.mark.slow
@pytest.mark.parametrize("snr", [2.0, 1.0])
def test_false_discoveries_stay_under_ten_percent(snr):
    scores = [score_of_audit(simulate_history(seed, rows=300, snr=snr), seed) for seed in range(40)]
    false = sum(score.false / max(score.survivors, 1) for score in scores) / len(scores)
    assert false <= 0.10
    expected = sum(score.expected_false for score in scores)
    actual = sum(score.false_keeps for score in scores)
    assert expected == pytest.approx(actual, rel=0.15)
