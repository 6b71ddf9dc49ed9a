"""Attacks on a sandbox: each is one small program and the outcome that counts as held.

They run against any backend, from the test suite and from ``python -m evalkit.bench redteam``, which prints the table of
cases and backends with the reason of every cell that is not capped.
"""

from __future__ import annotations

from evalkit.sandbox.redteam.case import Case, Held, Mark
from evalkit.sandbox.redteam.catalogue import CASES

__all__ = ["CASES", "Case", "Held", "Mark"]
