"""Holdout items and answers written into source, prompts or data: in clear, encoded, hashed, or as answers alone.

Nothing is run and nothing imported. What one file can hide is undone to a fixed depth and size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from evalkit.overlap import Holdout, Item
from evalkit.overlap.chunks import Chunk
from evalkit.overlap.scanning import Scanner
from guards.contamination.answers import AnswerKey, Coincidence
from guards.contamination.decoding import LEAST, decoded
from guards.contamination.digests import DigestTable
from guards.contamination.literals import Literals, literals_of, split_values

__all__ = ["Leak", "SourceChecker"]

_MOST_SOURCE = 32 << 20
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Leak:
    """Something of the holdout in a source.

    Attributes:
        kind: ``text``, ``encoded``, ``digests``, ``answers`` or ``pairs``.
        items: ids of the items.
        line: from 1; 0 where there is none.
        message: one sentence.
        evidence: the passage, at most 400 characters.
    """

    kind: str
    items: tuple[str, ...]
    line: int
    message: str
    evidence: str = ""


@dataclass(slots=True)
class _Texts:
    """Literals laid side by side, one a line, so that one scan does for all of them."""

    at: list[int] = field(default_factory=list)
    raws: list[bytes] = field(default_factory=list)
    known: set[bytes] = field(default_factory=set)

    def add(self, at: int, raw: bytes) -> None:
        digest = hashlib.blake2b(raw, digest_size=12).digest()
        if len(raw) >= LEAST and digest not in self.known:
            self.known.add(digest)
            self.at.append(at)
            self.raws.append(raw.replace(b"\n", b" "))


class SourceChecker:
    """Looks for a holdout's items in sources.

    Args:
        items: the holdout.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.holdout = Holdout(items)
        self._owners = self.holdout.owners()
        self._answers = AnswerKey(items)
        self._digests = DigestTable(items)
        self._phrases = self.holdout.phrases

    def check(self, raw: bytes) -> list[Leak]:
        """Every leak of one file; an empty list says that none was seen, not that there is none.

        Args:
            raw: the file's bytes, of which the first 32 MiB are looked at.
        """
        raw = raw[:_MOST_SOURCE]
        source = raw.decode("utf-8", "replace")
        literals = literals_of(source)
        place = _Places(source)
        leaks = list(self._in_clear(raw))
        plain = {item for leak in leaks for item in leak.items}
        forms: list[tuple[int, bytes]] = []
        hidden = _Texts()
        if b"\x00" in raw:
            hidden.add(0, raw.replace(b"\x00", b""))  # text in UTF-16, or in an array of UTF-32
        for at, text, spelled in literals.texts:
            if len(text) < LEAST:
                continue
            if spelled:
                hidden.add(at, text)
            for form in decoded(text):
                hidden.add(at, form)
                forms.append((at, form))
        leaks += (leak for leak in self._hidden(hidden, place) if not plain.issuperset(leak.items))
        leaks += self._digest_leaks(source, forms)
        leaks += self._answer_leaks(literals, forms, place)
        return leaks

    def _scan(self, raw: bytes, *, by_line: bool) -> Iterator[tuple[tuple[str, ...], int, str]]:
        """Items, line and passage of every unit found."""
        scanner = Scanner(self.holdout.index, self.holdout.rule, self._phrases)
        scanner.feed(Chunk(raw, 0, 1, by_line=by_line, escaped=False, more=False))
        for unit, tally in scanner.tallies.items():
            items = tuple(self.items[item].id for item in self._owners.get(unit, ()))
            if items:
                yield items, tally.best[0].line, tally.best[0].excerpt

    def _in_clear(self, raw: bytes) -> Iterator[Leak]:
        for items, line, passage in self._scan(raw, by_line=False):
            yield Leak("text", items, line, f"holds the text of {_named(items)}", passage)

    def _hidden(self, texts: _Texts, place: _Places) -> Iterator[Leak]:
        if not texts.raws:
            return
        for items, line, passage in self._scan(b"\n".join(texts.raws) + b"\n", by_line=True):
            at = place.line(texts.at[line - 1])
            yield Leak("encoded", items, at, f"a literal hides the text of {_named(items)}", passage)

    def _digest_leaks(self, source: str, forms: Iterable[tuple[int, bytes]]) -> Iterator[Leak]:
        found = self._digests.find(source, (form for _, form in forms))
        if found:
            items = tuple(self.items[number].id for number in found)
            line = min(found.values())
            yield Leak("digests", items, line, f"holds digests of {_named(items)}", source.split("\n")[line - 1][:400])

    def _answer_leaks(self, literals: Literals, forms: Sequence[tuple[int, bytes]], place: _Places) -> Iterator[Leak]:
        best: tuple[int, Coincidence] | None = None
        for at, values in self._sequences(literals, forms):
            found = self._answers.find(values)
            if found and (best is None or found.bits > best[1].bits):
                best = at, found
        if best:
            at, found = best
            items = tuple(self.items[number].id for number in found.items)
            message = f"holds {len(items)} answers of the holdout {found.how} ({found.bits:.0f} bits of coincidence)"
            yield Leak("answers", items, place.line(at), message)
        pairs = self._answers.find_pairs([(key, value) for _, key, value in literals.pairs])
        if pairs:
            items = tuple(self.items[number].id for number in pairs.items)
            line = place.line(literals.pairs[0][0])
            yield Leak("pairs", items, line, f"maps pieces of {_named(items)} to their answers")

    def _sequences(self, literals: Literals, forms: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, list[str]]]:
        yield from literals.sequences
        for at, raw in [*((at, raw) for at, raw, _ in literals.texts), *forms]:
            if len(raw) >= 6 and self._answers.may_hold(raw):  # noqa: PLR2004 - six answers of one character
                yield at, split_values(raw.decode("latin-1"))


class _Places:
    """Lines of offsets."""

    def __init__(self, source: str) -> None:
        self._source = source

    def line(self, at: int) -> int:
        return self._source.count("\n", 0, at) + 1


def _named(items: Sequence[str]) -> str:
    shown = ", ".join(items[:_NAMED])
    if len(items) == 1:
        return f"holdout item {shown}"
    return f"{len(items)} holdout items ({shown}{' …' if len(items) > _NAMED else ''})"
