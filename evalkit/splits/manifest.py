"""The manifest of a split: everything needed to check it, nothing that gives it away."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.splits.assign import UNUSED, Assignment, Plan, classes_by_split
from evalkit.splits.canaries import Canaries
from evalkit.splits.cases import Cases
from evalkit.splits.keyed import fingerprint

__all__ = ["balance_rows", "check_manifest", "manifest_of", "previous_split", "read_manifest"]

_SCHEMA = "evalkit/split/1"


def manifest_of(
    cases: Cases, plan: Plan, assignment: Assignment, key: bytes, canaries: Mapping[str, Canaries]
) -> dict[str, Any]:
    """The manifest as plain JSON values; the same input gives the same manifest."""
    listed = []
    for number, name in enumerate(cases.ids):
        split = int(assignment.split[number])
        row: dict[str, Any] = {"id": name, "hash": cases.content_hash(number, key)}
        row["split"] = "unused" if split == UNUSED else assignment.names[split]
        if cases.groups:
            row["group"] = cases.groups[number]
        if number in assignment.why_unused:
            row["why"] = assignment.why_unused[number]
        listed.append(row)
    return {
        "schema": _SCHEMA,
        "method": plan.method,
        "shares": dict(zip(plan.names, plan.fractions, strict=True)),
        "duplicates": plan.duplicates,
        "gap": plan.gap,
        "embargo": plan.embargo,
        "key": fingerprint(key),
        "canaries": {name: marks.published for name, marks in canaries.items()},
        "balance": balance_rows(cases, plan, assignment),
        "unused": int((assignment.split == UNUSED).sum()),
        "cases": listed,
    }


def balance_rows(cases: Cases, plan: Plan, assignment: Assignment) -> list[dict[str, Any]]:
    """One row a split: cases, share wanted and got, groups, classes, and the worst class.

    ``worst_class_gap`` is the largest distance between a class's share in the split and in the used cases, in [0, 1].
    """
    used = int((assignment.split != UNUSED).sum())
    per_class = classes_by_split(cases.labels, assignment.split, plan.names) if cases.labels else {}
    overall: Counter[str] = sum(per_class.values(), Counter())
    rows = []
    for name, wanted in zip(plan.names, plan.fractions, strict=True):
        members = assignment.members(name)
        row: dict[str, Any] = {"split": name, "cases": len(members), "wanted": wanted, "share": len(members) / used}
        if cases.groups:
            row["groups"] = len({cases.groups[member] for member in members})
        if cases.labels:
            counts = per_class[name]
            row["classes"] = dict(sorted(counts.items()))
            row["worst_class_gap"] = max(abs(counts[c] / len(members) - overall[c] / used) for c in overall)
        rows.append(row)
    return rows


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest from its file.

    Raises:
        DataError: it isn't there, or it is no manifest.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: no split manifest can be read there: {error}", "`evalkit split` writes one"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("schema") != _SCHEMA:
        raise DataError(f"{path}: not a split manifest", "`evalkit split` writes one")
    return manifest


def previous_split(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The split of every case in a manifest, by id."""
    return {case["id"]: case["split"] for case in manifest["cases"]}


def check_manifest(manifest: Mapping[str, Any], cases: Cases, key: bytes) -> list[str]:
    """What no longer fits between a manifest and the cases: changed, missing and new ones; groups in two splits."""
    if manifest["key"] != fingerprint(key):
        return ["the key is not the one that this split was made with"]
    listed = {case["id"]: case for case in manifest["cases"]}
    problems: list[str] = []
    for number, name in enumerate(cases.ids):
        if name not in listed:
            problems.append(f"{name}: not in the manifest")
        elif listed[name]["hash"] != cases.content_hash(number, key):
            problems.append(f"{name}: its content changed since it was split")
    problems += [f"{name}: in the manifest, but not among the cases" for name in listed if name not in set(cases.ids)]
    homes: dict[str, set[str]] = {}
    for case in manifest["cases"]:
        if "group" in case and case["split"] != "unused":
            homes.setdefault(case["group"], set()).add(case["split"])
    problems += [f"group {group}: in {' and '.join(sorted(in_))}" for group, in_ in homes.items() if len(in_) > 1]
    return problems
