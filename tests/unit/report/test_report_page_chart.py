import re

import pytest

from evalkit.report.page_chart import NARROW, WIDE, chart, effect_range
from evalkit.report.page_data import read_run
from evalkit.verify.verdict import Reason


@pytest.fixture
def run(contract, script, ledger_of):
    script.begin()
    for index in range(12):
        script.propose(script.level * (0.85 if index in {3, 8} else 1.0))
    script.refuse(Reason.SCOPE, "not yours")
    return read_run(contract, ledger_of(script))


def numbers(path):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[-+]\d+)?", path)]


@pytest.mark.parametrize("frame", [WIDE, NARROW])
def test_everything_is_inside_the_frame(run, frame):
    drawn = chart(run, frame)
    assert all(frame.left <= tick.at <= frame.edge for tick in drawn.x_ticks)
    assert all(frame.gain[0] <= tick.at <= frame.gain[1] for tick in drawn.gain_ticks)
    assert all(frame.effect[0] <= tick.at <= frame.effect[1] for tick in drawn.effect_ticks)
    for path in (drawn.band, *(line.path for line in drawn.lines)):
        found = numbers(path)
        assert all(frame.left <= x <= frame.edge for x in found[::2])
        assert all(frame.gain[0] <= y <= frame.gain[1] for y in found[1::2])


def test_better_is_up_and_marks_stand_in_order(run):
    drawn = chart(run, WIDE)
    kept = [mark for mark in drawn.marks if mark.style == "keep"]
    assert kept
    assert all(mark.y < drawn.effect_zero for mark in kept)
    assert all(mark.high <= mark.y <= mark.low for mark in drawn.marks)
    assert sorted(mark.number for mark in drawn.marks) == [one.number for one in run.experiments if one.effect]
    assert [mark.style for mark in drawn.marks][-2:] == ["keep", "keep"]
    assert drawn.keeps[-1].y < drawn.keeps[0].y < drawn.gain_zero


def test_what_was_never_confirmed_stands_in_a_lane(run):
    lanes = {lane.style: lane for lane in chart(run, WIDE).lanes}
    assert lanes["refused"].count == 1
    assert lanes["refused"].ticks[0][1] == 13
    assert sum(lane.count for lane in lanes.values()) + len(chart(run, WIDE).marks) == 13


def test_labels_do_not_cover_each_other(run):
    first, second = chart(run, WIDE).lines
    assert abs(first.label_at - second.label_at) >= 28


def test_open_intervals_carry_arrows(contract, script, ledger_of):
    script.begin().propose(script.level)
    kind, body = script.records[-1]
    effect = {"mean": -0.1, "low": None, "high": None, "pairs": 1}
    script.records[-1] = (kind, {**body, "effect": effect})
    run = read_run(contract, ledger_of(script))
    mark = chart(run, WIDE).marks[0]
    assert mark.below
    assert mark.above
    low, high = effect_range(run)
    assert low < -0.1 < high


def test_one_wide_interval_does_not_press_the_others_flat(contract, script, ledger_of):
    script.begin()
    for _ in range(20):
        script.propose(script.level)
    for index, (kind, body) in enumerate(script.records):
        if kind == "decided":
            half = 1e6 if body["experiment"] == 1 else 0.1
            effect = {"mean": 0.01, "low": 0.01 - half, "high": 0.01 + half, "pairs": 2}
            script.records[index] = (kind, {**body, "effect": effect})
    low, high = effect_range(read_run(contract, ledger_of(script)))
    assert -0.5 < low < high < 0.5


def test_very_many_marks_are_thinned_out_keeps_last(contract, script, ledger_of):
    script.begin()
    script.propose(script.level * 0.8)
    pattern = next((kind, body) for kind, body in script.records if kind == "decided")
    script.records += [
        (pattern[0], {**pattern[1], "experiment": number, "decision": "REJECT"}) for number in range(2, 900)
    ]
    drawn = chart(read_run(contract, ledger_of(script)), WIDE)
    assert len(drawn.marks) == 400
    assert drawn.marks_left_out == 499
    assert drawn.marks[-1].number == 1
    assert drawn.dense
