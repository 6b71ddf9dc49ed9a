"""What storing costs: the ledger's appends and checks, and the workspace's part of one experiment."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from evalkit.ledger import GENESIS, Ledger, verify_file
from evalkit.ledger.chain import encode
from evalkit.workspace import Store, out_of_scope
from evalkit.workspace.git import git

__all__ = ["figures"]

_AT = "2026-01-01T00:00:00.000000Z"


def figures(*, quick: bool = False) -> list[dict[str, Any]]:
    """Medians of one run on this machine's temporary folder."""
    with tempfile.TemporaryDirectory(prefix="evalkit-bench-") as folder:
        root = Path(folder)
        return [
            _append(root, 200 if quick else 1000),
            _verify(root, 20_000 if quick else 100_000),
            *_open(root, 1000 if quick else 10_000),
            *_experiment(root, 10 if quick else 40),
        ]


def _figure(name: str, value: float, unit: str, target: float | None, detail: str) -> dict[str, Any]:
    ok = None if target is None else value <= target
    shown = "" if target is None else f"≤ {target:g}"
    return {"name": name, "value": round(value, 4), "unit": unit, "target": shown, "ok": ok, "detail": detail}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _body(number: int, filler: int = 300) -> dict[str, Any]:
    return {
        "experiment": number,
        "candidate": f"{number:040x}",
        "incumbent": f"{number + 1:040x}",
        "verdict": "REJECT",
        "values": [number / 7, number / 11],
        "text": "x" * filler,
    }


def _append(root: Path, repeats: int) -> dict[str, Any]:
    """One appended record next to one plain write and sync of as many bytes, by turns."""
    appended, plain = [], []
    size = len(encode(0, "decided", _body(0), _AT, GENESIS)[0])
    with Ledger.open(root / "append") as ledger, (root / "plain").open("wb", buffering=0) as file:
        for number in range(repeats):
            appended.append(_seconds(partial(ledger.append, "decided", _body(number))))
            plain.append(_seconds(partial(_write_and_sync, file, b"x" * size)))
    ours, theirs = statistics.median(appended) * 1e6, statistics.median(plain) * 1e6
    detail = f"a plain write + fsync of {size} bytes: {theirs:.0f} µs; ratio {ours / theirs:.2f}"
    return _figure("ledger: append, synced (median)", ours, "µs", None, detail)


def _write_and_sync(file: IO[bytes], data: bytes) -> None:
    file.write(data)
    os.fsync(file.fileno())


def _chain(path: Path, count: int, filler: int) -> None:
    """A ledger file of ``count`` records, written without syncing each."""
    path.parent.mkdir()
    prev = GENESIS
    with path.open("wb") as file:
        for seq in range(count):
            line, prev = encode(seq, "decided", _body(seq, filler), _AT, prev)
            file.write(line)


def _verify(root: Path, count: int) -> dict[str, Any]:
    path = root / "verify" / "ledger.jsonl"
    _chain(path, count, 300)
    taken = statistics.median(_seconds(lambda: verify_file(path)) for _ in range(3))
    detail = f"{count:,} records of {path.stat().st_size // count} bytes, every byte hashed"
    return _figure("ledger: verify 100,000 records", taken * 100_000 / count, "s", 1.0, detail)


def _open(root: Path, count: int) -> Iterator[dict[str, Any]]:
    folder = root / "open"
    _chain(folder / "ledger.jsonl", count, 9500)
    rebuilt = _seconds(lambda: Ledger.open(folder).close())
    taken = statistics.median(_seconds(lambda: Ledger.open(folder).close()) for _ in range(5))
    size = (folder / "ledger.jsonl").stat().st_size >> 20
    detail = f"{count:,} records, {size} MiB; last record and all after the checkpoint verified"
    yield _figure("ledger: open a run of 10,000 experiments", taken, "s", 0.5, detail)
    yield _figure("ledger: the same with the index lost", rebuilt, "s", None, "every byte verified, index made anew")
    with Ledger.open(folder, write=False) as ledger:
        found = statistics.median(
            _seconds(partial(list, ledger.by_tree(f"{n:040x}"))) for n in range(0, count, count // 50)
        )
    yield _figure("ledger: look up a tree (median)", found * 1e3, "ms", None, "record read and its hash checked")


def _repository(root: Path) -> Path:
    repository = root / "repository"
    repository.mkdir()
    git(["init", "-q"], folder=repository)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for number in range(1000):
        path = repository / f"package{number % 40}" / f"module{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"VALUE = {number}\n" * 40)
    (repository / "train.py").write_text("rate = 0\n" * 50)
    git(["add", "-A"], folder=repository)
    git([*identity, "commit", "-q", "-m", "start"], folder=repository)
    return repository


def _experiment(root: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """One changed line in one of 1,001 files, from the proposer's folder to a commit on the user's branch."""
    repository = _repository(root)
    steps: dict[str, list[float]] = {"snapshot": [], "diff": [], "scope": [], "commit": []}
    with Store.open(root / "store") as store:
        incumbent, parent = store.import_revision(repository, "HEAD"), "HEAD"
        written = _seconds(lambda: store.materialise(incumbent, root / "first"))
        again = _seconds(lambda: store.materialise(incumbent, root / "work"))
        for number in range(repeats):
            (root / "work" / "train.py").write_text(f"rate = {number}\n" + "rate = 0\n" * 49)
            marks = [time.perf_counter()]
            candidate = store.snapshot(root / "work", like=incumbent)
            marks.append(time.perf_counter())
            change = store.diff(incumbent, candidate)
            marks.append(time.perf_counter())
            out_of_scope(change, ["train.py"])
            marks.append(time.perf_counter())
            planned = store.plan_keep(repository, parent=parent, tree=candidate, when=number, subject="bench")
            store.apply_keep(repository, planned, "bench")
            marks.append(time.perf_counter())
            for step, (start, end) in zip(steps.values(), pairwise(marks), strict=True):
                step.append((end - start) * 1e3)
            incumbent, parent = candidate, planned.id
    medians = {name: statistics.median(values) for name, values in steps.items()}
    total = statistics.median(map(sum, zip(*steps.values(), strict=True)))
    detail = ", ".join(f"{name} {value:.1f}" for name, value in medians.items())
    yield _figure("workspace: one kept experiment, 1,000 files", total, "ms", 60.0, detail)
    looked = medians["diff"] + medians["scope"]
    yield _figure("workspace: diff and scope check, 1,000 files", looked, "ms", 20.0, "")
    yield _figure("workspace: materialise 1,000 files", again * 1e3, "ms", None, f"the first time {written * 1e3:.0f}")
