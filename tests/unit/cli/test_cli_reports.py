"""What the terminal shows of a run: live lines, tables, stories; and that untrusted text can't play with it."""

import dataclasses
import io
import json
import sys

import pytest
from rich.console import Console

from evalkit.contract import Metric, Trust
from evalkit.loop import Session
from evalkit.loop.function import Function
from evalkit.loop.session import Limits
from evalkit.report.calibration import calibration_lines
from evalkit.report.live import Live
from evalkit.report.summary import log_line, run_summary, story_lines, summary_lines, verdict_lines
from evalkit.report.wording import REASONS, change_text, duration, one_line, pairs_text, value_text, why
from evalkit.stats.protocols import Need
from evalkit.verify.calibration import calibrate_run
from evalkit.verify.replay import story_of
from evalkit.verify.verdict import Decision, Reason
from evalkit.verify.verifier import verify_with


@pytest.fixture
def told(bench, tiny):
    """A run with a keep, a rejection and a refusal, and the verdicts of it."""
    for level in (0.96, 1.5):
        verify_with(bench, tiny.candidate(LEVEL=level), description=f"level {level}")
    verify_with(bench, tiny.candidate(LEVEL=0.96))
    return bench, [record.body for record in bench.ledger.records("decided")]


def test_every_reason_has_words():
    assert {str(reason) for reason in Reason} | {"not_confirmed"} == set(REASONS)


def test_a_run_in_numbers_is_plain_json(told, tiny):
    bench, _ = told
    summary = run_summary(tiny.contract, bench.ledger)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["decisions"] == {"KEEP": 1, "REJECT": 2}
    assert summary["reasons"] == {"screened_out": 1, "no_change": 1}
    assert summary["head"] == tiny.git("rev-parse", "evalkit/tiny")
    lines = "\n".join(summary_lines(tiny.contract, summary))
    assert "3 experiments" in lines
    assert "keeps are on the branch evalkit/tiny" in lines


def test_an_empty_run_has_a_summary(bench, tiny):
    summary = run_summary(tiny.contract, bench.ledger)
    assert summary["experiments"] == 0
    assert "none" in "\n".join(summary_lines(tiny.contract, summary))


def test_verdicts_and_stories(told, tiny):
    bench, verdicts = told
    kept, worse, same = ("\n".join(verdict_lines(tiny.contract, body)) for body in verdicts)
    assert kept.startswith("KEEP: improved")
    assert "(+ is better)" in kept
    assert worse.startswith("REJECT: ")
    assert same.startswith("REJECT: nothing changed")
    story = "\n".join(story_lines(tiny.contract, story_of(bench.ledger.by_experiment(1), 1)))
    assert "level 0.96 (by submit)" in story
    assert "confirm pair" in story
    assert "kept as" in story
    assert "on fresh pairs loss" in story
    assert all("\n" not in log_line(tiny.contract, body) for body in verdicts)


def test_a_story_that_is_not_over(bench, tiny):
    verify_with(bench, tiny.candidate(LEVEL=1.5))
    story = dataclasses.replace(story_of(bench.ledger.by_experiment(1), 1), decided=None)
    assert list(story_lines(tiny.contract, story))[-1].startswith("not decided yet")


def test_what_else_a_verdict_says(told, tiny):
    _, verdicts = told
    strange = {
        **verdicts[1],
        "unsafe": "UNSAFE: nothing holds",
        "trust": "reported",
        "more_pairs": 7,
        "unenforced": ["network"],
        "findings": [{"rule": "EK1", "severity": "note", "file": "a.py", "line": 3, "message": "seen"}],
        "suppressed": [{"rule": "EK2", "reason": "known"}],
    }
    text = "\n".join(verdict_lines(tiny.contract, strange))
    for part in ("UNSAFE", "can forge", "7 more pairs", "not enforced here: network", "a.py:3 seen", "EK2 suppressed"):
        assert part in text


def test_calibration_in_words(bench):
    calibrate_run(bench)
    body = bench.ledger.latest("calibrated").body
    lines = list(calibration_lines(bench.contract, body))
    assert lines[0].startswith("6 A/A pairs")
    assert "scored" in lines[1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (187, "3:07 min"), (8100, "2:15 h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_numbers_in_words():
    assert one_line("a\n b\tc", 10) == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("a\x1b[2Jb\x00\ud800", 20).isprintable()
    assert value_text(1234567.0) == "1.2346e+06"
    assert change_text(0.0123, "log") != change_text(0.0123, "linear")
    assert change_text(-0.5, "linear") == "-0.5"
    metric = Metric("m", "minimize", "m", Trust.SCORED)
    assert pairs_text(metric, None) == "—"
    assert pairs_text(metric, {"mean": 1.0, "low": None, "high": None, "pairs": 3}) == "+1 [−∞, ∞], 3 pairs"


def test_why_has_a_sentence_for_every_decision(told, tiny):
    _, verdicts = told
    for body in verdicts:
        for decision in Decision:
            assert why(tiny.contract, {**body, "decision": str(decision)})


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_live_lines(bench, monkeypatch, terminal):
    screen = Screen() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    evil = "[bold]x[/bold] \x1b[2J [/] level"

    def worse(briefing):
        file = briefing.workspace / "solve.py"
        file.write_text(file.read_text().replace("LEVEL = 1.0", f"LEVEL = {1.5 + briefing.experiment}"))
        return evil

    with Live(bench, total=2) as live:
        live._console = Console(file=screen, width=200, force_terminal=False)
        Session(bench, Function(worse), live).run(Limits(experiments=2))
        live.comparing(0, 2)
        live.submitting(Need.CONFIRM_PAIR, 3)
        live.rerunning(Need.SCREEN_PAIR, 0)
    shown = screen.getvalue()
    assert shown.count("REJECT") == 2
    assert "[bold]x[/bold]" in shown
    assert "\x1b[2J " not in shown


def test_quiet_says_nothing(bench, capsys, tiny):
    with Live(bench, quiet=True) as live:
        verify_with(bench, tiny.candidate(LEVEL=1.5), progress=live.submitting, calibrating=live.calibrating)
    told = capsys.readouterr()
    assert told.out + told.err == ""


def test_an_unsafe_sandbox_is_shouted(open_stub, no_syncing, stub, capsys):
    stub.unsafe = True
    with open_stub() as bench, Live(bench):
        pass
    assert "UNSAFE" in capsys.readouterr().err
