"""What is split, how, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evalkit.errors import DataError, UsageError
from evalkit.overlap import Problems
from evalkit.splits import (
    UNUSED,
    Cases,
    HoldoutSplit,
    KeyedFolds,
    Plan,
    TimeFolds,
    assign,
    cases_from_arrays,
    cases_from_iterable,
    fingerprint,
    make_key,
    read_cases,
)

KEY = make_key(b"a test key of some length")


def test_empty_splits_are_refused() -> None:
    with pytest.raises(DataError, match=r"'(dev|confirm|sealed)' would be empty: 4 cases in 1 group"):
        assign(Cases(list("abcd"), groups=["g"] * 4), Plan(), KEY)
    with pytest.raises(DataError, match="no cases"):
        Cases([])


def test_bad_plans_are_refused() -> None:
    with pytest.raises(UsageError, match="positive share"):
        Plan({"dev": 1.0, "confirm": 0.0})
    with pytest.raises(UsageError, match="needs a class"):
        assign(Cases(list("abcdef")), Plan(method="stratified"), KEY)
    with pytest.raises(UsageError, match="needs a time"):
        assign(Cases(list("abcdef")), Plan(method="time"), KEY)
    with pytest.raises(UsageError, match="need texts"):
        assign(Cases(list("abcdef")), Plan(duplicates=0.5), KEY)
    with pytest.raises(UsageError, match="negative"):
        Plan(gap=-1)
    with pytest.raises(DataError, match="used twice"):
        Cases(["a", "b", "a"])
    with pytest.raises(DataError, match="2 cases but 1 labels"):
        Cases(["a", "b"], labels=["x"])


def test_rare_classes_reach_every_split() -> None:
    labels = ["rare"] * 10 + ["common"] * 190
    found = assign(Cases([str(n) for n in range(200)], labels=labels), Plan(method="stratified"), KEY)
    assert [int((found.split[:10] == split).sum()) for split in range(3)] == [5, 3, 2]
    assert [int((found.split[10:] == split).sum()) for split in range(3)] == [95, 57, 38]


def test_time_leaves_a_gap_and_an_embargo() -> None:
    times = [float(day) for day in range(100)]
    found = assign(Cases([str(n) for n in range(100)], times=times), Plan(method="time", gap=3, embargo=2), KEY)
    days = {name: [times[n] for n in found.members(name)] for name in found.names}
    assert days["dev"][-1] == 46.0
    assert days["confirm"][0] == 52.0
    assert days["sealed"][-1] == 99.0
    assert int((found.split == UNUSED).sum()) == 10
    assert set(found.why_unused.values()) == {
        "in the gap before a later split",
        "in the embargo after an earlier split",
    }


def test_a_group_over_a_boundary_keeps_to_the_later_side() -> None:
    groups = [f"g{n // 7}" for n in range(100)]
    cases = Cases([str(n) for n in range(100)], groups=groups, times=[float(n) for n in range(100)])
    found = assign(cases, Plan(method="time"), KEY)
    homes: dict[str, set[int]] = {}
    for group, split in zip(groups, found.split.tolist(), strict=True):
        homes.setdefault(group, set()).add(split)
    assert all(len(home - {UNUSED}) <= 1 for home in homes.values())
    assert "its group goes on in a later split" in found.why_unused.values()


def test_a_new_case_between_two_splits_is_left_out() -> None:
    texts = [
        "alpha beta gamma delta epsilon zeta eta theta iota kappa",
        "one two three four five six seven eight nine ten",
    ]
    previous = {"a": "dev", "b": "confirm", "c": "sealed"}
    cases = Cases(
        ["a", "b", "c", "new"], texts=[*texts, "entirely different words stand in this text here", " ".join(texts)]
    )
    found = assign(cases, Plan(duplicates=0.5), KEY, previous)
    assert found.split.tolist() == [0, 1, 2, UNUSED]
    assert "different splits" in found.why_unused[3]


def test_the_key_decides_and_has_a_fingerprint() -> None:
    cases = Cases([str(n) for n in range(500)])
    other = make_key(b"another key")
    assert assign(cases, Plan(), KEY).split.tolist() != assign(cases, Plan(), other).split.tolist()
    assert fingerprint(KEY) != fingerprint(other)
    assert len(fingerprint(KEY)) == 16


def test_cases_from_files(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    rows = [{"id": n, "text": f"text {n}", "user": n % 4, "day": f"2024-01-{n + 1:02}"} for n in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cases = read_cases([path], Problems(), group_field="user", time_field="day")
    assert cases.ids[3] == "3"
    assert cases.groups is not None
    assert cases.groups[5] == "1"
    assert cases.times is not None
    assert cases.times[1] - cases.times[0] == 86400
    with pytest.raises(DataError, match="no 'label'"):
        read_cases([path], Problems(), label_field="label")
    with pytest.raises(DataError, match="is no time"):
        read_cases([path], Problems(), time_field="text")


def test_cases_from_a_folder_and_an_iterable(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"document {number}")
    assert read_cases([tmp_path], Problems()).ids == ["0.txt", "1.txt", "2.txt"]
    assert cases_from_iterable([3, 1, 4]).ids == ["0", "1", "2"]
    assert len(cases_from_iterable({"id": n, "q": "x"} for n in range(5))) == 5


def test_unusable_times_are_named() -> None:
    for bad in (float("nan"), float("inf"), None, True):
        with pytest.raises(DataError, match="row 1"):
            cases_from_arrays([1, 2], times=[0.0, bad])  # type: ignore[list-item]


def test_scikit_learn_takes_the_splitters() -> None:
    sklearn = pytest.importorskip("sklearn.model_selection")
    dummy = pytest.importorskip("sklearn.dummy")
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 2)), rng.integers(0, 2, 60)  # noqa: N806
    groups = rng.integers(0, 12, 60)
    for splitter in (KeyedFolds(4), TimeFolds(4), HoldoutSplit(Plan({"dev": 7, "confirm": 3}, "stratified"), b"k")):
        scores = sklearn.cross_val_score(dummy.DummyClassifier(), X, y, cv=splitter, groups=groups)
        assert len(scores) == splitter.get_n_splits(X, y, groups)


def test_splitters_refuse_what_makes_no_sense() -> None:
    with pytest.raises(UsageError, match="folds"):
        KeyedFolds(1)
    with pytest.raises(UsageError, match="fewer folds"):
        list(KeyedFolds(5).split([1, 2, 3]))
    with pytest.raises(UsageError, match="but 2 groups"):
        list(KeyedFolds(2).split([1, 2, 3], groups=[1, 2]))
    with pytest.raises(UsageError, match="nothing to train on"):
        list(TimeFolds(2, gap=100).split(list(range(30))))
