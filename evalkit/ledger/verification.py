"""A look at every byte of a ledger: everything that is wrong with it, by record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evalkit.errors import LedgerError
from evalkit.ledger.chain import GENESIS, MAX_LINE, Problem, digest_of, next_line, tail_of, what_is_wrong

__all__ = ["Verification", "verify_file"]

_MOST_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        count: records that are intact and in their place.
        head: hash of the last of them, :data:`GENESIS` where there is none.
        problems: at most the first thousand, in the order of the file.
    """

    count: int
    head: str
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_file(path: Path, *, expected_head: str | None = None) -> Verification:
    """Read a ledger from its first byte to its last and say what is wrong; needs no lock and no index.

    Args:
        path: the file.
        expected_head: a head that was seen before, at any time. If it is not in the chain, records were cut off or
            the chain was written anew.

    Raises:
        LedgerError: the file can't be read.
    """
    try:
        with path.open("rb", buffering=1 << 20) as file:
            return _verify(file, expected_head)
    except OSError as error:
        raise LedgerError(f"the ledger {path} can't be read: {error.strerror}", "see who owns it") from error


class _Walk:
    """Goes on after a bad line, so that one changed byte is one problem and not a problem for every later record."""

    def __init__(self) -> None:
        self.offset = 0
        self.seq = 0
        self.prevs: tuple[str, ...] = (GENESIS,)
        self.count = 0
        self.head = GENESIS
        self.problems: list[Problem] = []

    def take(self, line: bytes) -> None:
        """Judge one line and move behind it."""
        digest = self._fits(line)
        if digest is None:
            self._note(line)
        else:
            self.prevs = (digest,)
            self.head = digest
            self.count += 1
            self.seq += 1
        self.offset += len(line)

    def _fits(self, line: bytes) -> str | None:
        for prev in self.prevs:
            digest = next_line(line, self.seq, prev)
            if digest is not None:
                return digest
        if self.prevs:
            return None
        # The line before could not be read at all: believe this one about what it follows, if it hangs together.
        tail = tail_of(line)
        if tail is None or tail.seq < self.seq:
            return None
        self.seq = tail.seq
        return next_line(line, tail.seq, tail.prev)

    def _note(self, line: bytes) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(Problem(self.seq, self.offset, what_is_wrong(line, self.seq, self.prevs)))
        tail = tail_of(line)
        if tail is None:
            self.prevs = ()
            return
        # The next line hangs on the hash that was written here once: what stands here, or what the bytes give.
        self.prevs = (tail.hash, digest_of(line))
        self.seq = tail.seq + 1


def _verify(file: IO[bytes], expected_head: str | None) -> Verification:
    walk = _Walk()
    seen = expected_head in {None, GENESIS}
    while line := file.readline(MAX_LINE + 1):
        walk.take(line)
        seen = seen or walk.head == expected_head
    if not seen:
        what = f"the head {expected_head or '':.16}… was seen before and is not in the chain"
        walk.problems.append(Problem(walk.seq, walk.offset, f"{what}: records were cut off or replaced"))
    return Verification(walk.count, walk.head, tuple(walk.problems))
