"""Scorers, specs, configuration and files that load themselves: edits and additions that change what is measured."""

from guards.tamper.guard import TamperGuard
from guards.tamper.rules import RULES
from guards.tamper.specs import collected_ids, protected_digest

__all__ = ["RULES", "TamperGuard", "collected_ids", "protected_digest"]
