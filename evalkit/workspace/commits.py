"""Keeps: a commit on a branch of the user's repository, known by its id before anything of theirs is touched.

:meth:`Keeper.plan` writes to evalkit's own store only. :meth:`Keeper.apply` copies what is missing and moves one
branch, from exactly the commit that the plan was made on. Applying twice, or again after a kill half-way, ends in the
same state. The user's checkout, index, HEAD and hooks are never touched.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import InfrastructureError, WorkspaceError
from evalkit.workspace.database import ObjectDatabase
from evalkit.workspace.git import Ran, git
from evalkit.workspace.messages import AUTHOR, build_commit, build_message, header_of
from evalkit.workspace.objects import TREE, build_pack
from evalkit.workspace.paths import printable, relative_folder, to_bytes
from evalkit.workspace.repository import Repository
from evalkit.workspace.trees import replace_folder

__all__ = ["Keeper", "PlannedCommit", "load_plan"]

_NOTHING = "0" * 40
_ID = re.compile(r"[0-9a-f]{40}")
_UNPACK = 100  # more objects than this stay in one pack, as after a fetch
_LOCK_WAIT = 2000  # milliseconds to wait for another git at work
_STALE_LOCK = 5.0  # seconds; moving one ref takes milliseconds
_REF = "--format=%(refname)%00%(objectname)%00%(symref)%00%(worktreepath)%00"


@dataclass(frozen=True, slots=True)
class PlannedCommit:
    """A commit that is in evalkit's store and not yet anywhere else.

    Attributes:
        id: of the commit.
        parent: id of the commit it follows.
        tree: id of the user's whole tree, with the contract's folder replaced.
        message: subject, body and trailers.
    """

    id: str
    parent: str
    tree: str
    message: str


def load_plan(database: ObjectDatabase, id_: str) -> PlannedCommit:
    """A plan that was made before, from its commit id alone.

    Raises:
        WorkspaceError: no such plan was made.
    """
    data = database.read(id_, "commit")
    message = data.partition(b"\n\n")[2].decode("utf-8", "replace")
    return PlannedCommit(id_, header_of(data, b"parent"), header_of(data, b"tree"), message)


class Keeper:
    """Plans and applies keeps in one repository of the user.

    Args:
        database: evalkit's own objects.
        folder: any folder in the repository.

    Raises:
        WorkspaceError: it is in no repository.
    """

    def __init__(self, database: ObjectDatabase, folder: Path) -> None:
        self._own = database
        self._theirs = Repository.find(folder)
        self._joint = ObjectDatabase(database.git_dir, self._theirs.objects)

    def close(self) -> None:
        """End the readers."""
        self._joint.close()

    def plan(
        self,
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
        """Build the commit of a keep; the same arguments give the same id, always.

        Args:
            parent: the commit to follow; any revision.
            tree: the accepted tree of the contract's folder.
            when: author and committer date, seconds since 1970, UTC.
            subject: the first line; control characters become spaces.
            body: more, or nothing.
            trailers: such as ``("Evalkit-Verdict", "KEEP")``, in this order.
            subfolder: the contract's folder below the top; None means the folder that the keeper was made for.
            author: ``name <address>``, of author and committer.

        Raises:
            WorkspaceError: the parent is not there, or a trailer's name is malformed.
        """
        folder = self._theirs.prefix if subfolder is None else relative_folder(subfolder)
        commit = self._commit(parent)
        whole = tree
        if folder:
            whole = replace_folder(self._joint, self._own, self._tree_of(commit), to_bytes(folder), tree)
        message = build_message(subject, body, trailers)
        data = build_commit(whole, commit, when, message, author)
        return PlannedCommit(self._own.write([("commit", data)])[0], commit, whole, message)

    def _commit(self, revision: str) -> str:
        """The id of a commit; without starting git where the id is given."""
        known = _ID.fullmatch(revision) and self._joint.has(revision, "commit")
        return revision if known else self._theirs.resolve(revision)

    def _tree_of(self, commit: str) -> str:
        return header_of(self._joint.read(commit, "commit"), b"tree")

    def apply(self, planned: PlannedCommit, branch: str) -> bool:
        """Put a planned commit on ``branch``, which is created where it is not there yet.

        Args:
            planned: the commit.
            branch: a branch name without ``refs/heads/``.

        Returns:
            Whether the branch moved; False where it stood on the commit already.

        Raises:
            WorkspaceError: the branch's name is malformed, it moved away from the commit's parent, or is checked out.
            InfrastructureError: their repository can't be written.
        """
        if "\0" in branch:
            raise _no_name(branch)
        ref = f"refs/heads/{branch}"
        tip = self._tip(ref, branch)
        if tip == planned.id:
            return False
        if tip == _NOTHING:
            self._may_be_created(ref, branch, planned)
        elif tip != planned.parent:
            raise WorkspaceError(
                f"the branch {branch} moved: it stands at {tip[:12]}, the keep was made on {planned.parent[:12]}",
                "start a run on a new branch, or move this one back",
            )
        self._copy(planned)
        self._move(ref, planned, tip)
        return True

    def _tip(self, ref: str, branch: str) -> str:
        """The commit that the branch stands at, zeros where there is none; refuses one that is in use."""
        ran = git(["for-each-ref", _REF, ref], folder=self._theirs.folder)
        fields = iter(ran.out.decode("utf-8", "surrogateescape").split("\0"))
        for name, tip, symref, worktree in zip(fields, fields, fields, fields, strict=False):
            if name.lstrip("\n") != ref:
                continue
            if symref:
                raise WorkspaceError(
                    f"the branch {branch} is only another name for {printable(symref)}", "name a branch of its own"
                )
            if worktree:
                raise _checked_out(branch, worktree)
            return tip
        return _NOTHING

    def _may_be_created(self, ref: str, branch: str, planned: PlannedCommit) -> None:
        folder = self._theirs.folder
        if branch.startswith("-") or git(["check-ref-format", ref]).code:
            raise _no_name(branch)
        if git(["cat-file", "-e", f"{planned.parent}^{{commit}}"], folder=folder).code:
            raise WorkspaceError(
                f"the commit {planned.parent[:12]}, which the keep follows, is not in {folder} any more",
                "restore the branch that held it, or start a new run",
            )
        at = ""  # a checkout may stand on a branch that has no commit yet
        for line in git(["worktree", "list", "--porcelain"], folder=folder).out.decode("utf-8", "replace").splitlines():
            at = line.removeprefix("worktree ") if line.startswith("worktree ") else at
            if line == f"branch {ref}":
                raise _checked_out(branch, at)

    def _copy(self, planned: PlannedCommit) -> None:
        """Everything that the commit has and its parent has not."""
        ids: dict[str, str] = {}
        _differing(self._joint, self._tree_of(planned.parent), planned.tree, ids)
        objects = [("commit", self._own.read(planned.id, "commit"))]
        objects += [(kind, self._joint.read(id_, kind)) for id_, kind in ids.items()]
        command = ["unpack-objects", "-q"] if len(objects) <= _UNPACK else ["index-pack", "--stdin"]
        ran = git(["-c", "core.fsyncMethod=batch", *command], folder=self._theirs.folder, data=build_pack(objects))
        if ran.code:
            raise InfrastructureError(
                f"the commit can't be stored in {self._theirs.git_dir}: {ran.said}",
                "see whether that folder can be written and the disk has room, then start again",
            )

    def _move(self, ref: str, planned: PlannedCommit, tip: str) -> None:
        ran = self._update_ref(ref, planned, tip)
        if ran.code and self._remove_stale_lock(ref):
            ran = self._update_ref(ref, planned, tip)
        if ran.code:
            raise WorkspaceError(
                f"the branch {ref.removeprefix('refs/heads/')} can't be moved: {ran.said}", "try again"
            )

    def _update_ref(self, ref: str, planned: PlannedCommit, tip: str) -> Ran:
        name, _, address = AUTHOR.partition(" <")
        return git(
            ["-c", f"core.filesRefLockTimeout={_LOCK_WAIT}", "update-ref", "-m", "evalkit: keep", ref, planned.id, tip],
            folder=self._theirs.folder,
            extra={"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": address.rstrip(">")},
        )

    def _remove_stale_lock(self, ref: str) -> bool:
        """Remove the lock that a killed ``update-ref`` left on this one branch; whether there was one."""
        ran = git(["rev-parse", "--git-path", f"{ref}.lock"], folder=self._theirs.folder)
        lock = self._theirs.folder / ran.out.decode().rstrip("\n")
        try:
            if time.time() - lock.stat().st_mtime < _STALE_LOCK:
                return False
            lock.unlink()
        except OSError:
            return False
        return True


def _no_name(branch: str) -> WorkspaceError:
    return WorkspaceError(f"{printable(branch)!r} can't be the name of a branch", "see: git help check-ref-format")


def _checked_out(branch: str, where: str) -> WorkspaceError:
    return WorkspaceError(
        f"the branch {branch} is checked out in {where}, and evalkit never touches a checkout",
        "name another branch for keeps, or check out something else there: git switch --detach",
    )


def _differing(database: ObjectDatabase, old: str, new: str, ids: dict[str, str]) -> None:
    """Ids (to kinds) of what ``new`` holds and ``old`` does not at the same place."""
    if old == new:
        return
    ids[new] = "tree"
    before = {item.name: item for item in (database.tree(old) if old else ())}
    for item in database.tree(new):
        was = before.get(item.name)
        if item.mode == TREE:
            _differing(database, was.id if was is not None and was.mode == TREE else "", item.id, ids)
        elif was is None or was.id != item.id:
            ids[item.id] = "blob"
