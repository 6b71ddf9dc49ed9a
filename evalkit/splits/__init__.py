"""Splits: dev, which proposers see; confirm, which answers one bit at a time; sealed, which only audits open."""

from __future__ import annotations

from evalkit.splits.accounting import Accountant, Opening, file_accountant, queries_left, rotation
from evalkit.splits.assign import UNUSED, Assignment, Plan, assign
from evalkit.splits.canaries import Canaries, make_canaries
from evalkit.splits.cases import Cases, cases_from_arrays, cases_from_iterable, read_cases
from evalkit.splits.keyed import fingerprint, hash_split, make_key
from evalkit.splits.layout import opened, sealed_files, write_layout
from evalkit.splits.manifest import balance_rows, check_manifest, previous_split, read_manifest
from evalkit.splits.sealing import mounted, seal, unseal
from evalkit.splits.splitters import GroupStratifiedFolds, HoldoutSplit, KeyedFolds, TimeFolds

__all__ = [
    "UNUSED",
    "Accountant",
    "Assignment",
    "Canaries",
    "Cases",
    "GroupStratifiedFolds",
    "HoldoutSplit",
    "KeyedFolds",
    "Opening",
    "Plan",
    "TimeFolds",
    "assign",
    "balance_rows",
    "cases_from_arrays",
    "cases_from_iterable",
    "check_manifest",
    "file_accountant",
    "fingerprint",
    "hash_split",
    "make_canaries",
    "make_key",
    "mounted",
    "opened",
    "previous_split",
    "queries_left",
    "read_cases",
    "read_manifest",
    "rotation",
    "seal",
    "sealed_files",
    "unseal",
    "write_layout",
]
