"""What an identifier says about the part that its value plays: held-out data, labels, training data, scores.

Names are all that a static look has; they are read word by word (``xValTokens`` is ``x``, ``val``, ``tokens``), with
the ordinary vocabulary of evaluation in any field, never a project's own names.
"""

from __future__ import annotations

import re
from enum import IntFlag
from functools import lru_cache

__all__ = ["Role", "role_of", "words"]


class Role(IntFlag):
    """Parts that a value plays; they combine."""

    NONE = 0
    HELD_OUT = 1
    """Inputs or labels of an evaluation, as data."""
    DERIVED = 2
    """Computed from held-out data: an output, a loss, a score."""
    LABEL = 4
    """The true answers."""
    TRAINING = 8
    """Data meant for training."""


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_HELD_OUT = frozenset(
    {"val", "valid", "validation", "eval", "evaluation", "test", "holdout", "heldout", "held", "unseen", "hidden"}
    | {"sealed", "confirm", "private", "benchmark", "bench"}
)
_DATA = frozenset(
    {"tokens", "token", "toks", "tok", "data", "dataset", "datasets", "set", "sets", "split", "x", "y", "xs", "ys"}
    | {"loader", "dataloader", "batch", "batches", "df", "frame", "examples", "samples", "inputs", "labels", "targets"}
    | {"cases", "docs", "documents", "corpus", "text", "texts", "seqs", "sequences", "items", "files", "file", "path"}
    | {"bytes", "ds", "dl", "iter", "np", "ids", "images", "rows", "records", "questions", "prompts", "answers"}
    | {"features", "stream", "shard", "shards", "pattern", "chunk", "chunks", "window", "windows", "arr", "array"}
)
_LABELS = frozenset(
    {"target", "targets", "tgt", "tgts", "label", "labels", "gold", "truth", "truths", "answer", "answers"}
    | {"expected", "y", "ys"}
)
_TRAINING = frozenset({"train", "training", "fit"})
_BARE = frozenset({"val", "valid", "test", "holdout", "heldout"})
_NOT_DATA = frozenset(
    {"loss", "losses", "acc", "accuracy", "bpb", "ppl", "score", "scores", "metric", "metrics", "every", "steps"}
    | {"step", "interval", "time", "ms", "seconds", "s", "size", "len", "length", "num", "n", "count", "enabled"}
    | {"fn", "func", "model", "mode", "freq", "iters", "total", "max", "min", "start", "end", "idx", "lr", "step"}
    | {"stride", "byte", "log", "frac", "fraction", "ratio", "rate", "epochs", "seq", "result", "results"}
)


@lru_cache(maxsize=16384)
def words(name: str) -> tuple[str, ...]:
    """The words of an identifier, lower case."""
    return tuple(word.lower() for word in _WORD.findall(name))


@lru_cache(maxsize=16384)
def role_of(name: str) -> Role:
    """The roles that one identifier claims by its words alone."""
    parts = words(name)
    have = set(parts)
    role = Role.NONE
    if have & _HELD_OUT and not have & _NOT_DATA and (have & _DATA or (len(parts) == 1 and parts[0] in _BARE)):
        role |= Role.HELD_OUT
    if have & _LABELS and not have & _NOT_DATA:
        role |= Role.LABEL
    if have & _TRAINING and have & _DATA and not have & _NOT_DATA and not have & _HELD_OUT:
        role |= Role.TRAINING
    return role
