"""JSON lines, graphs and databases of other loops."""

import gzip
import json
import sqlite3

import pytest

from evalkit.errors import DataError
from evalkit.interop import Status, read_history

CONFIG = {"type": "config", "name": "speed", "metricName": "total_ms", "metricUnit": "ms", "bestDirection": "lower"}


def lines(tmp_path, *records, name="log.jsonl"):
    path = tmp_path / name
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def run(number, metric, status, **more):
    return {"run": number, "commit": f"c{number}", "metric": metric, "status": status, "description": "x", **more}


def test_pi_session(tmp_path):
    history = read_history(
        lines(
            tmp_path,
            CONFIG,
            CONFIG,
            run(1, 100.0, "keep", timestamp=1780183209779, metrics={"mem_kb": 5, "name": "text"}),
            {"type": "hook", "stage": "before", "exit_code": 0},
            run(2, 0, "crash"),
            run(3, 90.0, "checks_failed"),
        )
    )
    assert history.form == "pi-autoresearch log"
    assert len(history.segments) == 1
    assert (history.segments[0].metric, history.segments[0].unit, history.segments[0].goal) == (
        "total_ms",
        "ms",
        "minimize",
    )
    assert [row.status for row in history.rows] == [Status.KEEP, Status.CRASH, Status.DISCARD]
    assert history.rows[0].extra == (("mem_kb", 5.0),)
    assert history.rows[0].timestamp == pytest.approx(1780183209.779)
    assert (history.rows[1].metric, history.rows[1].recorded) == (None, 0.0)


def test_pi_unknown_status_and_missing_metric(tmp_path):
    history = read_history(lines(tmp_path, CONFIG, run(1, 5.0, "mystery"), {"run": 2, "status": "keep"}))
    assert history.rows[0].status is Status.UNKNOWN
    assert history.rows[1].metric is None
    assert history.problems[0].line == 3


def test_a_later_config_starts_a_segment(tmp_path):
    second = {**CONFIG, "metricName": "score", "bestDirection": "higher", "noiseFloor": 0.03}
    history = read_history(lines(tmp_path, CONFIG, run(1, 5.0, "keep"), second, run(2, 7.0, "keep")))
    assert [row.segment for row in history.rows] == [0, 1]
    assert [segment.goal for segment in history.segments] == ["minimize", "maximize"]
    assert history.segments[1].noise_sd == 0.03


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", '"fast"', "true", "[1]"])
def test_a_metric_that_is_no_number(tmp_path, value):
    text = '{"run":1,"metric":' + value + ',"status":"keep"}'
    history = read_history(lines(tmp_path, CONFIG, text, run(2, 1.0, "keep")))
    assert history.rows[0].metric is None
    assert len(history.rows) == 2
    assert history.problems[0].line == 2


@pytest.mark.parametrize(
    "bad", ['{"run":1,', "[1,2]", "nonsense", '{"metric":1,"metric":2}', "[" * 100_000, '{"a":' * 50_000, '{"x":1}']
)
def test_bad_lines_are_named_and_the_rest_read(tmp_path, bad):
    history = read_history(lines(tmp_path, CONFIG, bad, run(2, 1.0, "keep")))
    assert len(history.rows) == 1
    assert [(problem.line, problem.dropped) for problem in history.problems] == [(2, True)]


def test_openevolve_trace(tmp_path):
    child = {"parent_id": "p", "child_id": "c1", "iteration": 1, "timestamp": 1762961702.0, "parent_metrics": {}}
    path = lines(
        tmp_path,
        {**child, "child_metrics": {"combined_score": 0.7, "speed": 3.0}},
        {**child, "child_metrics": {"speed": 2.0, "size": 4.0}},
        {**child, "child_metrics": {"error": 0.0}},
        name="evolution_trace.jsonl",
    )
    history = read_history(path)
    assert history.form == "OpenEvolve trace"
    assert [row.metric for row in history.rows] == [0.7, 3.0, None]
    assert [row.status for row in history.rows] == [Status.UNKNOWN, Status.UNKNOWN, Status.CRASH]
    assert history.segments[0].goal == "maximize"


def test_compressed_trace(tmp_path):
    path = tmp_path / "trace.jsonl.gz"
    record = {"child_id": "c", "child_metrics": {"combined_score": 1.0}}
    path.write_bytes(gzip.compress(json.dumps(record).encode()))
    assert read_history(path).rows[0].metric == 1.0
    path.write_bytes(gzip.compress(json.dumps(record).encode() * 1000)[:-20])
    with pytest.raises(DataError):
        read_history(path)


def test_evo_graph(tmp_path):
    (tmp_path / "config.json").write_text('{"metric": "max"}')
    nodes = {
        "root": {"status": "root", "score": None},
        "exp_0": {"status": "committed", "score": 0.5, "parent": "root", "hypothesis": "baseline"},
        "exp_1": {
            "status": "evaluated",
            "score": 0.4,
            "parent": "exp_0",
            "benchmark_result": {"tasks": {"a": 1, "b": 0}},
        },
        "exp_2": {"status": "failed", "score": 0.0, "parent": "exp_0"},
        "exp_3": {"status": "pending", "score": None, "parent": "exp_0"},
        "exp_4": 7,
    }
    (tmp_path / "graph.json").write_text(json.dumps({"root": "root", "nodes": nodes}, indent=2))
    history = read_history(tmp_path / "graph.json")
    assert [row.status.value for row in history.rows] == ["keep", "discard", "crash", "unknown"]
    assert history.rows[1].cases == (("a", 1.0), ("b", 0.0))
    assert history.rows[2].metric is None
    assert history.segments[0].goal == "maximize"
    assert len(history.problems) == 1


def test_shinka_database(tmp_path):
    path = tmp_path / "programs.sqlite"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE programs (id TEXT, parent_id TEXT, generation INTEGER, timestamp REAL, combined_score REAL,"
            " correct BOOLEAN, metadata TEXT)"
        )
        database.executemany(
            "INSERT INTO programs VALUES (?,?,?,?,?,?,?)",
            [
                ("a", None, 0, 1.7e9, 1.0, 1, "{}"),
                ("b", "a", 1, 1.7e9 + 1, 1.5, 1, '{"patch_name": "tile"}'),
                ("c", "a", 1, 1.7e9 + 2, 0.0, 0, None),
                ("d", "a", 1, 1.7e9 + 3, 9.0, 0, None),
            ],
        )
    history = read_history(path)
    assert [row.status.value for row in history.rows] == ["unknown", "unknown", "crash", "discard"]
    assert [row.metric for row in history.rows] == [1.0, 1.5, None, None]
    assert history.rows[1].description == "tile"
    assert history.rows[3].recorded == 9.0


def test_a_database_without_programs(tmp_path):
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE VIEW programs AS SELECT 1 AS combined_score")
    with pytest.raises(DataError, match="programs"):
        read_history(path)


def test_shinka_folder(tmp_path):
    for generation, score, correct in ((0, 1.0, True), (10, 3.0, True), (2, 2.0, False)):
        results = tmp_path / f"gen_{generation}" / "results"
        results.mkdir(parents=True)
        (results / "metrics.json").write_text(json.dumps({"combined_score": score}))
        (results / "correct.json").write_text(json.dumps({"correct": correct, "error": None}))
    history = read_history(tmp_path)
    assert [row.label for row in history.rows] == ["gen 0", "gen 2", "gen 10"]
    assert [row.metric for row in history.rows] == [1.0, None, 3.0]
