"""The command proposer in the real sandbox: what it sees, what is kept of it, and how it may fail."""

import dataclasses
import textwrap

import pytest

from evalkit.contract import ProposerSettings
from evalkit.loop import Briefing, Session
from evalkit.loop.command import Command
from evalkit.loop.session import Limits
from evalkit.loop.watching import Silent

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_syncing")]


@pytest.fixture
def run(bubblewrap, open_stub, tiny, tmp_path, monkeypatch):
    """One or more proposals of a Python program, trials on the stub; the verdicts and what was printed."""

    def proposals(program, count=1, **settings):
        chosen = ProposerSettings(kind="command", command=("python", "-S", "-c", textwrap.dedent(program)), **settings)
        with open_stub() as bench:
            command = Command(chosen, bubblewrap, bench.contract.budget)
            Session(bench, command, Silent()).run(Limits(experiments=count))
            proposed = [record.body for record in bench.ledger.records("proposed")]
            decided = [record.body for record in bench.ledger.records("decided")]
        said = [(tmp_path / "state" / "transcripts" / f"{body['transcript']}.txt") for body in proposed]
        return decided, [file.read_text() if file.is_file() else "" for file in said]

    return proposals


LOWER = """
    import re
    text = open("solve.py").read()
    open("solve.py", "w").write(text.replace("LEVEL = 1.0", "LEVEL = 1.5"))
    print("thinking")
    print("raised the level")
"""


def test_what_it_leaves_is_the_proposal_and_its_last_line_the_description(run):
    (body,), (said,) = run(LOWER)
    assert (body["reason"], body["description"]) == ("screened_out", "raised the level")
    assert said == "thinking\nraised the level\n"


def test_it_sees_the_workspace_its_instructions_and_the_history_and_nothing_else_of_ours(run, tiny, tmp_path):
    program = f"""
        import os
        assert os.getcwd() == "/box"
        assert sorted(os.listdir("/box")) == ["evalkit.toml", "solve.py"], os.listdir("/box")
        assert "loss" in open("/evalkit/program.md").read()
        print(len(open("/evalkit/history.tsv").readlines()))
        assert not os.path.exists({str(tmp_path / "state")!r})
        assert not os.path.exists({str(tiny.folder)!r})
        assert "EVALKIT_STATE" not in os.environ
        for name in ("/evalkit/program.md", "/etc/passwd2", "/usr/x"):
            try:
                open(name, "a").write("x")
            except OSError:
                pass
            else:
                raise SystemExit("could write " + name)
    """
    decided, said = run(program, count=2)
    assert [body["reason"] for body in decided] == ["no_change", "no_change"], said
    assert [text.strip() for text in said] == ["1", "2"]


def test_secrets_reach_it_and_are_masked_everywhere(run, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-très-secret-123")
    monkeypatch.setenv("OTHER_KEY", "must-not-be-seen")
    program = """
        import os, sys
        assert os.environ["MY_KEY"] == "sk-très-secret-123"
        assert "OTHER_KEY" not in os.environ
        print("on stderr", os.environ["MY_KEY"], file=sys.stderr)
        print("used key", os.environ["MY_KEY"])
    """
    (body,), (said,) = run(program, secrets=("MY_KEY",))
    assert body["reason"] == "no_change", said
    assert body["description"] == "used key [secret]"
    assert said.count("[secret]") == 2
    secret = "sk-très-secret-123"  # noqa: S105
    written = b"".join(file.read_bytes() for file in (tmp_path / "state").rglob("*") if file.is_file())
    assert secret.encode() not in written
    assert ascii(secret)[1:-1].encode() not in written


def test_a_crash_is_one_recorded_attempt_with_its_transcript(run):
    decided, said = run("print('so far'); raise SystemExit(3)", count=2)
    assert [(body["decision"], body["reason"]) for body in decided] == [("ERROR", "proposer")] * 2
    assert "exited with code 3" in decided[0]["sentence"]
    assert said == ["so far\n", "so far\n"]


def test_a_command_that_hangs_is_ended_in_its_time(run):
    (body,), (said,) = run("import time; print('begun', flush=True); time.sleep(600)", wall=0.7)
    assert (body["decision"], body["reason"]) == ("ERROR", "proposer")
    assert "timeout" in body["sentence"]
    assert said == "begun\n"


def test_a_command_that_is_not_there_is_one_recorded_attempt(bubblewrap, open_stub):
    with open_stub() as bench:
        settings = ProposerSettings(kind="command", command=("no-such-agent",))
        Session(bench, Command(settings, bubblewrap, bench.contract.budget), Silent()).run(Limits(experiments=1))
        assert next(bench.ledger.records("decided")).body["reason"] == "proposer"


def test_the_same_tree_twice_is_one_attempt_each(run):
    decided, _ = run(LOWER, count=2)
    assert [body["reason"] for body in decided] == ["screened_out", "duplicate"]


def test_it_has_no_network_unless_the_contract_says_so(run):
    program = """
        import socket
        try:
            socket.create_connection(("127.0.0.1", 22), 1)
        except OSError as error:
            print("no network")
    """
    _, (said,) = run(program)
    assert said == "no network\n"


def test_the_hosts_of_the_contract_are_the_sandboxs(tiny, stub, tmp_path):
    jobs = []

    class Noting:
        def start(self, job):
            jobs.append(job)
            return stub.start(dataclasses.replace(job, tree=tiny.folder, env={"EVALKIT_SEED": "1"}))

    settings = ProposerSettings(kind="command", command=("x",), network=True, hosts=("api.example.org",))
    Command(settings, Noting(), tiny.contract.budget).propose(Briefing(tmp_path, 1, "", (), (), 5.0))
    assert jobs[0].network
    assert jobs[0].hosts == ("api.example.org",)
    assert jobs[0].limits.wall == 5.0
