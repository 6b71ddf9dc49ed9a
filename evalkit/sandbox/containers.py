"""A container under way: its streams are drained and counted here, its clocks are held here, its counters read here.

The engine's own waiting can't be relied on (its time-outs don't reach attached streams, its statistics are zero after
the end), so one thread reads the attached socket and looks at the clock, and the control group's files tell the rest.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

from evalkit.sandbox import counters
from evalkit.sandbox.capture import CHUNK, Capture
from evalkit.sandbox.ending import Ending, collect_artifacts, judge
from evalkit.sandbox.interface import Job, Outcome, Result, SealedFile, Usage

if TYPE_CHECKING:
    from docker import APIClient

    from evalkit.sandbox.places import JobPlace

__all__ = ["ContainerJob"]

_HEADER = struct.Struct(">BxxxL")
_STDOUT = 1
_TICK = 0.05
_INSPECT_PATIENCE = 10.0


class ContainerJob:
    """Implements :class:`evalkit.sandbox.interface.Running` for containers.

    Args:
        client: connection to the engine.
        job: what was asked for.
        place: its directories.
        config: arguments of the container's creation.
        protections: what is enforced and what is not.
    """

    def __init__(
        self,
        client: APIClient,
        job: Job,
        place: JobPlace,
        config: dict[str, Any],
        protections: tuple[tuple[str, ...], tuple[str, ...]],
    ) -> None:
        self._client, self._job, self._place, self._protections = client, job, place, protections
        self._id: str = client.create_container(**config)["Id"]
        try:
            self._leaf = place.leaf()
            streams = {"stdin": config["stdin_open"], "stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
            self._attached = client.attach_socket(self._id, params=streams)
            self._socket: socket.socket = getattr(self._attached, "_sock", self._attached)
            client.start(self._id)
        except BaseException:
            client.remove_container(self._id, force=True)
            raise
        self._started = time.monotonic()
        self._captures = (Capture(job.limits.kept), Capture(job.limits.kept))
        self._reason = ""
        self._result: Result | None = None
        self._pipes = _Pipes(self._socket) if job.interactive else None
        self._buffer = bytearray()
        if job.stdin is not None:
            threading.Thread(target=self._feed, args=(job.stdin,), daemon=True).start()
        self._thread = threading.Thread(target=self._watch, name="evalkit container", daemon=True)
        self._thread.start()

    @property
    def stdin(self) -> int:
        """Descriptor to write to; the caller closes it."""
        return self._interactive().caller_stdin

    @property
    def stdout(self) -> int:
        """Descriptor to read from; the caller closes it."""
        return self._interactive().caller_stdout

    def _interactive(self) -> _Pipes:
        if self._pipes is None:
            raise ValueError("only interactive jobs have pipes")
        return self._pipes

    def wait(self) -> Result:
        """Block until the container is gone."""
        self._thread.join()
        assert self._result is not None  # noqa: S101 - the thread sets it in every case
        return self._result

    def kill(self) -> None:
        """End the job and everything it started."""
        self._end("asked")

    def _end(self, reason: str) -> None:
        if self._reason:
            return
        self._reason = reason
        # In a thread of its own: the engine answers only while somebody drains the container's streams.
        threading.Thread(target=self._kill, name="evalkit container end", daemon=True).start()

    def _kill(self) -> None:
        with contextlib.suppress(Exception):  # it may have ended in the meantime
            self._client.kill(self._id)

    def _feed(self, content: bytes) -> None:
        with contextlib.suppress(OSError):  # the job may end without reading
            self._socket.sendall(content)
            self._socket.shutdown(socket.SHUT_WR)

    def _watch(self) -> None:
        try:
            self._drain()
            self._result = self._judge()
        except Exception as error:  # noqa: BLE001 - whatever went wrong here is ours, and the caller must learn of it
            problem = f"evalkit's own part failed: {type(error).__name__}: {error}"
            self._result = Result(Outcome.SANDBOX_ERROR, problem=problem)
        finally:
            with contextlib.suppress(Exception):  # the sweep finds what can't be removed now
                self._client.remove_container(self._id, force=True)
            if self._pipes is not None:
                self._pipes.close()
            self._detach()
            counters.close(self._leaf)
            self._place.remove()

    def _detach(self) -> None:
        """Close the attached connection, which the SDK has taken out of its own pool's hands."""
        response = getattr(self._attached, "_response", None)
        if response is not None:
            with contextlib.suppress(ValueError):  # it is at its end already
                response.close()
        self._attached.close()
        self._socket.close()

    def _drain(self) -> None:
        """Until the streams end, which they do when the container's first process has ended."""
        deadline = self._started + self._job.limits.wall
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if poll.poll(max(0.0, min(left, self._patience())) * 1000):
                chunk = self._socket.recv(CHUNK)
                if not chunk:
                    return
                self._demultiplex(chunk)
            if not self._reason:
                if time.monotonic() >= deadline:
                    self._end("wall")
                    deadline += _INSPECT_PATIENCE
                elif self._cpu_spent():
                    self._end("cpu")
            elif time.monotonic() >= deadline + _INSPECT_PATIENCE:
                return

    def _patience(self) -> float:
        return _TICK if self._job.limits.cpu is not None else _INSPECT_PATIENCE

    def _cpu_spent(self) -> bool:
        limit = self._job.limits.cpu
        used = counters.cpu_seconds(self._leaf) if limit is not None else None
        return limit is not None and used is not None and used >= limit

    def _demultiplex(self, chunk: bytes) -> None:
        self._buffer += chunk
        while len(self._buffer) >= _HEADER.size:
            stream, size = _HEADER.unpack_from(self._buffer)
            if len(self._buffer) < _HEADER.size + size:
                return
            content = bytes(self._buffer[_HEADER.size : _HEADER.size + size])
            del self._buffer[: _HEADER.size + size]
            if self._pipes is not None and stream == _STDOUT:
                self._pipes.deliver(content)
                continue
            self._captures[0 if stream == _STDOUT else 1].feed(content)
            if sum(capture.total for capture in self._captures) > self._job.limits.output:
                self._end("output")

    def _judge(self) -> Result:
        wall = time.monotonic() - self._started
        state = self._final_state()
        measured = counters.read(self._leaf)
        outcome, problem = judge(self._ending(state, measured), self._job.limits)
        artifacts: dict[str, SealedFile] = {}
        if outcome is Outcome.OK and self._job.artifacts:
            artifacts, outcome, problem = collect_artifacts(self._job, self._place.box)
        code, number = Ending.from_exit_code(int(state.get("ExitCode", 0)))
        return Result(
            outcome=outcome,
            exit_code=code,
            signal=number,
            stdout=self._captures[0].result(),
            stderr=self._captures[1].result(),
            usage=_usage(wall, measured),
            artifacts=artifacts,
            problem=problem,
            enforced=self._protections[0],
            unenforced=self._protections[1],
        )

    def _final_state(self) -> dict[str, Any]:
        """The engine's record of the end, which follows the end of the streams by some milliseconds."""
        deadline = time.monotonic() + _INSPECT_PATIENCE
        while True:
            state: dict[str, Any] = self._client.inspect_container(self._id)["State"]
            if not state["Running"]:
                return state
            if time.monotonic() > deadline:
                self._end("wall")
                raise TimeoutError("the container's streams ended, but the container did not")
            time.sleep(0.002)

    def _ending(self, state: dict[str, Any], measured: dict[str, float]) -> Ending:
        code, number = Ending.from_exit_code(int(state["ExitCode"]))
        limit = self._job.limits.pids + 1
        return Ending(
            reason=self._reason or "exit",
            exit_code=code,
            signal=number,
            failure=state.get("Error", ""),
            oom=int(bool(state.get("OOMKilled"))),
            pids=int(measured.get("peak_pids", 0) >= limit),
            full=("/box",) if self._place.is_full() else (),
        )


def _usage(wall: float, measured: dict[str, float]) -> Usage:
    def whole(name: str) -> int | None:
        return int(measured[name]) if name in measured else None

    return Usage(
        wall=wall,
        user=measured.get("user"),
        system=measured.get("system"),
        peak_memory=whole("peak_memory"),
        peak_pids=whole("peak_pids"),
    )


class _Pipes:
    """The caller's pipes of an interactive job, and the thread that carries its words to the container."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._from_caller, self.caller_stdin = os.pipe2(os.O_CLOEXEC)
        self.caller_stdout, self._to_caller = os.pipe2(os.O_CLOEXEC)
        threading.Thread(target=self._carry, daemon=True).start()

    def _carry(self) -> None:
        with contextlib.suppress(OSError):  # either side may go away first
            while chunk := os.read(self._from_caller, CHUNK):
                self._socket.sendall(chunk)
            self._socket.shutdown(socket.SHUT_WR)
        os.close(self._from_caller)

    def deliver(self, content: bytes) -> None:
        """Pass on what the job said; what nobody reads any more is dropped."""
        view = memoryview(content)
        with contextlib.suppress(BrokenPipeError):
            while view:
                view = view[os.write(self._to_caller, view) :]

    def close(self) -> None:
        """End the caller's stream."""
        os.close(self._to_caller)
