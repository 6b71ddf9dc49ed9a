"""Series from other tools, and where they change."""

import json

import numpy as np
import pytest

from evalkit.errors import DataError
from evalkit.watch.series import Point, Series, changes, read_series

RNG = np.random.default_rng(4)
STEP = [*(10 + 0.1 * RNG.standard_normal(40)), *(11 + 0.1 * RNG.standard_normal(40))]


def test_csv_with_dates_and_commits(tmp_path):
    path = tmp_path / "x.csv"
    rows = [f"2026-01-{1 + i // 4:02d}T{i % 4:02d}:00:00,c{i},{value}" for i, value in enumerate(STEP)]
    path.write_text("\ufefftimestamp,commit,latency_ms\r\n" + "\r\n".join(reversed(rows)))
    (series,) = read_series(path)
    assert series.name == "latency_ms"
    assert [point.commit for point in series.points[:2]] == ["c0", "c1"]
    (change,) = changes(series)
    assert (change.commit, change.previous) == ("c40", "c39")
    assert change.methods == ("e-divisive", "cusum")
    assert change.relative == pytest.approx(0.1, abs=0.01)
    assert change.time == series.points[40].time
    assert change.p_value <= 0.01


def test_csv_without_a_header(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("\n".join(f"{value}" for value in STEP))
    assert len(read_series(path)[0].points) == 80


def test_torn_rows_and_texts_are_left_out(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("value,note\n1,a\n2\nnan,b\n3,c\n")
    assert [point.value for point in read_series(path)[0].points] == [1, 3]


def test_long_form_is_split_by_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("commit,benchmark,value\na,fast,1\na,slow,9\nb,fast,2\n")
    assert {series.name: len(series.points) for series in read_series(path)} == {"fast": 2, "slow": 1}


def test_json_lines(tmp_path):
    path = tmp_path / "x.jsonl"
    lines = [json.dumps({"commit": f"c{i}", "wall": value, "text": "x"}) for i, value in enumerate(STEP)]
    path.write_text("\n".join([*lines, "{torn", '{"wall": NaN}']))
    (series,) = read_series(path)
    assert len(series.points) == 80
    assert changes(series)[0].commit == "c40"


def test_pytest_benchmark_folder(tmp_path):
    for i, value in enumerate(STEP[30:50]):
        document = {
            "commit_info": {"id": f"c{i}", "time": f"2026-01-01T00:{59 - i:02d}:00+00:00"},
            "datetime": "2026-01-02T00:00:00",
            "benchmarks": [{"fullname": "t.py::test_a", "stats": {"median": value, "mean": 0}}, {"name": "broken"}],
        }
        (tmp_path / f"{i:04d}.json").write_text(json.dumps(document, indent=1))
    (series,) = read_series(tmp_path)
    assert series.name == "t.py::test_a"
    assert series.points[0].commit == "c19"
    assert changes(series)[0].commit == "c9"


def test_asv_folder(tmp_path):
    folder = tmp_path / "results" / "box"
    folder.mkdir(parents=True)
    (tmp_path / "results" / "benchmarks.json").write_text('{"version": 2}')
    for i in range(3):
        document = {
            "commit_hash": f"c{i}",
            "date": 1700000000000 + i,
            "params": {"machine": "box"},
            "result_columns": ["result", "params"],
            "results": {"bench.time_a": [[0.5 + i, None], [["1", "2"]]], "bench.broken": None},
        }
        (folder / f"c{i}-env.json").write_text(json.dumps(document))
    names = {series.name: [point.value for point in series.points] for series in read_series(tmp_path)}
    assert names == {"box: bench.time_a[0]": [0.5, 1.5, 2.5]}


@pytest.mark.parametrize("text", ["", "a,b\nx,y\n", "{}", '{"benchmarks": []}', "[1, 2]", '"a\n', "{\n"])
def test_what_is_no_series_is_refused(tmp_path, text):
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(DataError):
        read_series(path)


def test_noise_alone_has_no_change_points():
    found = [changes(Series("x", tuple(Point(v) for v in np.random.default_rng(s).normal(size=60)))) for s in range(20)]
    assert sum(any("e-divisive" in change.methods for change in each) for each in found) <= 1


def test_short_series_say_nothing():
    assert changes(Series("x", tuple(Point(float(i)) for i in range(9)))) == ()
