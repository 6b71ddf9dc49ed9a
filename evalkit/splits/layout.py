"""Splits as folders: ``dev/``, ``confirm/`` and ``sealed/``, each plain or sealed, written whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.splits.assign import Assignment, Plan
from evalkit.splits.canaries import FIELD, Canaries, make_canaries
from evalkit.splits.cases import Cases
from evalkit.splits.manifest import manifest_of
from evalkit.splits.sealing import SUFFIX, mounted, read_header, seal

__all__ = ["CASES", "MANIFEST", "opened", "sealed_files", "write_layout"]

CASES = "cases.jsonl"
MANIFEST = "manifest.json"


def write_layout(
    folder: Path,
    cases: Cases,
    plan: Plan,
    assignment: Assignment,
    key: bytes,
    *,
    sealed: Mapping[str, bytes] | None = None,
    canaries: bool = True,
) -> dict[str, Any]:
    """Write the splits and their manifest.

    Args:
        folder: the vault folder; what it held before of these names is replaced.
        cases: with rows.
        plan: how they were split.
        assignment: what came of it.
        key: the split's key.
        sealed: the secret of every split that is written encrypted, as ``NAME.sealed`` instead of ``NAME/``.
        canaries: write a mark beside every case of every split but the first.

    Returns:
        The manifest.
    """
    secrets = dict(sealed or {})
    if unknown := sorted(set(secrets) - set(plan.names)):
        raise DataError(f"there is no split {unknown[0]!r} to seal", f"the splits are {', '.join(plan.names)}")
    marks = {
        name: make_canaries(key, name, [cases.ids[member] for member in assignment.members(name)])
        for name in (plan.names[1:] if canaries else ())
    }
    manifest = manifest_of(cases, plan, assignment, key, marks)
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".split-", dir=folder))
    try:
        for name in plan.names:
            content = _content(cases, assignment.members(name), marks.get(name))
            if name in secrets:
                facts = {"split": name, "cases": len(assignment.members(name)), "key": manifest["key"]}
                files = [(CASES, content), *_unpublished(marks.get(name))]
                seal(staging / f"{name}{SUFFIX}", secrets[name], files, facts)
            else:
                (staging / name).mkdir()
                (staging / name / CASES).write_bytes(content)
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
        _move_in(staging, folder, plan)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _content(cases: Cases, members: list[int], marks: Canaries | None) -> bytes:
    lines = []
    for member in members:
        row = dict(cases.rows[member]) if cases.rows else {}
        row.setdefault("id", cases.ids[member])
        if marks:
            row[FIELD] = marks.mark(cases.ids[member])
        lines.append(json.dumps(row, ensure_ascii=False, default=str) + "\n")
    return "".join(lines).encode("utf-8", "replace")


def _unpublished(marks: Canaries | None) -> list[tuple[str, bytes]]:
    return [(f"{FIELD}.txt", f"{marks.unpublished}\n".encode())] if marks else []


def _move_in(staging: Path, folder: Path, plan: Plan) -> None:
    """Put the finished files in place; the manifest last."""
    for name in plan.names:
        for old in (folder / name, folder / f"{name}{SUFFIX}"):
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink(missing_ok=True)
    for new in sorted(staging.iterdir(), key=lambda path: path.name == MANIFEST):
        new.replace(folder / new.name)


def sealed_files(folder: Path) -> dict[str, dict[str, Any]]:
    """The sealed splits of a vault folder and what their headers say."""
    return {path.name.removesuffix(SUFFIX): read_header(path) for path in sorted(folder.glob(f"*{SUFFIX}"))}


@contextmanager
def opened(folder: Path, split: str, secret: bytes | None) -> Iterator[Path]:
    """A split's folder: as it lies there, or decrypted for as long as the context lasts.

    Raises:
        DataError: there is no such split, or it is sealed and the key is missing or wrong.
    """
    plain, packed = folder / split, folder / f"{split}{SUFFIX}"
    if plain.is_dir():
        yield plain
    elif not packed.is_file():
        raise DataError(f"{folder}: no split {split!r}", "`evalkit split` writes one")
    elif secret is None:
        raise DataError(f"{packed}: sealed, and no key was given", "set EVALKIT_VAULT_KEY, or pass --key-file")
    else:
        with mounted(packed, secret) as contents:
            yield contents
