"""What each row of a history is to an audit: a try, a keep, another look at the same tree, or no measurement."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from evalkit.interop import HistoryRow, Status
from evalkit.watch.audit_model import Kind

__all__ = ["Chain", "Mark", "Placed", "arrange", "implausible_zeros", "is_seed_only"]

_SEED = re.compile(r"\b(?:seeds?|reseed\w*|rng|random[- ]state)\b", re.IGNORECASE)
_MORE_THAN_ONE = re.compile(r"[,;+&]|\band\b|\bwith\b|\bplus\b", re.IGNORECASE)
_LONGEST_SEED_NOTE = 60
_SAME = re.compile(
    r"\b(?:a/a|no[- ]change|unchanged|identical|same (?:config|code|tree|as (?:baseline|head|incumbent|before))|"
    r"noise (?:check|floor|test)|variance (?:check|test)|sanity (?:check|run)|"
    r"re-?(?:run|measure\w*|test) (?:of )?(?:the )?(?:baseline|head|incumbent|best|current))\b",
    re.IGNORECASE,
)
_AGAIN = re.compile(r"\b(?:re-?run|re-?measure\w*|repeat\w*|replicat\w+|confirm\w*|again)\b", re.IGNORECASE)
_COSMETIC = re.compile(
    r"\s*(?:(?:add|fix|update|remove|edit)\w* )?(?:comments?|docstrings?|typos?|whitespace|formatting|lint|docs?)\b",
    re.IGNORECASE,
)
_HINTS = (
    *("seed", "rng", "random", "a/a", "chang", "identical", "same", "noise", "variance", "sanity", "baseline", "head"),
    *("incumbent", "best", "current", "comment", "doc", "typo", "whitespace", "format", "lint"),
)
"""Without one of these words none of the patterns above can match; most rows need no more than this look."""
_AGAIN_HINTS = ("rerun", "re-run", "remeasure", "re-measure", "repeat", "replicat", "confirm", "again")
_NO_OP = frozenset({"no-op", "noop"})


class Mark(StrEnum):
    """Something about a row that a reader should know."""

    SEED_ONLY = "seed only"
    SAME_TREE = "same tree"
    COSMETIC = "cosmetic"
    REPLICATE = "replicate"
    COPY = "copy of an earlier row"
    START = "starting point"
    DETAIL = "part of another row"
    ZERO = "implausible zero"
    NEW_BEST = "new best"
    TREE = "its tree can't explain a gain"


@dataclass(frozen=True, slots=True)
class Placed:
    """A row with its place in a chain.

    Attributes:
        row: as it was read.
        gain: the metric with its sign turned so that larger is better; None without a metric.
        kind: what it is to the chain, or None where it is no measurement of it.
        incumbent: index (into the chain) of the keep that it stands on, or None.
        marks: see :class:`Mark`.
    """

    row: HistoryRow
    gain: float | None
    kind: Kind | None
    incumbent: int | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(slots=True)
class Chain:
    """Rows that stand on one another, from one starting point."""

    rows: list[Placed] = field(default_factory=list)
    replicates: list[list[float]] = field(default_factory=list)

    @property
    def measured(self) -> list[Placed]:
        """The rows that enter the model, in order."""
        return [placed for placed in self.rows if placed.kind is not None]


def is_seed_only(description: str) -> bool:
    """Whether a description names a change of the random seed and nothing else."""
    return (
        len(description) <= _LONGEST_SEED_NOTE
        and bool(_SEED.search(description))
        and not _MORE_THAN_ONE.search(description)
    )


def implausible_zeros(rows: Sequence[HistoryRow], *, minimize: bool) -> frozenset[int]:
    """Lines whose metric is exactly 0 though nothing near 0 was ever measured (a failure written as a value).

    Counts may reach 0, so a history of whole numbers has none.
    """
    values = [row.metric for row in rows if row.metric is not None and row.metric != 0]
    if not minimize or not values or all(float(value).is_integer() for value in values) or min(values) < 0:
        return frozenset()
    if min(values) < max(values) / 20:
        return frozenset()
    return frozenset(row.line for row in rows if row.metric == 0)


def arrange(
    rows: Sequence[HistoryRow],
    *,
    sign: int,
    commits_are_tries: bool,
    explain: Callable[[str], Mark | None] | None = None,
) -> list[Chain]:
    """Place the rows of a segment into chains.

    A chain starts at the first kept (or baseline) row with a metric, and again at every later baseline row. Where no
    row has a decision at all, a row that sets a new best counts as kept: that is what a loop without decisions claims.

    Args:
        rows: of one segment, in order.
        sign: +1 where larger is better, -1 where smaller is.
        commits_are_tries: whether ``commit`` names what was tried (and not the head that was restored after it).
        explain: reads from the repository why a kept commit can't have an effect, or None.
    """
    zeros = implausible_zeros(rows, minimize=sign < 0)
    undecided = not any(row.status in {Status.KEEP, Status.DISCARD} for row in rows)
    placer = _Placer(sign, commits_are_tries=commits_are_tries, undecided=undecided, zeros=zeros, explain=explain)
    for row in rows:
        placer.place(row)
    return placer.chains


def _mentions(text: str, words: tuple[str, ...]) -> bool:
    for word in words:  # noqa: SIM110 - three times as fast as any(), and it runs for every row
        if word in text:
            return True
    return False


@dataclass(slots=True)
class _Placer:
    sign: int
    commits_are_tries: bool
    undecided: bool
    zeros: frozenset[int]
    explain: Callable[[str], Mark | None] | None = None
    chains: list[Chain] = field(default_factory=list)
    incumbent: int | None = None
    best: float | None = None
    by_commit: dict[str, int] = field(default_factory=dict)
    by_text: dict[str, int] = field(default_factory=dict)
    groups: dict[int, list[float]] = field(default_factory=dict)

    def place(self, row: HistoryRow) -> None:
        if not self.chains:
            self.chains.append(Chain())
        gain = None if row.metric is None else self.sign * row.metric
        if row.line in self.zeros:
            self._add(row, None, None, (Mark.ZERO,))
        elif row.detail:
            self._add(row, gain, None, (Mark.DETAIL,))
        elif gain is None or row.status is Status.CRASH:
            self._add(row, gain, None)
        elif self.incumbent is None or (row.baseline and row.status is Status.KEEP):
            self._start(row, gain)
        else:
            self._judge(row, gain)

    def _add(self, row: HistoryRow, gain: float | None, kind: Kind | None, marks: tuple[Mark, ...] = ()) -> None:
        chain = self.chains[-1]
        chain.rows.append(Placed(row, gain, kind, self.incumbent, marks))
        if kind is Kind.KEEP or kind is Kind.SAME_KEPT:
            self.incumbent = len(chain.rows) - 1
            self.by_text.clear()

    def _start(self, row: HistoryRow, gain: float) -> None:
        starts = row.status is Status.KEEP or row.baseline or self.undecided
        if not starts:
            self._add(row, gain, None)
            return
        if self.incumbent is not None:
            self.chains.append(Chain())
            self.incumbent = None
            self.groups.clear()
            self.by_commit.clear()
        self.best = gain
        self._add(row, gain, Kind.KEEP, (Mark.START,))
        self._remember(row)

    def _judge(self, row: HistoryRow, gain: float) -> None:
        kept = row.status is Status.KEEP or (self.undecided and self.best is not None and gain > self.best)
        earlier = self.by_commit.get(row.commit) if row.commit and self.commits_are_tries else None
        if earlier is not None:
            self._repeated(row, gain, earlier, kept=kept)
            return
        marks = self._marks(row)
        same = bool(marks)
        if kept and self.explain is not None and row.commit and (why := self.explain(row.commit)) is not None:
            marks, same = (why, Mark.TREE), True
        if kept and self.undecided:
            marks = (*marks, Mark.NEW_BEST)
        self._note_repeat(row, gain, kept=kept)
        if kept:
            self.best = max(gain, self.best if self.best is not None else gain)
        kind = (Kind.SAME_KEPT if kept else Kind.SAME) if same else (Kind.KEEP if kept else Kind.TRY)
        self._add(row, gain, kind, marks)
        self._remember(row)

    def _marks(self, row: HistoryRow) -> tuple[Mark, ...]:
        lowered = row.description.lower()
        if not _mentions(lowered, _HINTS):
            return (Mark.SAME_TREE,) if row.status_text.lower() in _NO_OP else ()
        if is_seed_only(row.description):
            return (Mark.SEED_ONLY,)
        if _SAME.search(row.description) or row.status_text.lower() in _NO_OP:
            return (Mark.SAME_TREE,)
        return (Mark.COSMETIC,) if _COSMETIC.match(row.description) else ()

    def _remember(self, row: HistoryRow) -> None:
        if row.commit:
            self.by_commit.setdefault(row.commit, len(self.chains[-1].rows) - 1)

    def _repeated(self, row: HistoryRow, gain: float, earlier: int, *, kept: bool) -> None:
        """The same commit again: a copied row, another look at the incumbent, or a replicate of something else."""
        first = self.chains[-1].rows[earlier]
        if first.gain == gain:
            self._add(row, gain, None, (Mark.COPY,))
        elif earlier == self.incumbent:
            self._add(row, gain, Kind.SAME_KEPT if kept else Kind.SAME, (Mark.REPLICATE,))
        else:
            self._group(earlier, gain)
            self._add(row, gain, None, (Mark.REPLICATE,))

    def _note_repeat(self, row: HistoryRow, gain: float, *, kept: bool) -> None:
        """The same words again on the same incumbent are a near-duplicate: a replicate of that row."""
        words = row.description.lower()
        if kept or not words:
            return
        if _mentions(words, _AGAIN_HINTS):
            words = _AGAIN.sub(" ", words)
        words = " ".join(words.split()).strip(":-() ")
        if not words:
            return
        if words in self.by_text:
            self._group(self.by_text[words], gain)
        else:
            self.by_text[words] = len(self.chains[-1].rows)

    def _group(self, first: int, gain: float) -> None:
        chain = self.chains[-1]
        if first not in self.groups:
            value = chain.rows[first].gain
            self.groups[first] = [value] if value is not None else []
            chain.replicates.append(self.groups[first])
        self.groups[first].append(gain)
