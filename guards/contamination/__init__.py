"""Holdout items where they have no business: in a change, in what a trial wrote, in a corpus, in git."""

from __future__ import annotations

from guards.contamination.canaries import find_in_files, find_in_git, marks_in
from guards.contamination.guard import ContaminationGuard, check_artifacts
from guards.contamination.hardcoded import Leak, SourceChecker
from guards.contamination.rules import RULES
from guards.contamination.trusted import Trusted, trusted

__all__ = [
    "RULES",
    "ContaminationGuard",
    "Leak",
    "SourceChecker",
    "Trusted",
    "check_artifacts",
    "find_in_files",
    "find_in_git",
    "marks_in",
    "trusted",
]
