"""The parent between a scorer and a candidate: hands frames over, checks their shape, and times the answers.

The parent never parses what a candidate sends: it looks at a frame's length, kind and encoding and passes the bytes
on to the scorer, which sits in a sandbox of its own. What the scorer sends is parsed strictly.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evalkit.protocol.frames import FrameError, encode, read_frame, write_frame
from evalkit.protocol.strict import StrictJSONError, loads

__all__ = ["Conversation", "RelayError", "ScorerResult", "converse"]

_MAX_RESULT = 64 << 20
_MAX_SCALARS = 4 << 10
_OPEN_BRACE = b"{"


class RelayError(Exception):
    """The scorer did not keep to the protocol; the message says how."""


@dataclass(frozen=True, slots=True)
class ScorerResult:
    """What a scorer reported, parsed but not yet held against the contract.

    Attributes:
        metrics: by name.
        cases: per metric, one value a case.
        clusters: one label a case.
        invalid: the scorer's sentence where it found the candidate's answers invalid, else the empty string.
    """

    metrics: dict[str, float]
    cases: dict[str, tuple[float, ...]]
    clusters: tuple[str, ...]
    invalid: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """How a conversation went.

    Attributes:
        result: None where the scorer reported nothing.
        queries: how many were answered.
        latency: seconds between handing over a query and having its answer, summed.
        candidate_gone: why there were no more answers, or the empty string.
    """

    result: ScorerResult | None
    queries: int
    latency: float
    candidate_gone: str


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise RelayError(f"the cases of {name!r} are not a list")
    return tuple(_number(name, value) for value in values)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RelayError(f"{name!r} is {type(value).__name__}, not a number")
    try:
        return float(value)
    except OverflowError:
        raise RelayError(f"{name!r} is too large for a double") from None


def _parse_result(document: Any) -> ScorerResult:
    if not isinstance(document, dict):
        raise RelayError("the result is not a JSON object")
    if "invalid" in document:
        return ScorerResult({}, {}, (), invalid=str(document["invalid"])[:1000])
    metrics, cases = document.get("metrics"), document.get("cases", {})
    clusters = document.get("clusters", [])
    if not isinstance(metrics, dict) or not isinstance(cases, dict) or not isinstance(clusters, list):
        raise RelayError("the result needs `metrics` (an object), and may have `cases` and `clusters`")
    return ScorerResult(
        metrics={str(name): _number(name, value) for name, value in metrics.items()},
        cases={str(name): _numbers(name, values) for name, values in cases.items()},
        clusters=tuple(str(label) for label in clusters),
    )


def _parse_framed(body: bytes, nonce: str) -> ScorerResult:
    if body[:1] != b"J":
        raise RelayError("the result is not JSON")
    try:
        document = loads(body[1:], max_bytes=_MAX_RESULT)
    except StrictJSONError as error:
        raise RelayError(f"the result is not strict JSON: {error}") from None
    given = document.get("nonce") if isinstance(document, dict) else None
    if not isinstance(given, str) or not secrets.compare_digest(given.encode(), nonce.encode()):
        raise RelayError("the result does not carry this trial's nonce")
    return _parse_result(document)


def _parse_printed(first: bytes, fd: int) -> ScorerResult:
    """A scorer that prints one flat JSON object of numbers instead of speaking in frames."""
    data = first
    while len(data) <= _MAX_SCALARS and (part := os.read(fd, 1 << 16)):
        data += part
    try:
        document = loads(data, max_bytes=_MAX_SCALARS)
    except StrictJSONError as error:
        raise RelayError(f"the scorer's output is not one strict JSON object: {error}") from None
    return _parse_result({"metrics": document})


def _write_or_gone(fd: int, kind: bytes, body: bytes) -> bool:
    try:
        write_frame(fd, kind, body)
    except (BrokenPipeError, OSError):
        return False
    return True


class _Candidate:
    """The candidate's end: one query, one answer."""

    def __init__(self, stdin: int, stdout: int, clock: Callable[[], float]) -> None:
        self._stdin, self._stdout, self._clock = stdin, stdout, clock
        self.latency = 0.0
        self.queries = 0

    def answer(self, body: bytes) -> tuple[bytes, str]:
        """The answer's body, or an empty one and why there is none."""
        started = self._clock()
        if not _write_or_gone(self._stdin, b"Q", body):
            return b"", "it closed its standard input"
        try:
            frame = read_frame(self._stdout)
        except (FrameError, EOFError, OSError) as error:
            return b"", f"its answer is not a frame: {error}"
        self.latency += self._clock() - started
        if frame is None:
            return b"", "it closed its standard output"
        kind, answer = frame
        if kind != b"A" or answer[:1] not in {b"J", b"N"}:
            return b"", "its answer is not an answer frame"
        self.queries += 1
        return answer, ""


class _Relay:
    """One conversation: the scorer speaks, the parent hands over, until there is a result or nobody to hear."""

    def __init__(self, scorer: tuple[int, int], peer: _Candidate | None) -> None:
        self._to_scorer, self._from_scorer = scorer
        self._peer = peer
        self._gone = "" if peer else "this program serves nothing"
        self._nonce = secrets.token_hex(16)

    def greet(self, split: str, seed: int) -> None:
        _write_or_gone(self._to_scorer, b"H", encode({"nonce": self._nonce, "split": split, "seed": seed}))

    def run(self) -> ScorerResult | None:
        first = os.read(self._from_scorer, 1)
        if not first:
            return None
        if first == _OPEN_BRACE:
            return _parse_printed(first, self._from_scorer)
        while (frame := self._next(first)) is not None:
            first = b""
            kind, body = frame
            if kind == b"R":
                return _parse_framed(body, self._nonce)
            if kind != b"Q":
                raise RelayError(f"the scorer sent a frame of kind {kind!r}")
            self._hand_over(body)
        return None

    def _next(self, already: bytes) -> tuple[bytes, bytes] | None:
        try:
            return read_frame(self._from_scorer, already=already)
        except (FrameError, EOFError) as error:
            raise RelayError(f"the scorer broke the protocol: {error}") from None

    def _hand_over(self, query: bytes) -> None:
        answer = b""
        if self._peer and not self._gone:
            answer, self._gone = self._peer.answer(query)
        if answer:
            _write_or_gone(self._to_scorer, b"A", answer)
        else:
            _write_or_gone(self._to_scorer, b"X", encode({"reason": self._gone}))

    def conversation(self, result: ScorerResult | None) -> Conversation:
        if self._peer is None:
            return Conversation(result, queries=0, latency=0.0, candidate_gone="")
        return Conversation(result, self._peer.queries, self._peer.latency, self._gone)


def converse(
    scorer: tuple[int, int],
    candidate: tuple[int, int] | None,
    *,
    split: str,
    seed: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Conversation:
    """Relay between a scorer and a candidate until the scorer reports or closes its output.

    Args:
        scorer: descriptors of the scorer's standard input (to write) and output (to read).
        candidate: the same of the candidate, or None where there is nothing to ask.
        split: told to the scorer.
        seed: told to the scorer.
        clock: monotonic seconds.

    Raises:
        RelayError: the scorer did not keep to the protocol.
    """
    relay = _Relay(scorer, _Candidate(*candidate, clock) if candidate else None)
    relay.greet(split, seed)
    return relay.conversation(relay.run())
