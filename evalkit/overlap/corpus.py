"""A whole corpus: shards on all cores, progress, and a state folder from which a stopped scan goes on."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import DataError
from evalkit.overlap.index import ContainmentIndex
from evalkit.overlap.phrases import PhraseIndex
from evalkit.overlap.rules import Rule
from evalkit.overlap.scanning import Match, Scanner, Tally
from evalkit.overlap.sources import Shard, shard_chunks

__all__ = ["CorpusScan", "Found", "Progress", "ShardResult", "scan_corpus", "scan_shard"]

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""
_KEPT_PER_UNIT = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A match and the file it lies in; lines are counted in the whole file."""

    path: str
    match: Match


@dataclass(slots=True)
class ShardResult:
    """What one shard held.

    Attributes:
        shard: which.
        lines: newlines in it.
        size: decompressed bytes that were read.
        tallies: what was found, by unit.
        seen: places of windows that were found, for rules over the whole corpus.
        problem: why reading ended early, or empty.
    """

    shard: Shard
    lines: int = 0
    size: int = 0
    tallies: dict[int, Tally] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)
    problem: str = ""


@dataclass(slots=True)
class CorpusScan:
    """What a corpus held.

    Attributes:
        found: the best matches of every unit that was found.
        places: how many places each was found at.
        whole: at how many of them whole, or nearly.
        seen: which windows were found, for rules over the whole corpus; else None.
        files, lines, size: what was read (``size`` in decompressed bytes).
        problems: what could not be read.
    """

    found: dict[int, list[Found]] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    whole: dict[int, int] = field(default_factory=dict)
    seen: NDArray[np.bool_] | None = None
    files: int = 0
    lines: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Task:
    """What a worker is sent: small, and the same for every kind of executor."""

    shard: Shard
    folder: str
    rule: Rule
    phrases_below: int


@functools.lru_cache(maxsize=2)
def _loaded(folder: str, phrases_below: int) -> tuple[ContainmentIndex, PhraseIndex | None]:
    index = ContainmentIndex.load(Path(folder))
    return index, PhraseIndex(index.units, phrases_below) if phrases_below else None


def _run(task: _Task) -> ShardResult:
    index, phrases = _loaded(task.folder, task.phrases_below)
    return scan_shard(task.shard, index, task.rule, phrases)


def scan_shard(shard: Shard, index: ContainmentIndex, rule: Rule, phrases: PhraseIndex | None = None) -> ShardResult:
    """Scan one shard; data that break off end it with :attr:`ShardResult.problem` set."""
    scanner = Scanner(index, rule, phrases)
    result = ShardResult(shard, tallies=scanner.tallies)
    try:
        for chunk in shard_chunks(shard):
            scanner.feed(chunk)
            result.lines = chunk.line - 1 + chunk.newlines
            result.size = chunk.offset + len(chunk.raw) - (shard.start if shard.end is not None else 0)
    except DataError as error:
        result.problem = str(error)
    if scanner.seen is not None:
        result.seen = np.flatnonzero(scanner.seen).tolist()
    return result


def scan_corpus(
    index: ContainmentIndex,
    rule: Rule,
    shards: Sequence[Shard],
    *,
    phrases_below: int = 0,
    jobs: int = 1,
    executor: Executor | None = None,
    state: Path | None = None,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> CorpusScan:
    """Scan shards and gather what they held.

    Args:
        index: what is looked for.
        rule: when it counts as found.
        shards: the corpus, as :func:`evalkit.overlap.sources.plan_shards` gives it.
        phrases_below: units with fewer letters are looked up as whole phrases; 0 for none.
        jobs: processes.
        executor: anything of the ``concurrent.futures`` shape, instead of processes of our own. Its workers must reach
            ``state`` (or the temporary folder) and the corpus under the same paths.
        state: folder where finished shards are kept, so that the next call goes on from there.
        keep_going: read on where a file is broken.
        progress: told after every shard.

    Raises:
        DataError: a file is broken, unless ``keep_going``.
    """
    keys = [_key(shard, index, rule) for shard in shards] if state else []
    results: dict[int, ShardResult] = {}
    for number, key in enumerate(keys):
        if state and (done := _resumed(state / f"{key}.json", shards[number])) is not None:
            results[number] = done
    left = [number for number in range(len(shards)) if number not in results]
    total = sum(map(_size_on_disk, shards))
    ready = sum(_size_on_disk(shards[number]) for number in results)
    for number, result in _results(index, rule, shards, left, phrases_below, jobs, executor):
        if result.problem and not keep_going:
            raise DataError(*result.problem.split("\n  → ", 1))
        results[number] = result
        if state and not result.problem:
            _keep(state / f"{keys[number]}.json", result)
        ready += _size_on_disk(shards[number])
        if progress:
            progress(ready, total)
    return _gathered([results[number] for number in range(len(shards))], index, rule)


def _results(  # noqa: PLR0917 - private, called once
    index: ContainmentIndex,
    rule: Rule,
    shards: Sequence[Shard],
    left: Sequence[int],
    phrases_below: int,
    jobs: int,
    executor: Executor | None,
) -> Iterator[tuple[int, ShardResult]]:
    """Results of the shards that are left, as they come."""
    if executor is None and (jobs <= 1 or len(left) <= 1):
        phrases = PhraseIndex(index.units, phrases_below) if phrases_below else None
        for number in left:
            yield number, scan_shard(shards[number], index, rule, phrases)
        return
    with tempfile.TemporaryDirectory(prefix="evalkit-overlap-") as folder:
        index.save(Path(folder))
        pool = executor or ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
        try:
            tasks = {pool.submit(_run, _Task(shards[number], folder, rule, phrases_below)): number for number in left}
            for future in as_completed(tasks):
                yield tasks[future], future.result()
        finally:
            if executor is None:
                pool.shutdown(cancel_futures=True)


def _size_on_disk(shard: Shard) -> int:
    if shard.end is not None:
        return shard.end - shard.start
    return Path(shard.path).stat().st_size if shard.path != "-" else 0


def _gathered(results: Sequence[ShardResult], index: ContainmentIndex, rule: Rule) -> CorpusScan:
    scan = CorpusScan()
    if rule.scope == "corpus":
        scan.seen = np.zeros(len(index.units.marked), bool)
    lines_before: dict[str, int] = {}
    for result in results:
        path = result.shard.path
        before = lines_before.get(path, 0)
        lines_before[path] = before + result.lines
        scan.lines += result.lines
        scan.size += result.size
        if result.problem:
            scan.problems.append(result.problem)
        if scan.seen is not None:
            scan.seen[result.seen] = True
        for unit, tally in result.tallies.items():
            _merge(scan, unit, tally, path, before)
    scan.files = len(lines_before)
    return scan


def _merge(scan: CorpusScan, unit: int, tally: Tally, path: str, lines_before: int) -> None:
    scan.places[unit] = scan.places.get(unit, 0) + tally.places
    scan.whole[unit] = scan.whole.get(unit, 0) + tally.whole
    best = scan.found.setdefault(unit, [])
    for match in tally.best:
        shifted = Match(**{**asdict(match), "line": match.line + lines_before})
        best.append(Found(path, shifted))
    best.sort(key=lambda found: (-found.match.share, -found.match.longest, found.path, found.match.line))
    del best[_KEPT_PER_UNIT:]


def _key(shard: Shard, index: ContainmentIndex, rule: Rule) -> str:
    """Names a shard's content (by size and time of change), what was looked for, and how."""
    status = Path(shard.path).stat() if shard.path != "-" else None
    stamp = [status.st_size, status.st_mtime_ns] if status else [0, 0]
    parts = [str(Path(shard.path).absolute()), shard.start, shard.end, shard.kind, stamp, asdict(rule)]
    return hashlib.sha256(json.dumps([*parts, index.fingerprint()]).encode()).hexdigest()[:32]


def _keep(path: Path, result: ShardResult) -> None:
    """Write a finished shard whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "schema": 1,
        "lines": result.lines,
        "size": result.size,
        "seen": result.seen,
        "tallies": {unit: asdict(tally) for unit, tally in result.tallies.items()},
    }
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(document))
    unfinished.replace(path)


def _resumed(path: Path, shard: Shard) -> ShardResult | None:
    """A shard that an earlier scan finished, or None; standard input is never resumed."""
    if shard.path == "-":
        return None
    try:
        document = json.loads(path.read_text())
        tallies = {
            int(unit): Tally(tally["places"], tally["whole"], [Match(**match) for match in tally["best"]])
            for unit, tally in document["tallies"].items()
        }
        return ShardResult(shard, document["lines"], document["size"], tallies, document["seen"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a state file that isn't ours or isn't whole costs one shard's work
