"""All rules of the guards in this package, by id."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from guards import gaming, history, scope, tamper
from guards.rule import Rule

__all__ = ["catalogue"]


@cache
def catalogue() -> Mapping[str, Rule]:
    """Rules by id, in the order of their ids.

    Raises:
        ValueError: two rules have one id.
    """
    rules = [rule for room in (scope, gaming, tamper, history) for rule in room.RULES.values()]
    by_id = {rule.id: rule for rule in sorted(rules, key=lambda rule: rule.id)}
    if len(by_id) != len(rules):
        raise ValueError("two rules have one id")
    return by_id
