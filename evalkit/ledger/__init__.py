"""The record of everything that was tried: append-only, hash-chained, synced before anything acts on it.

>>> from evalkit.ledger import Ledger
>>> with Ledger.open(state / "ledger") as ledger:  # doctest: +SKIP
...     record = ledger.append("verdict", {"experiment": 7, "verdict": "KEEP"})
...     assert ledger.verify().ok
"""

from __future__ import annotations

from evalkit.ledger.canonical import canonical
from evalkit.ledger.chain import GENESIS, Problem, Record
from evalkit.ledger.ledger import Ledger
from evalkit.ledger.verification import Verification, verify_file

__all__ = ["GENESIS", "Ledger", "Problem", "Record", "Verification", "canonical", "verify_file"]
