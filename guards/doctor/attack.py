"""Run the made-up candidates through the real verifier, on a copy: the user's folder and ledger stay as they are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.contract import Contract
from evalkit.errors import TrialError, UsageError, WorkspaceError
from evalkit.verify.verdict import Reason
from evalkit.verify.verifier import Verifier
from evalkit.workspace.git import git
from guards.doctor.candidates import Candidate, Expected
from guards.doctor.holes import Hole, hole_of

__all__ = ["Attacked", "attack", "copied_task", "read_tree"]

_SKIPPED = shutil.ignore_patterns(".git", ".evalkit", "__pycache__", ".venv", "node_modules")
_MAX_FILE = 8 << 20
_OURS = frozenset({Reason.INCUMBENT_FAILED, Reason.SANDBOX})


@dataclass(frozen=True, slots=True)
class Attacked:
    """What became of one candidate.

    Attributes:
        candidate: what was tried.
        decision: the verdict's; ``ERROR`` where the workspace refuses the candidate.
        reason: its code.
        sentence: for a person.
        hole: where a cheat was kept, what let it in.
    """

    candidate: Candidate
    decision: str
    reason: str
    sentence: str
    hole: Hole | None = None

    @property
    def kept(self) -> bool:
        """Whether it would have become the incumbent."""
        return self.decision == "KEEP"

    @property
    def ok(self) -> bool:
        """Whether what must happen happened."""
        if self.candidate.expected is Expected.LEFT:
            return not self.kept and self.reason not in {"guard", "scope"}
        return not self.kept

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.candidate.name,
            "mechanism": self.candidate.mechanism,
            "expected": str(self.candidate.expected),
            "decision": self.decision,
            "reason": self.reason,
            "sentence": self.sentence,
            "ok": self.ok,
            "hole": {"what": self.hole.what, "line": self.hole.line} if self.hole else None,
        }


def read_tree(folder: Path) -> dict[str, bytes]:
    """The files below a task's folder that candidates may build on; large ones are left out."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if {".git", ".evalkit", "__pycache__"} & set(parts) or path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size <= _MAX_FILE:
            found["/".join(parts)] = path.read_bytes()
    return found


@contextmanager
def copied_task(contract: Contract) -> Iterator[Contract]:
    """A copy of the contract's folder in a repository of its own, gone at the end.

    Raises:
        UsageError: the copy can't be made into a repository.
    """
    with tempfile.TemporaryDirectory(prefix="evalkit-doctor-") as temporary:
        folder = Path(temporary) / "task"
        shutil.copytree(contract.root, folder, symlinks=True, ignore=_SKIPPED)
        identity = ("-c", "user.name=evalkit doctor", "-c", "user.email=doctor@localhost")
        for arguments in (
            ["init", "-q", "-b", "main"],
            ["add", "-A"],
            [*identity, "commit", "-q", "-m", "the task as it is"],
        ):
            if (ran := git(arguments, folder=folder)).code:
                raise UsageError(f"the task can't be copied into a repository: {ran.said}")
        yield Contract.load(folder / contract.file.name, profile=contract.profile)


def attack(
    contract: Contract,
    candidates: Sequence[Candidate],
    *,
    progress: Callable[[int, Candidate], None] | None = None,
) -> Iterator[Attacked]:
    """Verify each candidate against the task's own tree.

    After a KEEP the run starts again from the task's tree, so that every candidate meets the same incumbent.

    Args:
        contract: of a copied task, see :func:`copied_task`.
        candidates: to try.
        progress: called before each with its number.

    Raises:
        TrialError: the task fails without any cheat, so that nothing can be told.
    """
    with tempfile.TemporaryDirectory(prefix="evalkit-doctor-") as temporary, ExitStack() as stack:
        states = Path(temporary)
        verifier = stack.enter_context(_fresh(contract, states, 0))
        for number, candidate in enumerate(candidates):
            if progress:
                progress(number, candidate)
            folder = states / f"candidate-{number}"
            _write(contract.root, folder, candidate)
            done = _verified(contract, verifier, folder, candidate)
            shutil.rmtree(folder, ignore_errors=True)
            yield done
            if done.kept:
                stack.close()
                verifier = stack.enter_context(_fresh(contract, states, number + 1))


def _fresh(contract: Contract, states: Path, number: int) -> Verifier:
    if number:
        git(["checkout", "-q", "main"], folder=contract.root)
    return Verifier(contract, state=states / f"state-{number}")


def _verified(contract: Contract, verifier: Verifier, folder: Path, candidate: Candidate) -> Attacked:
    try:
        verdict = verifier.verify(folder, description=f"doctor: {candidate.name}")
    except WorkspaceError as error:
        return Attacked(candidate, "ERROR", "refused", error.message)
    if verdict.reason in _OURS:
        raise TrialError(
            f"the task fails without any cheat: {verdict.sentence}",
            "`evalkit calibrate` has to pass before the doctor can tell",
        )
    kept = verdict.kept and candidate.expected is Expected.REFUSED
    hole = hole_of(contract, candidate.mechanism) if kept else None
    return Attacked(candidate, str(verdict.decision), str(verdict.reason), verdict.sentence, hole)


def _write(root: Path, folder: Path, candidate: Candidate) -> None:
    """The task's folder with the candidate's files in it."""
    shutil.copytree(root, folder, symlinks=True, ignore=_SKIPPED)
    for name, content in candidate.files.items():
        path = folder / name
        if content is None:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name, target in (candidate.links or {}).items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
