"""A session: proposes, verifies, keeps or discards, until the budget of experiments or time is used up.

A session that was killed, interrupted or ran out of time is gone on with by starting another on the same state.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evalkit.errors import WorkspaceError
from evalkit.ledger.canonical import canonical
from evalkit.loop.history import past_of
from evalkit.loop.instructions import instructions_for
from evalkit.loop.proposing import Briefing, Exhausted, Past, Proposal, ProposalError, Proposer
from evalkit.measure import fingerprint
from evalkit.stats.protocols import Need
from evalkit.verify.calibration import calibrate_run
from evalkit.verify.examination import Attempt, examine, refuse
from evalkit.verify.keeping import finish_keep
from evalkit.verify.verdict import Decision, Reason, Verdict
from evalkit.verify.workbench import Workbench
from evalkit.workspace.disk import disk_errors

__all__ = ["Limits", "Session", "Watcher"]


class Watcher(Protocol):
    """Somebody who is told what happens: a progress display, a log, a test."""

    def calibrating(self, have: int, wanted: int) -> None:
        """An A/A pair is about to be measured."""

    def proposing(self, experiment: int) -> None:
        """The proposer is at work."""

    def measuring(self, experiment: int, description: str, need: Need, trials: int) -> None:
        """A trial or pair is about to be measured."""

    def estimating(self, have: int, wanted: int) -> None:
        """A fresh pair of a keep is about to be measured."""

    def decided(self, verdict: Verdict) -> None:
        """An experiment has its verdict."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a session ends by itself.

    Attributes:
        experiments: decided in the whole run, or None.
        seconds: of this session, or None; no experiment begins after that.
    """

    experiments: int | None = None
    seconds: float | None = None


class Session:
    """Drives a proposer.

    Args:
        bench: the open run.
        proposer: who proposes.
        watcher: who is told.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        bench: Workbench,
        proposer: Proposer,
        watcher: Watcher,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bench = bench
        self._proposer = proposer
        self._watcher = watcher
        self._clock = clock
        self._history: list[Past] = [past_of(record.body) for record in bench.ledger.records("decided")]

    def run(self, limits: Limits) -> str:
        """Run until a limit is reached, a margin is spent or the proposer has nothing more; one sentence says which."""
        started = self._clock()
        self.prepare()
        while True:
            if limits.experiments is not None and self._bench.book.experiments >= limits.experiments:
                return f"{limits.experiments} experiments are done"
            if limits.seconds is not None and self._clock() - started >= limits.seconds:
                return f"{limits.seconds:g} seconds are used up"
            if spent := self._bench.book.exhausted(self._bench.contract):
                return _spent(spent)
            try:
                self.step()
            except Exhausted as reason:
                return str(reason)

    def prepare(self) -> None:
        """Calibrate where that is missing, and finish what a killed session left half done."""
        self._calibrate()
        finish_keep(self._bench, progress=self._watcher.estimating)

    def step(self) -> Verdict:
        """One experiment: the open one, or a new proposal.

        Raises:
            Exhausted: the proposer has nothing more to propose.
        """
        attempt = self._open_attempt()
        verdict = self._examine(attempt) if attempt else self._next()
        self._history.append(past_of(verdict.as_json()))
        self._watcher.decided(verdict)
        finish_keep(self._bench, progress=self._watcher.estimating)
        return verdict

    def _calibrate(self) -> None:
        """Before the first experiment, and again where the machine is no longer the one that was calibrated."""
        latest = self._bench.ledger.latest("calibrated")
        here = fingerprint().as_json()
        if latest is None or (latest.body["environment"] != here and self._bench.book.open_experiment is None):
            calibrate_run(self._bench, progress=self._watcher.calibrating)

    def _open_attempt(self) -> Attempt | None:
        proposed = self._bench.book.open_experiment
        return None if proposed is None else Attempt.of_record(proposed)

    def _examine(self, attempt: Attempt) -> Verdict:
        if not attempt.candidate:
            return refuse(self._bench, attempt, Decision.ERROR, Reason.PROPOSER, "the run was killed while it proposed")
        number = self._bench.book.experiments + 1

        def progress(need: Need, trials: int) -> None:
            self._watcher.measuring(number, attempt.description, need, trials)

        return examine(self._bench, attempt, progress=progress)

    def _next(self) -> Verdict:
        number = self._bench.book.experiments + 1
        self._watcher.proposing(number)
        with self._bench.work_folder() as work:
            return self._propose(number, work / "workspace")

    def _propose(self, number: int, workspace: Path) -> Verdict:
        bench = self._bench
        bench.store.materialise(bench.book.incumbent, workspace, without=bench.contract.hidden)
        briefing = Briefing(
            workspace=workspace,
            experiment=number,
            instructions=instructions_for(bench.contract),
            history=tuple(self._history),
            editable=bench.contract.editable,
            wall=bench.contract.proposer.wall,
        )
        name = self._proposer.name
        try:
            proposal = _checked(self._proposer.propose(briefing))
        except ProposalError as error:
            attempt = Attempt("", name, error.description or "no proposal", transcript=self._keep(error.transcript))
            return refuse(bench, attempt, Decision.ERROR, Reason.PROPOSER, error.message)
        transcript = self._keep(proposal.transcript)
        try:
            tree = self._tree(proposal, workspace)
        except WorkspaceError as error:
            attempt = Attempt("", name, proposal.description, proposal.details, transcript)
            return refuse(bench, attempt, Decision.REJECT, Reason.SCOPE, error.message)
        return self._examine(Attempt(tree, name, proposal.description, proposal.details, transcript))

    def _tree(self, proposal: Proposal, workspace: Path) -> str:
        bench = self._bench
        incumbent = bench.book.incumbent
        if proposal.patch is not None:
            return bench.store.apply_patch(incumbent, proposal.patch)
        tree = bench.store.snapshot(workspace, like=incumbent)
        return bench.store.with_hidden(tree, base=incumbent, hidden=bench.contract.hidden)

    def _keep(self, transcript: bytes) -> str:
        """Keep what the proposer printed, whole, under its own hash; the hash goes into the ledger."""
        if not transcript:
            return ""
        digest = hashlib.sha256(transcript).hexdigest()
        folder = self._bench.state / "transcripts"
        file = folder / f"{digest}.txt"
        with disk_errors(f"keep the transcript {file}"):
            folder.mkdir(exist_ok=True)
            if not file.exists():
                begun = file.with_suffix(".tmp")
                begun.write_bytes(transcript)
                begun.rename(file)  # there whole, or not at all
        return digest


def _spent(names: Sequence[str]) -> str:
    """Why there is no use in going on, and what to do."""
    named = " and ".join(repr(name) for name in names)
    margins = "margin of" if len(names) == 1 else "margins of"
    return (
        f"the {margins} {named} against the anchor is spent: keeps have lost all that may be lost; "
        "`evalkit watch --rollback` looks for the keep that cost most, --restart accepts head as the new anchor"
    )


def _checked(proposal: Proposal) -> Proposal:
    """The proposal, if the ledger can hold what it says of itself.

    Raises:
        ProposalError: its details are not plain JSON.
    """
    try:
        canonical(dict(proposal.details))
    except (TypeError, ValueError) as error:
        problem = f"the proposal's details are not plain JSON: {error}"
        raise ProposalError(problem, transcript=proposal.transcript, description=proposal.description) from error
    return proposal
