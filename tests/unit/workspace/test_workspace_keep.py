from __future__ import annotations

import os
import time

import pytest

from evalkit.errors import InfrastructureError, WorkspaceError
from evalkit.workspace import EMPTY_TREE, Store, commits

TRAILERS = [("Evalkit-Verdict", "KEEP"), ("Evalkit-Ledger", "a" * 64), ("Evalkit-Metric", "val_bpb 1.20 [1.18, 1.22]")]


@pytest.fixture
def kept(user, store, tmp_path):
    """A repository, and a better tree than its head."""
    user.commit({"train.py": "lr = 0.1\n", "data/x": "1", "exp/a.py": "1", "exp/b.py": "2"})
    tree = store.import_revision(user.folder, "HEAD")
    store.materialise(tree, tmp_path / "w")
    (tmp_path / "w" / "train.py").write_text("lr = 0.2\n")
    return store.snapshot(tmp_path / "w", like=tree)


def plan(store, user, tree, **more):
    fields = {
        "parent": "HEAD",
        "tree": tree,
        "when": 1_700_000_123,
        "subject": "Raise lr",
        "trailers": TRAILERS,
        **more,
    }
    return store.plan_keep(user.folder, **fields)


def test_a_plan_writes_nothing_and_is_always_the_same(user, store, kept, tmp_path):
    before = sorted(str(path) for path in (user.folder / ".git").rglob("*"))
    planned = plan(store, user, kept, body="Because.\nIt pays.")
    assert plan(store, user, kept, body="Because.\nIt pays.") == planned
    assert plan(store, user, kept, when=1).id != planned.id
    assert sorted(str(path) for path in (user.folder / ".git").rglob("*")) == before
    with Store.open(tmp_path / "other") as other:
        other.import_revision(user.folder, "HEAD")
        assert plan(other, user, kept, body="Because.\nIt pays.").id == planned.id


def test_a_keep_is_a_commit_on_its_branch_and_nothing_else(user, store, kept):
    user.write({"train.py": "dirty\n", "data/x": "staged"})
    user.git("add", "data/x")
    before = user.state()
    planned = plan(store, user, kept)
    assert store.apply_keep(user.folder, planned, "evalkit/run-1") is True
    assert user.state() == before
    assert user.git("rev-parse", "evalkit/run-1") == planned.id
    assert user.git("show", "evalkit/run-1:train.py") == "lr = 0.2"
    assert user.git("log", "-1", "--format=%an <%ae> %at %ct", planned.id) == (
        "evalkit <evalkit@localhost> 1700000123 1700000123"
    )
    assert user.git("log", "-1", "--format=%s%n%(trailers:only)", planned.id).splitlines() == [
        "Raise lr",
        *(f"{name}: {value}" for name, value in TRAILERS),
    ]
    assert user.git("fsck", "--strict", "--no-dangling") == ""
    assert "evalkit: keep" in user.git("reflog", "evalkit/run-1")


def test_twice_is_once(user, store, kept):
    planned = plan(store, user, kept)
    assert store.apply_keep(user.folder, planned, "runs")
    assert store.apply_keep(user.folder, planned, "runs") is False
    assert user.git("rev-list", "--count", "runs") == "2"


def test_keeps_follow_each_other_and_can_be_loaded_by_id(user, store, kept, tmp_path):
    first = plan(store, user, kept)
    store.apply_keep(user.folder, first, "runs")
    (tmp_path / "w" / "train.py").write_text("lr = 0.3\n")
    better = store.snapshot(tmp_path / "w", like=kept)
    second = plan(store, user, better, parent=first.id)
    assert store.load_plan(second.id) == second
    store.apply_keep(user.folder, store.load_plan(second.id), "runs")
    assert user.git("log", "--format=%H", "runs").splitlines()[:2] == [second.id, first.id]
    with pytest.raises(WorkspaceError):
        store.load_plan("1" * 40)


def test_a_kill_between_copy_and_move_is_made_good(user, store, kept):
    planned = plan(store, user, kept)
    store._keeper(user.folder)._copy(planned)
    assert store.apply_keep(user.folder, planned, "runs")
    assert user.git("fsck", "--strict", "--no-dangling") == ""


def test_a_lock_left_by_a_killed_git_is_removed_when_it_is_old(user, store, kept, monkeypatch):
    monkeypatch.setattr(commits, "_LOCK_WAIT", 10)
    planned = plan(store, user, kept)
    lock = user.folder / ".git" / "refs" / "heads" / "runs.lock"
    lock.touch()
    with pytest.raises(WorkspaceError, match="can't be moved"):
        store.apply_keep(user.folder, planned, "runs")
    old = time.time() - 60
    os.utime(lock, (old, old))
    assert store.apply_keep(user.folder, planned, "runs")
    assert not lock.exists()


def test_a_subfolder_is_replaced_in_the_whole_tree(user, store, kept, tmp_path):
    tree = store.import_revision(user.folder / "exp", "HEAD")
    store.materialise(tree, tmp_path / "sub")
    (tmp_path / "sub" / "a.py").write_text("better")
    (tmp_path / "sub" / "deep").mkdir()
    (tmp_path / "sub" / "deep" / "new.py").write_text("new")
    new = store.snapshot(tmp_path / "sub", like=tree)
    planned = store.plan_keep(user.folder / "exp", parent="HEAD", tree=new, when=1, subject="s")
    assert planned == store.plan_keep(user.folder, parent="HEAD", tree=new, when=1, subject="s", subfolder="exp")
    store.apply_keep(user.folder / "exp", planned, "runs")
    assert user.git("diff", "--name-only", "HEAD", "runs").splitlines() == ["exp/a.py", "exp/deep/new.py"]
    assert user.git("show", "runs:data/x") == "1"
    assert user.git("fsck", "--strict", "--no-dangling") == ""
    with pytest.raises(WorkspaceError, match="not in the commit"):
        store.plan_keep(user.folder, parent="HEAD", tree=new, when=1, subject="s", subfolder="no/where")


def test_a_big_keep_arrives_as_a_pack(user, store, kept, tmp_path):
    for number in range(300):
        (tmp_path / "w" / f"n{number}").write_text(str(number))
    big = store.snapshot(tmp_path / "w", like=kept)
    planned = plan(store, user, big)
    store.apply_keep(user.folder, planned, "runs")
    assert user.git("show", "runs:n299") == "299"
    assert user.git("fsck", "--strict", "--no-dangling") == ""


def test_deleting_everything_can_be_committed(user, store, kept):
    store.apply_keep(user.folder, plan(store, user, EMPTY_TREE), "runs")
    assert user.git("ls-tree", "-r", "runs") == ""


def test_a_branch_that_moved_is_left_alone(user, store, kept):
    planned = plan(store, user, kept)
    user.git("branch", "runs", user.git("commit-tree", "-m", "theirs", "HEAD^{tree}"))
    before = user.git("rev-parse", "runs")
    with pytest.raises(WorkspaceError, match="the branch runs moved") as caught:
        store.apply_keep(user.folder, planned, "runs")
    assert "new branch" in caught.value.way_out
    assert user.git("rev-parse", "runs") == before


def test_a_branch_that_is_checked_out_is_left_alone(user, store, kept, tmp_path):
    planned = plan(store, user, kept)
    with pytest.raises(WorkspaceError, match="the branch main is checked out in"):
        store.apply_keep(user.folder, planned, "main")
    user.git("branch", "elsewhere")
    user.git("worktree", "add", "-q", str(tmp_path / "linked"), "elsewhere")
    with pytest.raises(WorkspaceError, match=r"elsewhere is checked out in .*linked"):
        store.apply_keep(user.folder, planned, "elsewhere")
    assert store.apply_keep(tmp_path / "linked", planned, "runs")
    assert user.git("rev-parse", "runs") == planned.id


def test_a_branch_that_is_another_name_is_left_alone(user, store, kept):
    user.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    with pytest.raises(WorkspaceError, match="only another name for refs/heads/main"):
        store.apply_keep(user.folder, plan(store, user, kept), "alias")


def test_a_branch_without_commits_that_is_checked_out(user, store, kept):
    planned = plan(store, user, kept)
    user.git("symbolic-ref", "HEAD", "refs/heads/unborn")
    with pytest.raises(WorkspaceError, match="unborn is checked out"):
        store.apply_keep(user.folder, planned, "unborn")


def test_a_parent_that_the_user_threw_away(user, store, kept):
    first = plan(store, user, kept)
    second = plan(store, user, kept, parent=first.id, when=5)  # known to the store, never applied
    with pytest.raises(WorkspaceError, match=r"is not in .* any more"):
        store.apply_keep(user.folder, second, "runs")
    store.apply_keep(user.folder, first, "runs")
    assert store.apply_keep(user.folder, second, "runs")


@pytest.mark.parametrize(
    "branch", ["", "-x", "a..b", "a b", "x.lock", "/x", "a\nb", "@{-1}", "\udcff~", "a\0b", "*", "run[s]"]
)
def test_names_that_no_branch_has(user, store, kept, branch):
    with pytest.raises(WorkspaceError, match="can't be the name of a branch"):
        store.apply_keep(user.folder, plan(store, user, kept), branch)


def test_a_branch_in_the_way_of_a_folder_of_branches(user, store, kept):
    user.git("branch", "evalkit")
    with pytest.raises(WorkspaceError, match="can't be moved"):
        store.apply_keep(user.folder, plan(store, user, kept), "evalkit/run")


def test_messages_hold_no_surprises(user, store, kept):
    planned = plan(
        store,
        user,
        kept,
        subject="one\ntwo\x1b[31m\udcff",
        body="text\r\nEvalkit-Verdict: REJECT\x00",
        trailers=[("Evalkit-Verdict", "KEEP\nSigned-off-by: nobody")],
    )
    assert planned.message.startswith("one two\\x1b[31m\\udcff\n\n")
    store.apply_keep(user.folder, planned, "runs")
    trailers = user.git("log", "-1", "--format=%(trailers:only)", "runs")
    assert trailers == "Evalkit-Verdict: KEEP Signed-off-by: nobody"
    assert plan(store, user, kept, subject="\n").message.startswith("Keep a verified change\n")
    assert plan(store, user, kept, trailers=[]).message == "Raise lr\n"
    with pytest.raises(WorkspaceError, match="trailer"):
        plan(store, user, kept, trailers=[("Bad name", "x")])
    with pytest.raises(WorkspaceError, match="author"):
        plan(store, user, kept, author="x\nparent 000 <a>")


def test_a_parent_that_is_not_there(user, store, kept):
    with pytest.raises(WorkspaceError, match="revision"):
        plan(store, user, kept, parent="nope")
    with pytest.raises(WorkspaceError, match="revision"):
        plan(store, user, kept, parent="HEAD^{tree}")


def test_a_shallow_clone_can_keep(user, store, kept, tmp_path):
    user.commit({"more": "1"})
    user.git("clone", "-q", "--depth=1", f"file://{user.folder}", str(tmp_path / "shallow"))
    planned = store.plan_keep(tmp_path / "shallow", parent="HEAD", tree=kept, when=1, subject="s")
    assert store.apply_keep(tmp_path / "shallow", planned, "runs")
    assert user.git("rev-parse", "runs^{tree}", folder=tmp_path / "shallow") == kept


def test_a_repository_that_can_not_be_written(user, store, kept, monkeypatch):
    planned = plan(store, user, kept)
    real = commits.git

    def full(arguments, **more):
        if "unpack-objects" in arguments:
            return commits.Ran(128, b"", "fatal: unable to write file: No space left on device")
        return real(arguments, **more)

    monkeypatch.setattr(commits, "git", full)
    with pytest.raises(InfrastructureError, match="No space left on device"):
        store.apply_keep(user.folder, planned, "runs")
    monkeypatch.undo()
    assert store.apply_keep(user.folder, planned, "runs")
