"""Someone's repository: where its parts are, and how its trees come into the store.

Only ``rev-parse``, ``ls-files`` and plumbing that reads refs run inside it. Objects are read by evalkit's own
repository with theirs as a passing alternate, so that nothing in their configuration has a say.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import WorkspaceError
from evalkit.workspace.database import ObjectDatabase
from evalkit.workspace.disk import disk_errors
from evalkit.workspace.git import git
from evalkit.workspace.ignoring import Ignored
from evalkit.workspace.objects import EMPTY_TREE, LINK, SUBMODULE, TREE
from evalkit.workspace.paths import printable, relative_folder, to_bytes, to_text
from evalkit.workspace.snapshot import Walk, read_file
from evalkit.workspace.trees import Caps, Leaf, build, check_links, find, leaves, refuse

__all__ = ["Repository", "import_revision", "import_worktree"]

_POINTER_BYTES = 1024  # https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: "less than 1024 bytes"
_POINTER_HEADS = (b"version https://git-lfs.github.com/spec/v1\n", b"version https://hawser.github.com/spec/v1\n")
_QUESTIONS = (
    *("--show-object-format", "--is-shallow-repository", "--absolute-git-dir"),
    *("--git-path", "objects", "--show-prefix"),
)
_SUBMODULE = "evalkit works without submodules: vendor the files, or put the contract into a folder that holds none"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the user.

    Attributes:
        folder: the folder that was asked for, which may be anywhere inside it.
        git_dir: its git folder (of this worktree).
        objects: its folder of objects.
        prefix: where ``folder`` is below the top of the checkout; ``""`` at the top and in a bare repository.
        shallow: whether its history was cut off.
    """

    folder: Path
    git_dir: Path
    objects: Path
    prefix: str
    shallow: bool

    @classmethod
    def find(cls, folder: Path) -> Repository:
        """The repository around ``folder``.

        Raises:
            WorkspaceError: there is none, or it names its objects by SHA-256.
        """
        ran = git(
            ["rev-parse", *_QUESTIONS],
            folder=folder,
        )
        if ran.code:
            raise WorkspaceError(f"{folder} is not in a git repository: {ran.said}", "run: git init && git commit")
        hash_name, shallow, git_dir, objects, *rest = to_text(ran.out).split("\n")
        if hash_name != "sha1":
            raise WorkspaceError(f"{folder} names its objects by {hash_name}", "use a repository with SHA-1 objects")
        prefix = rest[0].rstrip("/") if rest else ""
        return cls(folder, Path(git_dir), (folder / objects).resolve(), prefix, shallow == "true")

    def resolve(self, revision: str, kind: str = "commit") -> str:
        """The id of ``revision`` as an object of ``kind`` (``commit`` or ``tree``).

        Raises:
            WorkspaceError: there is no such revision.
        """
        ran = git(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{{kind}}}"], folder=self.folder
        )
        found = ran.out.decode("ascii", "replace").split()
        if ran.code or not found:
            hint = "; the clone is shallow, so it may be further back" if self.shallow else ""
            raise WorkspaceError(
                f"the revision {printable(revision)!r} is not in {self.folder}{hint}",
                "run: git fetch --unshallow" if self.shallow else "see: git log --all",
            )
        return found[-1]

    def merge_base(self, one: str, other: str) -> str:
        """The id of the best common ancestor of two revisions.

        Raises:
            WorkspaceError: one of them is not there, or they have no common ancestor (in a shallow clone, perhaps).
        """
        ran = git(["merge-base", self.resolve(one), self.resolve(other)], folder=self.folder)
        if ran.code:
            raise WorkspaceError(
                f"{printable(one)} and {printable(other)} have no common ancestor here",
                "run: git fetch --unshallow" if self.shallow else "name the base revision",
            )
        return ran.out.decode("ascii").strip()


def import_revision(
    database: ObjectDatabase, repository: Path, revision: str, subfolder: str | None = None, caps: Caps | None = None
) -> str:
    """Copy the tree of a revision, or of one folder in it, into the store.

    Args:
        database: evalkit's own objects.
        repository: any folder in the repository.
        revision: anything that names a commit or a tree.
        subfolder: below the top of the repository; None means the folder that ``repository`` is.
        caps: number and sizes allowed.

    Returns:
        The id of the tree.

    Raises:
        WorkspaceError: no such revision or folder; or it holds submodules, LFS pointers or symlinks that lead out.
    """
    theirs = Repository.find(repository)
    folder = theirs.prefix if subfolder is None else relative_folder(subfolder)
    root = theirs.resolve(revision, "tree")
    joint = ObjectDatabase(database.git_dir, theirs.objects)
    try:
        found = find(joint, root, to_bytes(folder))
        if found is None or found.mode != TREE:
            raise WorkspaceError(
                f"{printable(revision)} has no folder {printable(folder)!r}", "commit the folder first"
            )
        files = list(leaves(joint, found.id))
        _check(joint, files, printable(revision), caps or Caps())
        database.copy_from(theirs.objects, [*_trees(joint, found.id), *(leaf.id for leaf in files)])
    finally:
        joint.close()
    if found.id == EMPTY_TREE:
        database.write_tree(())
    return found.id


def _trees(database: ObjectDatabase, tree: str) -> Iterator[str]:
    if tree != EMPTY_TREE:
        yield tree
    for mode, _name, id_ in database.tree(tree):
        if mode == TREE:
            yield from _trees(database, id_)


def _check(database: ObjectDatabase, files: list[Leaf], what: str, caps: Caps) -> None:
    modules = [f"{printable(leaf.path)} is a submodule" for leaf in files if leaf.mode == SUBMODULE]
    refuse(f"{what} can't be imported", modules, _SUBMODULE)
    sizes = database.sizes([leaf.id for leaf in files])
    too_large = [
        f"{printable(leaf.path)} is larger than {caps.file_bytes >> 20} MiB"
        for leaf, size in zip(files, sizes, strict=True)
        if size > caps.file_bytes
    ]
    if len(files) > caps.files:
        too_large.append(f"it holds {len(files)} files, more than {caps.files}")
    if sum(sizes) > caps.total_bytes:
        too_large.append(f"it holds more than {caps.total_bytes >> 20} MiB")
    refuse(
        f"{what} can't be imported", too_large, "put the contract into a smaller folder, or keep data outside of git"
    )
    links = [leaf for leaf in files if leaf.mode == LINK]
    targets = database.read_many([leaf.id for leaf in links], "blob")
    outside = check_links({leaf.path: target for leaf, target in zip(links, targets, strict=True)})
    refuse(f"{what} can't be imported", outside, "replace the link by a copy of what it points to")
    _check_pointers(database, [leaf for leaf, size in zip(files, sizes, strict=True) if size < _POINTER_BYTES], what)


def _check_pointers(database: ObjectDatabase, small: list[Leaf], what: str) -> None:
    contents = database.read_many([leaf.id for leaf in small], "blob")
    pointers = [
        f"{printable(leaf.path)} is a Git LFS pointer, its bytes are elsewhere"
        for leaf, data in zip(small, contents, strict=True)
        if data.startswith(_POINTER_HEADS)
    ]
    refuse(
        f"{what} can't be imported", pointers, "run: git lfs pull, then verify the working files instead of a revision"
    )


def import_worktree(
    database: ObjectDatabase, repository: Path, subfolder: str | None = None, caps: Caps | None = None
) -> str:
    """The tree of the user's working files: what git tracks, as it lies there now, and what is new and not ignored.

    Bytes are taken as they are on disk. The user's index is read, never written.

    Args:
        database: evalkit's own objects.
        repository: any folder in the checkout.
        subfolder: below the top of the checkout; None means the folder that ``repository`` is.
        caps: number and sizes allowed.

    Raises:
        WorkspaceError: it has no working files, or holds what :func:`import_revision` refuses too.
    """
    theirs = Repository.find(repository)
    top = git(["rev-parse", "--show-toplevel"], folder=repository)
    if top.code:
        raise WorkspaceError(f"{repository} has no working files: it is a bare repository", "name a revision instead")
    folder = repository if subfolder is None else Path(to_text(top.out).rstrip("\n")) / relative_folder(subfolder)
    walk = Walk(database, caps or Caps(), device=0, known={})
    with disk_errors(f"read {folder}"):
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            files = [leaf for leaf in _working_files(walk, theirs, folder, root) if leaf is not None]
        finally:
            os.close(root)
    walk.problems.extend(check_links(walk.links))
    refuse(f"the files in {folder} can't be imported", walk.problems, "remove, ignore or vendor what is named here")
    walk.flush()
    _check_pointers(database, [leaf for leaf in files if database.sizes([leaf.id])[0] < _POINTER_BYTES], str(folder))
    return build(database, files)


def _working_files(walk: Walk, theirs: Repository, folder: Path, root: int) -> Iterator[Leaf | None]:
    real: dict[bytes, bool] = {b"": True}
    sparse: list[Leaf] = []
    for tag, mode, id_, path in _tracked(folder):
        if mode == SUBMODULE:
            walk.problems.append(f"{printable(path)} is a submodule")
        elif tag == b"S":
            sparse.append(Leaf(path, mode, id_))
        elif _is_real(root, path.rpartition(b"/")[0], real):
            yield _working_file(walk, root, path)
    walk.database.copy_from(theirs.objects, [leaf.id for leaf in sparse])
    yield from sparse
    junk = Ignored()
    for path in _untracked(folder):
        if path.endswith(b"/"):
            walk.problems.append(f"{printable(path)} is a repository of its own")
        elif not junk.within(path):
            yield _working_file(walk, root, path)


def _tracked(folder: Path) -> Iterator[tuple[bytes, int, str, bytes]]:
    ran = git(["ls-files", "-z", "--stage", "-t"], folder=folder)
    if ran.code:
        raise WorkspaceError(f"the index of {folder} can't be read: {ran.said}", "see: git status")
    seen: set[bytes] = set()
    for line in ran.out.split(b"\0")[:-1]:
        meta, _, path = line.partition(b"\t")
        tag, mode, id_, _stage = meta.split(b" ")
        if path not in seen:  # a conflict has up to three entries
            seen.add(path)
            yield tag, int(mode, 8), id_.decode(), path


def _untracked(folder: Path) -> list[bytes]:
    theirs = git(["config", "--global", "--includes", "--type=path", "core.excludesFile"], extra=_users_own())
    excludes = os.fsdecode(theirs.out).rstrip("\n")
    chosen = ["-c", f"core.excludesFile={excludes}"] if excludes else []
    ran = git([*chosen, "ls-files", "-z", "--others", "--exclude-standard"], folder=folder)
    if ran.code:
        raise WorkspaceError(f"the files in {folder} can't be listed: {ran.said}", "see: git status")
    return ran.out.split(b"\0")[:-1]


def _users_own() -> dict[str, str]:
    """The user's own configuration, for the one question which files they ignore everywhere."""
    home = os.environ.get("HOME", "")
    return {"GIT_CONFIG_GLOBAL": os.environ.get("GIT_CONFIG_GLOBAL", f"{home}/.gitconfig" if home else os.devnull)}


def _is_real(root: int, folder: bytes, known: dict[bytes, bool]) -> bool:
    """Whether every part of ``folder`` is a folder, not a link to one."""
    answer = known.get(folder)
    if answer is None:
        answer = _is_real(root, folder.rpartition(b"/")[0], known)
        if answer:
            try:
                answer = stat.S_ISDIR(os.stat(folder, dir_fd=root, follow_symlinks=False).st_mode)
            except OSError:
                answer = False
        known[folder] = answer
    return answer


def _working_file(walk: Walk, root: int, path: bytes) -> Leaf | None:
    try:
        status = os.stat(path, dir_fd=root, follow_symlinks=False)
    except OSError:
        return None  # tracked and deleted
    if not walk.count():
        return None
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path, dir_fd=root)
        walk.links[path] = target
        return Leaf(path, LINK, walk.keep("blob", target))
    if not stat.S_ISREG(status.st_mode):
        if not stat.S_ISDIR(status.st_mode):
            walk.problems.append(f"{printable(path)} is not a regular file")
        return None
    item = read_file(walk, root, path, path=path, status=status, before=None)
    return None if item is None else Leaf(path, item.mode, item.id)
