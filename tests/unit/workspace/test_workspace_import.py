from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from evalkit.errors import WorkspaceError
from evalkit.workspace import EMPTY_TREE, Caps, Repository, Store

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"


def test_a_revision_comes_in_whole_and_alone(user, store):
    user.commit({"a.py": "1\n", "src/b.py": "2\n", "src/deep/c.bin": b"\0\xff"})
    tree = store.import_revision(user.folder, "HEAD")
    assert tree == user.git("rev-parse", "HEAD^{tree}")
    shutil.rmtree(user.folder)  # nothing is borrowed from there
    with Store.open(store.path.parent / "other") as other:
        assert set(store.files(tree)) == {"a.py", "src/b.py", "src/deep/c.bin"}
        with pytest.raises(WorkspaceError, match="missing in evalkit's store"):
            other.files(tree)
    assert store.read(tree, "src/deep/c.bin") == b"\0\xff"
    assert not (store.path / "git" / "objects" / "info" / "alternates").exists()


def test_many_revisions_share_what_they_share(user, store):
    user.commit({f"f{i}": str(i) for i in range(200)})
    first = store.import_revision(user.folder, "HEAD")
    user.commit({"f0": "changed"})
    second = store.import_revision(user.folder, "HEAD")
    assert store.import_revision(user.folder, "HEAD~1") == first
    assert [file.path for file in store.diff(first, second).files] == ["f0"]


def test_a_dirty_checkout_is_left_alone(user, store):
    user.commit({"a": "1"})
    user.write({"a": "dirty", "new": "x"})
    user.git("add", "new")
    before = user.state()
    tree = store.import_revision(user.folder, "HEAD")
    assert store.read(tree, "a") == b"1"
    assert user.state() == before


def test_a_subfolder_by_place_and_by_name(user, store):
    user.commit({"top": "1", "exp/train.py": "2", "exp/data/x": "3"})
    inner = store.import_revision(user.folder / "exp", "HEAD")
    assert set(store.files(inner)) == {"train.py", "data/x"}
    assert store.import_revision(user.folder, "HEAD", "exp") == inner
    assert store.import_revision(user.folder / "exp", "HEAD", "") == user.git("rev-parse", "HEAD^{tree}")
    assert Repository.find(user.folder / "exp" / "data").prefix == "exp/data"
    with pytest.raises(WorkspaceError, match="no folder 'nope'"):
        store.import_revision(user.folder, "HEAD", "nope")
    with pytest.raises(WorkspaceError, match="no folder 'top'"):
        store.import_revision(user.folder, "HEAD", "top")
    with pytest.raises(WorkspaceError, match="not below the repository"):
        store.import_revision(user.folder, "HEAD", "../x")


def test_shallow_clone_worktree_and_bare(user, store, tmp_path):
    user.commit({"a": "1"})
    user.commit({"a": "2"})
    tree = user.git("rev-parse", "HEAD^{tree}")
    user.git("clone", "-q", "--depth=1", f"file://{user.folder}", str(tmp_path / "shallow"))
    user.git("clone", "-q", "--bare", str(user.folder), str(tmp_path / "bare"))
    user.git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    for folder in ("shallow", "bare", "linked"):
        with Store.open(tmp_path / f"store-{folder}") as own:
            assert own.import_revision(tmp_path / folder, "HEAD") == tree
            assert own.read(tree, "a") == b"2"
    with pytest.raises(WorkspaceError, match="the clone is shallow"):
        store.import_revision(tmp_path / "shallow", "HEAD~1")
    with pytest.raises(WorkspaceError, match="bare repository"):
        store.import_worktree(tmp_path / "bare")


def test_a_partial_clone_is_refused_and_fetches_nothing(user, store, tmp_path):
    user.git("config", "uploadpack.allowFilter", "true")
    user.commit({"a": "1" * 100})
    partial = tmp_path / "partial"
    user.git("clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{user.folder}", str(partial))
    with pytest.raises(WorkspaceError, match="partial clone"):
        store.import_revision(partial, "HEAD")


def test_borrowed_objects_are_followed(user, store, tmp_path):
    user.commit({"a": "1"})
    user.git("clone", "-q", "--shared", str(user.folder), str(tmp_path / "shared"))
    tree = store.import_revision(tmp_path / "shared", "HEAD")
    shutil.rmtree(user.folder)
    assert store.read(tree, "a") == b"1"


def test_an_empty_tree(user, store):
    user.commit()
    assert store.import_revision(user.folder, "HEAD") == EMPTY_TREE
    assert dict(store.files(EMPTY_TREE)) == {}


def test_replaced_objects_are_not_believed(user, store):
    user.commit({"a": "true"})
    blob = user.git("rev-parse", "HEAD:a")
    user.write({"b": "false"})
    user.git("replace", blob, user.git("hash-object", "-w", "b"))
    tree = store.import_revision(user.folder, "HEAD")
    assert store.read(tree, "a") == b"true"


@pytest.mark.parametrize("revision", ["nope", "-rf", "--all", "HEAD:a", "HEAD~9", "", "a b", "@{99}", "\udcff", "a\0b"])
def test_revisions_that_are_none(user, store, revision):
    user.commit({"a": "1"})
    with pytest.raises(WorkspaceError, match=r"revision|impossible name"):
        store.import_revision(user.folder, revision)


def test_places_that_are_no_repository(store, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="not in a git repository"):
        store.import_revision(tmp_path / "plain", "HEAD")
    with pytest.raises(WorkspaceError, match="does not exist"):
        store.import_revision(tmp_path / "nowhere", "HEAD")
    with pytest.raises(WorkspaceError, match="not a folder"):
        store.import_revision(tmp_path / "file", "HEAD")


def test_another_hash_is_refused(user, store, tmp_path):
    user.git("init", "-q", "--object-format=sha256", str(tmp_path / "new"))
    with pytest.raises(WorkspaceError, match="sha256"):
        store.import_revision(tmp_path / "new", "HEAD")


def test_submodules_are_refused_with_their_names(user, store):
    user.commit({"a": "1"})
    user.git("clone", "-q", str(user.folder), str(user.folder / "vendored"))
    user.git("-c", "advice.addEmbeddedRepo=false", "add", "vendored")
    user.git("commit", "-q", "-m", "module")
    with pytest.raises(WorkspaceError, match="vendored is a submodule") as caught:
        store.import_revision(user.folder, "HEAD")
    assert "vendor the files" in caught.value.way_out
    with pytest.raises(WorkspaceError, match="vendored is a submodule"):
        store.import_worktree(user.folder)


def test_lfs_pointers_are_refused(user, store):
    user.commit({"model.bin": POINTER, "a": "1"})
    with pytest.raises(WorkspaceError, match=r"model\.bin is a Git LFS pointer") as caught:
        store.import_revision(user.folder, "HEAD")
    assert "git lfs pull" in caught.value.way_out
    with pytest.raises(WorkspaceError, match="LFS pointer"):
        store.import_worktree(user.folder)
    user.write({"model.bin": "the real bytes"})
    assert store.read(store.import_worktree(user.folder), "model.bin") == b"the real bytes"


def test_symlinks_stay_when_they_stay_inside(user, store):
    user.commit({"a": "1", "d/b": "2"})
    (user.folder / "d" / "link").symlink_to("../a")
    user.commit()
    tree = store.import_revision(user.folder, "HEAD")
    assert store.files(tree)["d/link"].symlink
    assert store.import_worktree(user.folder) == tree
    with pytest.raises(WorkspaceError, match=r"link is a symlink to \.\./a, which leads out of the tree"):
        store.import_revision(user.folder / "d", "HEAD")
    with pytest.raises(WorkspaceError, match="leads out of the tree"):
        store.import_worktree(user.folder / "d")


def test_hostile_tree_objects_are_refused(user, store):
    user.commit({"a": "1"})
    blob = user.git("rev-parse", "HEAD:a")

    def tree_with(*names: bytes, mode: bytes = b"100644") -> str:
        data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(blob) for name in names)
        (user.folder / "raw").write_bytes(data)
        return user.git("hash-object", "-w", "-t", "tree", "--literally", "raw")

    for names in ((b"..",), (b".git",), (b".GIT",), (b"a/b",), (b"a", b"a"), (b"x" * 300,)):
        with pytest.raises(WorkspaceError, match="the tree holds"):
            store.import_revision(user.folder, tree_with(*names))
    with pytest.raises(WorkspaceError, match="unknown mode"):
        store.import_revision(user.folder, tree_with(b"dev", mode=b"60000"))


def test_caps(user, tmp_path):
    user.commit({"a": "12345", "b": "12345"})
    for caps, problem in (
        (Caps(files=1), "2 files"),
        (Caps(file_bytes=4), "larger than"),
        (Caps(total_bytes=9), "more than"),
    ):
        with Store.open(tmp_path / "capped", caps=caps) as store:
            with pytest.raises(WorkspaceError, match=problem):
                store.import_revision(user.folder, "HEAD")
            with pytest.raises(WorkspaceError, match=r"more than|larger than"):
                store.import_worktree(user.folder)


def test_the_working_files(user, store):
    user.commit({"kept": "1", "changed": "1", "deleted": "1", "sub/x": "1", ".gitignore": "*.log\n"})
    user.write({"changed": "2", "new": "n", "x.log": "ignored", "__pycache__/a.pyc": "junk"})
    (user.folder / "deleted").unlink()
    (user.folder / "kept").chmod(0o755)
    user.write({"staged": "s"})
    user.git("add", "staged")
    before = user.state()
    tree = store.import_worktree(user.folder)
    assert set(store.files(tree)) == {"kept", "changed", "sub/x", ".gitignore", "new", "staged"}
    assert store.read(tree, "changed") == b"2"
    assert store.files(tree)["kept"].executable
    assert user.state() == before
    assert set(store.files(store.import_worktree(user.folder / "sub"))) == {"x"}
    assert set(store.files(store.import_worktree(user.folder, "sub"))) == {"x"}


def test_a_clean_checkout_gives_the_tree_of_its_commit(user, store):
    user.commit({"a": "1", "b/c": "2", "b.c": "3", "b-": "4", "b/d/e": "5"})
    assert store.import_worktree(user.folder) == user.git("rev-parse", "HEAD^{tree}")


def test_working_files_before_the_first_commit(user, store):
    user.write({"a": "1"})
    assert set(store.files(store.import_worktree(user.folder))) == {"a"}


def test_a_tracked_folder_that_became_a_link_is_not_followed(user, store, tmp_path):
    user.commit({"d/secret": "1", "a": "1"})
    shutil.rmtree(user.folder / "d")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not yours")
    (user.folder / "d").symlink_to("a")
    tree = store.import_worktree(user.folder)
    assert set(store.files(tree)) == {"a", "d"}
    (user.folder / "d").unlink()
    (user.folder / "d").symlink_to(outside)
    with pytest.raises(WorkspaceError, match="leads out"):
        store.import_worktree(user.folder)


def test_fifos_and_nested_repositories_among_the_working_files(user, store):
    user.commit({"a": "1", "was": "1"})
    (user.folder / "was").unlink()
    os.mkfifo(user.folder / "was")
    with pytest.raises(WorkspaceError, match="was is not a regular file"):
        store.import_worktree(user.folder)
    (user.folder / "was").unlink()
    user.git("init", "-q", "nested")
    (user.folder / "nested" / "f").write_text("x")
    with pytest.raises(WorkspaceError, match="nested/ is a repository of its own"):
        store.import_worktree(user.folder)


def test_a_sparse_checkout_keeps_what_is_not_checked_out(user, store):
    user.commit({"in/a": "1", "out/b": "2", "top": "3"})
    user.git("sparse-checkout", "set", "in")
    assert not (user.folder / "out").exists()
    assert store.import_worktree(user.folder) == user.git("rev-parse", "HEAD^{tree}")


def test_the_users_own_ignore_file_counts(user, store, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "ignored").parent.mkdir()
    (home / "ignored").write_text("*.swp\n")
    (home / ".gitconfig").write_text(f"[core]\n\texcludesFile = {home}/ignored\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    user.commit({"a": "1"})
    user.write({"x.swp": "1"})
    assert set(store.files(store.import_worktree(user.folder))) == {"a"}


def test_git_variables_of_the_caller_do_not_lead_astray(user, store, monkeypatch, tmp_path):
    user.commit({"a": "1"})
    other = Path(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / "index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert set(store.files(store.import_revision(user.folder, "HEAD"))) == {"a"}
    assert set(store.files(store.import_worktree(user.folder))) == {"a"}
