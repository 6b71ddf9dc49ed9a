from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from evalkit.errors import InfrastructureError, WorkspaceError
from evalkit.workspace import Store, database, git
from evalkit.workspace import store as store_module


def test_opened_again_it_holds_what_it_held(tmp_path, user):
    user.commit({"a": "1"})
    with Store.open(tmp_path / "s") as first:
        tree = first.import_revision(user.folder, "HEAD")
    with Store.open(tmp_path / "s") as second:
        assert second.read(tree, "a") == b"1"


def test_what_a_killed_process_left_is_swept(tmp_path):
    Store.open(tmp_path / "s").close()
    stale = [
        tmp_path / "s" / "git" / "config.lock",
        tmp_path / "s" / "git" / "objects" / "pack" / "tmp_pack_x",
        tmp_path / "s" / "git" / "objects" / "aa" / "tmp_obj_x",
        tmp_path / "s" / "tmp" / "patch-x" / "index",
        tmp_path / "s" / "pristine" / "1-x" / "f",
    ]
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    with Store.open(tmp_path / "s"):
        assert [path for path in stale if path.exists()] == []


def test_nothing_is_swept_from_under_another_process(tmp_path, user):
    user.commit({"a": "1"})
    with Store.open(tmp_path / "s") as first:
        copy = first.pristine(first.import_revision(user.folder, "HEAD"))
        with Store.open(tmp_path / "s") as second:
            assert copy.exists()
            assert second.pristine(second.import_revision(user.folder, "HEAD")) != copy
        assert copy.exists()


def test_a_killed_process_holds_no_lock(tmp_path):
    code = "import os, pathlib, sys\nfrom evalkit.workspace import Store\nStore.open(pathlib.Path(sys.argv[1]))\n"
    code += "os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], check=False)
    (tmp_path / "s" / "git" / "config.lock").touch()
    with Store.open(tmp_path / "s"):
        assert not (tmp_path / "s" / "git" / "config.lock").exists()


def test_a_creation_that_was_killed_leaves_no_half_store(tmp_path, monkeypatch):
    real = store_module.git

    def killed(arguments, **more):
        ran = real(arguments, **more)
        if arguments[0] == "init":
            raise KeyboardInterrupt
        return ran

    monkeypatch.setattr(store_module, "git", killed)
    with pytest.raises(KeyboardInterrupt):
        Store.open(tmp_path / "s")
    monkeypatch.undo()
    assert not (tmp_path / "s" / "git").exists()
    Store.open(tmp_path / "s").close()


def test_places_that_can_not_hold_a_store(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InfrastructureError, match="can't open the store"):
        Store.open(tmp_path / "file")
    (tmp_path / "other" / "git").mkdir(parents=True)
    with pytest.raises(WorkspaceError, match="not a store"):
        Store.open(tmp_path / "other")


def test_a_reader_that_dies_is_started_again(store, make_tree):
    tree = make_tree({"a": "1", "b": "2"})
    blob = store.files(tree)["a"].blob
    for reader in (store._database._contents, store._database._info):
        assert store.read_blob(blob) == b"1"
        process = reader._start()
        process.kill()
        process.wait()
        assert store.read_blob(blob) == b"1"
        assert store._database.missing([blob, "0" * 40]) == ["0" * 40]


def test_a_reader_that_keeps_dying_is_an_error(store, make_tree):
    blob = store.files(make_tree({"a": "1"}))["a"].blob
    store._database._contents.stop()
    store._database._contents._command = ["true"]
    with pytest.raises(InfrastructureError, match="keeps dying"):
        store.read_blob(blob)


def test_many_objects_at_once(store, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(500):
        (folder / str(number)).write_bytes(bytes([number % 256]) * 3000)
    tree = store.snapshot(folder, like="")
    blobs = [entry.blob for entry in store.files(tree).values()]
    assert len(store._database.read_many(blobs, "blob")) == 500
    store._database._sizes = database.Lru(10)
    assert store._database.sizes(blobs) == [3000] * 500


def test_a_forked_child_does_not_disturb_its_parent(store, make_tree):
    tree = make_tree({"a": "1"})
    assert store.read(tree, "a") == b"1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        fine = store.read(tree, "a") == b"1"
        store.close()
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.read(tree, "a") == b"1"
    assert store.pristine(tree).exists()


def test_a_store_that_is_dropped_cleans_up(tmp_path, user):
    user.commit({"a": "1"})
    opened = Store.open(tmp_path / "s")
    copy = opened.pristine(opened.import_revision(user.folder, "HEAD"))
    del opened
    gc.collect()
    assert not copy.exists()


def test_a_full_disk_while_storing(store, tmp_path, monkeypatch):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a").write_text("1")

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(database.os, "fsync", full)
    with pytest.raises(InfrastructureError, match="No space left"):
        store.snapshot(tmp_path / "w", like="")
    monkeypatch.undo()
    assert list((store.path / "git" / "objects").glob("??/tmp_obj_*")) == []
    assert store.read(store.snapshot(tmp_path / "w", like=""), "a") == b"1"


def test_git_that_is_missing_or_old(monkeypatch, tmp_path):
    git.check_git.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WorkspaceError, match="git can't be started") as caught:
        Store.open(tmp_path / "s")
    assert "install git" in caught.value.way_out
    fake = tmp_path / "git"
    fake.write_text("#!/bin/sh\necho git version 2.17.1\n")
    fake.chmod(0o755)
    with pytest.raises(WorkspaceError, match=r"2\.17\.1 is too old"):
        Store.open(tmp_path / "s")
    monkeypatch.undo()
    git.check_git.cache_clear()
    assert git.check_git() >= (2, 32)


def test_a_git_that_hangs(monkeypatch, tmp_path):
    fake = tmp_path / "git"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InfrastructureError, match="took longer"):
        git.git(["version"], timeout=0.05)


def test_paths_may_be_odd(tmp_path, user):
    user.commit({"a": "1"})
    for name in ("with space", 'quo"te', "back\\slash", "co:lon", "-dash", "ünï"):
        with Store.open(tmp_path / name) as store:
            tree = store.import_revision(user.folder, "HEAD")
            store.materialise(tree, tmp_path / f"work {name}")
            assert store.snapshot(tmp_path / f"work {name}", like=tree) == tree
    odd = Path(tmp_path / 'od"d\\:repo')
    user.git("clone", "-q", str(user.folder), str(odd))
    with Store.open(tmp_path / "last") as store:
        assert set(store.files(store.import_revision(odd, "HEAD"))) == {"a"}
