"""For candidates: answer a scorer's queries.

    from evalkit.protocol.candidate import artifact, serve

    model = load(artifact("model.npz"))
    serve(lambda windows: model.distributions(windows))

A query is a JSON value or a numpy array; so is an answer. Anything printed goes to standard error meanwhile, so that
a stray ``print`` can't be taken for an answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from evalkit.protocol.frames import decode, encode, read_frame, write_frame

__all__ = ["artifact", "serve"]


def artifact(name: str) -> str:
    """Where an artefact of this trial's ``run`` lies while serving (read-only, below ``EVALKIT_ARTIFACTS``).

    Args:
        name: as the contract's ``artifacts`` names it.
    """
    return os.path.join(os.environ.get("EVALKIT_ARTIFACTS", "."), name)  # noqa: PTH118 - pathlib costs 5 ms to import


def serve(answer: Callable[[Any], Any]) -> None:
    """Answer queries until the scorer has no more of them.

    Args:
        answer: called with each query; what it returns is sent back.
    """
    replies = os.dup(1)
    os.dup2(2, 1)
    while (frame := read_frame(0)) is not None:
        _, body = frame
        write_frame(replies, b"A", encode(answer(decode(body))))
