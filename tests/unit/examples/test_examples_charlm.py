import hashlib
import inspect
from itertools import combinations
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "charlm"
BUDGET = {"CHARLM_SECONDS": "0.05", "CHARLM_WINDOWS": "600"}
TOPICS = "6061bdb5e47e53fb"
"""Start of the sha256 of the topics that the committed text was made from."""


@pytest.fixture(scope="module")
def score(load):
    return load("charlm", "score")


@pytest.fixture(scope="module")
def train(load):
    return load("charlm", "train")


@pytest.fixture(scope="module")
def prepare(load):
    return load("charlm", "prepare")


def texts():
    paths = {"train": EXAMPLE / "data" / "train.txt"}
    paths |= {split: EXAMPLE / "vault" / split / "text.txt" for split in ("dev", "confirm", "sealed")}
    return {split: path.read_bytes().decode("ascii") for split, path in paths.items()}


def test_windows_never_overlap_and_come_shuffled(score):
    text = np.arange(5000) % 128
    places = np.arange(5000)
    first = score.windows(places, np.random.default_rng(3), 10_000)
    assert len(np.unique(first)) == first.size
    assert (np.diff(first, axis=1) == 1).all()
    assert (np.diff(first[:, 0]) < 0).any()
    assert np.array_equal(score.windows(text, np.random.default_rng(3), 20), text[first[:20]])
    assert not np.array_equal(score.windows(places, np.random.default_rng(4), 20), first[:20])


def test_bits_of_a_uniform_answer_are_the_logarithm_of_the_alphabet(score):
    answer = np.full((5, score.SYMBOLS), 1 / score.SYMBOLS)
    assert np.allclose(score.bits(answer, np.arange(5)), 7.0)


def test_the_tolerance_is_worth_nothing(score):
    answer = np.full((5, score.SYMBOLS), 1 / score.SYMBOLS)
    assert score.problem(answer * 1.0009, 5) is None
    assert np.allclose(score.bits(answer * 1.0009, np.arange(5)), 7.0, atol=1e-12)


def test_certainty_of_the_wrong_is_infinite(score):
    answer = np.zeros((1, score.SYMBOLS))
    answer[0, 3] = 1.0
    assert score.bits(answer, np.array([4]))[0] == np.inf


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda a: a.tolist(), "array"),
        (lambda a: (a * 0).astype(int), "floats"),
        (lambda a: a.astype(complex), "floats"),
        (lambda a: a[:1], "shape"),
        (lambda a: a[:, :-1], "shape"),
        (lambda a: a * np.nan, "NaN"),
        (lambda a: a + np.inf, "infinity"),
        (lambda a: a * 1.002, "away from one"),
        (lambda a: a * 0, "away from one"),
        (lambda a: np.concatenate([-a[:, :1], a[:, 1:] * (1 + 2 / 127)], axis=1), "negative"),
    ],
)
def test_answers_that_are_no_distributions_are_refused(score, spoil, word):
    good = np.full((4, score.SYMBOLS), 1 / score.SYMBOLS)
    assert score.problem(good, 4) is None
    assert score.problem(good.astype(np.float32), 4) is None
    assert word in score.problem(spoil(good), 4)


def test_no_forty_characters_stand_in_two_splits(prepare):
    grams = {split: prepare.grams(text) for split, text in texts().items()}
    for one, other in combinations(grams, 2):
        assert not grams[one] & grams[other], (one, other)


def test_the_text_is_what_prepare_writes(prepare):
    digest = hashlib.sha256(repr(sorted(topics.items())).encode()).hexdigest()
    if not digest.startswith(TOPICS):
        pytest.skip("this CPython ships other topics than the one that the committed text was made from")
    assert prepare.splits(topics) == texts()


def test_prepare_takes_shared_passages_out_of_what_candidates_see(prepare):
    shared = "a passage that two topics have in common, word for word and long\n"
    lines = {number: f"{number} is a line of its own, number {number}\n" * 9 for number in range(12)}
    splits = prepare.splits({f"topic {number}": shared + line for number, line in lines.items()})
    assert sum("two topics have" in text for text in splits.values()) == 1


def test_gradients_are_those_of_the_loss(train, monkeypatch):
    for name, value in {"CONTEXT": 3, "EMBED": 2, "WIDTH": 4, "LABEL_SMOOTHING": 0.0, "BIGRAM": True}.items():
        monkeypatch.setattr(train, name, value)
    rng = np.random.default_rng(0)
    text = rng.integers(0, 128, 200).astype(np.uint8)
    weights = {name: value.astype(np.float64) for name, value in train.initial(rng, text).items()}
    context, target = rng.integers(0, 128, (6, 3)), rng.integers(0, 128, 6)
    grads = train.gradients(weights, context, target, None)[1]
    for name, grad in grads.items():
        place = tuple(int(axis[0]) for axis in np.nonzero(np.abs(grad) == np.abs(grad).max()))
        kept, losses = weights[name][place], []
        for step in (1e-5, -1e-5):
            weights[name][place] = kept + step
            losses.append(train.gradients(weights, context, target, None)[0])
        weights[name][place] = kept
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(grad[place], rel=1e-4), name


def test_the_learning_rate_rises_and_falls(train):
    assert train.learning_rate(0.0) == 0.0
    assert train.learning_rate(train.WARMUP) == train.LEARNING_RATE
    assert train.learning_rate(1.0) == pytest.approx(train.LEARNING_RATE * train.FINAL_RATE)


def test_every_constant_at_the_top_is_used(train):
    source = inspect.getsource(train)
    names = [name for name in vars(train) if name.isupper()]
    assert len(names) >= 20
    assert all(source.count(name) > 1 for name in names)


def test_scorer_and_candidate_talk(converse, copy_of):
    result = converse("charlm", copy_of("charlm"), run=["train.py"], serve=["train.py", "serve"], env=BUDGET)
    assert 3.0 < result["metrics"]["val_bpb"] < 8.0


@pytest.mark.parametrize("patch", ["bad-nan", "bad-infinite", "bad-unnormalised", "bad-wrong-shape"])
def test_invalid_answers_have_no_value(converse, copy_of, patch):
    tree = copy_of("charlm", patch)
    result = converse("charlm", tree, run=["train.py"], serve=["train.py", "serve"], env=BUDGET)
    assert "metrics" not in result
    assert result["invalid"]
