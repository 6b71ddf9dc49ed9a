import errno
import os
import sys

import click
import pytest

from evalkit.cli import main as cli
from evalkit.cli.common import end
from evalkit.errors import ContractError, LedgerLocked, Mistake, SandboxUnavailable, UsageError


@pytest.fixture
def run(monkeypatch, capsys):
    """The command line with one more command, which does as it is told; the exit code and what was said."""

    def go(action):
        @click.command(name="log")
        def command():
            action()

        monkeypatch.setattr("evalkit.cli.log.command", command)
        with pytest.raises(SystemExit) as ended:
            cli.main(["log"])
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    import evalkit.cli.log  # noqa: F401, PLC0415 - so that it is there to be replaced

    return go


def raises(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("no such thing", "try another"), 2, "evalkit: no such thing\n  → try another\n"),
        (LedgerLocked("process 12 has it"), 4, "evalkit: process 12 has it\n"),
        (SandboxUnavailable("no engine", "install one"), 4, "evalkit: no engine\n  → install one\n"),
        (ContractError((Mistake("a.toml:1", "x", "y"),)), 2, "the contract has a mistake:\n  a.toml:1: x; y\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"), 4, "No space left on device: /x"),
        (click.UsageError("wrong option"), 2, "wrong option"),
        (click.Abort(), 130, "stopped."),
        (KeyboardInterrupt(), 130, "stopped."),
    ],
)  # fmt: skip
def test_errors_are_sentences_with_an_exit_code(run, error, code, said):
    ended, out, err = run(raises(error))
    assert ended == code
    assert said in err
    assert out == ""
    assert "Traceback" not in err


def test_a_bug_of_ours_is_not_hidden(run):
    with pytest.raises(ZeroDivisionError):
        run_raw(ZeroDivisionError)


def run_raw(kind):
    @click.command(name="log")
    def command():
        raise kind

    import evalkit.cli.log  # noqa: PLC0415

    before = evalkit.cli.log.command
    evalkit.cli.log.command = command
    try:
        cli.main(["log"])
    finally:
        evalkit.cli.log.command = before


@pytest.mark.parametrize("code", [0, 1, 3])
def test_a_command_may_end_with_its_own_code(run, code):
    assert run(lambda: end(code))[0] == code


def test_a_reader_that_went_away_is_no_error(run, monkeypatch):
    monkeypatch.setattr(sys, "stderr", open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - main closes it
    assert run(raises(BrokenPipeError()))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], None, "Usage: evalkit"),
        (["--help"], 0, "submit"),
        (["-h"], 0, "Exit codes"),
        (["--version"], 0, "evalkit 0."),
        (["submti"], 2, "Did you mean 'submit'?"),
        (["qqqq"], 2, "`evalkit --help` lists them"),
        (["run", "--nope"], 2, "No such option"),
        (["show", "0"], 2, "x>=1"),
        (["run", "-n", "0"], 2, "x>=1"),
        (["calibrate", "--pairs", "2"], 2, "x>=3"),
    ],
)
def test_arguments(capsys, arguments, code, said):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    if code is not None:
        assert ended.value.code == code
    told = capsys.readouterr()
    assert said in told.out + told.err


def test_every_command_of_the_table_has_its_page(capsys):
    for name in ("run", "submit", "calibrate", "log", "show", "verify", "replay"):
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        page = capsys.readouterr().out
        assert f"Usage: evalkit {name}" in page
        assert "--json" in page
        assert "--contract" in page
