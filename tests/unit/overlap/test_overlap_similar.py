"""Near-duplicates and the paraphrase queue."""

from __future__ import annotations

import random

import pytest

from evalkit.errors import DataError
from evalkit.overlap.neighbours import Pair, clusters, near_duplicates
from evalkit.overlap.paraphrase import ParaphraseIndex

WORDS = [
    f"{a}{b}" for a in ("gla", "har", "pai", "riv", "mel", "tor") for b in ("cier", "bour", "nter", "er", "ting", "so")
]


def _texts(count: int, seed: int = 3) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=60)) for _ in range(count)]


@pytest.mark.parametrize("method", ["exact", "minhash"])
def test_copies_are_paired_and_strangers_are_not(method: str) -> None:
    if method == "minhash":
        pytest.importorskip("rensa")
    texts = _texts(40)
    edited = texts[5].split()
    edited[30] = "something"
    found = near_duplicates([*texts, texts[3].upper(), " ".join(edited)], method=method)  # type: ignore[arg-type]
    assert [(pair.first, pair.second) for pair in found] == [(3, 40), (5, 41)]
    assert found[0].jaccard == 1.0
    assert 0.8 < found[1].containment < 1.0


def test_a_truncated_copy_is_contained() -> None:
    texts = _texts(20)
    (pair,) = near_duplicates([*texts, " ".join(texts[4].split()[:25])])
    assert (pair.first, pair.second, pair.containment) == (4, 20, 1.0)
    assert pair.jaccard < 0.5


def test_boilerplate_pairs_nothing() -> None:
    footer = " all rights reserved by the authors of this page and by nobody else at all "
    texts = [text + footer for text in _texts(80)]
    assert near_duplicates(texts, common=50) == []


def test_empty_and_tiny_texts() -> None:
    assert near_duplicates([]) == []
    assert near_duplicates(["", "…", "", "one", "two"]) == []
    assert [(p.first, p.second) for p in near_duplicates(["one", "ONE!", "two"])] == [(0, 1)]


def test_clusters_join_pairs_and_refuse_giants() -> None:
    pairs = [Pair(0, 1, 1, 1), Pair(1, 4, 1, 1), Pair(2, 3, 1, 1)]
    assert clusters(pairs, 6).tolist() == [0, 0, 2, 2, 0, 5]
    with pytest.raises(DataError, match="template"):
        clusters(pairs, 6, largest=2)


def test_a_paraphrase_is_queued_with_its_item() -> None:
    items = [
        "Janet's ducks lay 16 eggs per day. She eats three for breakfast and bakes muffins with four.",
        "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts does it take?",
    ]
    background = ["The trains leave the station at noon.", "He counted the eggs in the basket.", "Blue paint is dear."]
    index = ParaphraseIndex(items, background)
    texts = ["Each day Janet's ducks lay 16 eggs; three go to breakfast, four into muffins.", "A quiet day at the sea."]
    (candidate,) = index.candidates(texts)
    assert (candidate.text, candidate.item) == (0, 0)
    assert 0.5 <= candidate.cosine <= 1.0
    assert list(index.candidates(["", "?!"])) == []


def test_an_item_is_its_own_nearest() -> None:
    items = _texts(30)
    found = list(ParaphraseIndex(items).candidates(items, 0.999))
    assert [(c.text, c.item) for c in found] == [(n, n) for n in range(30)]
