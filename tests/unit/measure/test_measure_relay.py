"""The parent in the middle, with real pipes; scorer and candidate are threads of this test."""

import json
import os
import threading
from contextlib import suppress

import numpy as np
import pytest

from evalkit.measure.relay import RelayError, converse
from evalkit.protocol.frames import decode, encode, pack, read_frame, write_frame

PATIENCE = 20


class Side:
    """One end of a pipe pair, played by a function in a thread of its own."""

    def __init__(self, play):
        self.inbox, self.to_it = os.pipe()
        self.from_it, self.outbox = os.pipe()
        self._play = play
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            with suppress(BrokenPipeError, EOFError):
                self._play(self)
        finally:
            os.close(self.inbox)
            os.close(self.outbox)

    def say(self, kind, value):
        write_frame(self.outbox, kind, encode(value))

    def say_bytes(self, data):
        while data:
            data = data[os.write(self.outbox, data) :]

    def hear(self):
        return read_frame(self.inbox)

    def over(self):
        os.close(self.to_it)
        os.close(self.from_it)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def talk(scorer, candidate=None, **options):
    """A conversation between two functions."""
    left = Side(scorer)
    right = Side(candidate) if candidate else None
    pipes = (right.to_it, right.from_it) if right else None
    try:
        return converse((left.to_it, left.from_it), pipes, split="dev", seed=7, **options)
    finally:
        for side in (left, right):
            if side:
                side.over()


def asks(*queries, then=None):
    """A scorer that asks, and reports how it went."""

    def play(me):
        hello = decode(me.hear()[1])
        answers = []
        for query in queries:
            me.say(b"Q", query)
            kind, body = me.hear()
            answers.append((kind, decode(body)))
        if then:
            then(me, hello, answers)
        else:
            me.say(b"R", {"nonce": hello["nonce"], "metrics": {"loss": len(answers)}})

    return play


def doubles(me):
    while (frame := me.hear()) is not None:
        me.say(b"A", decode(frame[1]) * 2)


def test_queries_and_answers_reach_the_other_side():
    seen = {}

    def then(me, hello, answers):
        seen.update(hello=hello, answers=answers)
        me.say(
            b"R", {"nonce": hello["nonce"], "metrics": {"loss": 0.5}, "cases": {"loss": [0, 1]}, "clusters": ["a", "b"]}
        )

    ended = talk(asks(1, [2], np.arange(3.0), then=then), doubles)
    kinds, answers = zip(*seen["answers"], strict=True)
    assert set(kinds) == {b"A"}
    assert answers[:2] == (2, [2, 2])
    np.testing.assert_array_equal(answers[2], [0.0, 2.0, 4.0])
    assert (seen["hello"]["split"], seen["hello"]["seed"]) == ("dev", 7)
    assert ended.result.metrics == {"loss": 0.5}
    assert ended.result.cases == {"loss": (0.0, 1.0)}
    assert ended.result.clusters == ("a", "b")
    assert (ended.queries, ended.candidate_gone) == (3, "")


def test_only_the_time_in_which_an_answer_was_owed_is_counted():
    ticks = iter(range(100))
    assert talk(asks(1, 2, 3), doubles, clock=lambda: float(next(ticks))).latency == 3.0


def test_a_printed_object_of_numbers_is_a_result():
    ended = talk(lambda me: me.say_bytes(b'{"loss": 1.5, "n": 2}'))
    assert ended.result.metrics == {"loss": 1.5, "n": 2.0}
    assert (ended.queries, ended.candidate_gone) == (0, "")


def test_nonces_differ_and_are_needed():
    nonces = []

    def remember(me, hello, _answers):
        nonces.append(hello["nonce"])
        me.say(b"R", {"nonce": hello["nonce"], "metrics": {}})

    for _ in range(3):
        talk(asks(then=remember))
    assert len(set(nonces)) == 3


@pytest.mark.parametrize("nonce", ["", "0" * 32, None, 5, ["a"], "é", "missing"])
def test_a_result_with_another_nonce_is_no_result(nonce):
    def then(me, _hello, _answers):
        me.say(b"R", {"metrics": {"loss": 0}} | ({} if nonce == "missing" else {"nonce": nonce}))

    with pytest.raises(RelayError, match="nonce"):
        talk(asks(then=then))


def framed(text):
    """A result frame with this JSON text, in which NONCE is filled in."""

    def then(me, hello, _answers):
        me.say_bytes(pack(b"R", b"J" + text.replace("NONCE", json.dumps(hello["nonce"])).encode()))

    return asks(then=then)


@pytest.mark.parametrize(
    "text",
    [
        '{"nonce": NONCE}',
        '{"nonce": NONCE, "metrics": []}',
        '{"nonce": NONCE, "metrics": {"loss": NaN}}',
        '{"nonce": NONCE, "metrics": {"loss": 1e400}}',
        '{"nonce": NONCE, "metrics": {"loss": "1"}}',
        '{"nonce": NONCE, "metrics": {"loss": true}}',
        '{"nonce": NONCE, "metrics": {"loss": null}}',
        '{"nonce": NONCE, "metrics": {"loss": 1, "loss": 2}}',
        '{"nonce": NONCE, "metrics": {}, "metrics": {}}',
        '{"nonce": NONCE, "metrics": {"loss": ' + "9" * 400 + "}}",
        '{"nonce": NONCE, "metrics": {}, "cases": []}',
        '{"nonce": NONCE, "metrics": {}, "cases": {"loss": 1}}',
        '{"nonce": NONCE, "metrics": {}, "cases": {"loss": ["1"]}}',
        '{"nonce": NONCE, "metrics": {}, "cases": {"loss": [false]}}',
        '{"nonce": NONCE, "metrics": {}, "clusters": {}}',
        '{"nonce": "\\ud800", "metrics": {}}',
        "[]",
        '{"nonce": NONCE, "metrics": {}} x',
    ],
)
def test_a_result_that_is_not_numbers_is_refused(text):
    with pytest.raises(RelayError):
        talk(framed(text))


def test_a_result_may_not_come_as_an_array():
    def then(me, _hello, _answers):
        me.say(b"R", np.zeros(3))

    with pytest.raises(RelayError, match="not JSON"):
        talk(asks(then=then))


def test_the_scorers_own_refusal_is_a_result_without_metrics():
    def then(me, hello, _answers):
        me.say(b"R", {"nonce": hello["nonce"], "invalid": "rows do not sum to one" * 100})

    ended = talk(asks(then=then))
    assert ended.result.invalid.startswith("rows do not")
    assert len(ended.result.invalid) == 1000
    assert ended.result.metrics == {}


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\1Q",
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\0\0\0\x09Q",
        pack(b"Z", b"J1"),
        pack(b"A", b"J1"),
        b"loss 0.5\n",
        b'{"loss": 1',
        b'{"loss": 1}{"loss": 2}',
        b'{"loss": ' + b"1" * 5000 + b"}",
        b'{"loss": NaN}',
        b'{"loss": [1]}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_scorer_that_breaks_the_protocol_is_said_so(data):
    with pytest.raises(RelayError):
        talk(lambda me: me.say_bytes(data))


def test_a_scorer_that_says_nothing_reported_nothing():
    assert talk(lambda _me: None).result is None
    assert talk(asks(then=lambda *_: None)).result is None


def gone_after(count, last=None):
    """A candidate that answers so many queries, says a last thing, and leaves."""

    def play(me):
        for _ in range(count):
            me.say(b"A", decode(me.hear()[1]))
        me.hear()
        if last:
            me.say_bytes(last)

    return play


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (None, "closed its standard output"),
        (b"\0\0\0\1A", "not a frame"),
        (b"\0\0\1\0A", "not a frame"),
        (b"loss 0.0\n", "not a frame"),
        (pack(b"R", b'J{"metrics": {"loss": 0}}'), "not an answer"),
        (pack(b"X", b"J{}"), "not an answer"),
        (pack(b"A", b"Pgarbage"), "not an answer"),
    ],
)
def test_a_candidate_that_is_gone_is_gone_for_good(last, why):
    heard = []
    ended = talk(asks(1, 2, 3, 4, then=lambda me, hello, answers: heard.extend(answers)), gone_after(1, last))
    assert [kind for kind, _ in heard] == [b"A", b"X", b"X", b"X"]
    assert why in ended.candidate_gone
    assert why in heard[-1][1]["reason"]
    assert ended.queries == 1
    assert ended.result is None


def test_a_candidate_that_was_never_there():
    ended = talk(asks(1, then=lambda *_: None), lambda _me: None)
    assert ended.candidate_gone
    assert ended.queries == 0


def test_a_program_that_serves_nothing_says_so_to_a_scorer_that_asks():
    heard = []
    ended = talk(asks(1, then=lambda me, hello, answers: heard.extend(answers)))
    assert heard[0][0] == b"X"
    assert "serves nothing" in heard[0][1]["reason"]
    assert ended.candidate_gone == ""


def test_an_answer_beyond_the_cap_is_no_answer():
    huge = (65 << 20).to_bytes(4, "big")
    ended = talk(asks(1, then=lambda *_: None), gone_after(0, huge + b"A"))
    assert "allowed" in ended.candidate_gone
    assert ended.queries == 0


def test_large_answers_pass():
    def big(me):
        while (frame := me.hear()) is not None:
            me.say(b"A", np.zeros(decode(frame[1])))

    seen = []
    ended = talk(asks(500_000, then=lambda me, hello, answers: seen.append(answers[0][1].size)), big)
    assert seen == [500_000]
    assert ended.queries == 1


def test_the_answers_bytes_are_passed_on_as_they_are():
    """The parent looks at the kind and the encoding, and parses nothing that a candidate wrote."""
    strange = b'J{"a": NaN, "a": ' + b"[" * 500
    heard = []

    def scorer(me):
        me.hear()
        me.say(b"Q", 1)
        heard.append(me.hear())

    talk(scorer, gone_after(0, pack(b"A", strange)))
    assert heard == [(b"A", strange)]
