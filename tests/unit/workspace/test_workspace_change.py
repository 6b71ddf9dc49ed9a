from __future__ import annotations

import dataclasses
import json

import pytest

from evalkit.errors import WorkspaceError
from evalkit.workspace import EMPTY_TREE, Change, FileChange, Violation, out_of_scope
from evalkit.workspace.objects import LINK, SUBMODULE


def test_nothing(store, make_tree):
    tree = make_tree({"a": "1\n"})
    change = store.diff(tree, tree)
    assert change.is_empty
    assert change.files == ()
    assert change.patch == ""
    assert change.paths == ()


def test_every_status(store, make_tree, tmp_path):
    long = "".join(f"line {number}\n" for number in range(30))
    old = make_tree({"mod": "1\n2\n", "del": "x\n", "ren": long, "exe": "e\n", "bin": b"\0\1", "type": "t\n"})
    store.materialise(old, tmp_path / "w")
    folder = tmp_path / "w"
    (folder / "mod").write_text("1\n3\n4\n")
    (folder / "del").unlink()
    (folder / "ren").rename(folder / "to")
    (folder / "to").write_text(long + "more\n")
    (folder / "exe").chmod(0o755)
    (folder / "bin").write_bytes(b"\0\2\3")
    (folder / "add").write_text("a\nb")
    (folder / "type").unlink()
    (folder / "type").symlink_to("mod")
    change = store.diff(old, store.snapshot(folder, like=old))
    by_path = {file.path: file for file in change.files}
    assert {path: file.status for path, file in by_path.items()} == {
        "add": "added",
        "bin": "modified",
        "del": "deleted",
        "exe": "mode",
        "mod": "modified",
        "to": "renamed",
        "type": "modified",
    }
    assert (by_path["mod"].added, by_path["mod"].removed, by_path["mod"].size) == (2, 1, 6)
    assert (by_path["to"].old_path, by_path["to"].added) == ("ren", 1)
    assert by_path["bin"].binary
    assert by_path["type"].new_mode == LINK
    assert (by_path["exe"].old_mode, by_path["exe"].new_mode) == (0o100644, 0o100755)
    assert (by_path["add"].old_path, by_path["add"].old_blob, by_path["add"].old_mode) == ("", "", 0)
    assert (by_path["del"].new_blob, by_path["del"].new_mode, by_path["del"].size) == ("", 0, 0)
    assert store.read_blob(by_path["add"].new_blob) == b"a\nb"
    assert change.paths == ("add", "bin", "del", "exe", "mod", "ren", "to", "type")
    assert (change.added, change.removed) == (2 + 1 + 2 + 1, 1 + 1 + 1)
    assert json.loads(json.dumps(change.as_json()))["files"][0]["path"] == "add"
    assert store.apply_patch(old, change.patch, binary=True) == change.new
    assert dataclasses.replace(change) == change


def test_a_change_may_be_asked_for_its_patch_again_and_again(store, make_tree):
    change = store.diff(make_tree({"a": "1\n"}), make_tree({"a": "2\n"}))
    assert change.patch == change.patch
    assert "-1\n+2\n" in change.patch
    assert change.patch_bytes.decode() == change.patch


def test_bytes_that_are_not_text_survive_the_patch(store, make_tree):
    old, new = make_tree({"a": b"caf\xe9\r\n"}), make_tree({"a": b"caf\xe8\r\nno newline"})
    change = store.diff(old, new)
    assert not change.files[0].binary
    assert store.apply_patch(old, change.patch) == new
    assert store.apply_patch(old, change.patch_bytes) == new


@pytest.mark.parametrize("other", ["readme", "Readme", "cafe\u0301"])
def test_colliding_names(store, make_tree, other):
    old = make_tree({"README": "1", "caf\u00e9": "2"})
    change = store.diff(old, make_tree({"README": "1", "caf\u00e9": "2", other: "3"}))
    assert [pair[0] for pair in change.collisions] == [other]
    assert "can't tell this name" in out_of_scope(change, ["**"])[0].why


def test_colliding_folders_and_twins_that_are_both_new(store, make_tree):
    old = make_tree({"src/a": "1"})
    change = store.diff(old, make_tree({"src/a": "1", "SRC/b": "1", "src/x": "1", "src/X": "1"}))
    assert set(change.collisions) == {("SRC", "src"), ("src/x", "src/X"), ("src/X", "src/x")}


def test_a_collision_that_was_there_before_is_not_the_changes_fault(store, make_tree):
    old = make_tree({"a": "1", "A": "1", "d/x": "1", "D/x": "1"})
    change = store.diff(old, make_tree({"a": "1", "A": "1", "d/x": "1", "D/x": "1", "d/new": "1"}))
    assert change.collisions == ()


def change_of(**fields: object) -> Change:
    return Change("0" * 40, "1" * 40, (FileChange(**{"new_mode": 0o100644, **fields}),))  # type: ignore[arg-type]


def test_in_scope():
    assert out_of_scope(change_of(path="src/a.py", status="modified", old_mode=0o100644), ["src/**"]) == ()
    assert out_of_scope(change_of(path="src/a.py", status="mode", old_mode=0o100755), ["src/**"]) == ()
    assert out_of_scope(change_of(path="src/a.py", status="deleted", new_mode=0, old_mode=0o100644), ["src/**"]) == ()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"path": "b.py", "status": "modified"}, "it is not editable and was changed"),
        ({"path": "b.py", "status": "added"}, "it is not editable and was added"),
        ({"path": "b.py", "status": "deleted", "new_mode": 0}, "it is not editable and was deleted"),
        ({"path": "b.py", "status": "mode"}, "it is not editable and got another mode"),
        ({"path": "a.py", "status": "added", "new_mode": LINK}, "it is a symlink"),
        ({"path": "a.py", "status": "added", "new_mode": SUBMODULE}, "it is a submodule"),
        ({"path": "a.py", "status": "added", "new_mode": 0o104755}, "it has the mode 104755"),
        ({"path": "a.py", "status": "modified", "old_mode": LINK}, "it was something else before"),
        ({"path": "a.py", "old_path": "b.py", "status": "renamed"}, "was renamed to 'a.py'"),
        ({"path": "b.py", "old_path": "a.py", "status": "renamed"}, "was renamed from 'a.py'"),
        ({"path": "sub/../../a.py", "status": "added"}, "its path leaves the tree"),
        ({"path": "/etc/x", "status": "added"}, "its path has an empty name"),
        ({"path": "sub/.Git/hooks/post-commit", "status": "added"}, "its path would be git's own folder"),
    ],
)
def test_out_of_scope(fields, why):
    found = out_of_scope(change_of(**fields), ["a.py", "sub/**", "/etc/**"])
    assert any(why in str(violation) for violation in found), found


def test_an_empty_editable_set_grants_nothing():
    assert out_of_scope(change_of(path="a", status="added"), []) == (
        Violation("a", "it is not editable and was added"),
    )


def test_violations_show_odd_names_safely():
    assert str(Violation("a\n\x1b", "why")) == "a\\n\\x1b: why"


def test_patches_that_do_not_apply_say_where(store, make_tree):
    tree = make_tree({"src/a.py": "1\n2\n3\n4\n5\n6\n7\n8\n9\n"})
    good = store.diff(tree, make_tree({"src/a.py": "1\n2\n3\n4\n5\n6\n7\nX\n9\n"})).patch
    with pytest.raises(WorkspaceError, match=r"hunk at line 5 of src/a\.py"):
        store.apply_patch(make_tree({"src/a.py": "other\n" * 9}), good)
    with pytest.raises(WorkspaceError, match=r"src/a\.py: does not exist"):
        store.apply_patch(make_tree({"b": "1"}), good)
    assert store.apply_patch(tree, good) != tree


@pytest.mark.parametrize("patch", [b"", b"hello\n", b"--- a/x\n+++ b/x\n", b"\0\xff" * 10, b"diff --git a/x b/x\n"])
def test_things_that_are_no_patch(store, make_tree, patch):
    with pytest.raises(WorkspaceError):
        store.apply_patch(make_tree({"x": "1\n"}), patch)


def new_file(name: str, mode: str = "100644", content: str = "x") -> str:
    head = f"diff --git a/{name} b/{name}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n"
    return head + f"@@ -0,0 +1 @@\n+{content}\n\\ No newline at end of file\n"


@pytest.mark.parametrize(
    "name", ["../out", "/etc/out", "a/../../out", ".git/hooks/pre-commit", "d/.GIT/config", "link/../../x", "link/x"]
)
def test_patches_do_not_leave_the_tree(store, tmp_path, name):
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "a").write_text("1")
    (folder / "link").symlink_to("a")
    tree = store.snapshot(folder, like="")
    with pytest.raises(WorkspaceError):
        store.apply_patch(tree, new_file(name))
    assert not (tmp_path / "out").exists()


def test_patches_with_links_and_submodules(store, make_tree):
    tree = make_tree({"a": "1"})
    with pytest.raises(WorkspaceError, match="leads out of the tree"):
        store.apply_patch(tree, new_file("l", "120000", "/etc/passwd"))
    with pytest.raises(WorkspaceError):
        store.apply_patch(tree, new_file("m", "160000", "Subproject commit " + "1" * 40))
    inside = store.apply_patch(tree, new_file("l", "120000", "a"))
    assert out_of_scope(store.diff(tree, inside), ["**"])[0].why.startswith("it is a symlink")


def test_binary_patches_need_leave(store, make_tree):
    old, new = make_tree({"a": b"\0\1"}), make_tree({"a": b"\0\2"})
    patch = store.diff(old, new).patch_bytes
    with pytest.raises(WorkspaceError, match="binary"):
        store.apply_patch(old, patch)
    assert store.apply_patch(old, patch, binary=True) == new


def test_a_patch_with_other_prefixes(store, make_tree):
    tree = make_tree({"a": "1\n"})
    patch = "--- a\n+++ a\n@@ -1 +1 @@\n-1\n+2\n"
    assert store.read(store.apply_patch(tree, patch, strip=0), "a") == b"2\n"


def test_a_patch_on_nothing(store, make_tree):
    new = make_tree({"a": "1\n"})
    assert store.apply_patch(EMPTY_TREE, store.diff(EMPTY_TREE, new).patch) == new
    assert store.apply_patch(new, store.diff(new, EMPTY_TREE).patch) == EMPTY_TREE


def test_reading(store, make_tree):
    tree = make_tree({"a": "1", "d/e": "2"})
    assert store.read(tree, "d/e") == b"2"
    for path in ("nope", "d", "d/e/f", "a/", "", "../a", "/a"):
        with pytest.raises(WorkspaceError):
            store.read(tree, path)
    for nothing in ("0" * 40, "nonsense", "", f"{tree}\n{tree}", "HEAD", store.files(tree)["a"].blob):
        with pytest.raises(WorkspaceError):
            store.files(nothing)
