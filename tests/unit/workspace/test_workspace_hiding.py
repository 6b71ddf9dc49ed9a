from __future__ import annotations

import pytest

from evalkit.errors import WorkspaceError
from evalkit.workspace import out_of_scope


@pytest.fixture
def base(make_tree):
    return make_tree({"train.py": "1", "vault/labels": "secret", "vault/deep/x": "secret", "score.py": "s"})


def shown(store, tmp_path, base, hidden):
    folder = tmp_path / "shown"
    store.materialise(base, folder, without=hidden)
    return folder


def test_hidden_files_come_back(store, base, tmp_path):
    hidden = ["vault", "score.py"]
    folder = shown(store, tmp_path, base, hidden)
    assert store.with_hidden(store.snapshot(folder, like=base), base=base, hidden=hidden) == base
    (folder / "train.py").write_text("2")
    new = store.with_hidden(store.snapshot(folder, like=base), base=base, hidden=hidden)
    assert [file.path for file in store.diff(base, new).files] == ["train.py"]


def test_nothing_is_hidden(store, base):
    assert store.with_hidden(base, base=base, hidden=[]) == base


def test_a_file_put_where_a_hidden_one_is_stays_for_the_scope_check(store, base, tmp_path):
    folder = shown(store, tmp_path, base, ["score.py"])
    (folder / "score.py").write_text("forged")
    new = store.with_hidden(store.snapshot(folder, like=base), base=base, hidden=["score.py"])
    assert [violation.path for violation in out_of_scope(store.diff(base, new), ["train.py"])] == ["score.py"]


@pytest.mark.parametrize("place", ["vault", "vault/deep"])
def test_a_file_where_a_hidden_folder_is(store, base, tmp_path, place):
    folder = shown(store, tmp_path, base, ["vault"])
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text("in the way")
    with pytest.raises(WorkspaceError, match=f"{place} would be two things at once"):
        store.with_hidden(store.snapshot(folder, like=base), base=base, hidden=["vault"])


def test_a_folder_where_a_hidden_file_is(store, base, tmp_path):
    folder = shown(store, tmp_path, base, ["score.py"])
    (folder / "score.py").mkdir()
    (folder / "score.py" / "x").write_text("in the way")
    with pytest.raises(WorkspaceError, match=r"score\.py would be two things at once"):
        store.with_hidden(store.snapshot(folder, like=base), base=base, hidden=["score.py"])
