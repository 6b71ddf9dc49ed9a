"""Every holdout item comes out clean, contaminated or uncheckable.

An item's long texts are looked up by their windows; an item without any is looked up by its longest text as a whole
phrase; an item that has neither is *uncheckable*, and so is one whose wording is everybody's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from evalkit.overlap.chunks import Chunk
from evalkit.overlap.corpus import CorpusScan, Found, Progress, scan_corpus
from evalkit.overlap.index import ContainmentIndex
from evalkit.overlap.items import Item
from evalkit.overlap.letters import read_letters
from evalkit.overlap.phrases import LEAST_LETTERS, LEAST_WORDS, PhraseIndex, checkable
from evalkit.overlap.rules import DEFAULT_RULE, Rule
from evalkit.overlap.scanning import Scanner, Tally
from evalkit.overlap.sources import Shard
from evalkit.overlap.units import collect_units

__all__ = ["Holdout", "ItemReport", "State"]

State = Literal["clean", "contaminated", "uncheckable"]
_LONG = 60  # letters from which every text of an item is looked for, not only the longest
_COMMON_PLACES = 20  # places from which a short wording says nothing
_SHORT_EVIDENCE = 48  # letters
_FEW_ITEMS = 4  # below which sharing says nothing


@dataclass(frozen=True, slots=True)
class ItemReport:
    """What came out for one item.

    Attributes:
        id: of the item.
        state: clean, contaminated or uncheckable.
        why: one sentence.
        part: the field whose text was found; empty unless contaminated.
        passage: the item's own text, cut to 400 characters.
        found: where, best first; at most five.
        places: how many places in all.
        where: ``file:line`` of the item.
    """

    id: str
    state: State
    why: str
    part: str = ""
    passage: str = ""
    found: tuple[Found, ...] = ()
    places: int = 0
    where: str = ""


@dataclass(frozen=True, slots=True)
class _Target:
    """One text of one item that is looked for; ``unit`` is None where it can't be."""

    part: str
    text: str
    unit: int | None


class Holdout:
    """Items, ready to be looked for.

    Args:
        items: the items; their ids are distinct.
        rule: when an item counts as found.
    """

    def __init__(self, items: Sequence[Item], rule: Rule = DEFAULT_RULE) -> None:
        self.items = items
        self.rule = rule
        chosen = _chosen_parts(items)
        units = collect_units(text for parts in chosen for _, text in parts)
        self.index = ContainmentIndex(units, rule.window, rule.common)
        self._below = 24 if rule.window.words else rule.window.size
        self._by_window = self.index.seed_counts > 0
        self._by_phrase = checkable(units) & ~self._by_window & (units.sizes < self._below)
        self._targets = self._assign(chosen)

    def _assign(self, chosen: Sequence[Sequence[tuple[str, str]]]) -> list[list[_Target]]:
        """Which unit stands for which text; a text that many items share stands for none of them."""
        units = iter(self.index.units.of_text.tolist())
        numbered = [[(part, text, next(units)) for part, text in parts] for parts in chosen]
        owners = Counter(unit for parts in numbered for unit in {unit for _, _, unit in parts})
        limit = max(1, min(self.rule.common, len(self.items) // 2))
        return [
            [
                _Target(part, text, unit if owners[unit] <= limit or len(self.items) < _FEW_ITEMS else None)
                for part, text, unit in parts
            ]
            for parts in numbered
        ]

    def owners(self) -> dict[int, list[int]]:
        """Items by the unit that stands for them, leaving out texts that stand for none."""
        found: dict[int, list[int]] = {}
        for number, targets in enumerate(self._targets):
            usable = [t.unit for t in targets if t.unit is not None and self._by_window[t.unit]]
            if not usable:
                usable = [t.unit for t in targets if t.unit is not None and self._by_phrase[t.unit]][:1]
            for unit in usable:
                found.setdefault(unit, []).append(number)
        return found

    @property
    def phrases(self) -> PhraseIndex:
        """The items that are looked up as whole phrases."""
        return PhraseIndex(self.index.units, self._below)

    def scan_files(
        self,
        shards: Sequence[Shard],
        *,
        jobs: int = 1,
        executor: Executor | None = None,
        state: Path | None = None,
        keep_going: bool = False,
        progress: Progress | None = None,
    ) -> CorpusScan:
        """Scan a corpus; see :func:`evalkit.overlap.corpus.scan_corpus`."""
        return scan_corpus(
            self.index,
            self.rule,
            shards,
            phrases_below=self._below,
            jobs=jobs,
            executor=executor,
            state=state,
            keep_going=keep_going,
            progress=progress,
        )

    def find_in(self, raw: bytes, *, escaped: bool = False) -> dict[int, Tally]:
        """What one piece of text (or JSON) in memory holds, by unit."""
        scanner = Scanner(self.index, self.rule, self.phrases)
        scanner.feed(Chunk(raw, 0, 1, by_line=False, escaped=escaped, more=False))
        return scanner.tallies

    def report(self, scan: CorpusScan) -> list[ItemReport]:
        """One line for every item, in order."""
        shares = _corpus_shares(self.index, self.rule, scan)
        return [
            self._judge(item, targets, scan, shares) for item, targets in zip(self.items, self._targets, strict=True)
        ]

    def _judge(
        self, item: Item, targets: Sequence[_Target], scan: CorpusScan, shares: dict[int, float] | None
    ) -> ItemReport:
        by_window = [t for t in targets if t.unit is not None and self._by_window[t.unit]]
        usable = by_window or [t for t in targets if t.unit is not None and self._by_phrase[t.unit]][:1]
        if not usable:
            return ItemReport(item.id, "uncheckable", self._why_not(targets), where=item.where)
        common = None
        for target in usable:
            unit = target.unit
            if unit is None:
                continue
            if shares is not None:
                if shares.get(unit, 0.0) >= max(self.rule.coverage, 1e-9):
                    return _contaminated(item, target, f"{shares[unit]:.0%} of it lies in the corpus", (), 0)
            elif unit in scan.found:
                if self._says_nothing(unit, scan):
                    common = scan.places[unit]
                    continue
                found = tuple(scan.found[unit])
                why = f"{found[0].match.share:.0%} of it, {found[0].match.longest} letters in one run"
                return _contaminated(item, target, why, found, scan.places[unit])
        if common:
            why = f"its wording is common: {common} places, none of which says more than the next"
            return ItemReport(item.id, "uncheckable", why, where=item.where, places=common)
        return ItemReport(item.id, "clean", "looked for and not found", where=item.where)

    def _says_nothing(self, unit: int, scan: CorpusScan) -> bool:
        """Short wording that stands in many places is nobody's leak."""
        letters = max(found.match.letters for found in scan.found[unit])
        return letters < _SHORT_EVIDENCE and scan.places[unit] > _COMMON_PLACES

    def _why_not(self, targets: Sequence[_Target]) -> str:
        sizes = self.index.units.sizes
        longest = max((int(sizes[t.unit]) for t in targets if t.unit is not None), default=0)
        if not longest:
            return "every text of it is shared with many other items"
        if longest < LEAST_LETTERS:
            return f"its longest text has {longest} letters; {LEAST_LETTERS} are needed"
        if longest < self._below:
            return f"its longest text has fewer than {LEAST_WORDS} words"
        if self.rule.window.words:
            return f"no text of it has {self.rule.window.name}"
        return "every window of it is shared with many other items"


def _contaminated(item: Item, target: _Target, why: str, found: tuple[Found, ...], places: int) -> ItemReport:
    return ItemReport(item.id, "contaminated", why, target.part, target.text[:400], found, places, item.where)


def _chosen_parts(items: Sequence[Item]) -> list[list[tuple[str, str]]]:
    """The texts of every item that can identify it: its longest, and every other long one, longest first."""
    chosen = []
    for item in items:
        sized = sorted(((len(_letters(text)), part, text) for part, text in item.parts), key=lambda p: -p[0])
        chosen.append([(part, text) for place, (size, part, text) in enumerate(sized) if not place or size >= _LONG])
    return chosen


def _letters(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return read_letters(text.encode("utf-8", "replace"), escaped=False).codes


def _corpus_shares(index: ContainmentIndex, rule: Rule, scan: CorpusScan) -> dict[int, float] | None:
    """The share of every unit that was found anywhere, for rules over the whole corpus."""
    if scan.seen is None:
        return None
    shares: dict[int, float] = {}
    base, counts = index.units.base, index.window_counts
    hasher = index.hasher
    owners = np.unique(np.searchsorted(base, np.flatnonzero(scan.seen), "right") - 1)
    for unit in owners.tolist():
        marked = index.units.marked[base[unit] : base[unit + 1]]
        windows = hasher.windows(marked & np.uint8(0x7F), np.flatnonzero(marked > np.uint8(0x7F)))
        seen = scan.seen[base[unit] + windows.first]
        if rule.measure == "windows":
            shares[unit] = float(seen.sum()) / max(1, int(counts[unit]))
        else:
            covered = np.zeros(len(marked) + 1, np.int64)
            np.add.at(covered, windows.first[seen], 1)
            np.add.at(covered, windows.end[seen], -1)
            shares[unit] = float((np.cumsum(covered)[:-1] > 0).mean())
    return shares
