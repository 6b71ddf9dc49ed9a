"""Results tables as loops write them, and as they break."""

import pytest

from evalkit.errors import DataError
from evalkit.interop import Status, find_histories, read_history
from evalkit.interop.lines import MAX_LINE

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
ROWS = HEADER + "a1\t0.9979\t44.0\tkeep\tbaseline\nb2\t0.9932\t44.2\tkeep\tLR up\nc3\t1.005\t44.0\tdiscard\tGeLU\n"


def write(tmp_path, text, name="results.tsv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_karpathy(tmp_path):
    history = read_history(write(tmp_path, ROWS + "d4\t0.000000\t0.0\tcrash\twider (OOM)\n"))
    assert history.form == "results.tsv"
    assert [row.status for row in history.rows] == [Status.KEEP, Status.KEEP, Status.DISCARD, Status.CRASH]
    assert [row.line for row in history.rows] == [2, 3, 4, 5]
    assert history.segments[0].metric == "val_bpb"
    assert history.segments[0].goal == "minimize"
    assert history.rows[0].baseline
    assert history.rows[0].extra == (("memory_gb", 44.0),)
    assert not history.problems


def test_a_crash_recorded_as_zero_has_no_metric(tmp_path):
    crash = read_history(write(tmp_path, ROWS + "d4\t0.000000\t0.0\tcrash\tOOM\n")).rows[-1]
    assert crash.metric is None
    assert crash.recorded == 0.0


def test_a_discard_with_zero_metric_and_no_memory_is_a_crash(tmp_path):
    history = read_history(write(tmp_path, ROWS + "d4\t0.000000\t0.0\tdiscard\tnever ran\n"))
    assert history.rows[-1].status is Status.CRASH
    assert history.rows[-1].metric is None
    assert [problem.line for problem in history.problems] == [5]
    assert not history.problems[0].dropped


@pytest.mark.parametrize(
    "word", ["", "tentative", "running", "keep?", "keep-candidate", "KEPT!", "ok", "pivot", "blocked"]
)
def test_an_unknown_status_never_becomes_a_keep(tmp_path, word):
    history = read_history(write(tmp_path, ROWS + f"d4\t0.9\t44.0\t{word}\tx\n"))
    assert history.rows[-1].status is Status.UNKNOWN
    assert history.rows[-1].status_text == word


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("keep", Status.KEEP),
        ("KEEP", Status.KEEP),
        ("keep (reworked)", Status.KEEP),
        ("baseline", Status.KEEP),
        ("checks_failed", Status.DISCARD),
        ("guard-failed", Status.DISCARD),
        ("no-op", Status.DISCARD),
        ("metric-error", Status.CRASH),
        ("timeout", Status.CRASH),
    ],
)
def test_known_statuses(tmp_path, word, status):
    assert read_history(write(tmp_path, ROWS + f"d4\t0.9\t44.0\t{word}\tx\n")).rows[-1].status is status


@pytest.mark.parametrize(
    "cell", ["nan", "NaN", "inf", "-inf", "1e999", "0x10", "1_000", "1,5", "~1.2", "0.9 bpb", "１"]
)
def test_a_metric_that_is_no_finite_number_is_none_and_named(tmp_path, cell):
    history = read_history(write(tmp_path, ROWS + f"d4\t{cell}\t44.0\tkeep\tx\n"))
    assert history.rows[-1].metric is None
    assert history.rows[-1].status is Status.KEEP
    assert history.problems[-1].line == 5
    assert not history.problems[-1].dropped


def test_a_missing_metric_is_not_zero(tmp_path):
    history = read_history(write(tmp_path, ROWS + "d4\t-\t44.0\tkeep\tx\ne5\t\t44.0\tdiscard\tx\n"))
    assert [row.metric for row in history.rows[-2:]] == [None, None]
    assert [problem.line for problem in history.problems] == [5]


def test_byte_order_mark_and_crlf(tmp_path):
    history = read_history(write(tmp_path, b"\xef\xbb\xbf" + ROWS.replace("\n", "\r\n").encode()))
    assert len(history.rows) == 3
    assert history.rows[0].description == "baseline"
    assert not history.problems


def test_torn_last_row_is_named_and_the_rest_read(tmp_path):
    history = read_history(write(tmp_path, ROWS + "d4\t0.97"))
    assert len(history.rows) == 3
    assert "the file ends inside it" in str(history.problems[0])
    assert history.problems[0].line == 5


def test_a_last_row_without_a_newline_is_read(tmp_path):
    assert len(read_history(write(tmp_path, ROWS.rstrip("\n"))).rows) == 3


def test_mixed_columns(tmp_path):
    text = ROWS + "d4\t0.99\tkeep\ne5\t0.98\t44.0\tkeep\ttabs\tin\tthe text\nf6\t0.97\t44.0\tkeep\n"
    history = read_history(write(tmp_path, text))
    assert [row.label for row in history.rows] == ["a1", "b2", "c3", "e5", "f6"]
    assert history.rows[3].description == "tabs in the text"
    assert [(problem.line, problem.dropped) for problem in history.problems] == [(5, True), (6, False), (7, False)]


def test_two_headers(tmp_path):
    history = read_history(write(tmp_path, ROWS + HEADER + "d4\t0.99\t44.0\tkeep\tx\n"))
    assert len(history.rows) == 4
    assert [(problem.line, problem.dropped) for problem in history.problems] == [(5, True)]


def test_another_header_changes_the_columns_and_the_segment(tmp_path):
    text = ROWS + "commit\tstatus\taccuracy\tdescription\nd4\tkeep\t0.5\tx\n"
    history = read_history(write(tmp_path, text))
    assert [segment.metric for segment in history.segments] == ["val_bpb", "accuracy"]
    assert history.rows[-1].metric == 0.5
    assert history.rows[-1].segment == 1


def test_a_very_long_line_is_named_and_the_rest_read(tmp_path):
    long = b"d4\t0.9\t44.0\tkeep\t" + b"x" * (MAX_LINE + 100) + b"\n"
    history = read_history(write(tmp_path, ROWS.encode() + long + b"e5\t0.95\t44.0\tkeep\tafter\n"))
    assert [row.label for row in history.rows] == ["a1", "b2", "c3", "e5"]
    assert history.problems[0].line == 5
    assert history.rows[-1].line == 6


def test_bytes_that_are_not_text(tmp_path):
    history = read_history(write(tmp_path, ROWS.encode() + b"d4\t0.9\t44\tkeep\t\xff\xfe\ne5\t0.9\t44\tkeep\ta\0b\n"))
    assert len(history.rows) == 3
    assert [problem.line for problem in history.problems] == [5, 6]


def test_skypilot_columns(tmp_path):
    text = "experiment_id\tstatus\tval_bpb\tmemory_gb\tdescription\nexp-01\tkeep\t0.9979\t44.0\tbaseline\n"
    row = read_history(write(tmp_path, text)).rows[0]
    assert (row.label, row.status, row.metric) == ("exp-01", Status.KEEP, 0.9979)


def test_autoagent(tmp_path):
    text = (
        "commit\tavg_score\tpassed\ttask_scores\tcost_usd\tstatus\tdescription\n"
        "a1\t0.345\t20/58\ta:1,b:0.5,c:0\t1.20\tkeep\tbaseline\n"
        "b2\t0.36\t21/58\t\t\tdiscard\tprompt\n"
    )
    history = read_history(write(tmp_path, text))
    assert history.form == "autoagent table"
    assert history.segments[0].metric == "avg_score"
    assert history.segments[0].goal == "maximize"
    assert history.rows[0].passed == (20, 58)
    assert history.rows[0].cases == (("a", 1.0), ("b", 0.5), ("c", 0.0))


def test_direction_comment_and_parallel_rows(tmp_path):
    text = (
        "# environment: cpu=8\n# metric_direction: lower\n# run_tag: any-types\n"
        "iteration\tcommit\tmetric\tdelta\tguard\tstatus\tdescription\n"
        "0\ta1\t14\t0\t-\tbaseline\tfailures\n"
        "5a\tabc\t38\t-3\tpass\tkeep\t[PARALLEL worker-a] x\n"
        "5\tabc\t38\t-3\tpass\tkeep\t[PARALLEL batch] x\n"
        "6\t-\t0\t0\t-\tcrash\tbad import\n"
    )
    history = read_history(write(tmp_path, text))
    assert history.form == "autoresearch loop table"
    assert history.segments[0].goal == "minimize"
    assert history.segments[0].goal_source == "stated by the file"
    assert [row.detail for row in history.rows] == [False, True, False, False]
    assert history.rows[-1].commit == ""
    assert history.rows[-1].metric is None


def test_udit_columns_with_time_and_guard_metric(tmp_path):
    text = (
        "# metric_direction: higher_is_better\n"
        "iteration\ttimestamp\tcommit\tmetric\tdelta\tguard\tguard-metric\tstatus\tdescription\n"
        "0\t2026-05-25T16:00:00Z\t-\t72.4\t0\tpass\t-\tbaseline\tinitial state\n"
    )
    history = read_history(write(tmp_path, text))
    assert history.segments[0].goal == "maximize"
    assert history.rows[0].metric == 72.4
    assert history.rows[0].timestamp == 1779724800.0


def test_without_a_header(tmp_path):
    history = read_history(write(tmp_path, ROWS.removeprefix(HEADER)))
    assert len(history.rows) == 3
    assert not history.problems[0].dropped


def test_metric_is_not_a_resource_or_a_difference(tmp_path):
    text = (
        "commit\tdelta_vs_best\tmemory_gb\ttg_tok_s\tstatus\tdescription\n"
        "a\t0\t10.1\t29.17\tkeep\tbaseline\nb\t-2.8\t9.9\t26.34\tdiscard\tx\n"
    )
    segment = read_history(write(tmp_path, text)).segments[0]
    assert (segment.metric, segment.goal) == ("tg_tok_s", "maximize")


def test_the_goal_follows_the_decisions_where_the_name_is_silent(tmp_path):
    rows = "".join(f"c{i}\t{i}.5\tkeep\tx\n" for i in range(6))
    segment = read_history(write(tmp_path, "commit\tgap\tstatus\tdescription\n" + rows)).segments[0]
    assert segment.goal == "maximize"
    assert "5 of 5" in segment.goal_source


def test_csv(tmp_path):
    text = 'commit,val_bpb,memory_gb,status,description\na1,0.99,44,keep,"with, comma"\nb2,0.98,44,keep,"torn\n'
    history = read_history(write(tmp_path, text, "results.csv"))
    assert history.rows[0].description == "with, comma"
    assert [problem.line for problem in history.problems] == [3]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"hello\n", b"a\tb\n1\t2\n", b"\xff\xfea\0b\0", b"# only: a comment\n"])
def test_what_is_no_history_is_refused_with_a_sentence(tmp_path, data):
    with pytest.raises(DataError):
        read_history(write(tmp_path, data))


def test_a_folder_is_walked_and_what_is_no_history_is_named(tmp_path):
    write(tmp_path, ROWS)
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", ROWS, "results-2.tsv")
    write(tmp_path, "name\tage\nx\t1\n", "people.tsv")
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".git", ROWS)
    found = list(find_histories(tmp_path))
    assert [(item.path.name, item.history is not None) for item in found] == [
        ("people.tsv", False),
        ("results.tsv", True),
        ("results-2.tsv", True),
    ]
    assert found[0].reason
