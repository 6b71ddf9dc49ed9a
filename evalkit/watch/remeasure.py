"""Keeps of a finished run, measured again through a contract: each beside the keep before it, in pairs.

Where one run per row can't tell luck from gain, this can. Needs the repository that holds both commits and a contract
that measures the same thing. Trusted files (the scorer, whatever isn't editable) come from the repository's HEAD, the
commits only bring what they changed; everything happens in a temporary state folder.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from evalkit.contract import Contract
from evalkit.errors import TrialError, UsageError, WorkspaceError
from evalkit.interop import HistoryRow
from evalkit.measure import Pair
from evalkit.sandbox.interface import Sandbox
from evalkit.stats.estimate import estimate_effect
from evalkit.stats.noise import Noise, calibrate
from evalkit.verify.workbench import Workbench
from evalkit.watch.audit_types import Audit, Remeasured, Verdict

__all__ = ["Remeasurer", "choose", "remeasurer"]

_COMMIT = re.compile(r"[0-9a-f]{6,40}")
_NOISE_PAIRS = 6
_MAX_INVALID = 2
_Z_95 = 1.96
_OPEN = frozenset({Verdict.SURVIVES, Verdict.UNSURE, Verdict.NOISE, Verdict.WORSE, Verdict.TIE, Verdict.UNKNOWABLE})


def choose(audit: Audit, limit: int | None) -> frozenset[int]:
    """Lines of the keeps to measure again: of those that are not certain already, the least certain first.

    Args:
        audit: a first one, without new measurements.
        limit: how many at most, or None for all.
    """
    everything = (row for segment in audit.segments for row in segment.rows)
    rows = [row for row in everything if row.kept and row.row.commit and row.verdict in _OPEN]
    ranked = sorted(rows, key=lambda row: abs(0.5 - (0.5 if row.probability is None else row.probability)))
    return frozenset(row.row.line for row in ranked[:limit])


class Remeasurer:
    """Answers :data:`evalkit.watch.audit.Remeasure` by measuring.

    Args:
        bench: an open run of the contract.
        lines: of the keeps to measure.
        pairs: of each keep.
        progress: called with the keep's name before each pair, how many pairs it has and how many are wanted.
    """

    def __init__(
        self,
        bench: Workbench,
        lines: frozenset[int],
        *,
        pairs: int,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._bench, self._lines, self._wanted, self._progress = bench, lines, pairs, progress
        self._metric = bench.contract.objective
        self._split = bench.contract.splits.confirm
        self._noise: Noise | None = None
        self.notes: list[str] = []
        """Why a keep that was to be measured could not be."""

    def __call__(self, keep: HistoryRow, before: HistoryRow) -> Remeasured | None:
        """Measure a keep beside the one before it; None where that is not possible, with a note."""
        if keep.line not in self._lines:
            return None
        trees = self._trees(keep, before)
        if trees is None:
            return None
        if trees[0] == trees[1]:
            self._not(keep, "both commits hold the same files here")
            return None
        if self._noise is None:
            self._noise = self._measure_noise(trees[0])
        differences = self._differences(keep, *trees)
        if not differences:
            return None
        found = estimate_effect(differences, self._noise)
        error = (found.high - found.low) / (2 * _Z_95)
        return Remeasured(found.effect, max(error, math.ulp(max(abs(found.effect), 1e-300))), found.pairs)

    def _not(self, keep: HistoryRow, why: str) -> None:
        self.notes.append(f"line {keep.line}: {why}; not measured again")

    def _trees(self, keep: HistoryRow, before: HistoryRow) -> tuple[str, str] | None:
        """The older tree and the newer."""
        found: list[str] = []
        for row in (before, keep):
            if not _COMMIT.fullmatch(row.commit):
                self._not(keep, f"line {row.line} names no commit")
                return None
            try:
                found.append(self._bench.store.import_revision(self._bench.contract.root, row.commit))
            except WorkspaceError as error:
                self._not(keep, f"commit {row.commit}: {error.message}")
                return None
        return found[0], found[1]

    def _measure_noise(self, tree: str) -> Noise:
        """A/A pairs of the first tree that is needed."""
        arms: tuple[list[float], list[float]] = ([], [])
        for index in range(_NOISE_PAIRS):
            if self._progress:
                self._progress("the noise", index, _NOISE_PAIRS)
            pair = self._bench.pairing.null_pair(tree, split=self._split)
            for arm, trial in zip(arms, (pair.incumbent, pair.candidate), strict=True):
                if not trial.valid:
                    raise TrialError(
                        f"the oldest keep that was to be measured has no value: {trial.problem}",
                        "see whether the contract's `run` and `score` fit the commits of that time",
                    )
                arm.append(self._metric.sign * trial.readings[self._metric.name].value)
        return calibrate(*arms)

    def _differences(self, keep: HistoryRow, older: str, newer: str) -> list[float]:
        """In the metric's own unit, larger is better, whatever scale the contract compares on."""
        differences: list[float] = []
        invalid = 0
        while len(differences) < self._wanted:
            if self._progress:
                self._progress(keep.label or keep.commit, len(differences), self._wanted)
            pair = self._bench.pairing.pair(older, newer, split=self._split)
            if pair.valid:
                differences.append(self._change(pair))
                continue
            invalid += 1
            if invalid >= _MAX_INVALID:
                self._not(keep, f"no value under this contract ({pair.candidate.problem or pair.incumbent.problem})")
                return []
        return differences

    def _change(self, pair: Pair) -> float:
        newer, older = (trial.readings[self._metric.name].value for trial in (pair.candidate, pair.incumbent))
        return self._metric.sign * (newer - older)


@contextmanager
def remeasurer(
    contract: Contract,
    audits: Sequence[Audit],
    *,
    limit: int | None = None,
    pairs: int = 8,
    sandbox: Sandbox | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[list[Remeasurer]]:
    """One :class:`Remeasurer` for each audit, on a run of its own in a folder that is removed at the end.

    Args:
        contract: what to measure with; its repository holds the commits.
        audits: first ones, without new measurements.
        limit: keeps of one history at most.
        pairs: of each keep.
        sandbox: for tests; None opens what the contract names.
        progress: see :class:`Remeasurer`.

    Raises:
        UsageError: a history's metric is better in the other direction than the contract's.
    """
    for audit in audits:
        _check_goal(contract, audit)
    folder = Path(tempfile.mkdtemp(prefix="evalkit-audit-"))
    try:
        with Workbench.open(contract, state=folder, sandbox=sandbox) as bench:
            yield [Remeasurer(bench, choose(audit, limit), pairs=pairs, progress=progress) for audit in audits]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_goal(contract: Contract, audit: Audit) -> None:
    objective = contract.objective
    for segment in audit.segments:
        if segment.segment.goal not in {None, objective.goal}:
            raise UsageError(
                f"{audit.history.source}: {segment.segment.metric} is to {segment.segment.goal}, but the contract's "
                f"{objective.name} is to {objective.goal}",
                "name a contract that measures the same thing, or say --goal",
            )
