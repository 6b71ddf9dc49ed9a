"""Figures of the guards; they are measured in the guards' own package, which evalkit finds by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["figures"]


def figures(quick: bool) -> list[dict[str, Any]]:
    """Every figure of the guards, as rows of the bench's table.

    Args:
        quick: a look, not a claim.
    """
    rows: list[dict[str, Any]] = import_module("guards.figures").figures(quick)
    return rows
