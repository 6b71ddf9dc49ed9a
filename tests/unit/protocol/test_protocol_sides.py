"""Scorers and candidates that use our modules, as real processes with this test's parent between them."""

import subprocess
import sys
import textwrap

import pytest

from evalkit.measure.relay import RelayError, converse


def process(program):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def talk(scorer, candidate=None):
    """The conversation of two programs, and what each printed to standard error."""
    sides = [process(scorer)] + ([process(candidate)] if candidate else [])
    pipes = [(side.stdin.fileno(), side.stdout.fileno()) for side in sides]
    try:
        ended = converse(pipes[0], pipes[1] if candidate else None, split="confirm", seed=11)
    finally:
        said = [side.communicate(timeout=20)[1].decode() for side in sides]
    return ended, said


DOUBLE = """
    from evalkit.protocol.candidate import serve
    print("loaded")
    serve(lambda query: (print("asked"), query * 2)[1])
"""


def test_a_scorer_asks_and_reports():
    scorer = """
        from evalkit.protocol.scorer import Session
        session = Session()
        print("to standard error", session.split, session.seed)
        answers = [session.ask(n) for n in (1, 2.5, "ab")]
        assert answers == [2, 5.0, "abab"], answers
        session.report(loss=0.25, cases={"loss": [0, 0.5]}, clusters=["x", 2])
    """
    ended, (scorer_said, candidate_said) = talk(scorer, DOUBLE.replace('print("loaded")', "pass"))
    assert ended.result.metrics == {"loss": 0.25}
    assert ended.result.cases == {"loss": (0.0, 0.5)}
    assert ended.result.clusters == ("x", "2")
    assert (ended.queries, ended.candidate_gone) == (3, "")
    assert scorer_said == "to standard error confirm 11\n"
    assert candidate_said.count("asked") == 3


def test_what_a_candidate_prints_before_it_serves_is_no_answer():
    scorer = """
        from evalkit.protocol.scorer import CandidateGoneError, Session
        session = Session()
        try:
            session.ask(1)
        except CandidateGoneError as error:
            assert "not a frame" in str(error), error
            raise SystemExit(7)
    """
    ended, _ = talk(scorer, DOUBLE.replace('print("loaded")', 'print("loss 0.0", flush=True)'))
    assert "not a frame" in ended.candidate_gone
    assert ended.result is None


def test_arrays_pass_in_both_directions():
    scorer = """
        import numpy as np
        from evalkit.protocol.scorer import Session
        session = Session()
        answer = session.ask(np.arange(6.0).reshape(2, 3))
        assert answer.shape == (2, 3) and answer.sum() == 30.0
        session.report(loss=1)
    """
    assert talk(scorer, DOUBLE.replace('print("loaded")', "pass"))[0].result.metrics == {"loss": 1.0}


def test_an_answer_that_is_no_value_is_the_scorers_to_refuse():
    scorer = """
        from evalkit.protocol.scorer import InvalidAnswerError, Session
        session = Session()
        try:
            session.ask(1)
        except InvalidAnswerError as error:
            session.fail(f"no value: {error}")
    """
    candidate = """
        import os
        from evalkit.protocol.frames import pack, read_frame
        read_frame(0)
        os.write(1, pack(b"A", b"J[1, NaN]"))
    """
    ended, _ = talk(scorer, candidate)
    assert "NaN" in ended.result.invalid


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "'x'"])
def test_a_scorer_cannot_report_what_is_no_number(value):
    scorer = f"""
        from evalkit.protocol.scorer import Session
        Session().report(loss={value})
    """
    ended, (said,) = talk(scorer)
    assert ended.result is None
    assert "Error" in said


def test_a_scorer_that_is_started_by_hand_says_so():
    done = subprocess.run(
        [sys.executable, "-c", "from evalkit.protocol.scorer import Session; Session()"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "started by evalkit" in done.stderr


def test_a_scorer_may_be_any_program_that_prints_one_object():
    assert talk("print('{\"loss\": 0.5}')")[0].result.metrics == {"loss": 0.5}
    with pytest.raises(RelayError):
        talk("print('{\"loss\": 0.5}'); print('{\"loss\": 0.4}')")


def test_places_are_told_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("EVALKIT_ARTIFACTS", str(tmp_path))
    monkeypatch.setenv("EVALKIT_VAULT", str(tmp_path / "v"))
    (tmp_path / "model").write_text("weights")
    scorer = """
        from evalkit.protocol.scorer import Session
        session = Session()
        assert (session.artifacts / "model").read_text() == "weights"
        assert session.vault.name == "v"
        session.report(loss=1)
    """
    assert talk(scorer)[0].result
    candidate = """
        from evalkit.protocol.candidate import artifact, serve
        assert open(artifact("model")).read() == "weights"
        serve(lambda q: q)
    """
    assert (
        talk("from evalkit.protocol.scorer import Session\ns = Session()\ns.report(loss=s.ask(3))", candidate)[
            0
        ].queries
        == 1
    )
