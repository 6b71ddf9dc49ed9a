from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from evalkit.errors import WorkspaceError
from evalkit.workspace import EMPTY_TREE, Caps, Store, snapshot


@pytest.fixture
def work(store, make_tree, tmp_path):
    """A tree and a workspace of it."""
    tree = make_tree({"train.py": "lr = 0.1\n", "src/a.py": "a\n", "src/b/c.py": "c\n", "run.sh": "#!/bin/sh\n"})
    store.materialise(tree, tmp_path / "work")
    return tree, tmp_path / "work"


def test_nothing_changed_is_the_same_tree(store, work):
    tree, folder = work
    assert store.snapshot(folder, like=tree) == tree
    for path in folder.rglob("*.py"):
        os.utime(path)  # looks changed
    assert store.snapshot(folder, like=tree) == tree


def test_edits_of_every_kind(store, work):
    tree, folder = work
    (folder / "train.py").write_text("lr = 0.2\n")  # the same size
    (folder / "src" / "a.py").unlink()
    (folder / "src" / "new").mkdir()
    (folder / "src" / "new" / "empty").mkdir()
    (folder / "src" / "new" / "x.bin").write_bytes(b"\0\r\n\xff")
    (folder / "run.sh").chmod(0o4777)
    new = store.snapshot(folder, like=tree)
    files = store.files(new)
    assert set(files) == {"train.py", "src/b/c.py", "src/new/x.bin", "run.sh"}
    assert store.read(new, "src/new/x.bin") == b"\0\r\n\xff"
    assert files["run.sh"].mode == 0o100755


@pytest.mark.parametrize("keep", ["inode", "mtime", "both"])
def test_a_change_that_hides_is_seen(store, work, keep):
    tree, folder = work
    path = folder / "train.py"
    before = path.stat()
    if keep == "mtime":
        path.unlink()
    path.write_text("lr = 0.9\n")
    if keep != "inode":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if keep == "both":  # the same inode, size and mtime: only ctime tells, and it has the clock's granularity
        while path.stat().st_ctime_ns == before.st_ctime_ns:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    new = store.snapshot(folder, like=tree)
    assert store.read(new, "train.py") == b"lr = 0.9\n"


def test_a_file_copied_over_from_another_workspace_is_seen(store, make_tree, tmp_path):
    one, two = make_tree({"a": "1111"}), make_tree({"a": "2222"})
    store.materialise(one, tmp_path / "one")
    store.materialise(two, tmp_path / "two")
    subprocess.run(["cp", "-p", tmp_path / "two" / "a", tmp_path / "one" / "a"], check=True)
    assert store.snapshot(tmp_path / "one", like=one) == two


def test_a_file_and_a_folder_change_places(store, work):
    tree, folder = work
    (folder / "train.py").unlink()
    (folder / "train.py").mkdir()
    (folder / "train.py" / "x").write_text("1")
    (folder / "src" / "b" / "c.py").unlink()
    (folder / "src" / "b").rmdir()
    (folder / "src" / "b").write_text("2")
    new = store.snapshot(folder, like=tree)
    assert set(store.files(new)) == {"train.py/x", "src/a.py", "src/b", "run.sh"}


def test_everything_deleted(store, work):
    tree, folder = work
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert store.snapshot(folder, like=tree) == EMPTY_TREE
    store.materialise(EMPTY_TREE, folder)
    assert store.diff(tree, EMPTY_TREE).removed == 4


def test_odd_names(store, tmp_path):
    names = [b"-rf", b"a\nb", b"\xff\xfe.bin", b"x" * 255, b" ", b"*", b"\x1b[31m", "ä".encode(), b'"q"', b"\\"]
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(name)
    tree = store.snapshot(folder, like="")
    assert {path.encode("utf-8", "surrogateescape") for path in store.files(tree)} == set(names)
    store.materialise(tree, tmp_path / "again")
    assert sorted(os.fsencode(path.name) for path in (tmp_path / "again").iterdir()) == sorted(names)
    change = store.diff(EMPTY_TREE, tree)
    assert store.apply_patch(EMPTY_TREE, change.patch) == tree
    fsck = subprocess.run(
        ["git", "--git-dir", store.path / "git", "fsck", "--strict", tree], capture_output=True, check=False
    )
    assert fsck.returncode == 0, fsck.stderr


def test_things_that_are_no_files_are_named_all_at_once(store, work):
    tree, folder = work
    os.mkfifo(folder / "pipe")
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "src" / "up").symlink_to("../../..")
    (folder / "src" / ".GIT").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)
        try:
            listener.bind("sock")
        finally:
            os.chdir(here)
        with pytest.raises(WorkspaceError) as caught:
            store.snapshot(folder, like=tree)
    for part in ("pipe is a FIFO", "sock is a socket", "passwd is a symlink to /etc/passwd", "src/up is a symlink"):
        assert part in caught.value.message
    assert "src/.GIT would be git's own folder" in caught.value.message


def test_many_problems_are_counted(store, work):
    tree, folder = work
    for number in range(12):
        os.mkfifo(folder / f"p{number}")
    with pytest.raises(WorkspaceError, match="and 7 more"):
        store.snapshot(folder, like=tree)


def test_a_device_is_never_opened(store, work):
    tree, folder = work
    try:
        os.mknod(folder / "zero", 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")
    with pytest.raises(WorkspaceError, match="zero is a device"):
        store.snapshot(folder, like=tree)


def test_a_link_inside_is_kept_and_not_followed(store, work):
    tree, folder = work
    (folder / "link").symlink_to("src")
    new = store.snapshot(folder, like=tree)
    assert store.files(new)["link"].symlink
    assert "link/a.py" not in store.files(new)


def test_leftovers_are_left_out_but_not_what_was_tracked(store, make_tree, tmp_path):
    tree = make_tree({"a.py": "1", ".gitignore": "*.log\nbuild/\n", "d/.gitignore": "!keep.log\nlocal\n"})
    store.materialise(tree, tmp_path / "w")
    tracked = tmp_path / "w"
    (tracked / "kept.log").write_text("ignored")
    for name in ("__pycache__/a.pyc", "build/x", "d/build/y", "d/local", ".git/config", "d/.git/HEAD", ".evalkit/x"):
        (tracked / name).parent.mkdir(parents=True, exist_ok=True)
        (tracked / name).write_text("leftover")
    assert store.snapshot(tracked, like=tree) == tree
    (tracked / "d" / "keep.log").write_text("wanted")
    assert set(store.files(store.snapshot(tracked, like=tree))) - set(store.files(tree)) == {"d/keep.log"}
    assert store.snapshot(tracked, like=tree, ignore=["d/**"]) == tree


def test_tracked_files_below_an_ignored_folder_stay(store, tmp_path):
    folder = tmp_path / "w"
    (folder / "build").mkdir(parents=True)
    (folder / "build" / "tracked").write_text("1")
    tree = store.snapshot(folder, like="")
    (folder / ".gitignore").write_text("build/\n")
    tree = store.snapshot(folder, like=tree)
    (folder / "build" / "tracked").write_text("2")
    (folder / "build" / "new").write_text("3")
    (folder / "build" / "sub").mkdir()
    (folder / "build" / "sub" / "new").write_text("4")
    new = store.snapshot(folder, like=tree)
    assert set(store.files(new)) == {".gitignore", "build/tracked"}
    assert store.read(new, "build/tracked") == b"2"


def test_a_candidates_own_gitignore_hides_nothing(store, work):
    tree, folder = work
    (folder / ".gitignore").write_text("*\n")
    (folder / "sneaky.py").write_text("1")
    assert {".gitignore", "sneaky.py"} <= set(store.files(store.snapshot(folder, like=tree)))


def test_caps(tmp_path):
    folder = tmp_path / "w"
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "d" / "e" / "f").write_bytes(b"x" * 100)
    (folder / "g").write_bytes(b"y" * 100)
    for caps, problem in (
        (Caps(files=1), "more than 1 files"),
        (Caps(file_bytes=99), "larger than"),
        (Caps(total_bytes=150), "adds more than"),
        (Caps(depth=1), "nested more than 1"),
    ):
        with Store.open(tmp_path / "capped", caps=caps) as store, pytest.raises(WorkspaceError, match=problem):
            store.snapshot(folder, like="")


def test_a_sparse_giant_is_not_read(store, work):
    tree, folder = work
    with (folder / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(WorkspaceError, match="huge is larger than 256 MiB"):
        store.snapshot(folder, like=tree)


@pytest.mark.parametrize(
    ("expected", "cap", "found"), [(3, 10, b"0123456789"), (3, 9, None), (30, 40, b"0123456789"), (30, 9, None)]
)
def test_a_file_that_grows_or_shrinks_while_it_is_read(tmp_path, expected, cap, found):
    (tmp_path / "f").write_bytes(b"0123456789")
    handle = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        assert snapshot._read_up_to(handle, expected, cap) == found
    finally:
        os.close(handle)


def test_an_endless_depth_ends(store, work):
    tree, folder = work
    here = os.open(folder, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(WorkspaceError, match="nested more than"):
        store.snapshot(folder, like=tree)
    subprocess.run(["rm", "-rf", folder / "d"], check=True)


def test_what_can_not_be_read_is_named(store, work):
    tree, folder = work
    os.utime(folder / "train.py")
    (folder / "train.py").chmod(0)
    (folder / "src").chmod(0)
    try:
        if os.access(folder / "src", os.R_OK):
            pytest.skip("this user reads everything")
        with pytest.raises(WorkspaceError) as caught:
            store.snapshot(folder, like=tree)
        assert "src can't be read" in caught.value.message
        assert "train.py can't be read" in caught.value.message
    finally:
        (folder / "src").chmod(0o755)


def test_a_folder_that_is_none(store, tmp_path):
    with pytest.raises(WorkspaceError, match="not a folder"):
        store.snapshot(tmp_path / "nowhere", like="")


def test_thousands_of_new_files_go_into_a_pack(store, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(3000):
        (folder / str(number)).write_text(str(number))
    tree = store.snapshot(folder, like="")
    assert len(store.files(tree)) == 3000
    assert len(list((store.path / "git" / "objects" / "pack").glob("*.pack"))) <= 3


def test_the_old_group_writable_mode_is_no_change(user, store, tmp_path):
    user.commit({"a": "1"})
    blob = user.git("rev-parse", "HEAD:a")
    (user.folder / "raw").write_bytes(b"100664 a\0" + bytes.fromhex(blob))
    tree = store.import_revision(user.folder, user.git("hash-object", "-w", "-t", "tree", "raw"))
    store.materialise(tree, tmp_path / "w")
    assert store.snapshot(tmp_path / "w", like=tree) == tree
