"""The subject of an eval: candidate code, called from a trusted process and never run in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalkit.errors import InfrastructureError, UsageError
from evalkit.sandbox.interface import Job, Limits, Outcome, Sandbox
from evalkit.suite.errors import SubjectError
from evalkit.suite.trees import Trees
from evalkit.suite.workers import Worker, Workers

__all__ = ["Arena", "Measured", "Ran", "Reported", "Subject"]

_WORKER_LIFE = 3600.0
_RETRIES = 2
"""Infrastructure errors are retried, results never."""


class Measured(float):
    """A number that evalkit measured from outside; recording it keeps that trust."""

    __slots__ = ()


class Reported:
    """A number that candidate code returned as it is; recording it says that it can be forged."""

    __slots__ = ()


class _ReportedFloat(float, Reported):
    __slots__ = ()


class _ReportedInt(int, Reported):
    __slots__ = ()


_AS_REPORTED: Mapping[type, Callable[[Any], Any]] = {float: _ReportedFloat, int: _ReportedInt}


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command of the subject ended.

    Attributes:
        outcome: its class.
        exit_code: or None where a signal ended it.
        stdout, stderr: head and tail of what it printed.
        seconds: of wall time, taken outside.
        artifacts: bytes of the declared files, by name.
    """

    outcome: Outcome
    exit_code: int | None
    stdout: str
    stderr: str
    seconds: Measured
    artifacts: Mapping[str, bytes] = field(default_factory=dict)


class Arena:
    """What all subjects of a session share: the sandbox, the trees, the workers.

    Args:
        trees: where the files of an arm are.
        backend: name of the sandbox.
        limits: of one job.
        env: of every job.
    """

    def __init__(self, trees: Trees, backend: str, limits: Limits, env: Mapping[str, str]) -> None:
        self._trees, self._backend, self._env = trees, backend, dict(env)
        self.limits = limits
        self._opened: Sandbox | None = None
        self.workers = Workers(self._start)

    @property
    def sandbox(self) -> Sandbox:
        """Opened when it is first needed.

        Raises:
            SandboxUnavailable: it can't run here.
        """
        if self._opened is None:
            from evalkit.sandbox import open_sandbox  # noqa: PLC0415 - only suites that call a subject need one

            self._opened = open_sandbox(self._backend)
        return self._opened

    @property
    def unsafe(self) -> bool:
        """Whether the sandbox that was used does not protect."""
        return self._opened is not None and self._opened.unsafe

    def job(self, argv: Sequence[str], arm: str, seed: int, **more: Any) -> Job:
        """A command for the sandbox."""
        env = {**self._env, "EVALKIT_SEED": str(seed)}
        return Job(argv=tuple(argv), tree=self._trees.folder(arm), env=env, **more)

    def _start(self, arm: str, seed: int) -> Worker:
        limits = Limits(
            wall=_WORKER_LIFE, memory=self.limits.memory, pids=self.limits.pids, disk=self.limits.disk,
            output=self.limits.output,
        )  # fmt: skip
        return Worker(self.sandbox, self._trees.folder(arm), {**self._env, "EVALKIT_SEED": str(seed)}, limits)

    def close(self) -> None:
        """End every worker, and the sandbox."""
        self.workers.close()
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        self._trees.close()


class Subject:
    """Candidate code of one arm in one trial. Data in, data out.

    Attributes:
        arm: ``candidate`` or ``baseline``.
        seed: of the trial; the process has it as ``EVALKIT_SEED``.
    """

    def __init__(self, arena: Arena, arm: str, evaluation: str, *, seed: int, module: str, timeout: float) -> None:
        self._arena, self._evaluation, self._module, self._timeout = arena, evaluation, module, timeout
        self.arm, self.seed = arm, seed
        self._seconds = 0.0

    @property
    def seconds(self) -> Measured:
        """Seconds for which an answer was owed in this test, taken outside."""
        return Measured(self._seconds)

    def call(self, function: str, /, *args: Any, **kwargs: Any) -> Any:
        """The value that a function of the candidate's returns.

        Args:
            function: ``module:name``, or a name in the configured module.
            *args: JSON values; tuples arrive as lists.
            **kwargs: the same.

        Returns:
            A JSON value: None, a bool, a number, text, a list or a dict of these. Never an object of the candidate's.
            A bare number is a :class:`Reported` one.

        Raises:
            SubjectError: there is no value; its subclasses say why.
            UsageError: no module is known.
        """
        name = self._name(function)
        trial = (self.arm, self._evaluation, self.seed)
        worker = self._arena.workers.get(*trial)
        for _ in range(_RETRIES):
            try:
                return self._ask(worker, name, args, kwargs)
            except InfrastructureError:
                if worker.answered:
                    raise  # it may have learned something; a second try would not be the same trial
                worker = self._arena.workers.renew(*trial)
        return self._ask(worker, name, args, kwargs)

    def _ask(self, worker: Worker, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        before = worker.seconds
        try:
            value = worker.call(name, args, kwargs, self._timeout)
        finally:
            self._seconds += worker.seconds - before
        return _AS_REPORTED.get(type(value), _as_it_is)(value)

    def _name(self, function: str) -> str:
        if ":" in function:
            return function
        if not self._module:
            raise UsageError(
                f"in which module is {function!r}?",
                f'write subject.call("module:{function}"), or set `module` in the marker or in [suite]',
            )
        return f"{self._module}:{function}"

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        artifacts: Sequence[str] = (),
        timeout: float | None = None,
        check: bool = True,
    ) -> Ran:
        """Run a command in a sandbox of its own, on a fresh copy of the tree.

        Args:
            argv: ``python`` stands for the interpreter of this environment.
            stdin: bytes on its standard input.
            artifacts: files below its working directory that come back when every process is dead.
            timeout: seconds; None for the configured ones.
            check: whether an ending other than exit code 0 raises.

        Raises:
            SubjectError: it did not end well.
            InfrastructureError: our own part failed.
        """
        limits = self._arena.limits
        limits = Limits(
            wall=timeout or limits.wall, memory=limits.memory, pids=limits.pids, disk=limits.disk, output=limits.output
        )
        job = self._arena.job(argv, self.arm, self.seed, stdin=stdin, artifacts=tuple(artifacts), limits=limits)
        started = time.perf_counter()
        result = self._arena.sandbox.start(job).wait()
        seconds = result.usage.wall or time.perf_counter() - started
        self._seconds += seconds
        try:
            ran = Ran(
                outcome=result.outcome,
                exit_code=result.exit_code,
                stdout=result.stdout.text(),
                stderr=result.stderr.text(),
                seconds=Measured(seconds),
                artifacts={name: sealed.read() for name, sealed in result.artifacts.items()},
            )
        finally:
            result.close()
        if result.outcome is Outcome.SANDBOX_ERROR:
            raise InfrastructureError(f"the sandbox failed: {result.problem}", "run it again")
        if check and result.outcome is not Outcome.OK:
            said = f"\nit said: {ran.stderr.strip()[-400:]}" if ran.stderr.strip() else ""
            raise SubjectError(f"{os.path.basename(argv[0])}: {result.problem or result.outcome}{said}")  # noqa: PTH119
        return ran


def _as_it_is(value: Any) -> Any:
    return value
