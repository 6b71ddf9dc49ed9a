"""A job under way, seen from the caller: a thread drains its output and turns the report into a result."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from evalkit.sandbox.artifacts import seal_bytes
from evalkit.sandbox.capture import Capture
from evalkit.sandbox.ending import Ending, collect_artifacts, judge, reached_file_size
from evalkit.sandbox.interface import Job, Outcome, Result, SealedFile, Usage

__all__ = ["Streams", "SupervisedJob", "Surroundings"]

_REPORT_SIZE = 64 << 10
_GRACE = 5.0
"""Seconds after the wall limit at which a supervisor that did not end its job is no longer believed in."""
_NO_PROGRAM, _NOT_FOUND = b"bwrap: execvp ", 127
"""What bubblewrap says, before anything of the job has run, when there is no such program in the sandbox."""
_PLACES = {"disk": "/box", "tmp": "/tmp", "shm": "/dev/shm"}  # noqa: S108 - names inside the sandbox


class Streams:
    """The job's standard descriptors and, for an interactive job, the caller's ends of them."""

    def __init__(self, job: Job) -> None:
        self.caller_stdin = self.caller_stdout = -1
        self.out = -1
        if job.interactive:
            self.job_stdin, self.caller_stdin = os.pipe2(os.O_CLOEXEC)
            self.caller_stdout, self.job_stdout = os.pipe2(os.O_CLOEXEC)
        else:
            self.job_stdin = _input(job.stdin)
            self.out, self.job_stdout = os.pipe2(os.O_CLOEXEC)
        self.err, self.job_stderr = os.pipe2(os.O_CLOEXEC)

    @property
    def given(self) -> tuple[int, int, int]:
        """What the job gets."""
        return self.job_stdin, self.job_stdout, self.job_stderr

    def close_given(self) -> None:
        """Close the job's ends here, so that the end of a stream can be seen."""
        for descriptor in self.given:
            os.close(descriptor)

    def close_ours(self) -> None:
        """Close what is drained here; the ends of an interactive job belong to its caller."""
        for descriptor in (self.out, self.err):
            if descriptor >= 0:
                os.close(descriptor)


def _input(content: bytes | None) -> int:
    """A fresh ``/dev/null``, or a sealed file that the job can read but not change."""
    if content is None:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    sealed = seal_bytes("stdin", content)
    os.lseek(sealed.fd, 0, os.SEEK_SET)
    return sealed.fd


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a backend knows about a job besides the job.

    Attributes:
        enforced, unenforced: what holds for it.
        release: called once everything has been read; gives back cgroups, user ids, proxies.
        on_listener: takes the socket that the job's proxy has to answer.
        contacted: names that the job's proxy was asked for, once it is over.
    """

    enforced: tuple[str, ...]
    unenforced: tuple[str, ...]
    release: Callable[[], None]
    on_listener: Callable[[socket.socket], None] | None = None
    contacted: Callable[[], tuple[str, ...]] = tuple


class SupervisedJob:
    """Implements :class:`evalkit.sandbox.interface.Running` for jobs of the helper."""

    def __init__(
        self, job: Job, control: socket.socket, streams: Streams, around: Surroundings, *, lingers: bool = False
    ) -> None:
        self._job, self._control, self._streams, self._around = job, control, streams, around
        self._lingers = lingers
        self._captures = {streams.out: Capture(job.limits.kept), streams.err: Capture(job.limits.kept)}
        self._asked_to_end = ""
        self._supervisor = 0
        self._result: Result | None = None
        self._lock = threading.Lock()
        # Daemon: when the interpreter ends, the supervisor sees the closed socket and ends the job.
        self._thread = threading.Thread(target=self._watch, name="evalkit sandbox", daemon=True)
        self._thread.start()

    @property
    def stdin(self) -> int:
        """Descriptor to write to; the caller closes it."""
        return self._interactive(self._streams.caller_stdin)

    @property
    def stdout(self) -> int:
        """Descriptor to read from; the caller closes it."""
        return self._interactive(self._streams.caller_stdout)

    @staticmethod
    def _interactive(descriptor: int) -> int:
        if descriptor < 0:
            raise ValueError("only interactive jobs have pipes")
        return descriptor

    def wait(self) -> Result:
        """Block until the job and everything it started is dead."""
        self._thread.join()
        assert self._result is not None  # noqa: S101 - the thread sets it in every case
        return self._result

    def kill(self) -> None:
        """End the job and everything it started."""
        self._end("asked")

    def _end(self, reason: str) -> None:
        with self._lock:
            if self._asked_to_end:
                return
            self._asked_to_end = reason
            try:
                self._control.send(b"end")
            except OSError:
                return  # it has ended already

    def _watch(self) -> None:
        box: int | None = None
        try:
            report, box = self._drain()
            self._result = self._judge(report, box)
        except Exception as error:  # noqa: BLE001 - whatever went wrong here is ours, and the caller must learn of it
            problem = f"evalkit's own part failed: {type(error).__name__}: {error}"
            self._result = Result(Outcome.SANDBOX_ERROR, problem=problem)
        finally:
            if box is not None:
                os.close(box)
            self._streams.close_ours()
            with self._lock:
                self._asked_to_end = self._asked_to_end or "over"
                self._part()
            self._around.release()

    def _part(self) -> None:
        """Let the supervisor go; one that has files to remove is waited for."""
        if self._lingers:
            self._control.settimeout(_GRACE)
            try:
                self._control.shutdown(socket.SHUT_WR)
                self._control.recv(1)
            except OSError:
                pass  # it has gone already, or the sweep will do its work
        self._control.close()

    def _drain(self) -> tuple[dict[str, Any], int | None]:
        """Read both streams and the control socket until the report is there and the streams are empty."""
        poll = select.poll()
        open_streams = {stream for stream in self._captures if stream >= 0}
        for stream in open_streams:
            os.set_blocking(stream, False)
            poll.register(stream, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        answer: tuple[dict[str, Any], int | None] | None = None
        deadline = time.monotonic() + self._job.limits.wall + _GRACE
        last_word = deadline + _GRACE
        while answer is None or open_streams:
            for descriptor, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                if descriptor in open_streams:
                    if not self._pull(descriptor):
                        poll.unregister(descriptor)
                        open_streams.discard(descriptor)
                elif (answer := self._hear()) is not None:
                    poll.unregister(self._control)
            if time.monotonic() > last_word:
                self._give_up()
                return answer or ({"failure": "the job's supervisor did not answer, and was killed"}, None)
            if time.monotonic() > deadline:
                self._end("wall")
                deadline = last_word
        return answer

    def _give_up(self) -> None:
        """Kill a supervisor that its job stopped, which only backends without namespaces let happen."""
        if self._supervisor:
            with contextlib.suppress(OSError):
                os.kill(self._supervisor, signal.SIGKILL)

    def _pull(self, stream: int) -> int:
        read = self._captures[stream].pull(stream)
        if sum(capture.total for capture in self._captures.values()) > self._job.limits.output:
            self._end("output")
        return read

    def _hear_after_reset(self) -> tuple[bytes, list[int]]:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, _REPORT_SIZE, 1)
        except ConnectionResetError:
            return b"", []
        return message, descriptors

    def _hear(self) -> tuple[dict[str, Any], int | None] | None:
        """One message of the supervisor; None where it was not the report yet."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, _REPORT_SIZE, 1)
        except ConnectionResetError:
            # The supervisor closed with our "end" unread. The kernel says so once, before what it sent: ask again.
            message, descriptors = self._hear_after_reset()
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if message.startswith(b"pid "):
            self._supervisor = int(message[4:])
            return None
        if message == b"listening" and self._around.on_listener is not None:
            self._around.on_listener(socket.socket(fileno=descriptors[0]))
            return None
        if not message:
            return {"failure": "the job's supervisor ended without a report"}, None
        return json.loads(message), descriptors[0] if descriptors else None

    def _judge(self, report: dict[str, Any], box: int | None) -> Result:
        ending = self._ending(report)
        if box is not None and ending.reason == "exit" and (ending.exit_code or ending.signal) and not ending.full:
            limit = self._job.limits.file_size or self._job.limits.disk
            if reached_file_size(box, limit):
                ending = replace(ending, full=("a file",))
        if not ending.began and self._captures[self._streams.err].result().head.startswith(_NO_PROGRAM):
            ending = replace(ending, began=True, exit_code=_NOT_FOUND)
        outcome, problem = judge(ending, self._job.limits)
        artifacts: dict[str, SealedFile] = {}
        if outcome is Outcome.OK and box is not None and self._job.artifacts:
            artifacts, outcome, problem = collect_artifacts(self._job, box)
        if outcome is Outcome.SANDBOX_ERROR and not ending.began:
            problem += f": {self._captures[self._streams.err].result().text().strip()[-400:]}"
        streams = self._captures
        return Result(
            outcome=outcome,
            exit_code=ending.exit_code,
            signal=ending.signal,
            stdout=streams[self._streams.out].result(),
            stderr=streams[self._streams.err].result(),
            usage=_usage(report),
            artifacts=artifacts,
            problem=problem,
            enforced=self._around.enforced,
            unenforced=self._around.unenforced,
            contacted=self._around.contacted(),
        )

    def _ending(self, report: dict[str, Any]) -> Ending:
        if "failure" in report:
            return Ending(failure=report["failure"], began=True)
        reason = report["reason"] if self._asked_to_end in ("", "over") else self._asked_to_end
        code, number = None, None
        if os.WIFEXITED(report["status"]) and report["reason"] == "exit":
            code, number = Ending.from_exit_code(os.WEXITSTATUS(report["status"]))
        elif os.WIFSIGNALED(report["status"]):
            number = os.WTERMSIG(report["status"])
        return Ending(
            reason=reason,
            exit_code=code,
            signal=number,
            began=report["began"],
            oom=int(report.get("oom", 0)),
            pids=int(report.get("pids", 0)),
            full=tuple(_PLACES[name] for name in report["full"]),
        )


def _usage(report: dict[str, Any]) -> Usage:
    if "wall" not in report:
        return Usage(wall=0.0)
    return Usage(
        wall=report["wall"],
        user=report["user"],
        system=report["system"],
        peak_memory=report.get("peak_memory"),
        peak_pids=report.get("peak_pids"),
        instructions=report["instructions"],
    )
