"""For scorers: ask the candidate, then report the metrics.

    from evalkit.protocol.scorer import Session

    session = Session()
    losses = [loss(session.ask(window)) for window in windows(session.vault / "text.npy", seed=session.seed)]
    session.report(val_bpb=mean(losses), cases={"val_bpb": losses})

The candidate's artefacts are below :attr:`Session.artifacts`; the cases of the current split are below
:attr:`Session.vault`. Anything printed goes to standard error, so that it can't be taken for a result.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.protocol.frames import FrameError, decode, encode, read_frame, write_frame

__all__ = ["CandidateGoneError", "InvalidAnswerError", "Session"]


class CandidateGoneError(RuntimeError):
    """The candidate died, ran out of its budget or broke the protocol. Let it pass: the parent knows why."""


class InvalidAnswerError(ValueError):
    """An answer that is not what was asked for: the candidate's fault, and the scorer says so."""


class Session:
    """One scoring of one candidate.

    Attributes:
        split: which split the cases below :attr:`vault` are: ``dev``, ``confirm`` or ``sealed``.
        seed: for everything random in scoring (the order of queries, a subsample of cases); the same for both
            trees of a pair.
        vault: folder with the split's cases.
        artifacts: folder with the candidate's artefacts.
    """

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)
        hello = read_frame(0)
        if hello is None or hello[0] != b"H":
            raise SystemExit("this scorer is started by evalkit, not by hand")
        greeting = decode(hello[1])
        self._nonce = greeting["nonce"]
        self.split: str = greeting["split"]
        self.seed: int = greeting["seed"]
        self.vault = Path(os.environ.get("EVALKIT_VAULT", "/vault"))
        self.artifacts = Path(os.environ.get("EVALKIT_ARTIFACTS", "/artifacts"))

    def ask(self, query: Any) -> Any:
        """The candidate's answer to a query (JSON values or numpy arrays).

        Raises:
            CandidateGoneError: there is no candidate any more.
            InvalidAnswerError: the answer is not a frame of the protocol.
        """
        write_frame(self._out, b"Q", encode(query))
        frame = read_frame(0)
        if frame is None or frame[0] == b"X":
            raise CandidateGoneError(decode(frame[1])["reason"] if frame else "no reason given")
        try:
            return decode(frame[1])
        except FrameError as error:
            raise InvalidAnswerError(str(error)) from None

    def report(
        self,
        *,
        cases: Mapping[str, Sequence[float]] | None = None,
        clusters: Sequence[str] | None = None,
        **metrics: float,
    ) -> None:
        """Send the result; the last thing a scorer does.

        Args:
            cases: per metric, one value a case, in the same order for every candidate.
            clusters: one label a case; cases with the same label (one document, one user) count as one unit.
            metrics: one finite number a metric.

        Raises:
            ValueError: a value is not finite.
        """
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}: a metric must be a finite number")
        result: dict[str, Any] = {"metrics": {name: float(value) for name, value in metrics.items()}}
        if cases:
            result["cases"] = {name: [float(value) for value in values] for name, values in cases.items()}
        if clusters:
            result["clusters"] = [str(label) for label in clusters]
        write_frame(self._out, b"R", encode({"nonce": self._nonce, **result}))

    def fail(self, reason: str) -> None:
        """Say that the candidate's answers or artefacts are not valid, in one sentence; the trial has no value.

        The reason is shown to the proposer only for trials on the ``dev`` split.
        """
        write_frame(self._out, b"R", encode({"nonce": self._nonce, "invalid": reason[:1000]}))
