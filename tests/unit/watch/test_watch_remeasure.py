"""``evalkit audit --rerun``: keeps of a karpathy-style history, measured again in pairs."""

import json
import re

import pytest
from click.testing import CliRunner

from evalkit.cli.audit import command
from evalkit.errors import TrialError, UsageError
from evalkit.interop import read_history
from evalkit.watch.audit import Verdict, audit
from evalkit.watch.remeasure import choose, remeasurer


@pytest.fixture
def history(tiny, tmp_path):
    """A real gain, a lucky keep and one that crashes under the contract; and where they are."""
    path = tmp_path / "results.tsv"
    rows = [f"{tiny.git('rev-parse', 'HEAD')[:7]}\t1.0\t4\tkeep\tbaseline"]
    rows += [f"d{index}\t{1.0 + 0.01 * (index % 7 - 2)}\t4\tdiscard\ttry {index}" for index in range(30)]
    source = (tiny.folder / "solve.py").read_text()
    for level, metric, words in (("0.9", 0.97, "wider"), ("0.9\n# same", 0.955, "lucky"), ("nothing", 0.95, "odd")):
        changed = source.replace("LEVEL = 1.0", f"LEVEL = {level}")
        if words == "odd":
            changed = changed.replace("SPREAD", "SPREID")
        tiny.write("solve.py", changed)
        rows.append(f"{tiny.commit(words)[:9]}\t{metric}\t4\tkeep\t{words}")
    tiny.write("solve.py", source)
    tiny.commit("back")
    path.write_text("commit\tloss\tmemory_gb\tstatus\tdescription\n" + "\n".join(rows) + "\n")
    return path


def first(path):
    return audit(read_history(path))


def keeps(done):
    return {row.row.description: row for row in done.segments[0].rows if row.kept}


def test_measured_again(history, tiny, stub, no_syncing):
    before = first(history)
    seen = []
    with remeasurer(tiny.contract, [before], sandbox=stub, pairs=4, progress=lambda *now: seen.append(now)) as (again,):
        state = again._bench.state
        done = keeps(audit(before.history, remeasure=again))
        notes = again.notes
    assert not state.exists()
    assert done["wider"].verdict is Verdict.SURVIVES
    assert done["wider"].remeasured.effect == pytest.approx(0.1, abs=0.02)
    assert (done["wider"].remeasured.pairs, seen[0]) == (4, ("the noise", 0, 6))
    assert done["lucky"].verdict is not Verdict.SURVIVES
    assert abs(done["lucky"].remeasured.effect) < 0.02
    assert done["odd"].remeasured is None
    assert len(notes) == 1
    assert re.search(r"line 35: no value under this contract", notes[0])
    assert tiny.git("branch", "--list", "evalkit/*") == ""


def test_the_least_certain_come_first(history):
    before = first(history)
    rows = keeps(before)
    assert len(choose(before, None)) == 3
    (line,) = choose(before, 1)
    nearest = min(
        (row for row in rows.values() if row.probability is not None), key=lambda row: abs(row.probability - 0.5)
    )
    assert line == nearest.row.line


def test_what_is_not_at_hand_is_said(history, tiny, stub, no_syncing):
    text = history.read_text()
    hashes = re.findall(r"^([0-9a-f]{9})\t", text, flags=re.MULTILINE)
    history.write_text(text.replace(hashes[0], "feedbeef0").replace(hashes[2], "--upload-pack=x"))
    before = first(history)
    with remeasurer(tiny.contract, [before], sandbox=stub) as (again,):
        done = keeps(audit(before.history, remeasure=again))
        notes = again.notes
    assert all(row.remeasured is None for row in done.values())
    assert "feedbeef0" in notes[0]
    assert "names no commit" in notes[-1]


def test_another_goal_is_refused(history, tiny):
    with (
        pytest.raises(UsageError, match="is to maximize"),
        remeasurer(tiny.contract, [audit(read_history(history, goal="maximize"))]),
    ):
        raise AssertionError("it opens nothing")


def test_the_oldest_has_to_run(history, tiny, stub, no_syncing):
    text = history.read_text()
    odd = re.findall(r"^([0-9a-f]{9})\t", text, flags=re.MULTILINE)[2]
    history.write_text(text.replace(tiny.git("rev-list", "--max-parents=0", "HEAD")[:7], odd))
    before = first(history)
    with remeasurer(tiny.contract, [before], sandbox=stub) as (again,), pytest.raises(TrialError, match="no value"):
        audit(before.history, remeasure=again)


def call(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False, catch_exceptions=False)


def test_the_command(history, tiny, stub, no_syncing, monkeypatch):
    monkeypatch.setattr("evalkit.verify.workbench.open_sandbox", lambda *_, **__: stub)
    contract = tiny.folder / "evalkit.toml"
    result = call(history, "--rerun", "--contract", contract, "--pairs", 3, "--limit", 2)
    assert "measuring 2 keeps again: about 6 pairs" in result.output
    document = json.loads(call(history, "--rerun", "--contract", contract, "--json").stdout)
    measured = [row for row in document["segments"][0]["rows"] if row.get("remeasured")]
    assert len(measured) == 2
    with pytest.raises(UsageError, match="need each other"):
        call(history, "--rerun")
