"""Workers: one process of candidate code in the sandbox for each trial and arm, asked through pipes.

A spec calls one function after another without paying for a sandbox each time; a trial still starts in a fresh one.
What comes back is parsed as strict JSON and carries the number of the call that it answers, so that an answer that was
prepared beforehand is not taken for one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import InfrastructureError
from evalkit.protocol.frames import FrameError, decode, encode, pack
from evalkit.sandbox.interface import Job, Limits, Outcome, Running, Sandbox
from evalkit.suite.errors import SubjectGoneError, SubjectRaisedError, SubjectTimeoutError

__all__ = ["Worker", "Workers"]

_PLACE = "/evalkit/worker.py"
_SOURCE = Path(__file__).with_name("worker.py")
_MAX_ANSWER = 16 << 20
_HEADER = 4
_LEAST = 2
"""A frame's kind and encoding; an answer has more."""
_START = 60.0
_ALIVE = 4
"""Workers kept at once: both arms of two trials."""


class Worker:
    """One process that answers calls.

    Args:
        sandbox: where.
        tree: directory with the candidate's files.
        env: of the process.
        limits: of the process, its whole life.
    """

    def __init__(self, sandbox: Sandbox, tree: Path, env: Mapping[str, str], limits: Limits) -> None:
        job = Job(
            argv=("python", "-P", _PLACE),
            tree=tree,
            files={_PLACE: _SOURCE.read_bytes()},
            env=env,
            limits=limits,
            interactive=True,
        )
        self._running: Running = sandbox.start(job)
        self._stdin, self._stdout = self._running.stdin, self._running.stdout
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stdout, False)
        self._gone = ""
        self.seconds = 0.0
        self.answered = 0
        try:
            self._frame(time.perf_counter() + _START)
        except (TimeoutError, FrameError, EOFError, OSError) as error:
            self._give_up(f"the worker did not start: {error}")

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._gone

    def call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float) -> Any:
        """The value that a function returns.

        Args:
            function: ``module:name``.
            args: JSON values (tuples arrive as lists).
            kwargs: the same.
            timeout: seconds.

        Raises:
            SubjectError: there is no value; the subclasses say why.
            InfrastructureError: the sandbox failed.
            TypeError, ValueError: an argument is not JSON.
        """
        if self._gone:
            raise SubjectGoneError(self._gone)
        number = secrets.token_hex(8)
        query = pack(b"Q", encode({"id": number, "f": function, "a": list(args), "k": dict(kwargs)}))
        started = time.perf_counter()
        try:
            answer = self._exchange(query, started + timeout)
        except TimeoutError:
            self._give_up(f"no answer within {timeout:g} s")
            raise SubjectTimeoutError(f"{function}: no answer within {timeout:g} s") from None
        except (FrameError, EOFError, OSError) as error:
            raise SubjectGoneError(self._give_up(f"{function}: {error}")) from None
        finally:
            self.seconds += time.perf_counter() - started
        return self._value(answer, number, function)

    def _exchange(self, query: bytes, deadline: float) -> bytes:
        self._write(query, deadline)
        return self._frame(deadline)

    def _frame(self, deadline: float) -> bytes:
        length = int.from_bytes(self._read(_HEADER, deadline), "big")
        if not _LEAST < length <= _MAX_ANSWER:
            raise FrameError(f"its answer claims {length} bytes; at most {_MAX_ANSWER} are taken")
        content = self._read(length, deadline)
        if content[:2] != b"AJ":
            raise FrameError("its answer is not an answer")
        return content[1:]

    def _value(self, answer: bytes, number: str, function: str) -> Any:
        try:
            document = decode(answer)
        except FrameError as error:
            raise SubjectGoneError(self._give_up(f"{function}: its answer is {error}")) from None
        if not isinstance(document, dict) or document.get("id") != number or ("v" in document) == ("e" in document):
            raise SubjectGoneError(self._give_up(f"{function}: its answer does not belong to this call"))
        self.answered += 1
        if "v" in document:
            return document["v"]
        told = document["e"]
        if not (isinstance(told, list) and [type(part) for part in told] == [str, str]):
            raise SubjectGoneError(self._give_up(f"{function}: its answer is neither a value nor an error"))
        raise SubjectRaisedError(told[0][:80], told[1][:500])

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                _await(self._stdin, select.POLLOUT, deadline)

    def _read(self, count: int, deadline: float) -> bytes:
        parts: list[bytes] = []
        while count:
            _await(self._stdout, select.POLLIN, deadline)
            part = os.read(self._stdout, min(count, 1 << 20))
            if not part:
                raise EOFError("the worker ended")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _give_up(self, why: str) -> str:
        """End it; says why, with the kernel's own reason where it has one."""
        self._running.kill()
        result = self._running.wait()
        if result.outcome is Outcome.SANDBOX_ERROR:
            self._gone = result.problem
            self._close_pipes()
            raise InfrastructureError(f"the sandbox failed: {result.problem}", "run it again")
        own = result.problem if result.outcome not in {Outcome.OK, Outcome.SIGNAL} else ""
        said = result.stderr.text().strip()[-400:]
        result.close()
        self._gone = "; ".join(part for part in (why, own) if part) + (f"\nit said: {said}" if said else "")
        self._close_pipes()
        return self._gone

    def close(self) -> None:
        """End it and give everything back."""
        if not self._gone:
            with contextlib.suppress(InfrastructureError):  # nobody asks it any more
                self._give_up("it was closed")

    def _close_pipes(self) -> None:
        os.close(self._stdin)
        os.close(self._stdout)


class Workers:
    """The workers of a session; the least recently used is ended when there are too many.

    Args:
        start: makes a worker for an arm and a seed.
    """

    def __init__(self, start: Callable[[str, int], Worker]) -> None:
        self._start = start
        self._alive: OrderedDict[tuple[str, str, int], Worker] = OrderedDict()

    def get(self, arm: str, evaluation: str, seed: int) -> Worker:
        """The worker of one trial; a dead one is not replaced, because its trial has failed."""
        key = (arm, evaluation, seed)
        if key not in self._alive:
            while len(self._alive) >= _ALIVE:
                self._alive.popitem(last=False)[1].close()
            self._alive[key] = self._start(arm, seed)
        self._alive.move_to_end(key)
        return self._alive[key]

    def renew(self, arm: str, evaluation: str, seed: int) -> Worker:
        """A new worker instead of one whose sandbox failed before it answered anything."""
        self._alive.pop((arm, evaluation, seed)).close()
        return self.get(arm, evaluation, seed)

    def close(self) -> None:
        """End all of them."""
        while self._alive:
            self._alive.popitem()[1].close()


def _await(descriptor: int, event: int, deadline: float) -> None:
    left = deadline - time.perf_counter()
    poll = select.poll()
    poll.register(descriptor, event)
    if left <= 0.0 or not poll.poll(left * 1000.0):
        raise TimeoutError
