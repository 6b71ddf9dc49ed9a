"""Random cases: nothing moves, nothing is empty, no group and no near-duplicate is parted."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import EvalkitError
from evalkit.overlap.neighbours import near_duplicates
from evalkit.splits import (
    UNUSED,
    Cases,
    GroupStratifiedFolds,
    KeyedFolds,
    Plan,
    TimeFolds,
    assign,
    make_key,
)

KEY = make_key(b"a test key of some length")
WORDS = ["glacier", "harbour", "painter", "river", "melting", "torso", "unless", "seven", "quantity", "market"]


def _random_cases(rng: random.Random) -> Cases:
    count = rng.randrange(6, 80)
    groups = [f"g{rng.randrange(max(2, count // 3))}" for _ in range(count)] if rng.random() < 0.6 else None
    labels = [rng.choice("aab" if rng.random() < 0.5 else "abcd") for _ in range(count)]
    times = [float(rng.randrange(count)) for _ in range(count)]
    return Cases([f"case {rng.random()}" for _ in range(count)], groups, labels, times)


def _check(cases: Cases, plan: Plan) -> bool:
    """Whether a split came out; one that did has no empty split and parts no group."""
    try:
        found = assign(cases, plan, KEY)
    except EvalkitError:
        return False
    assert all(found.members(name) for name in plan.names)
    if cases.groups:
        homes: dict[str, set[int]] = {}
        for group, split in zip(cases.groups, found.split.tolist(), strict=True):
            homes.setdefault(group, set()).add(split)
        assert all(len(home - {UNUSED}) == 1 or home == {UNUSED} for home in homes.values())
    if plan.method == "time" and cases.times:
        used = [(t, s) for t, s in zip(cases.times, found.split.tolist(), strict=True) if s != UNUSED]
        for early in range(len(plan.names) - 1):
            last = max(t for t, s in used if s == early)
            first = min(t for t, s in used if s == early + 1)
            assert first - last > plan.gap or (plan.gap == 0.0 and first > last)
    return True


@pytest.mark.parametrize("method", ["hash", "stratified", "time"])
def test_random_cases_split_soundly_or_not_at_all(method: str) -> None:
    rng = random.Random(method)
    done = sum(
        _check(_random_cases(rng), Plan(method=method, gap=rng.choice([0.0, 2.0]) if method == "time" else 0.0))  # type: ignore[arg-type]
        for _ in range(300)
    )
    assert done > 150


@pytest.mark.slow
def test_ten_thousand_random_cases() -> None:
    rng = random.Random(4)
    for _ in range(10_000):
        method = rng.choice(["hash", "stratified", "time"])
        _check(_random_cases(rng), Plan(method=method))  # type: ignore[arg-type]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.sets(st.text(min_size=1, max_size=12), min_size=30, max_size=90), st.integers(1, 29))
def test_nothing_moves_when_cases_are_appended_or_shuffled(names: set[str], cut: int) -> None:
    ids = sorted(names)
    try:
        before = assign(Cases(ids[:-cut]), Plan(), KEY)
    except EvalkitError:
        return
    after = assign(Cases(ids[::-1]), Plan(), KEY)
    homes = dict(zip(ids[::-1], after.split.tolist(), strict=True))
    assert [homes[name] for name in ids[:-cut]] == before.split.tolist()


def test_ten_thousand_cases_and_a_tenth_more() -> None:
    ids = [f"item-{number}" for number in range(11_000)]
    before = assign(Cases(ids[:10_000]), Plan(), KEY).split
    after = assign(Cases(ids), Plan(), KEY).split
    assert int((before != after[:10_000]).sum()) == 0
    shares = np.bincount(after) / len(ids)
    assert np.abs(shares - [0.5, 0.3, 0.2]).max() < 0.02


@pytest.mark.parametrize("method", ["hash", "stratified"])
def test_near_duplicates_never_part(method: str) -> None:
    rng = random.Random(8)
    for _ in range(8):
        texts = [" ".join(rng.choices(WORDS, k=40)) for _ in range(60)]
        texts += [texts[n] + " with an ending of its own" for n in range(0, 30, 3)]
        texts += [" ".join(texts[n].split()[: rng.randrange(15, 39)]).upper() for n in range(1, 30, 3)]
        cases = Cases([str(n) for n in range(len(texts))], labels=[str(n % 2) for n in range(len(texts))], texts=texts)
        found = assign(cases, Plan(method=method, duplicates=0.5), KEY)  # type: ignore[arg-type]
        pairs = near_duplicates(texts, 0.5)
        assert len(pairs) >= 20
        assert all(found.split[pair.first] == found.split[pair.second] for pair in pairs)


def test_an_earlier_split_stays_and_new_cases_follow_their_relatives() -> None:
    rng = random.Random(2)
    for _ in range(40):
        cases = _random_cases(rng)
        labels, groups = cases.labels, cases.groups
        plan = Plan(method="stratified")
        try:
            before = assign(cases, plan, KEY)
        except EvalkitError:
            continue
        previous = {name: plan.names[split] for name, split in zip(cases.ids, before.split.tolist(), strict=True)}
        more = 7
        grown = Cases(
            [*cases.ids, *(f"new {n}" for n in range(more))],
            [*groups, *groups[:more]] if groups else None,
            [*(labels or []), *"abababa"],
        )
        after = assign(grown, plan, KEY, previous)
        assert after.split[: len(cases)].tolist() == before.split.tolist()
        if groups:
            assert after.split[len(cases) :].tolist() == [int(s) for s in before.split[:more]]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(2, 6), st.integers(0, 40), st.booleans(), st.integers(0, 10_000))
def test_folds_partition_the_rows(folds: int, extra: int, grouped: bool, seed: int) -> None:
    rng = random.Random(seed)
    count = folds * 2 + extra
    groups = [rng.randrange(folds * 2) for _ in range(count)] if grouped else None
    y = [rng.choice([0, 0, 1]) for _ in range(count)]
    for splitter in (KeyedFolds(folds, b"k"), GroupStratifiedFolds(folds, b"k")):
        try:
            pairs = list(splitter.split(list(range(count)), y, groups))
        except EvalkitError:
            assert groups is not None
            assert len(set(groups)) < folds
            continue
        assert len(pairs) == splitter.get_n_splits() == folds
        assert sorted(np.concatenate([test for _, test in pairs]).tolist()) == list(range(count))
        for train, test in pairs:
            assert len(train)
            assert len(test)
            assert sorted([*train.tolist(), *test.tolist()]) == list(range(count))
            if groups is not None:
                assert not {groups[n] for n in train.tolist()} & {groups[n] for n in test.tolist()}


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 30), min_size=8, max_size=60), st.integers(2, 4), st.integers(0, 3))
def test_time_folds_train_on_the_past_only(times: list[int], folds: int, gap: int) -> None:
    try:
        pairs = list(TimeFolds(folds, [float(t) for t in times], gap).split(times))
    except EvalkitError:
        return
    assert len(pairs) == folds
    for train, test in pairs:
        assert max(times[n] for n in train.tolist()) + gap < min(times[n] for n in test.tolist()) or gap == 0
        assert max(times[n] for n in train.tolist()) < min(times[n] for n in test.tolist())
