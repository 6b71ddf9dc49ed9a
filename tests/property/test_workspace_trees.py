# Names are bytes here, which pathlib does not take.
# ruff: noqa: PTH101, PTH102, PTH103, PTH116, PTH118, PTH120, PTH123, PTH211
from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from evalkit.errors import WorkspaceError
from evalkit.workspace import EMPTY_TREE, Globs, Store, out_of_scope
from evalkit.workspace.objects import Item, build_pack, build_tree, object_id, parse_tree
from evalkit.workspace.paths import leads_outside, name_problem, to_text

SETTINGS = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

ODD = [b"-rf", b"a\nb", b"\xff\xfe", b"x" * 255, b"a", b"A", b"b", b"a.b", b"a-", b"a0", b"*", b"\\", b'"', b"\t", b" "]
names = st.one_of(
    st.sampled_from(ODD),
    st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_")),
).filter(
    lambda name: (
        not name_problem(name) and name not in {b".gitignore", b".evalkit", b".DS_Store"} and b".pyc" not in name
    )
)
contents = st.one_of(
    st.binary(max_size=40), st.lists(st.sampled_from([b"one\n", b"two\n", b"\r\n", b"x"]), max_size=12).map(b"".join)
)
Files = dict[tuple[bytes, ...], tuple[bytes, bool]]


def consistent(files: Files) -> Files:
    """Leave out what would need a file to be a folder as well."""
    kept: Files = {}
    for path, content in files.items():
        above = any(path[:depth] in kept for depth in range(len(path)))
        if not above and not any(other[: len(path)] == path for other in kept):
            kept[path] = content
    return kept


paths = st.lists(names, min_size=1, max_size=3).map(tuple)
trees = st.dictionaries(paths, st.tuples(contents, st.booleans()), max_size=12).map(consistent)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("store")) as opened:
        yield opened


@contextmanager
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp())
    try:
        yield made
    finally:
        shutil.rmtree(made)


def write(root: Path, files: Files) -> None:
    for path, (data, executable) in files.items():
        target = os.path.join(os.fsencode(root), *path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(data)
        os.chmod(target, 0o755 if executable else 0o644)


def read(root: Path) -> Files:
    found: Files = {}
    top = os.fsencode(root)
    for here, _folders, files in os.walk(top):
        for name in files:
            target = os.path.join(here, name)
            with open(target, "rb") as file:
                relative = tuple(os.path.relpath(target, top).split(b"/"))
                found[relative] = file.read(), bool(os.stat(target).st_mode & 0o100)
    return found


def tree_of(store: Store, files: Files, like: str = "") -> str:
    with folder() as made:
        write(made, files)
        return store.snapshot(made, like=like)


@SETTINGS
@given(files=trees)
def test_what_goes_in_comes_out(store, files):
    tree = tree_of(store, files)
    with folder() as made:
        store.materialise(tree, made / "w")
        assert read(made / "w") == files
        assert store.snapshot(made / "w", like=tree) == tree
        assert store.snapshot(made / "w", like="") == tree
    listed = {path: entry.executable for path, entry in store.files(tree).items()}
    assert listed == {to_text(b"/".join(path)): executable for path, (_, executable) in files.items()}


@SETTINGS
@given(old=trees, new=trees)
def test_a_diff_applied_gives_the_new_tree(store, old, new):
    # git itself can't read back the header that it writes for an empty file in a folder called ' '
    assume(not any(part.startswith(b" ") for path in {*old, *new} for part in path))
    before, after = tree_of(store, old), tree_of(store, new)
    change = store.diff(before, after)
    assert store.apply_patch(before, change.patch, binary=True) == after if not change.is_empty else before == after
    back = store.diff(after, before)
    assert change.is_empty or store.apply_patch(after, back.patch_bytes, binary=True) == before
    touched = {to_text(b"/".join(path)) for path in {*old, *new} if old.get(path) != new.get(path)}
    assert set(change.paths) == touched


@SETTINGS
@given(old=trees, new=trees)
def test_editing_a_workspace_is_the_same_as_writing_a_new_one(store, old, new):
    before = tree_of(store, old)
    with folder() as made:
        store.materialise(before, made / "w")
        for child in (made / "w").iterdir():
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        write(made / "w", new)
        assert store.snapshot(made / "w", like=before) == tree_of(store, new)


@SETTINGS
@given(
    old=trees, new=trees, granted=st.lists(st.sampled_from(["**", "a", "a/**", "*", "b/*", "!a", "**/b"]), max_size=3)
)
def test_scope_lets_nothing_slip(store, old, new, granted):
    change = store.diff(tree_of(store, old), tree_of(store, new))
    globs = Globs(granted)
    refused = {violation.path for violation in out_of_scope(change, granted)}
    assert {path for path in change.paths if not globs.matches(path)} <= refused


@SETTINGS
@given(files=trees, hidden=st.lists(names.map(to_text).filter(lambda name: not set("*?[!\\.") & set(name)), max_size=3))
def test_hidden_names_are_nowhere(store, files, hidden):
    tree = tree_of(store, files)
    with folder() as made:
        store.materialise(tree, made / "w", without=[f"**/{name}" for name in hidden])
        expected = {path: data for path, data in files.items() if not {to_text(part) for part in path} & set(hidden)}
        assert read(made / "w") == expected


@SETTINGS
@given(items=st.dictionaries(names, st.sampled_from([0o100644, 0o100755, 0o040000, 0o120000]), max_size=10))
def test_tree_objects_are_gits_own(store, items):
    blob = store._database.write([("blob", b"x")])[0]
    listed = [Item(mode, name, EMPTY_TREE if mode == 0o040000 else blob) for name, mode in items.items()]
    data = build_tree(listed)
    assert set(parse_tree(data)) == set(listed)
    lines = b"".join(
        b"%06o %s %s\t%s\0" % (item.mode, b"tree" if item.mode == 0o040000 else b"blob", item.id.encode(), item.name)
        for item in listed
    )
    made = subprocess.run(
        ["git", "--git-dir", store.path / "git", "mktree", "-z", "--missing"],
        input=lines,
        capture_output=True,
        check=True,
    )
    assert made.stdout.decode().strip() == object_id("tree", data)


@SETTINGS
@given(data=st.binary(max_size=200))
def test_no_bytes_break_the_tree_parser(data):
    with contextlib.suppress(WorkspaceError):  # the only error there may be
        assert all(not name_problem(item.name) for item in parse_tree(data))


@settings(derandomize=True, deadline=None, max_examples=15)
@given(blobs=st.lists(st.binary(max_size=3000), min_size=1, max_size=8, unique=True))
def test_packs_are_gits_own(store, blobs):
    store._database.add_pack(build_pack(("blob", blob) for blob in blobs))
    ids = [object_id("blob", blob) for blob in blobs]
    assert store._database.read_many(ids, "blob") == blobs


components = st.sampled_from([b"a", b"b", b"..", b".", b"c"])
link_maps = st.dictionaries(
    st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=3).map(b"/".join),
    st.lists(components, min_size=1, max_size=4).map(b"/".join),
    max_size=4,
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(links=link_maps)
def test_links_that_pass_lead_nowhere_else_on_a_real_disk(links):
    flat = {path: target for path, target in links.items() if not any(path.startswith(other + b"/") for other in links)}
    with folder() as made:
        root = os.fsencode(made.resolve()) + b"/root"
        os.mkdir(root)
        for path in flat:
            os.makedirs(os.path.dirname(root + b"/" + path), exist_ok=True)
        for path, target in flat.items():
            if os.path.lexists(root + b"/" + path):
                return
            os.symlink(target, root + b"/" + path)
        for path in flat:
            if not leads_outside(path, flat):
                real = os.path.realpath(root + b"/" + path)
                assert real == root or real.startswith(root + b"/")
