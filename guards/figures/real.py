"""Real cases: adjudicated contest entries, commits of long loops, kernels. Read from ``EVALKIT_DATA``, never copied."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context
from guards.gaming.guard import inspect_views
from guards.history.guard import reported_seeds
from guards.history.jumps import is_implausible, records
from guards.source.patch import parse_patch
from guards.source.view import FileView

__all__ = ["Row", "contest", "cross_validated", "data_folder", "kernels", "stream"]

_JUMP = "EK301"


@dataclass(frozen=True, slots=True)
class Row:
    """One real case and what was found in it.

    Attributes:
        id: in its data set.
        label: as it was ruled.
        group: who wrote it.
        blocks: rules that block.
        probes: rules that ask for a probe.
    """

    id: str
    label: str
    group: str
    blocks: frozenset[str]
    probes: frozenset[str]

    @property
    def flagged(self) -> bool:
        """Whether anything asks for a probe, or blocks."""
        return bool(self.blocks or self.probes)


def data_folder() -> Path | None:
    """Where the real cases lie: ``EVALKIT_DATA``, else ``../shared/data`` beside the repository; None if nowhere."""
    named = os.environ.get("EVALKIT_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    return folder if (folder / "gaming").is_dir() else None


def _lines(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def _row(case: str, label: str, group: str, found: Iterable[Finding], extra: Iterable[str] = ()) -> Row:
    listed = list(found)
    return Row(
        case,
        label,
        group,
        frozenset(f.rule for f in listed if f.severity is Severity.BLOCK),
        frozenset([*(f.rule for f in listed if f.severity is Severity.PROBE), *extra]),
    )


# -- contest entries


def contest(folder: Path) -> list[Row]:
    """Each ruled entry: static rules over its files, and its claim against the record of its day."""
    entries = sorted(_lines(folder / "gaming" / "parameter-golf-dev.jsonl.gz"), key=lambda entry: entry["created"])
    accepted: list[float] = []
    rows: list[Row] = []
    for entry in entries:
        changed = list(_entry_views(entry))
        found = list(inspect_views(changed, Context()))
        found += [finding for view in changed for finding in reported_seeds(view)]
        claim = _claim(entry)
        best, gains = records(accepted, sign=-1)
        jumps = claim is not None and not math.isnan(best) and is_implausible(best - claim, gains)
        rows.append(_row(str(entry["id"]), entry["label"], entry["author"], found, [_JUMP] if jumps else []))
        if entry["ruling"] == "benign_accepted" and claim is not None and (math.isnan(best) or claim > best / 2):
            accepted.append(claim)  # a title may name a difference instead of a score
    return rows


def _entry_views(entry: dict[str, Any]) -> Iterator[FileView]:
    hunks = tuple(hunk for file in parse_patch(entry["diff"] or "").files for hunk in file.hunks)
    main = entry["main_code"]
    if main not in entry["files"]:
        yield FileView("main.py", "modified", None, None, hunks)
    for path, text in entry["files"].items():
        fits = path == main and hunks and _fits(text, hunks)
        yield FileView(path, "modified" if fits else "added", None, text, hunks if fits else ())


def _fits(text: str, hunks: Sequence[Any]) -> bool:
    lines = text.split("\n")
    return all(0 < n <= len(lines) and lines[n - 1] == line for hunk in hunks for n, line, _ in hunk.new_side())


def _claim(entry: dict[str, Any]) -> float | None:
    """The score that an entry claims: of its own report where it has one, else of its title."""
    for path, text in entry["files"].items():
        if path.endswith("submission.json"):
            try:
                plain = json.loads(text)
            except ValueError:
                continue
            value = plain.get("val_bpb") if isinstance(plain, dict) else None
            if isinstance(value, int | float):
                return float(value)
    try:
        return float(entry["val_bpb"])
    except (TypeError, ValueError):
        return None


def cross_validated(
    rows: Sequence[Row], *, folds: int = 5, least_ratio: float = 2.0
) -> tuple[int, int, int, int, list[tuple[int, int, int, int]]]:
    """Choose on some authors which rules count, and decide about the others.

    In each fold, a rule counts where its likelihood ratio on the other authors' rows, with one added to every count,
    is at least ``least_ratio``.

    Returns:
        Gaming rows flagged, gaming rows, benign rows flagged, benign rows; and the same four for each fold.
    """
    ruled = [row for row in rows if row.label in {"gaming", "benign"}]
    each: list[tuple[int, int, int, int]] = []
    for fold in range(folds):
        rest = [row for row in ruled if _fold(row.group, folds) != fold]
        chosen = _choose(rest, least_ratio)
        held = [row for row in ruled if _fold(row.group, folds) == fold]
        bad = [row for row in held if row.label == "gaming"]
        good = [row for row in held if row.label == "benign"]
        hits = [sum(bool((row.probes | row.blocks) & chosen) for row in part) for part in (bad, good)]
        each.append((hits[0], len(bad), hits[1], len(good)))
    total = [sum(counts[at] for counts in each) for at in range(4)]
    return total[0], total[1], total[2], total[3], each


def _fold(group: str, folds: int) -> int:
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % folds


def _choose(rows: Sequence[Row], least: float) -> set[str]:
    bad = [row.probes | row.blocks for row in rows if row.label == "gaming"]
    good = [row.probes | row.blocks for row in rows if row.label == "benign"]

    def ratio(rule: str) -> float:
        hit, missed = sum(rule in found for found in bad) + 1, sum(rule in found for found in good) + 1
        return (hit / (len(bad) + 2)) / (missed / (len(good) + 2))

    return {rule for rule in {rule for found in [*bad, *good] for rule in found} if ratio(rule) >= least}


# -- commits and kernels


def stream(folder: Path) -> list[Row]:
    """Each commit of long loops, by its diff alone; presumed honest."""
    rows: list[Row] = []
    for commit in _lines(folder / "gaming" / "autoresearch-commits-dev.jsonl.gz"):
        changed = [
            FileView(file.path, file.status, None, _added_text(file), tuple(file.hunks))
            for file in parse_patch(commit["diff"]).files
            if file.status != "deleted"
        ]
        rows.append(_row(commit["commit"][:12], "benign", str(commit["pr"]), inspect_views(changed, Context())))
    return rows


def _added_text(file: Any) -> str | None:
    if file.status != "added":
        return None
    return "\n".join(text for hunk in file.hunks for _, text, _ in hunk.new_side())


def kernels(folder: Path) -> list[Row]:
    """Each kernel snippet as a new file."""
    plain = json.loads((folder / "gaming" / "kernel-adversarial.json").read_text(encoding="utf-8"))
    return [
        _row(
            str(at),
            case["label"],
            case["repo"],
            inspect_views([FileView("k.py", "added", None, case["code"])], Context()),
        )
        for at, case in enumerate(plain)
    ]
