"""One trial: a tree is run, its artefacts leave, a scorer looks at them, and every metric gets a value or none does.

Candidate code and expected values never share a process or a sandbox: the scorer runs on the trusted tree, which has
none of the candidate's files, and meets the candidate only through artefacts and answers.
"""

from __future__ import annotations

import glob
import os
import sysconfig
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.contract import Contract, Program
from evalkit.errors import UsageError
from evalkit.measure.observation import Fault, Observation, PhaseRecord, Reading
from evalkit.measure.relay import Conversation, RelayError, converse
from evalkit.measure.scoring import ReadingError, Seen, read_metrics
from evalkit.sandbox.interface import Bind, Job, Limits, Outcome, Result, Running, Sandbox, SealedFile, Usage

__all__ = ["TrialRunner", "Trusted"]

_KEPT_TEXT = 8 << 10
_VAULT = "/vault"
_ARTIFACTS = "/artifacts"
_SCORER_PATIENCE = 2.0
"""A scorer may take this many times the candidate's wall budget, so that a slow candidate is never its fault."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """What only scorers see.

    Attributes:
        tree: directory with the anchor's files that no proposer may edit.
        vault: folder with one folder a split, or None.
    """

    tree: Path
    vault: Path | None


class _TrialFailedError(Exception):
    """Ends a trial without readings."""

    def __init__(self, outcome: Outcome, problem: str, fault: Fault = Fault.CANDIDATE) -> None:
        super().__init__(problem)
        self.outcome, self.problem, self.fault = outcome, problem, fault


class TrialRunner:
    """Runs trials of a contract's programs.

    Args:
        contract: what to run and what to read from it.
        sandbox: where.
        trusted: what scorers see.
        pristine: a directory with a tree's files, without what the contract hides.
    """

    def __init__(self, contract: Contract, sandbox: Sandbox, trusted: Trusted, pristine: Callable[[str], Path]) -> None:
        self._setup = _Setup(
            contract=contract,
            sandbox=sandbox,
            trusted=trusted,
            limits=_limits(contract),
            masks=tuple(place for mask in contract.sandbox.masks for place in _places(mask)),
        )
        self._pristine = pristine

    def run(self, tree: str, *, seed: int, split: str, scoring_seed: int | None = None) -> Observation:
        """One trial of a tree, every program of the contract.

        Args:
            tree: git tree id.
            seed: given to the candidate.
            split: which cases the scorer gets.
            scoring_seed: given to the scorer; None for the same.

        Raises:
            SandboxUnavailable: the engine can't run here.
        """
        started = time.perf_counter()
        scoring_seed = seed if scoring_seed is None else scoring_seed
        attempt = _Attempt(self._setup, self._pristine(tree), seed, scoring_seed, split)
        readings: dict[str, Reading] = {}
        ending = (Outcome.OK, Fault.NONE, "")
        try:
            for program in self._setup.contract.programs.values():
                readings |= attempt.program(program)
        except _TrialFailedError as failure:
            readings = {}
            ending = (failure.outcome, failure.fault, failure.problem)
        return Observation(
            tree=tree,
            seed=seed,
            scoring_seed=scoring_seed,
            split=split,
            readings=readings,
            phases=tuple(attempt.phases),
            outcome=ending[0],
            fault=ending[1],
            problem=ending[2],
            wall=time.perf_counter() - started,
            enforced=tuple(sorted(attempt.enforced - attempt.unenforced)),
            unenforced=tuple(sorted(attempt.unenforced)),
        )


def _places(mask: str) -> list[str]:
    """The host paths that a mask means: placeholders filled in, wildcards spelled out."""
    for name in ("stdlib", "purelib", "platlib"):
        mask = mask.replace(f"{{{name}}}", sysconfig.get_path(name))
    return sorted(glob.glob(mask)) if glob.has_magic(mask) else [mask]  # noqa: PTH207 - absolute patterns


def _limits(contract: Contract) -> Limits:
    budget = contract.budget
    return Limits(
        wall=budget.wall,
        cpu=budget.cpu,
        memory=budget.memory,
        pids=budget.pids,
        disk=budget.disk,
        output=budget.output,
    )


@dataclass(frozen=True, slots=True)
class _Setup:
    """What all trials of a contract share."""

    contract: Contract
    sandbox: Sandbox
    trusted: Trusted
    limits: Limits
    masks: tuple[str, ...]


class _Attempt:
    """The phases of one trial, in order; keeps what was seen of each."""

    def __init__(self, setup: _Setup, directory: Path, seed: int, scoring_seed: int, split: str) -> None:
        self._setup = setup
        self._directory = directory
        self._seed = seed
        self._scoring_seed = scoring_seed
        self._split = split
        self.phases: list[PhaseRecord] = []
        self.enforced: set[str] = set()
        self.unenforced: set[str] = set()

    def program(self, program: Program) -> dict[str, Reading]:
        """Run one program and read its metrics.

        Raises:
            _TrialFailedError: any phase ended badly, or a metric has no value.
        """
        ran = self._run(program) if program.run else None
        artifacts: Mapping[str, SealedFile] = ran.artifacts if ran else {}
        usage = {"run": ran.usage} if ran else {}
        try:
            talk = None
            if program.score:
                talk, served = self._score(program, artifacts)
                if served:
                    usage["serve"] = served
            seen = Seen(
                usage=usage,
                latency=talk.latency if talk else 0.0,
                queries=talk.queries if talk else 0,
                artifact_bytes=sum(artifact.size for artifact in artifacts.values()),
                result=talk.result if talk else None,
                stdout=ran.stdout.text() if ran else "",
            )
        finally:
            if ran:
                ran.close()
        metrics = [metric for metric in self._setup.contract.metrics if metric.program == program.name]
        try:
            return read_metrics(metrics, seen)
        except ReadingError as error:
            raise _TrialFailedError(Outcome.SCORER_ERROR, str(error)) from None

    def _job(self, argv: tuple[str, ...]) -> Job:
        return Job(
            argv=tuple(argument.replace("{seed}", str(self._seed)) for argument in argv),
            tree=self._directory,
            masks=self._setup.masks,
            env={**self._setup.contract.environment, "EVALKIT_SEED": str(self._seed)},
            limits=self._setup.limits,
            artifact_size=self._setup.contract.budget.artifact,
            devices=self._setup.contract.sandbox.devices,
        )

    def _start(self, job: Job) -> Running:
        """Start a job.

        Raises:
            UsageError: the contract asks for something that this sandbox can't do.
        """
        try:
            return self._setup.sandbox.start(job)
        except ValueError as error:
            raise UsageError(f"the sandbox {self._setup.sandbox.name!r} can't run this contract: {error}") from error

    def _run(self, program: Program) -> Result:
        assert program.run is not None  # noqa: S101 - the caller looked
        job = replace(self._job(program.run), artifacts=program.artifacts)
        result = _ended(self._setup.sandbox.start(job))
        self._note(program, "run", result, result.outcome, result.problem)
        if result.outcome is not Outcome.OK:
            result.close()
            raise _failure(result.outcome, f"`{program.run[0]} …` {_ending(result)}")
        return result

    def _score(self, program: Program, artifacts: Mapping[str, SealedFile]) -> tuple[Conversation, Usage | None]:
        """Start what serves and what scores, relay between them, and end both."""
        server = self._start_server(program, artifacts) if program.serve else None
        with ExitStack() as streams:
            if server:
                streams.callback(os.close, server.stdout)
            try:
                scorer = self._setup.sandbox.start(self._scorer_job(program, artifacts))
            except BaseException:
                if server:
                    os.close(server.stdin)
                    _abandon(server)
                raise
            streams.callback(os.close, scorer.stdout)
            talk, broken = self._talk(scorer, server)
            if server and (talk is None or not talk.candidate_gone):
                server.kill()
            served = self._end_server(program, server, talk) if server else None
            scored = _ended(scorer)
            scored.close()
        return self._judge(program, talk, broken, served, scored), served.usage if served else None

    def _start_server(self, program: Program, artifacts: Mapping[str, SealedFile]) -> Running:
        assert program.serve is not None  # noqa: S101 - the caller looked
        job = self._job(program.serve)
        env = {**job.env, "EVALKIT_ARTIFACTS": _ARTIFACTS}
        return self._setup.sandbox.start(replace(job, files=_placed(artifacts), env=env, interactive=True))

    def _talk(self, scorer: Running, server: Running | None) -> tuple[Conversation | None, str]:
        """The conversation, or how the scorer broke it; afterwards neither side hears anything more."""
        try:
            talk = converse(
                (scorer.stdin, scorer.stdout),
                (server.stdin, server.stdout) if server else None,
                split=self._split,
                seed=self._scoring_seed,
            )
        except RelayError as error:
            scorer.kill()
            return None, str(error)
        except BaseException:
            _abandon(scorer, server)
            raise
        finally:
            for side in (scorer, server):
                if side:
                    os.close(side.stdin)
        return talk, ""

    def _end_server(self, program: Program, server: Running, talk: Conversation | None) -> Result:
        gone = bool(talk and talk.candidate_gone)
        result = _ended(server)
        result.close()
        outcome = result.outcome if gone or result.outcome in _KERNEL_VERDICTS else Outcome.OK
        self._note(program, "serve", result, outcome, result.problem if outcome is not Outcome.OK else "")
        return result

    def _judge(
        self, program: Program, talk: Conversation | None, broken: str, served: Result | None, scored: Result
    ) -> Conversation:
        """Whether the conversation counts, and whose fault it is if it does not."""
        trouble = broken or (scored.problem if scored.outcome is not Outcome.OK else "")
        self._note(program, "score", scored, Outcome.SCORER_ERROR if trouble else Outcome.OK, trouble)
        for side in (served, scored):
            if side is not None and side.outcome is Outcome.SANDBOX_ERROR:
                raise _failure(side.outcome, side.problem)
        if served and talk and talk.candidate_gone:
            outcome = served.outcome if served.outcome is not Outcome.OK else Outcome.MISSING_ARTIFACT
            raise _failure(outcome, f"it stopped answering after {talk.queries} queries: {talk.candidate_gone}")
        if talk is None or trouble:
            raise _TrialFailedError(Outcome.SCORER_ERROR, f"the scorer failed: {trouble or 'no result'}")
        if talk.result and talk.result.invalid:
            raise _TrialFailedError(Outcome.SCORER_ERROR, f"the scorer refuses the answers: {talk.result.invalid}")
        return talk

    def _scorer_job(self, program: Program, artifacts: Mapping[str, SealedFile]) -> Job:
        assert program.score is not None  # noqa: S101 - the caller looked
        trusted = self._setup.trusted
        limits = self._setup.limits
        vault = trusted.vault / self._split if trusted.vault else None
        return Job(
            argv=program.score,
            tree=trusted.tree,
            binds=(Bind(vault, _VAULT),) if vault else (),
            files=_placed(artifacts),
            env={
                **self._setup.contract.environment,
                "EVALKIT_SEED": str(self._scoring_seed),
                "EVALKIT_SPLIT": self._split,
                "EVALKIT_VAULT": _VAULT,
                "EVALKIT_ARTIFACTS": _ARTIFACTS,
            },
            limits=replace(limits, wall=limits.wall * _SCORER_PATIENCE, cpu=None),
            interactive=True,
            identity="scorer",
        )

    def _note(self, program: Program, phase: str, result: Result, outcome: Outcome, problem: str) -> None:
        self.enforced.update(result.enforced)
        self.unenforced.update(result.unenforced)
        self.phases.append(
            PhaseRecord(
                program=program.name,
                phase=phase,
                outcome=outcome,
                problem=problem,
                exit_code=result.exit_code,
                usage=result.usage,
                artifacts={name: artifact.sha256 for name, artifact in result.artifacts.items()},
                stdout=result.stdout.text()[:_KEPT_TEXT],
                stderr=result.stderr.text()[-_KEPT_TEXT:],
            )
        )


def _ended(job: Running) -> Result:
    """The result of a job; one that is not waited for to its end is not left behind."""
    try:
        return job.wait()
    except BaseException:
        _abandon(job)
        raise


def _abandon(*jobs: Running | None) -> None:
    """End jobs that nobody will look at any more, without waiting: an interrupt may have come out of a wait."""
    for job in jobs:
        if job:
            job.kill()


def _placed(artifacts: Mapping[str, SealedFile]) -> dict[str, bytes | SealedFile]:
    """Where scorers and what serves find the artefacts."""
    return {f"{_ARTIFACTS}/{name}": artifact for name, artifact in artifacts.items()}


_KERNEL_VERDICTS = frozenset(
    {Outcome.OOM, Outcome.PIDS, Outcome.DISK, Outcome.OUTPUT_LIMIT, Outcome.TIMEOUT_CPU, Outcome.SANDBOX_ERROR}
)
"""Endings of a server that count even though the parent ended it."""


def _failure(outcome: Outcome, problem: str) -> _TrialFailedError:
    fault = Fault.OURS if outcome is Outcome.SANDBOX_ERROR else Fault.CANDIDATE
    return _TrialFailedError(outcome, problem, fault)


def _ending(result: Result) -> str:
    return result.problem or f"ended as {result.outcome}"
