"""Nothing that a repository can be configured to run is run, and nothing in a tree changes what git does."""

from __future__ import annotations

import stat

import pytest

from evalkit.workspace import out_of_scope


@pytest.fixture
def trap(user, tmp_path):
    """A repository in which everything that can start a program starts one; what ran is in a file."""
    ran = tmp_path / "ran"
    script = tmp_path / "trap.sh"
    script.write_text(f'#!/bin/sh\necho "$0 $*" >> {ran}\ncat 2>/dev/null\nexit 0\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    user.commit({"a.txt": "one\n", "b.bin": b"\0\1", "sub/c.txt": "c\n"})
    attributes = "* filter=trap diff=trap merge=trap text eol=crlf working-tree-encoding=UTF-16 ident\n"
    modules = f'[submodule "x"]\n\tpath=x\n\tupdate=!{script}\n\turl=ext::{script}\n'
    for name, content in ((".gitattributes", attributes), (".gitmodules", modules)):
        user.write({name: content})
        blob = user.git("hash-object", "-w", "--no-filters", name)
        user.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    user.git("commit", "-q", "-m", "attributes")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in (
        "reference-transaction", "post-index-change", "post-checkout", "pre-commit", "post-commit", "update",
        "pre-receive", "post-update", "fsmonitor-watchman", "post-rewrite", "pre-auto-gc", "commit-msg",
    ):  # fmt: skip
        (hooks / name).symlink_to(script)
        (user.folder / ".git" / "hooks").mkdir(exist_ok=True)
        (user.folder / ".git" / "hooks" / name).symlink_to(script)
    (user.folder / ".git" / "info").mkdir(exist_ok=True)
    (user.folder / ".git" / "info" / "attributes").write_text(attributes)
    settings = {
        "core.hooksPath": str(hooks),
        "core.fsmonitor": str(script),
        "core.pager": str(script),
        "core.editor": str(script),
        "core.sshCommand": str(script),
        "core.gitProxy": str(script),
        "core.askPass": str(script),
        "core.alternateRefsCommand": str(script),
        "core.attributesFile": str(user.folder / ".gitattributes"),
        "core.autocrlf": "true",
        "core.untrackedCache": "true",
        "filter.trap.clean": str(script),
        "filter.trap.smudge": str(script),
        "filter.trap.process": str(script),
        "filter.trap.required": "true",
        "diff.trap.command": str(script),
        "diff.trap.textconv": str(script),
        "diff.external": str(script),
        "merge.trap.driver": str(script),
        "credential.helper": str(script),
        "gpg.program": str(script),
        "commit.gpgSign": "true",
        "log.showSignature": "true",
        "uploadpack.packObjectsHook": str(script),
        "interactive.diffFilter": str(script),
        "remote.origin.url": f"ext::{script}",
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": str(script),
        "sequence.editor": str(script),
        "gc.auto": "1",
        "gc.recentObjectsHook": str(script),
        "diff.noprefix": "true",
        "diff.renames": "false",
        "core.quotePath": "true",
        "apply.whitespace": "fix",
        "fetch.fsckObjects": "true",
        "transfer.fsckObjects": "true",
        "alias.rev-parse": f"!{script}",
        "alias.ls-files": f"!{script}",
        "safe.bareRepository": "explicit",
    }
    for name, value in settings.items():
        user.git("config", name, value)
    ran.unlink(missing_ok=True)
    return ran


def test_the_whole_path_of_an_experiment_starts_no_ones_program(user, trap, store, tmp_path):
    head = (user.folder / ".git" / "HEAD").read_bytes()
    index = (user.folder / ".git" / "index").read_bytes()
    tree = store.import_revision(user.folder, "HEAD")
    working = store.import_worktree(user.folder)
    assert store.read(working, "a.txt") == b"one\n"
    store.materialise(tree, tmp_path / "w")
    assert (tmp_path / "w" / "a.txt").read_bytes() == b"one\n"
    assert (tmp_path / "w" / "b.bin").read_bytes() == b"\0\1"
    (tmp_path / "w" / "a.txt").write_text("two\n")
    new = store.snapshot(tmp_path / "w", like=tree)
    change = store.diff(tree, new)
    assert [(file.path, file.added, file.removed) for file in change.files] == [("a.txt", 1, 1)]
    assert out_of_scope(change, ["a.txt"]) == ()
    assert store.apply_patch(tree, change.patch) == new
    planned = store.plan_keep(user.folder, parent="HEAD", tree=new, when=1, subject="s")
    assert store.apply_keep(user.folder, planned, "runs")
    assert store.apply_keep(user.folder, planned, "runs") is False
    assert (user.folder / ".git" / "refs" / "heads" / "runs").read_text().strip() == planned.id
    assert (user.folder / ".git" / "HEAD").read_bytes() == head
    assert (user.folder / ".git" / "index").read_bytes() == index
    assert not trap.exists(), trap.read_text()


def test_a_workspace_with_a_git_folder_of_its_own_is_read_as_files(user, trap, store, tmp_path):
    tree = store.import_revision(user.folder, "HEAD")
    store.materialise(tree, tmp_path / "w")
    (user.folder / ".git").rename(tmp_path / "w" / ".git")
    assert store.snapshot(tmp_path / "w", like=tree) == tree
    assert not trap.exists(), trap.read_text()


def test_attributes_in_the_trees_do_not_bend_the_diff(store, make_tree):
    attributes = "* -diff binary\n*.py diff=python linguist-generated\n"
    old = make_tree({".gitattributes": attributes, "a.py": "1\n"})
    new = make_tree({".gitattributes": attributes, "a.py": "2\n"})
    change = store.diff(old, new)
    assert not change.files[0].binary
    assert "-1\n+2\n" in change.patch
