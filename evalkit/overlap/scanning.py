"""One pass over a stream: chunks in, matches out, in memory that doesn't grow with the stream."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evalkit.overlap.alignment import Passage
from evalkit.overlap.chunks import Chunk
from evalkit.overlap.index import ContainmentIndex, Hits
from evalkit.overlap.letters import Letters, read_letters
from evalkit.overlap.matching import Groups, Sightings, explained, group, passes, reach
from evalkit.overlap.phrases import PhraseIndex
from evalkit.overlap.rules import Rule

__all__ = ["Match", "Scanner", "Tally"]

Ints = NDArray[np.int64]
_KEPT_PER_UNIT = 5
_EXCERPT = 400
_MOST_PENDING = 100_000
_NONE = np.empty(0, np.int64)
_ALIGNED_MOST = 400
_OUTSIDE = 0.4


@dataclass(frozen=True, slots=True)
class Match:
    """One unit found at one place.

    Attributes:
        unit: number of the unit.
        line: where it begins, from 1.
        at, until: bytes of the (decompressed) stream.
        letters: of the unit that were found there.
        longest: letters of the longest unbroken run.
        share: of the unit, in [0, 1], by the rule's measure.
        excerpt: what stands there, at most 400 bytes of it.
    """

    unit: int
    line: int
    at: int
    until: int
    letters: int
    longest: int
    share: float
    excerpt: str


@dataclass(slots=True)
class Tally:
    """What was found of one unit: how many places, and the best of them."""

    places: int = 0
    whole: int = 0
    best: list[Match] = field(default_factory=list)

    def add(self, match: Match, *, whole: bool) -> None:
        """Count a match; keep it while it is among the best."""
        self.places += 1
        self.whole += whole
        self.best.append(match)
        self.best.sort(key=lambda m: (-m.share, -m.longest, m.line, m.at))
        del self.best[_KEPT_PER_UNIT:]


class Scanner:
    """Looks for an index's units in one stream.

    Feed it the chunks of one stream in order, then read :attr:`tallies`.

    Args:
        index: what is looked for.
        rule: when it counts as found; its window must be the index's.
        phrases: units too short for the index, or None.
    """

    def __init__(self, index: ContainmentIndex, rule: Rule, phrases: PhraseIndex | None = None) -> None:
        if rule.window != index.window:
            raise ValueError(f"the rule looks for {rule.window.name}, the index holds {index.window.name}")
        self.index = index
        self.rule = rule
        self.phrases = phrases if phrases is not None and len(phrases) else None
        self.tallies: dict[int, Tally] = {}
        self.seen = np.zeros(len(index.units.marked), bool) if rule.scope == "corpus" else None
        self._hasher = index.hasher
        self._sizes = index.units.sizes
        self._counts = index.window_counts
        self._weights = index.mean_weights
        self._pending = Sightings.none()
        self._chunks: list[Chunk] = []

    def feed(self, chunk: Chunk) -> None:
        """Take the next chunk of the stream."""
        self._chunks = [*self._chunks[-1:], chunk]
        letters = read_letters(chunk.raw, escaped=chunk.escaped)
        found = self._sightings(chunk, letters)
        if not len(found) and not len(self._pending):
            return
        if self.seen is not None:
            self.seen[self.index.units.base.take(found.unit) + found.offset] = True
            return
        rows = self._pending.plus(found)
        self._pending = Sightings.none()
        if len(rows):
            self._settle(rows, chunk, letters)

    def _sightings(self, chunk: Chunk, letters: Letters) -> Sightings:
        windows = self._hasher.windows(letters.codes, letters.starts)
        hits = self.index.look_up(letters.codes, windows)
        found = Sightings.none()
        if len(hits):
            found = self._place(chunk, letters, hits, windows.first.take(hits.window))
        if self.phrases is not None:
            short, first = self.phrases.look_up(letters.codes, letters.starts, self._hasher)
            if len(short):
                found = found.plus(self._place(chunk, letters, short, first))
        return found

    def _place(self, chunk: Chunk, letters: Letters, hits: Hits, first: Ints) -> Sightings:
        """Turn letter numbers into lines and bytes; drop what runs over the end of a line where lines are documents."""
        positions = letters.positions()
        at = positions[first]
        until = positions[first + hits.size - 1] + 1
        newlines = np.flatnonzero(np.frombuffer(chunk.raw, np.uint8) == np.uint8(10))
        line = np.searchsorted(newlines, at)
        document = line + chunk.line if chunk.by_line else np.zeros(len(at), np.int64)
        rows = Sightings(
            document,
            line + chunk.line,
            at + chunk.offset,
            until + chunk.offset,
            hits.unit,
            hits.offset,
            hits.size,
            hits.weight,
        )
        return rows[np.searchsorted(newlines, until - 1) == line] if chunk.by_line else rows

    def _settle(self, rows: Sightings, chunk: Chunk, letters: Letters) -> None:
        """Judge the groups that nothing more can join; keep the others."""
        groups = group(rows, self._sizes)
        open_ = np.zeros(len(groups), bool)
        if chunk.more and len(rows) < _MOST_PENDING:
            end = chunk.offset + len(chunk.raw)
            last = chunk.line + chunk.newlines if chunk.by_line else 0
            open_ = (groups.document == last) & (groups.until >= end - reach(self._sizes[groups.unit]))
        self._pending = rows[open_[groups.of_row]]
        good = passes(groups, self.rule, self._sizes, self._counts, self._weights) | self._is_phrase(groups)
        if self.rule.aligned is not None:
            good |= self._aligned(groups, ~good & ~open_, chunk, letters)
        good &= ~open_
        if self.rule.distinctive and good.sum() > 1:
            good &= ~explained(groups, good, self._sizes)
        for row in np.flatnonzero(good).tolist():
            self._record(groups, row, chunk.escaped)

    def _is_phrase(self, groups: Groups) -> NDArray[np.bool_]:
        """Groups of units that have no windows, and are only ever found whole."""
        whole: NDArray[np.bool_] = self._counts[groups.unit] == 0
        return whole

    def _aligned(self, groups: Groups, weak: NDArray[np.bool_], chunk: Chunk, letters: Letters) -> NDArray[np.bool_]:
        """Which weak groups have the words of their unit around them, as far as the last two chunks hold them."""
        found = np.zeros(len(groups), bool)
        weak = weak & (self._sizes[groups.unit] <= _ALIGNED_MOST)
        weak &= groups.weight >= self.rule.distinctive * self._weights[groups.unit]
        rows = np.flatnonzero(weak)
        positions = letters.positions() if len(rows) else _NONE
        for row in rows.tolist():
            at, unit = int(groups.at[row]), int(groups.unit[row])
            if at >= chunk.offset:
                passage = _passage(chunk, letters, positions, at)
            elif len(self._chunks) > 1 and at >= (earlier := self._chunks[0]).offset:
                before = read_letters(earlier.raw, escaped=earlier.escaped)
                passage = _passage(earlier, before, before.positions(), at)
            else:
                continue
            matched = int(groups.offset[row]), int(groups.letters[row])
            share, outside = self.index.aligner.share(unit, passage, matched)
            told_enough = 2 * matched[1] >= self.rule.least
            if share >= self._needed(matched[1]) and (told_enough or outside >= _OUTSIDE):
                found[row] = True
                groups.letters[row] = max(int(groups.letters[row]), int(share * int(self._sizes[unit])))
        return found

    def _needed(self, letters: int) -> float:
        """The alignment that a weak match needs: less where its windows say something themselves."""
        aligned = 1.0 if self.rule.aligned is None else self.rule.aligned
        return aligned * 0.75 if letters * 2 >= self.rule.least else aligned

    def _record(self, groups: Groups, row: int, escaped: bool) -> None:
        unit = int(groups.unit[row])
        size = max(1, int(self._sizes[unit]))
        at, until = int(groups.at[row]), int(groups.until[row])
        letters = int(groups.letters[row])
        share = letters / size
        if self.rule.measure == "windows":
            share = int(groups.windows[row]) / max(1, int(self._counts[unit]))
        longest = int(groups.longest[row])
        excerpt = self._excerpt(at, until, escaped=escaped)
        match = Match(unit, int(groups.line[row]), at, until, letters, longest, round(share, 4), excerpt)
        self.tallies.setdefault(unit, Tally()).add(match, whole=letters >= 0.9 * size)

    def _excerpt(self, at: int, until: int, *, escaped: bool) -> str:
        """The passage, as far as the last two chunks still hold it."""
        for chunk in self._chunks:
            low = max(0, at - chunk.offset)
            if low < len(chunk.raw) and until > chunk.offset:
                raw = chunk.raw[low : min(until - chunk.offset, low + _EXCERPT)]
                return _readable(raw, escaped=escaped)
        return ""


def _passage(chunk: Chunk, letters: Letters, positions: Ints, at: int) -> Passage:
    """The place of a byte of the stream among a chunk's letters."""
    place = at - chunk.offset
    low, high = 0, len(chunk.raw)
    if chunk.by_line:
        low = chunk.raw.rfind(b"\n", 0, place) + 1
        newline = chunk.raw.find(b"\n", place)
        high = newline if newline >= 0 else high
    first, start, end = np.searchsorted(positions, (place, low, high)).tolist()
    return Passage(letters.codes, letters.starts, first, start, end)


def _readable(raw: bytes, *, escaped: bool) -> str:
    text = raw.decode("utf-8", "replace")
    if escaped:
        try:
            decoded = json.loads(f'"{text}"', strict=False)
        except ValueError:
            return text
        return str(decoded).encode("utf-8", "replace").decode()
    return text
