import csv
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "fraud"
BUDGET = {"FRAUD_CASES": "300"}


@pytest.fixture(scope="module")
def score(load):
    return load("fraud", "score")


def rows(split):
    path = EXAMPLE / "data" / "train.csv" if split == "train" else EXAMPLE / "vault" / split / "cases.csv"
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sheet_stands_in_one_split_only(load):
    splits = ("train", "dev", "confirm", "sealed")
    sheets = [{row["sheet"] for row in rows(split)} for split in splits]
    assert sum(map(len, sheets)) == len(set.union(*sheets)) == 14
    assert sum(len(rows(split)) for split in splits) == 1797
    assigned = load("fraud", "prepare").assign(14)
    assert [{str(sheet) for sheet in assigned[split]} for split in splits] == sheets


def test_no_row_stands_in_two_splits():
    seen: dict[tuple[str, ...], str] = {}
    for split in ("train", "dev", "confirm", "sealed"):
        for row in rows(split):
            assert seen.setdefault(tuple(row[f"x{number}"] for number in range(64)), split) == split


def test_the_positive_class_is_rare_everywhere():
    for split in ("train", "dev", "confirm", "sealed"):
        share = np.mean([int(row["label"]) for row in rows(split)])
        assert 0.07 < share < 0.13


def test_average_precision_by_hand(score):
    labels, scores = np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.8, 0.1])
    assert score.average_precision(labels, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_ties_come_in_together(score):
    labels = np.array([1.0, 0.0, 0.0, 0.0])
    assert score.average_precision(labels, np.full(4, 0.5)) == 0.25
    assert score.average_precision(labels[::-1], np.full(4, 0.5)) == 0.25


def test_average_precision_is_scikit_learns(score):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    for _ in range(20):
        labels = (rng.random(60) < 0.3).astype(float)
        labels[0] = 1.0
        scores = np.round(rng.random(60), 1)
        assert score.average_precision(labels, scores) == pytest.approx(metrics.average_precision_score(labels, scores))


@pytest.mark.parametrize(
    "answer",
    [0.5, [0.5], np.array([1]), np.array([np.nan]), np.array([np.inf]), np.array([-0.1]), np.array([1.1]),
     np.array([[0.5]]), np.array([0.5, 0.5]), np.array([True])],
)  # fmt: skip
def test_what_is_no_probability_is_refused(score, answer):
    assert score.problem(np.array([0.5]), 1) is None
    assert score.problem(answer, 1)


@pytest.mark.slow
@pytest.mark.parametrize("patch", ["", "good-kernel", "good-deeper-trees", "bad-overconfident"])
def test_scorer_and_candidate_talk(converse, copy_of, patch):
    pytest.importorskip("sklearn")
    result = converse("fraud", copy_of("fraud", patch), run=["train.py"], serve=["predict.py"], env=BUDGET)
    metrics = result["metrics"]
    assert (metrics["average_precision"] > 0.8) == bool(patch)
    assert (metrics["brier"] > 0.15) == (patch == "bad-overconfident")
