"""The way in for loops that drive themselves: one candidate, one verdict.

from evalkit import Contract, Verifier

verdict = Verifier(Contract.load("evalkit.toml")).verify(candidate="work/")
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from evalkit.contract import Contract
from evalkit.errors import UsageError, WorkspaceError
from evalkit.sandbox.interface import Sandbox
from evalkit.stats.protocols import Need
from evalkit.verify.calibration import calibrate_run
from evalkit.verify.examination import Attempt, examine, refuse
from evalkit.verify.keeping import finish_keep
from evalkit.verify.verdict import Decision, Reason, Verdict
from evalkit.verify.workbench import Workbench
from evalkit.workspace import Repository

__all__ = ["Verifier", "candidate_tree", "verify_with"]

_PATCH_SUFFIXES = (".patch", ".diff")
_MAX_PATCH = 64 << 20


def candidate_tree(bench: Workbench, candidate: str | Path) -> str:
    """The tree that a candidate names, in the run's store.

    Args:
        bench: the open run.
        candidate: a folder (with or without the hidden files), a patch file against the incumbent, or a revision of
            the contract's repository.

    Raises:
        UsageError: it is none of these.
        WorkspaceError: it can't be turned into a tree: the patch does not apply, the folder holds a device.
    """
    path = Path(candidate)
    incumbent, hidden = bench.book.incumbent, bench.contract.hidden
    if path.is_dir():
        tree = bench.store.snapshot(path, like=incumbent)
        return bench.store.with_hidden(tree, base=incumbent, hidden=hidden)
    if path.is_file() and path.suffix in _PATCH_SUFFIXES:
        if path.stat().st_size > _MAX_PATCH:
            raise WorkspaceError(f"{path} has more than {_MAX_PATCH >> 20} MiB")
        return bench.store.apply_patch(incumbent, path.read_bytes())
    if path.exists():
        raise UsageError(f"{path} is neither a folder nor a patch", "a patch's name ends in .patch or .diff")
    if path.suffix in _PATCH_SUFFIXES:
        raise UsageError(f"there is no file {path}")
    try:
        revision = Repository.find(bench.contract.root).resolve(str(candidate))
    except WorkspaceError as error:
        what = f"{candidate} is no folder, no patch and no revision"
        raise UsageError(f"{what}: {error.message}", error.way_out) from None
    return bench.store.import_revision(bench.contract.root, revision)


class Verifier:
    """Verifies candidates against the run's incumbent and keeps what survives.

    State (ledger, incumbent, error budget) lives beside the contract and carries over from call to call; use it as a
    context manager to keep the run open between calls.

    Args:
        contract: from :meth:`evalkit.Contract.load`.
        state: instead of the default state folder.
        sandbox: instead of the contract's.
    """

    def __init__(self, contract: Contract, *, state: Path | None = None, sandbox: Sandbox | None = None) -> None:
        self._contract = contract
        self._state = state
        self._sandbox = sandbox
        self._bench: Workbench | None = None

    def __enter__(self) -> Self:
        self._bench = Workbench.open(self._contract, state=self._state, sandbox=self._sandbox)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        bench, self._bench = self._bench, None
        if bench:
            bench.close()

    def verify(
        self,
        candidate: str | Path,
        incumbent: str | None = None,
        *,
        description: str = "",
        progress: Callable[[Need, int], None] | None = None,
    ) -> Verdict:
        """Decide about one candidate; a KEEP becomes the incumbent and a commit on the run's branch.

        Args:
            candidate: a folder, a patch file, or a revision.
            incumbent: revision that a new run starts from (``HEAD``); a run that is there has its own incumbent.
            description: one line for the ledger.
            progress: called before each trial.

        Raises:
            UsageError: ``incumbent`` is given and is not the run's.
            EvalkitError: see :mod:`evalkit.errors`.
        """
        if self._bench is not None:
            return _verify(self._bench, candidate, incumbent, description, progress)
        bench = Workbench.open(self._contract, revision=incumbent or "HEAD", state=self._state, sandbox=self._sandbox)
        with bench:
            return _verify(bench, candidate, incumbent, description, progress)


def _verify(
    bench: Workbench,
    candidate: str | Path,
    incumbent: str | None,
    description: str,
    progress: Callable[[Need, int], None] | None,
) -> Verdict:
    if incumbent is not None:
        named = bench.store.import_revision(bench.contract.root, incumbent)
        if named != bench.book.incumbent:
            raise UsageError(
                f"{incumbent} is not this run's incumbent ({bench.book.incumbent[:10]} on {bench.book.branch})",
                "leave `incumbent` out, or give a `state` folder of its own",
            )
    return verify_with(bench, candidate, description=description, progress=progress)


def verify_with(
    bench: Workbench,
    candidate: str | Path,
    *,
    description: str = "",
    progress: Callable[[Need, int], None] | None = None,
    calibrating: Callable[[int, int], None] | None = None,
    estimating: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Decide about one candidate in an open run, calibrating first where that is missing.

    Args:
        bench: the open run.
        candidate: as in :meth:`Verifier.verify`.
        description: one line for the ledger.
        progress: called before each trial.
        calibrating: called before each A/A pair.
        estimating: called before each fresh pair of a keep.
    """
    if not bench.book.calibrated:
        calibrate_run(bench, progress=calibrating)
    finish_keep(bench, progress=estimating)
    if bench.book.open_experiment is not None:
        _finish_open(bench, progress)
        finish_keep(bench, progress=estimating)
    label = description or Path(candidate).name
    try:
        tree = candidate_tree(bench, candidate)
    except WorkspaceError as error:
        attempt = Attempt("", "submit", label)
        return refuse(bench, attempt, Decision.REJECT, Reason.SCOPE, error.message)
    verdict = examine(bench, Attempt(tree, "submit", label), progress=progress)
    finish_keep(bench, progress=estimating)
    return verdict


def _finish_open(bench: Workbench, progress: Callable[[Need, int], None] | None) -> None:
    """An experiment that a killed process left open is decided first, at the level that was fixed for it."""
    attempt = Attempt.of_record(bench.book.open_experiment or {})
    if attempt.candidate:
        examine(bench, attempt, progress=progress)
    else:
        refuse(bench, attempt, Decision.ERROR, Reason.PROPOSER, "the process was killed before there was a candidate")
