"""What the overlap engine, the splits and the source checks claim: speed, recall, precision, memory, beside peers.

Speeds are bytes per second of CPU time, the median of three passes: on a machine that others use too, wall time says
little. Ratios to peers come from the same run and the same corpus.
"""
# ruff: noqa: PLR2004, S311 - the targets stand where they are compared; random texts are no secrets

from __future__ import annotations

import functools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.bench.overlap_peers import peer_speeds
from evalkit.bench.overlap_sources import source_figures
from evalkit.bench.overlap_texts import FORMS, as_json_lines, data_folder, items, prose
from evalkit.overlap import Holdout, Item, Problems, Shard, plan_shards, read_items
from evalkit.overlap.letters import read_letters
from evalkit.overlap.paraphrase import ParaphraseIndex
from evalkit.overlap.reference import reference_windows
from evalkit.splits import Cases, Plan, assign, hash_split, make_key

__all__ = ["figures", "figures_of_splits"]

Figure = dict[str, Any]
_MB = 1e6


def figures(quick: bool = False) -> list[Figure]:
    """Every figure of issue "Holdout splits, the vault, and contamination checks".

    Args:
        quick: a corpus of 20 MB instead of 100, and fewer repeats: a look, not a claim.
    """
    out: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="evalkit-bench-") as name:
        folder = Path(name)
        documents = prose(int((20 if quick else 100) * _MB))
        holdout_items, origin = items(2000)
        out += _speeds(folder, documents, Holdout(holdout_items), origin, quick=quick)
    out.append(_memory(quick=quick))
    out.append(_reference(60_000 if quick else 1_000_000))
    out += _recall(documents, quick=quick)
    out += _paraphrases()
    out += source_figures(quick=quick)
    out += figures_of_splits(quick=quick)
    return out


def _figure(  # noqa: PLR0917 - the columns of the table
    name: str, value: float, unit: str, target: str, ok: bool | None, detail: str = ""
) -> Figure:
    return {"name": name, "value": value, "unit": unit, "target": target, "ok": ok, "detail": detail}


def _median_rate(run: Callable[[], int], repeats: int) -> float:
    """Bytes a CPU second."""
    rates = []
    for _ in range(repeats):
        begun = time.process_time()
        size = run()
        rates.append(size / max(1e-9, time.process_time() - begun))
    return statistics.median(rates)


def _speeds(folder: Path, documents: list[str], holdout: Holdout, origin: str, *, quick: bool) -> Iterator[Figure]:
    files = {
        "text": ("\n".join(documents).encode(), "corpus.txt", 250.0),
        "JSON lines": (as_json_lines(documents, ascii_only=False), "utf8.jsonl", 165.0),
        "JSON lines, escaped": (as_json_lines(documents, ascii_only=True), "ascii.jsonl", 165.0),
    }
    rates: dict[str, float] = {}
    detail = f"one core, {len(holdout.items)} items ({origin})"
    for name, (raw, file, target) in files.items():
        path = folder / file
        path.write_bytes(raw)
        shards = plan_shards([path])
        rates[name] = _median_rate(functools.partial(_scanned, holdout, shards), 1 if quick else 3) / _MB
        yield _figure(f"{name}, one core", rates[name], "MB/CPU s", f"≥ {target:g}", rates[name] >= target, detail)
    yield _two_processes(holdout, folder / "utf8.jsonl")
    wanted = {"lm-eval janitor": 50.0, "decon": 15.0}
    for peer, (rate, note) in peer_speeds(documents[: 200 if quick else 1000], holdout.items).items():
        if rate is None:
            yield _figure(f"speed over {peer}", float("nan"), "×", f"≥ {wanted.get(peer, 1):g}", None, note)
            continue
        ratio = rates["JSON lines"] / (rate / _MB)
        least = wanted.get(peer)
        shown = f"≥ {least:g}" if least else ""
        yield _figure(f"speed over {peer}", ratio, "×", shown, ratio >= least if least else None, note)


def _scanned(holdout: Holdout, shards: Sequence[Shard]) -> int:
    return holdout.scan_files(shards).size


def _two_processes(holdout: Holdout, path: Path) -> Figure:
    """Wall time of one process over that of two, interleaved."""
    shards = plan_shards([path], shard_size=max(1 << 20, path.stat().st_size // 4)) * 4
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for jobs in (1, 2):
            begun = time.perf_counter()
            holdout.scan_files(shards, jobs=jobs)
            times[jobs].append(time.perf_counter() - begun)
    ratio = statistics.median(times[1]) / statistics.median(times[2])
    return _figure("two processes over one, wall", ratio, "×", "≥ 1.8", ratio >= 1.8, "start of the processes included")


_MEASURE = """
import json, sys
from evalkit.overlap.index import ContainmentIndex
from evalkit.overlap.rules import DEFAULT_RULE
from evalkit.overlap.scanning import Scanner
from evalkit.overlap.sources import Shard, shard_chunks
import random
rng = random.Random(1)
words = ["w%x" % rng.randrange(60000) for _ in range(30000)]
texts = (" ".join(rng.choices(words, k=45)) for _ in range(int(sys.argv[1])))
index = ContainmentIndex.of_texts(texts, DEFAULT_RULE.window)
scanner = Scanner(index, DEFAULT_RULE)
peaks = []
for _ in range(2):
    for chunk in shard_chunks(Shard(sys.argv[2], 0, None, "text")):
        scanner.feed(chunk)
    status = open("/proc/self/status").read()  # ru_maxrss would count the parent's memory at the fork
    peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 1024)
print(json.dumps(peaks))
"""


def _memory(*, quick: bool) -> Figure:
    """Peak memory of a process that holds 100,000 items and reads a corpus twice."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write("\n".join(prose(int((5 if quick else 40) * _MB))).encode())
        file.flush()
        command = [sys.executable, "-c", _MEASURE, "100000", file.name]
        peaks = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    detail = f"second pass adds {peaks[1] - peaks[0]:.1f} MB; text of 45 words an item"
    return _figure("peak memory, 100,000 items", peaks[0], "MB", "≤ 100", peaks[0] <= 100, detail)


def _reference(least: int) -> Figure:
    """Windows that the fast path misses or invents, against brute force."""
    rng = random.Random(31)
    texts = [item.text for item in items(80)[0]]
    holdout = Holdout([Item(str(n), (("t", text),)) for n, text in enumerate(texts)])
    spice = ["\n", '"', "\\", "é", "e\u0301", "’", "漢", "\u200b", "&#39;", "<b>", "</b>", "\u00a0", "Ж", "😀", "\x00"]
    wrong = looked = 0
    while looked < least:
        text = " ".join(rng.choices(texts, k=2))
        rate = rng.choice([0.0, 0.02, 0.2])
        document = "".join(char + (rng.choice(spice) if rng.random() < rate else "") for char in text)
        for ascii_only in (True, False):
            raw = as_json_lines([document], ascii_only=ascii_only)
            letters = read_letters(raw, escaped=True)
            windows = holdout.index.hasher.windows(letters.codes, letters.starts)
            hits = holdout.index.look_up(letters.codes, windows)
            found = set(zip(windows.first[hits.window].tolist(), hits.unit.tolist(), hits.offset.tolist(), strict=True))
            expected = reference_windows(raw.decode(), texts, holdout.rule.window, escaped=True)
            wrong += len(found ^ expected)
            looked += len(windows.first)
    return _figure(
        "windows missing or extra against brute force", wrong, "windows", "0", wrong == 0, f"{looked:,} fuzzed"
    )


def _recall(documents: Sequence[str], *, quick: bool) -> Iterator[Figure]:
    """Leaks planted in documents, by form; and what is flagged that is clean."""
    rng = random.Random(41)
    every, _ = items(10_000)
    long_enough = [item for item in every if len(item.text) >= 60]
    planted = rng.sample(long_enough, min(len(long_enough), 500 if quick else 2500))
    holdout = Holdout(every)
    lines: list[str] = []
    for number, item in enumerate(planted):
        host = documents[number % len(documents)][:2000]
        cut = rng.randrange(len(host) + 1)
        form = list(FORMS.values())[number % len(FORMS)]
        lines.append(f"{host[:cut]}\n{form(item.text, rng)}\n{host[cut:]}")
    found = _pairs(holdout, lines)
    targets = {"verbatim": 1.0, "reformatted": 1.0, "5 % edited": 0.99, "light paraphrase": 0.97}
    for place, form_name in enumerate(FORMS):
        mine = range(place, len(planted), len(FORMS))
        recall = sum(planted[n].id in found[n] for n in mine) / len(mine)
        least = targets.get(form_name)
        ok = recall >= least if least is not None else None
        yield _figure(f"recall, {form_name}", recall, "", f"≥ {least:g}" if least else "", ok, f"{len(mine)} planted")
    clean = list(documents[len(planted) :])
    flagged = sum(bool(ids) for ids in _pairs(holdout, clean))
    rate = flagged / max(1, len(clean))
    yield _figure("clean documents flagged", rate, "", "≤ 1e-5", rate <= 1e-5, f"{flagged} of {len(clean):,}")
    right = sum(item.id in ids for item, ids in zip(planted, found, strict=True))
    hard = [bool(ids) for ids in _pairs(holdout, _hard_negatives())]
    precision = right / max(1, right + flagged + sum(hard))
    detail = f"{sum(hard)} of {len(hard):,} GSM8K training items flagged; some are copies with other numbers"
    yield _figure("precision, hard negatives", precision, "", "≥ 0.985", precision >= 0.985, detail)


def _hard_negatives() -> list[str]:
    folder = data_folder()
    if folder is None:
        return []
    return [item.text for item in read_items([folder / "gsm8k-train.jsonl.gz"], Problems(True), fields=["question"])]


def _pairs(holdout: Holdout, documents: Sequence[str]) -> list[set[str]]:
    """The items found in every document, each document looked at alone."""
    owners = holdout.owners()
    return [
        {holdout.items[item].id for unit in holdout.find_in(text.encode()) for item in owners.get(unit, ())}
        for text in documents
    ]


def _paraphrases() -> Iterator[Figure]:
    folder = data_folder()
    if folder is None:
        yield _figure("model paraphrases queued", float("nan"), "", "≥ 0.75", None, "EVALKIT_DATA is not there")
        return
    problems = Problems(keep_going=True)
    gsm = [item.text for item in read_items([folder / "gsm8k-test.jsonl.gz"], problems, fields=["question"])]
    rephrased = [
        item.text.split("\nAnswer")[0] for item in read_items([folder / "gsm8k-rephrased-dev.jsonl"], problems)
    ]
    others = _hard_negatives()
    index = ParaphraseIndex(gsm)
    recall = len(list(index.candidates(rephrased))) / len(rephrased)
    flagged = len(list(index.candidates(others))) / len(others)
    ok = recall >= 0.75 and flagged <= 0.02
    yield _figure("paraphrases queued, GSM8K", recall, "", "≥ 0.75 at ≤ 2 %", ok, f"{flagged:.2%} of others queued")
    sociology = [item.text for item in read_items([folder / "mmlu-sociology.csv"], problems)]
    rewritten = [item.text for item in read_items([folder / "mmlu-sociology-rephrased.jsonl"], problems)]
    share = len(list(ParaphraseIndex(sociology).candidates(rewritten))) / len(rewritten)
    yield _figure("paraphrases queued, MMLU sociology", share, "", "", None, "definitions pin few words down")


def figures_of_splits(*, quick: bool) -> Iterator[Figure]:
    """Speed and soundness of the splits.

    Args:
        quick: fewer names and rounds.
    """
    key = make_key(b"a key for the bench, nobody's own")
    names = [f"case-{number}" for number in range(200_000 if quick else 1_000_000)]
    rate = _median_rate(lambda: len(hash_split(key, names, [0.5, 0.3, 0.2])), 3)
    yield _figure("keyed hash split", rate, "items/CPU s", "≥ 1e6", rate >= 1e6)
    moved = int(
        (
            assign(Cases(names[:10_000]), Plan(), key).split
            != assign(Cases(names[:11_000]), Plan(), key).split[:10_000]
        ).sum()
    )
    yield _figure("cases moved when a tenth is appended", moved, "of 10,000", "0", moved == 0)
    rng = random.Random(51)
    broken = 0
    rounds = 500 if quick else 10_000
    for _ in range(rounds):
        broken += _is_unsound(rng, key)
    yield _figure(
        "random cases split unsoundly", broken, f"of {rounds:,}", "0", broken == 0, "empty split or parted group"
    )


def _is_unsound(rng: random.Random, key: bytes) -> bool:
    from evalkit.errors import EvalkitError  # noqa: PLC0415

    count = rng.randrange(8, 80)
    groups = [f"g{rng.randrange(max(3, count // 2))}" for _ in range(count)]
    labels = [rng.choice("aab") for _ in range(count)]
    cases = Cases([str(n) for n in range(count)], groups, labels)
    try:
        found = assign(cases, Plan(method=rng.choice(["hash", "stratified"])), key)
    except EvalkitError:
        return False
    parted = {(group, split) for group, split in zip(groups, found.split.tolist(), strict=True)}
    return len(parted) != len(set(groups)) or len(np.unique(found.split)) != len(found.names)
