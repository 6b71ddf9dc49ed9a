"""Keeps: a commit on a branch of the user's repository, known by its id before anything of theirs is touched.

:func:`plan_keep` writes to evalkit's own store only. :func:`apply_keep` copies what is missing and moves one branch,
from exactly the commit that the plan was made on. Applying twice, or again after a kill half-way, ends in the same
state. The user's checkout, index, HEAD and hooks are never touched.
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
from evalkit.workspace.objects import TREE, build_pack
from evalkit.workspace.paths import printable, relative_folder, to_bytes
from evalkit.workspace.repository import Repository
from evalkit.workspace.trees import replace_folder

__all__ = ["AUTHOR", "PlannedCommit", "apply_keep", "load_plan", "plan_keep"]

AUTHOR = "evalkit <evalkit@localhost>"
_NOTHING = "0" * 40
_UNPACK = 100  # more objects than this stay in one pack, as after a fetch
_LOCK_WAIT = 2000  # milliseconds to wait for another git at work
_STALE_LOCK = 5.0  # seconds; moving one ref takes milliseconds
_TRAILER = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_PERSON = re.compile(r"[^<>\n\0]+ <[^<>\n\0]*>")


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


def plan_keep(
    database: ObjectDatabase,
    repository: Path,
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
        database: evalkit's own objects.
        repository: any folder in the user's repository.
        parent: the commit to follow; any revision.
        tree: the accepted tree of the contract's folder.
        when: author and committer date, seconds since 1970, UTC.
        subject: the first line; control characters become spaces.
        body: more, or nothing.
        trailers: such as ``("Evalkit-Verdict", "KEEP")``, in this order.
        subfolder: the contract's folder below the top; None means the folder that ``repository`` is.
        author: ``name <address>``, of author and committer.

    Raises:
        WorkspaceError: the parent is not there, or a trailer's name is malformed.
    """
    theirs = Repository.find(repository)
    folder = theirs.prefix if subfolder is None else relative_folder(subfolder)
    commit = theirs.resolve(parent)
    whole = tree
    if folder:
        joint = ObjectDatabase(database.git_dir, theirs.objects)
        try:
            whole = replace_folder(joint, database, _tree_of(joint, commit), to_bytes(folder), tree)
        finally:
            joint.close()
    message = _message(subject, body, trailers)
    data = _commit(whole, commit, when, message, author)
    return PlannedCommit(database.write([("commit", data)])[0], commit, whole, message)


def _message(subject: str, body: str, trailers: Sequence[tuple[str, str]]) -> str:
    parts = [_line(subject) or "Keep a verified change"]
    if text := "\n".join(_line(line) for line in body.splitlines()).strip("\n"):
        parts.append(text)
    for name, _value in trailers:
        if not _TRAILER.fullmatch(name):
            raise WorkspaceError(f"{name!r} can't be the name of a trailer", "use letters, digits and hyphens")
    if trailers:
        parts.append("\n".join(f"{name}: {_line(value)}" for name, value in trailers))
    return "\n\n".join(parts) + "\n"


def _line(text: str) -> str:
    """One line without control characters; unprintable bytes are escaped."""
    spaced = "".join(" " if char in "\t\n\r\v\f\x85\u2028\u2029" else char for char in text)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in spaced).strip()


def _commit(tree: str, parent: str, when: int, message: str, author: str) -> bytes:
    if not _PERSON.fullmatch(author):
        raise WorkspaceError(f"{author!r} can't be an author", "write: name <address>")
    head = f"tree {tree}\nparent {parent}\nauthor {author} {when} +0000\ncommitter {author} {when} +0000\n\n"
    return (head + message).encode("utf-8", "backslashreplace")


def _tree_of(database: ObjectDatabase, commit: str) -> str:
    return _header(database.read(commit, "commit"), b"tree")


def _header(commit: bytes, name: bytes) -> str:
    head = commit.partition(b"\n\n")[0]
    return next(line[len(name) + 1 :].decode() for line in head.split(b"\n") if line.startswith(name + b" "))


def load_plan(database: ObjectDatabase, id_: str) -> PlannedCommit:
    """A plan that was made before, from its commit id alone.

    Raises:
        WorkspaceError: no such plan was made.
    """
    data = database.read(id_, "commit")
    message = data.partition(b"\n\n")[2].decode("utf-8", "replace")
    return PlannedCommit(id_, _header(data, b"parent"), _header(data, b"tree"), message)


def apply_keep(database: ObjectDatabase, repository: Path, planned: PlannedCommit, branch: str) -> bool:
    """Put a planned commit on ``branch``, which is created where it is not there yet.

    Args:
        database: evalkit's own objects.
        repository: any folder in the user's repository.
        planned: the commit.
        branch: a branch name without ``refs/heads/``.

    Returns:
        Whether the branch moved; False where it stood on the commit already.

    Raises:
        WorkspaceError: the branch's name is malformed, it moved away from the commit's parent, or is checked out.
        InfrastructureError: their repository can't be written.
    """
    theirs = Repository.find(repository)
    ref = f"refs/heads/{branch}"
    tip = _tip(repository, ref, branch)
    if tip == planned.id:
        return False
    if tip not in {planned.parent, _NOTHING}:
        raise WorkspaceError(
            f"the branch {branch} moved: it stands at {tip[:12]}, the keep was made on {planned.parent[:12]}",
            "start a run on a new branch, or move this one back",
        )
    _refuse_checked_out(repository, ref, branch)
    _copy(database, theirs, planned)
    _move(theirs, ref, planned, tip)
    return True


def _tip(repository: Path, ref: str, branch: str) -> str:
    """The commit that the branch stands at; zeros where there is no such branch."""
    if branch.startswith("-") or git(["check-ref-format", ref]).code:
        raise WorkspaceError(f"{printable(branch)!r} can't be the name of a branch", "see: git help check-ref-format")
    ran = git(["rev-parse", "--verify", "--quiet", "--end-of-options", ref], folder=repository)
    return ran.out.decode().split()[-1] if ran.code == 0 else _NOTHING


def _refuse_checked_out(repository: Path, ref: str, branch: str) -> None:
    ran = git(["worktree", "list", "--porcelain"], folder=repository)
    folder = ""
    for line in ran.out.decode("utf-8", "replace").splitlines():
        if line.startswith("worktree "):
            folder = line.removeprefix("worktree ")
        if line == f"branch {ref}":
            raise WorkspaceError(
                f"the branch {branch} is checked out in {folder}, and evalkit never touches a checkout",
                "name another branch for keeps, or check out something else there: git switch --detach",
            )


def _copy(database: ObjectDatabase, theirs: Repository, planned: PlannedCommit) -> None:
    """Everything that the commit has and its parent has not."""
    joint = ObjectDatabase(database.git_dir, theirs.objects)
    try:
        ids: dict[str, str] = {}
        _differing(joint, _tree_of(joint, planned.parent), planned.tree, ids)
        objects = [("commit", database.read(planned.id, "commit"))]
        objects += [(kind, joint.read(id_, kind)) for id_, kind in ids.items()]
    finally:
        joint.close()
    command = ["unpack-objects", "-q"] if len(objects) <= _UNPACK else ["index-pack", "--stdin"]
    ran = git(command, folder=theirs.folder, data=build_pack(objects))
    if ran.code:
        raise InfrastructureError(
            f"the commit can't be stored in {theirs.git_dir}: {ran.said}",
            "see whether that folder can be written and the disk has room, then start again",
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


def _move(theirs: Repository, ref: str, planned: PlannedCommit, tip: str) -> None:
    ran = _update_ref(theirs, ref, planned, tip)
    if ran.code and _remove_stale_lock(theirs, ref):
        ran = _update_ref(theirs, ref, planned, tip)
    if ran.code:
        raise WorkspaceError(f"the branch {ref.removeprefix('refs/heads/')} can't be moved: {ran.said}", "try again")


def _update_ref(theirs: Repository, ref: str, planned: PlannedCommit, tip: str) -> Ran:
    name, _, address = AUTHOR.partition(" <")
    return git(
        ["-c", f"core.filesRefLockTimeout={_LOCK_WAIT}", "update-ref", "-m", "evalkit: keep", ref, planned.id, tip],
        folder=theirs.folder,
        extra={"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": address.rstrip(">")},
    )


def _remove_stale_lock(theirs: Repository, ref: str) -> bool:
    """Remove the lock that a killed ``update-ref`` left on this one branch; whether there was one."""
    ran = git(["rev-parse", "--git-path", f"{ref}.lock"], folder=theirs.folder)
    lock = theirs.folder / ran.out.decode().rstrip("\n")
    try:
        if time.time() - lock.stat().st_mtime < _STALE_LOCK:
            return False
        lock.unlink()
    except OSError:
        return False
    return True
