"""A session on a sandbox that runs nothing: limits, restarts, and proposers that misbehave."""

import hashlib
from collections import Counter

import pytest

from evalkit.loop import Exhausted, Proposal, ProposalError, Session, verified
from evalkit.loop.function import Function
from evalkit.loop.session import Limits
from evalkit.loop.tuner import Tuner
from evalkit.loop.watching import Silent
from evalkit.verify.replay import replay, story_of


def to_level(level):
    """Writes a level into the workspace."""

    def propose(briefing):
        file = briefing.workspace / "solve.py"
        text = file.read_text()
        old = text.partition("LEVEL = ")[2].partition("\n")[0]
        file.write_text(text.replace(f"LEVEL = {old}", f"LEVEL = {level}"))
        return f"level {level}"

    return propose


def worse(briefing):
    return to_level(2.0 + briefing.experiment / 100)(briefing)


class Listening(Silent):
    def __init__(self):
        self.heard = Counter()
        self.verdicts = []

    def calibrating(self, have, wanted):
        self.heard["calibrating"] += 1

    def proposing(self, experiment):
        self.heard["proposing"] += 1

    def measuring(self, experiment, description, need, trials):
        self.heard["measuring"] += 1

    def estimating(self, have, wanted):
        self.heard["estimating"] += 1

    def decided(self, verdict):
        self.verdicts.append(verdict)


def session(bench, function, watcher=None):
    return Session(bench, Function(function), watcher or Silent())


def decided(bench):
    return [record.body for record in bench.ledger.records("decided")]


def test_it_ends_when_the_experiments_are_done(bench):
    watcher = Listening()
    assert session(bench, worse, watcher).run(Limits(experiments=3)) == "3 experiments are done"
    assert bench.book.experiments == 3
    assert [verdict.experiment for verdict in watcher.verdicts] == [1, 2, 3]
    assert (watcher.heard["calibrating"], watcher.heard["proposing"]) == (6, 3)
    assert watcher.heard["measuring"] >= 3
    assert session(bench, worse).run(Limits(experiments=3)) == "3 experiments are done"
    assert bench.book.experiments == 3


def test_it_begins_nothing_after_its_time(bench):
    moments = iter(range(100))
    ended = Session(bench, Function(worse), Silent(), clock=lambda: float(next(moments))).run(Limits(seconds=2))
    assert ended == "2 seconds are used up"
    assert bench.book.experiments == 1


def test_it_ends_when_there_is_nothing_more(bench):
    levels = iter([1.5, 1.6])

    def two(briefing):
        return to_level(next(levels))(briefing) if briefing.experiment < 3 else None

    assert "nothing more" in session(bench, two).run(Limits())
    assert bench.book.experiments == 2


def test_a_restarted_session_goes_on_with_the_history(tiny, open_stub, no_syncing):
    seen = []

    def look(briefing):
        seen.append([(past.experiment, past.decision) for past in briefing.history])
        return worse(briefing)

    for count in (2, 4):
        with open_stub() as bench:
            session(bench, look).run(Limits(experiments=count))
    assert [len(history) for history in seen] == [0, 1, 2, 3]
    assert seen[3] == [(1, "REJECT"), (2, "REJECT"), (3, "REJECT")]


def test_a_proposer_that_fails_costs_one_recorded_attempt_each_time(bench):
    def broken(briefing):
        raise ProposalError("it hung", transcript=b"thinking...", description="a plan")

    session(bench, broken).run(Limits(experiments=2))
    for body in decided(bench):
        assert (body["decision"], body["reason"], body["sentence"]) == ("ERROR", "proposer", "it hung")
        assert (body["candidate"], body["description"], body["evaluations"]) == ("", "a plan", 0)
    digest = hashlib.sha256(b"thinking...").hexdigest()
    kept = list((bench.state / "transcripts").iterdir())
    assert [(file.name, file.read_bytes()) for file in kept] == [(f"{digest}.txt", b"thinking...")]
    assert next(bench.ledger.records("proposed")).body["transcript"] == digest


@pytest.mark.parametrize(
    ("function", "decision", "reason"),
    [
        (lambda _: "nothing", "REJECT", "no_change"),
        (lambda _: Proposal("p", patch=b"garbage"), "REJECT", "scope"),
        (lambda _: Proposal("p", patch=b""), "REJECT", None),
        (lambda _: 7, "ERROR", "proposer"),
        (lambda _: Proposal("p", details={"x": float("nan")}), "ERROR", "proposer"),
        (lambda _: Proposal("p", details={"x": object()}), "ERROR", "proposer"),
        (lambda b: [f.unlink() for f in b.workspace.iterdir()] and "all gone", "REJECT", None),
        (lambda b: (b.workspace / "more.py").write_text("x") and "another file", "REJECT", "scope"),
        (lambda b: (b.workspace / "link").symlink_to("/etc/passwd") or "a link", "REJECT", "scope"),
        (lambda b: (b.workspace / "score.py").write_text("x") and "its own scorer", "REJECT", "scope"),
    ],
)
def test_proposals_that_are_none(bench, function, decision, reason):
    session(bench, function).run(Limits(experiments=1))
    (body,) = decided(bench)
    assert body["decision"] == decision
    assert body["reason"] == reason or reason is None
    assert body["evaluations"] == 0
    assert replay(story_of(bench.ledger.by_experiment(1), 1)).same


def test_the_same_tree_twice_is_two_attempts_and_measured_once(bench):
    session(bench, to_level(1.5)).run(Limits(experiments=3))
    assert [body["reason"] for body in decided(bench)] == ["screened_out", "duplicate", "duplicate"]


def test_the_workspace_is_fresh_without_hidden_files_and_gone_afterwards(bench):
    places = []

    def look(briefing):
        assert sorted(path.name for path in briefing.workspace.iterdir()) == ["evalkit.toml", "solve.py"]
        assert "LEVEL = 1.0" in (briefing.workspace / "solve.py").read_text()
        places.append(briefing.workspace)
        return worse(briefing)

    session(bench, look).run(Limits(experiments=2))
    assert len(set(places)) == 2
    assert not any(place.exists() or place.parent.exists() for place in places)


def test_the_next_proposal_starts_from_what_was_kept(bench, tiny):
    seen = []

    def once(briefing):
        seen.append((briefing.workspace / "solve.py").read_text())
        return to_level(0.96)(briefing) if briefing.experiment == 1 else worse(briefing)

    session(bench, once).run(Limits(experiments=2))
    assert "LEVEL = 0.96" in seen[1]
    assert bench.book.keeps == 1


def test_strange_descriptions_are_made_printable(bench):
    strange = "two\nlines \x1b[31mred\x00 \ud800" + "x" * 1000

    def change(briefing):
        worse(briefing)
        return strange

    session(bench, change).run(Limits(experiments=1))
    description = decided(bench)[0]["description"]
    assert description.isprintable()
    assert len(description) <= 300
    description.encode()


def test_the_built_in_tuner_finds_the_better_level(bench):
    Session(bench, Tuner(entropy=4), Silent()).run(Limits(experiments=12))
    assert bench.book.experiments == 12
    assert {body["proposer"] for body in decided(bench)} == {"tuner"}


def test_verified_wraps_a_callable(tiny, stub, tmp_path, no_syncing):
    found = list(verified(worse, tiny.contract, experiments=2, state=tmp_path / "v", sandbox=stub))
    assert [verdict.experiment for verdict in found] == [1, 2]
    levels = iter([1.7])
    more = list(
        verified(
            lambda b: to_level(next(levels))(b) if b.experiment < 4 else None,
            tiny.contract,
            state=tmp_path / "v",
            sandbox=stub,
        )
    )
    assert [verdict.experiment for verdict in more] == [3]


def test_a_proposer_that_is_interrupted_leaves_nothing_open(open_stub, no_syncing):
    def stop(briefing):
        raise KeyboardInterrupt

    with open_stub() as bench:
        with pytest.raises(KeyboardInterrupt):
            session(bench, stop).run(Limits())
        assert bench.book.open_experiment is None
        assert bench.book.experiments == 0


def test_exhausted_is_said_in_the_proposers_own_words(bench):
    def end(briefing):
        raise Exhausted("all patches were proposed")

    assert session(bench, end).run(Limits()) == "all patches were proposed"
