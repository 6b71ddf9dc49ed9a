from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from evalkit.errors import InfrastructureError, WorkspaceError
from evalkit.workspace import EMPTY_TREE, Store, materialise
from evalkit.workspace.lru import Lru


@pytest.fixture
def tree(make_tree):
    return make_tree(
        {"a.py": "a\r\n", "vault/secret": "s", "vault/deep/er": "d", "src/score.py": "x", "big": b"y" * 700_000}
    )


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_raw_bytes_and_plain_modes_whatever_the_umask(store, user, tmp_path):
    user.write({"a": "1\r\n", "run": "x", ".gitattributes": "* text eol=crlf ident filter=evil\n", "id": "$Id$\n"})
    (user.folder / "run").chmod(0o755)
    user.git("-c", "core.autocrlf=false", "-c", "filter.evil.clean=cat", "commit", "-q", "--allow-empty", "-m", "x")
    tree = store.import_worktree(user.folder)
    before = os.umask(0o077)
    try:
        store.materialise(tree, tmp_path / "w")
    finally:
        os.umask(before)
    assert (tmp_path / "w" / "a").read_bytes() == b"1\r\n"
    assert (tmp_path / "w" / "id").read_bytes() == b"$Id$\n"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "w").iterdir()}
    assert modes == {"a": 0o644, "run": 0o755, ".gitattributes": 0o644, "id": 0o644}
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == 0o755


def test_hidden_paths_are_left_out_with_all_below(store, tree, tmp_path):
    store.materialise(tree, tmp_path / "w", without=["vault", "**/score.py"])
    assert names(tmp_path / "w") == {"a.py", "big"}
    assert not (tmp_path / "w" / "vault").exists()
    assert names(store.pristine(tree, ["vault*"])) == {"a.py", "big", "src/score.py"}
    assert names(store.pristine(tree)) == {"a.py", "big", "src/score.py", "vault/secret", "vault/deep/er"}


def test_a_pristine_copy_is_made_once_and_goes_with_the_store(store, tree):
    path = store.pristine(tree)
    assert store.pristine(tree) == path
    assert store.pristine(tree, ["vault"]) != path
    assert (path / "big").read_bytes() == b"y" * 700_000
    store.close()
    assert not path.exists()


def test_workspaces_are_copies(store, tree, tmp_path):
    store.materialise(tree, tmp_path / "one")
    (tmp_path / "one" / "a.py").write_text("changed")
    (tmp_path / "one" / "big").write_text("changed")
    store.materialise(tree, tmp_path / "two")
    assert (tmp_path / "two" / "a.py").read_bytes() == b"a\r\n"
    assert (tmp_path / "two" / "big").stat().st_size == 700_000
    assert (store.pristine(tree) / "a.py").read_bytes() == b"a\r\n"


def test_links_are_written_as_links(store, user, tmp_path):
    user.commit({"d/a": "1"})
    (user.folder / "l").symlink_to("d/a")
    user.commit()
    tree = store.import_revision(user.folder, "HEAD")
    store.materialise(tree, tmp_path / "w")
    assert (tmp_path / "w" / "l").readlink() == Path("d/a")
    store.materialise(tree, tmp_path / "hidden", without=["d"])
    assert (tmp_path / "hidden" / "l").readlink() == Path("d/a")  # leads nowhere now


def test_the_target_is_new_or_empty(store, tree, tmp_path):
    (tmp_path / "empty").mkdir()
    store.materialise(tree, tmp_path / "empty")
    with pytest.raises(WorkspaceError, match="is there already"):
        store.materialise(tree, tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="is there already"):
        store.materialise(tree, tmp_path / "file")
    with pytest.raises(InfrastructureError):
        store.materialise(tree, tmp_path / "no" / "parent")
    assert {path.name for path in tmp_path.iterdir()} >= {"empty", "file"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp-")]


def test_a_glob_for_a_name_that_is_not_text(store, tree):
    assert len(names(store.pristine(tree, ["**/\udcff"]))) == 5


def test_the_empty_tree(store, tmp_path):
    store.materialise(EMPTY_TREE, tmp_path / "w")
    assert list((tmp_path / "w").iterdir()) == []


@pytest.mark.parametrize("target", ["workspace", "pristine"])
def test_a_full_disk_leaves_nothing_behind(store, tree, tmp_path, monkeypatch, target):
    if target == "workspace":
        store.pristine(tree)
    calls = iter(range(100))

    def full(handle, data):
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(materialise, "write_all", full)
    with pytest.raises(InfrastructureError, match="No space left") as caught:
        store.materialise(tree, tmp_path / "w")
    assert "free some space" in caught.value.way_out
    assert not (tmp_path / "w").exists()
    monkeypatch.undo()
    store.materialise(tree, tmp_path / "w")
    assert len(names(tmp_path / "w")) == 5


def test_old_copies_make_room_for_new_ones(tmp_path):
    (tmp_path / "w").mkdir()
    with Store.open(tmp_path / "store", pristine_bytes=100) as store:
        trees, copies = [], []
        for number in range(24):
            (tmp_path / "w" / "a").write_text(f"{number:50}")
            trees.append(store.snapshot(tmp_path / "w", like=""))
            copies.append(store.pristine(trees[-1]))
        there = [path.exists() for path in copies]
        assert there == [False] * 8 + [True] * 16  # what was handed out last may be mounted
        assert (store.pristine(trees[0]) / "a").read_text().strip() == "0"


def test_files_larger_than_the_memory_for_a_group(store, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(materialise, "_GROUP_BYTES", 2)
    store.materialise(tree, tmp_path / "w")
    assert store.snapshot(tmp_path / "w", like="") == tree


def test_a_file_system_that_clones(store, tree, tmp_path, monkeypatch):
    cloned = []

    def clone(target, request, origin):
        assert request == 0x40049409
        cloned.append(os.sendfile(target, origin, 0, 1 << 30))

    monkeypatch.setattr(materialise.fcntl, "ioctl", clone)
    store.materialise(tree, tmp_path / "w")
    assert len(cloned) == 5
    assert store.snapshot(tmp_path / "w", like="") == tree


def test_a_clone_that_fails_for_another_reason_is_an_error(store, tree, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(materialise.fcntl, "ioctl", full)
    with pytest.raises(InfrastructureError, match="No space left"):
        store.materialise(tree, tmp_path / "w")


def test_many_threads_want_the_same(store, tree, tmp_path):
    errors: list[BaseException] = []

    def work(number):
        try:
            store.materialise(tree, tmp_path / f"w{number}")
            assert store.snapshot(tmp_path / f"w{number}", like=tree) == tree
            assert store.read(tree, "a.py") == b"a\r\n"
        except BaseException as error:  # noqa: BLE001 - the main thread reports it
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_the_cache_forgets_what_was_not_used():
    cache: Lru[str, list[int]] = Lru(5, weight=len)
    cache.put("a", [1, 2])
    cache.put("b", [1, 2])
    assert cache.get("a") == [1, 2]
    cache.put("c", [1, 2])
    assert cache.get("b") is None
    assert cache.get("a") == [1, 2]
    cache.put("a", [3])
    cache.put("huge", [0] * 9)
    assert len(cache) == 0
