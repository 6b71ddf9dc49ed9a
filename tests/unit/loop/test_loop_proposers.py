"""The proposers that go through given changes, call a function, or are named by the contract."""

import dataclasses

import pytest

from evalkit.contract import ProposerSettings
from evalkit.errors import UsageError
from evalkit.loop import Briefing, Exhausted, Past, Proposal, ProposalError
from evalkit.loop.choosing import proposer_of
from evalkit.loop.command import history_table
from evalkit.loop.function import Function, find_function
from evalkit.loop.instructions import instructions_for
from evalkit.loop.patches import Patches


def briefing(experiment=1, workspace=None):
    return Briefing(workspace, experiment, "", (), ("solve.py",), 60.0)


def proposed(patches):
    found = []
    while True:
        try:
            found.append(patches.propose(briefing(len(found) + 1)))
        except Exhausted:
            return found


def edit(tiny, level, message, *, also=()):
    text = (tiny.folder / "solve.py").read_text()
    head = text.partition("LEVEL = ")[0]
    tiny.write("solve.py", head + f"LEVEL = {level}\n" + text.partition("LEVEL = ")[2].partition("\n")[2])
    for name in also:
        tiny.write(name, message)
    return tiny.commit(message)


def test_a_folder_of_diffs_in_order_of_their_names(tiny):
    folder = tiny.folder / "patches"
    folder.mkdir()
    for name in ("b.diff", "a.patch", "notes.txt"):
        (folder / name).write_text(name)
    found = proposed(Patches(["patches"], repository=tiny.folder))
    assert [proposal.description for proposal in found] == ["a.patch", "b.diff"]
    assert found[0].patch == b"a.patch"
    assert len(Patches([folder, folder / "a.patch"], repository=tiny.folder)) == 3


def test_a_range_gives_each_commits_own_change(tiny):
    base = tiny.git("rev-parse", "HEAD")
    edit(tiny, 0.9, "first")
    edit(tiny, 0.8, "second", also=["new.txt"])
    found = proposed(Patches([f"{base}..HEAD"], repository=tiny.folder))
    assert [proposal.description.partition(" ")[2] for proposal in found] == ["first", "second"]
    assert b"+LEVEL = 0.9" in found[0].patch
    assert b"-LEVEL = 0.9" in found[1].patch
    assert b"new.txt" in found[1].patch


def test_a_branch_is_one_change_from_where_it_left(tiny):
    tiny.git("checkout", "-q", "-b", "idea")
    edit(tiny, 0.9, "first")
    edit(tiny, 0.8, "second")
    tiny.git("checkout", "-q", "main")
    edit(tiny, 1.1, "meanwhile")
    (found,) = proposed(Patches(["idea"], repository=tiny.folder))
    assert b"-LEVEL = 1.0" in found.patch
    assert b"+LEVEL = 0.8" in found.patch


def test_of_a_subfolder_only_its_own_changes(make_tiny):
    tiny = make_tiny(subfolder="deep/down")
    base = tiny.git("rev-parse", "HEAD")
    (tiny.top / "outside.txt").write_text("x")
    edit(tiny, 0.9, "inside and outside")
    (found,) = proposed(Patches([f"{base}..HEAD"], repository=tiny.folder))
    assert b"outside" not in found.patch
    assert b"+++ b/solve.py" in found.patch


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([], "no source"),
        (["empty"], "no .patch or .diff"),
        (["nowhere"], "merge-base"),
        (["HEAD..HEAD"], "no commits"),
        (["--output=x..HEAD"], "no range"),
        (["nowhere..HEAD"], "log"),
    ],
)
def test_sources_that_name_nothing(tiny, source, said):
    (tiny.folder / "empty").mkdir()
    with pytest.raises(UsageError, match=said):
        Patches(source, repository=tiny.folder)


def test_no_program_of_the_users_git_configuration_runs(tiny):
    base = tiny.git("rev-parse", "HEAD")
    edit(tiny, 0.9, "first")
    trap = tiny.top.parent / "trapped"
    tiny.git("config", "diff.external", f"touch {trap};:")
    tiny.git("config", "diff.evil.textconv", f"touch {trap};cat")
    tiny.git("config", "core.fsmonitor", f"touch {trap};false")
    tiny.write(".gitattributes", "*.py diff=evil\n")
    assert proposed(Patches([f"{base}..HEAD"], repository=tiny.folder))
    assert not trap.exists()


def test_a_function_edits_and_describes(tmp_path):
    def change(brief):
        (brief.workspace / "x").write_text("y")
        return "wrote x"

    assert Function(change).propose(briefing(workspace=tmp_path)).description == "wrote x"
    assert (tmp_path / "x").read_text() == "y"
    whole = Proposal("d", details={"k": 1})
    assert Function(lambda _: whole).propose(briefing()) is whole


@pytest.mark.parametrize("returned", [5, b"x", ["x"], {"a": 1}])
def test_a_function_that_returns_something_else_failed(returned):
    with pytest.raises(ProposalError, match=type(returned).__name__):
        Function(lambda _: returned).propose(briefing())


def test_a_function_that_raises_failed_and_one_that_has_nothing_more_ends():
    def boom(_brief):
        raise ZeroDivisionError("oh")

    with pytest.raises(ProposalError, match="ZeroDivisionError: oh"):
        Function(boom).propose(briefing())
    with pytest.raises(Exhausted):
        Function(lambda _: None).propose(briefing())

    def interrupted(_brief):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Function(interrupted).propose(briefing())


@pytest.mark.parametrize("name", ["json:dumps", "os.path:join"])
def test_functions_are_found_by_name(name):
    assert callable(find_function(name))


@pytest.mark.parametrize("name", ["json", "json:nothing", "nowhere_at_all:f", "json:__name__", ":f", ""])
def test_functions_that_are_not_there(name):
    with pytest.raises(UsageError):
        find_function(name)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (ProposerSettings(), "tuner"),
        (ProposerSettings(kind="command", command=("true",)), "command"),
        (ProposerSettings(kind="python", function="json:dumps"), "python"),
        (ProposerSettings(kind="patches", source=("x.patch",)), "patches"),
    ],
)
def test_the_contract_names_its_proposer(tiny, stub, settings, kind):
    (tiny.folder / "x.patch").write_text("")
    contract = dataclasses.replace(tiny.contract, proposer=settings)
    assert proposer_of(contract, stub).name == kind


@pytest.mark.parametrize("kind", ["command", "python", "patches", "oracle"])
def test_a_proposer_without_what_it_needs_is_said(tiny, stub, kind):
    with pytest.raises(UsageError):
        proposer_of(dataclasses.replace(tiny.contract, proposer=ProposerSettings(kind=kind)), stub)


def test_a_secret_that_is_not_set_is_said(tiny, stub, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    settings = ProposerSettings(kind="command", command=("true",), secrets=("NO_SUCH_KEY",))
    with pytest.raises(UsageError, match="NO_SUCH_KEY"):
        proposer_of(dataclasses.replace(tiny.contract, proposer=settings), stub)


def test_instructions_say_what_counts_and_no_file_that_is_hidden(tiny):
    text = instructions_for(tiny.contract)
    assert "`loss` better (minimize it)" in text
    assert "`solve.py`" in text
    assert "score.py" not in text


def test_instructions_of_ones_own(tiny):
    contract = dataclasses.replace(tiny.contract, proposer=ProposerSettings(instructions="program.md"))
    with pytest.raises(UsageError, match="can't be read"):
        instructions_for(contract)
    tiny.write("program.md", "do this")
    assert instructions_for(contract) == "do this"


def test_the_history_is_a_table():
    table = history_table(
        [Past(1, "REJECT", "crash", "s", "d", {}, None), Past(2, "KEEP", "improved", "", "e", {}, 0.5)]
    )
    rows = [line.split("\t") for line in table.splitlines()]
    assert rows[0] == ["experiment", "decision", "reason", "description"]
    assert {len(row) for row in rows} == {4}
    assert rows[2] == ["2", "KEEP", "improved", "e dev=0.5"]
