"""Which revision a change is compared with, where nobody says."""

from __future__ import annotations

import os
from pathlib import Path

from evalkit.errors import WorkspaceError
from evalkit.workspace import Repository

__all__ = ["default_base"]

_NAMED = (
    "EVALKIT_BASE",
    "GITHUB_BASE_REF",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "BITBUCKET_PR_DESTINATION_BRANCH",
    "SYSTEM_PULLREQUEST_TARGETBRANCH",
    "CHANGE_TARGET",
    "BUILDKITE_PULL_REQUEST_BASE_BRANCH",
)
"""Variables in which CI services name the branch that a change is for (GitHub, GitLab, Bitbucket, Azure, Jenkins,
Buildkite)."""
_EXACT = "CI_MERGE_REQUEST_DIFF_BASE_SHA"
"""GitLab's own merge base."""


def default_base(root: Path, head: str = "HEAD", *, alone: str = "{head}~1") -> str:
    """The commit where ``head`` left the branch that it is for.

    The branch is the one that the CI service names, else ``main`` or ``master``; the remote's comes before the local
    one. On that branch itself it is what ``alone`` says.

    Args:
        root: in the repository.
        head: revision.
        alone: revision to take on the branch itself: the commit before ``head`` when a merged change is judged,
            ``{head}`` when it is working files that are.

    Returns:
        A commit's id, or the empty string where there is nothing to compare with.

    Raises:
        WorkspaceError: there is no repository, or no ``head``.
    """
    repository = Repository.find(root)
    tip = repository.resolve(head)
    exact = os.environ.get(_EXACT, "")
    if exact and (found := _resolved(repository, exact)):
        return found
    branches = [*filter(None, (os.environ.get(name, "") for name in _NAMED)), "main", "master"]
    for branch in branches:
        short = branch.removeprefix("refs/heads/")
        for ref in (f"origin/{short}", short):
            try:
                base = repository.merge_base(ref, tip)
            except WorkspaceError:
                continue
            if base != tip:
                return base
    return _resolved(repository, alone.format(head=tip))


def _resolved(repository: Repository, revision: str) -> str:
    try:
        return repository.resolve(revision)
    except WorkspaceError:
        return ""
