"""The store: evalkit's own bare repository, and everything that is done with trees, behind one door."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Self

from evalkit.errors import InfrastructureError, WorkspaceError
from evalkit.workspace import commits, diffing, hiding, materialise, patching, repository, snapshot, trees
from evalkit.workspace.change import Change
from evalkit.workspace.commits import Keeper, PlannedCommit
from evalkit.workspace.database import ObjectDatabase
from evalkit.workspace.disk import disk_errors
from evalkit.workspace.git import check_git, git
from evalkit.workspace.lru import Lru
from evalkit.workspace.messages import AUTHOR
from evalkit.workspace.objects import TREE
from evalkit.workspace.paths import printable, to_bytes, to_text
from evalkit.workspace.trees import Caps, Entry

__all__ = ["Store"]

_PRISTINE_BYTES = 2 << 30
_SIGNED_FILES = 50_000
_PATCH_BYTES = 8 << 20


class Store:
    """Trees in, trees out. Open one with :meth:`open`; it may be shared between threads.

    Attributes:
        path: the folder that holds everything.
        caps: what a tree may hold at most.
    """

    def __init__(self, path: Path, lock: int, caps: Caps, pristine_bytes: int) -> None:
        self.path = path
        self.caps = caps
        self._database = ObjectDatabase(path / "git")
        self._scratch = path / "tmp"
        own = path / "pristine" / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._pristine = materialise.Pristine(self._database, own, pristine_bytes)
        self._signatures: snapshot.StatCache = Lru(_SIGNED_FILES, weight=lambda known: max(1, len(known)))
        self._patches: diffing.PatchCache = Lru(_PATCH_BYTES, weight=len)
        self._listings: Lru[str, Mapping[str, Entry]] = Lru(200_000, weight=len)
        self._keepers: dict[Path, Keeper] = {}
        self._mutex = threading.Lock()
        closing = (self._database, self._pristine, self._keepers, lock, os.getpid())
        self._close = weakref.finalize(self, _close, *closing)

    @classmethod
    def open(cls, path: Path, *, caps: Caps | None = None, pristine_bytes: int = _PRISTINE_BYTES) -> Self:
        """Open the store in the folder ``path``, which is created where it is not there.

        What a killed process left behind is swept, unless another process has the store open.

        Args:
            path: the folder.
            caps: what a tree may hold at most.
            pristine_bytes: room for untouched copies of trees.

        Raises:
            WorkspaceError: ``path`` holds something else, or git is missing.
            InfrastructureError: it can't be written.
        """
        check_git()
        path = Path(path).absolute()
        with disk_errors(f"open the store {path}"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _prepare(path, lock)
            except BaseException:
                os.close(lock)
                raise
        return cls(path, lock, caps or Caps(), pristine_bytes)

    def close(self) -> None:
        """End the readers, remove pristine copies, let go of the lock."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def import_revision(self, folder: Path, revision: str, subfolder: str | None = None) -> str:
        """See :func:`evalkit.workspace.repository.import_revision`."""
        return repository.import_revision(self._database, folder, revision, subfolder, self.caps)

    def import_worktree(self, folder: Path, subfolder: str | None = None) -> str:
        """See :func:`evalkit.workspace.repository.import_worktree`."""
        return repository.import_worktree(self._database, folder, subfolder, self.caps)

    def snapshot(self, directory: Path, *, like: str, ignore: Sequence[str] = ()) -> str:
        """See :func:`evalkit.workspace.snapshot.snapshot`."""
        return snapshot.snapshot(
            self._database, directory, like=like, cache=self._signatures, caps=self.caps, ignore=ignore
        )

    def with_hidden(self, tree: str, *, base: str, hidden: Sequence[str]) -> str:
        """See :func:`evalkit.workspace.hiding.with_hidden`."""
        return hiding.with_hidden(self._database, tree, base, hidden)

    def apply_patch(self, tree: str, patch: bytes | str, *, binary: bool = False, strip: int = 1) -> str:
        """See :func:`evalkit.workspace.patching.apply_patch`; text is taken as :attr:`Change.patch` gives it."""
        data = to_bytes(patch) if isinstance(patch, str) else patch
        return patching.apply_patch(self._database, self._scratch, tree, data, binary=binary, strip=strip)

    def diff(self, old: str, new: str) -> Change:
        """The change from tree ``old`` to tree ``new``."""
        return diffing.diff(self._database, old, new, self._patches)

    def materialise(self, tree: str, target: Path, *, without: Sequence[str] = ()) -> None:
        """See :func:`evalkit.workspace.materialise.materialise`."""
        materialise.materialise(self._pristine, tree, Path(target), without=without, cache=self._signatures)

    def pristine(self, tree: str, without: Sequence[str] = ()) -> Path:
        """A folder with an untouched copy of ``tree``, shared and kept: mount it read-only, never write to it.

        Args:
            tree: the tree.
            without: globs of what to leave out, with everything below.
        """
        return self._pristine.path(tree, without)

    def files(self, tree: str) -> Mapping[str, Entry]:
        """Every file and symlink of a tree by its path."""
        found = self._listings.get(tree)
        if found is None:
            listed = list(trees.leaves(self._database, tree))
            sizes = self._database.sizes([leaf.id for leaf in listed])
            entries = (Entry(leaf.mode, leaf.id, size) for leaf, size in zip(listed, sizes, strict=True))
            found = MappingProxyType(dict(zip((to_text(leaf.path) for leaf in listed), entries, strict=True)))
            self._listings.put(tree, found)
        return found

    def read(self, tree: str, path: str) -> bytes:
        """The bytes of one file; of a symlink, its target.

        Raises:
            WorkspaceError: the tree holds no such file.
        """
        found = trees.find(self._database, tree, to_bytes(path))
        if found is None or found.mode == TREE:
            raise WorkspaceError(f"the tree {tree[:12]} holds no file {printable(path)!r}")
        return self._database.read(found.id, "blob")

    def read_blob(self, blob: str) -> bytes:
        """The bytes of a blob by its id."""
        return self._database.read(blob, "blob")

    def plan_keep(
        self,
        folder: Path,
        *,
        parent: str,
        tree: str,
        when: int,
        subject: str,
        body: str = "",
        trailers: Sequence[tuple[str, str]] = (),
        subfolder: str | None = None,
        author: str = AUTHOR,
    ) -> PlannedCommit:
        """See :meth:`evalkit.workspace.commits.Keeper.plan`; ``folder`` is any in the user's repository."""
        return self._keeper(folder).plan(
            parent=parent,
            tree=tree,
            when=when,
            subject=subject,
            body=body,
            trailers=trailers,
            subfolder=subfolder,
            author=author,
        )

    def load_plan(self, commit: str) -> PlannedCommit:
        """A plan that was made before, from its commit id alone: to go on after a kill."""
        return commits.load_plan(self._database, commit)

    def apply_keep(self, folder: Path, planned: PlannedCommit, branch: str) -> bool:
        """See :meth:`evalkit.workspace.commits.Keeper.apply`; ``folder`` is any in the user's repository."""
        return self._keeper(folder).apply(planned, branch)

    def _keeper(self, folder: Path) -> Keeper:
        with self._mutex:
            keeper = self._keepers.get(folder)
            if keeper is None:
                keeper = self._keepers[folder] = Keeper(self._database, folder)
            return keeper


def _prepare(path: Path, lock: int) -> None:
    """Sweep what is stale and create what is missing, as the only process; then share the store."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except BlockingIOError:
        alone = False
    if alone:
        for stale in ("pristine", "tmp"):
            shutil.rmtree(path / stale, ignore_errors=True)
        _sweep_git(path / "git")
    fcntl.flock(lock, fcntl.LOCK_SH)  # waits while another process prepares
    (path / "tmp").mkdir(mode=0o700, exist_ok=True)
    if not (path / "git").is_dir():
        _create(path)
    elif not (path / "git" / "HEAD").is_file():
        raise WorkspaceError(f"{path} holds something that is not a store", "name another folder")


def _create(path: Path) -> None:
    """A bare repository, there as a whole or not at all."""
    temporary = path / "tmp" / f"git-{secrets.token_hex(8)}"
    ran = git(["init", "-q", "--bare", "--template=", "--object-format=sha1", str(temporary)])
    if ran.code:
        raise InfrastructureError(f"a store can't be created in {path}: {ran.said}", "see whether the disk is full")
    try:
        temporary.rename(path / "git")
    except OSError:
        if not (path / "git" / "HEAD").is_file():  # otherwise another process was faster
            raise


def _sweep_git(git_dir: Path) -> None:
    """Locks and half-written files; nothing of this name belongs to anyone once we are alone."""
    for pattern in ("*.lock", "objects/tmp_*", "objects/pack/tmp_*", "objects/??/tmp_obj_*", "refs/**/*.lock"):
        for stale in git_dir.glob(pattern):
            stale.unlink(missing_ok=True)


def _close(
    database: ObjectDatabase, pristine: materialise.Pristine, keepers: dict[Path, Keeper], lock: int, owner: int
) -> None:
    if os.getpid() != owner:  # a forked child must not tear down its parent's store
        return
    database.close()
    for keeper in keepers.values():
        keeper.close()
    pristine.close()
    os.close(lock)
