"""Write ``data/train.csv`` and ``vault/*/cases.csv`` from the handwritten digits that scikit-learn ships.

Whole sheets go to one split, in the order of a keyed hash. Every sheet holds the same digits in the same order, so
that a row's place would give its label away: rows are shuffled here, and queries are shuffled again by the scorer.

    python prepare.py [FOLDER]      # default: the folder of this file
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

KEY = b"evalkit/fraud/1"
POSITIVE = 8
"""The rare class: the digit that is confused most."""
SHEETS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667, 1797)
"""Rows where a sheet starts, and the end. The table names no writers; its labels start over at these rows."""
COUNTS = {"train": 5, "dev": 3, "confirm": 4, "sealed": 2}


def assign(sheets: int) -> dict[str, list[int]]:
    """Whole sheets to splits."""
    order = sorted(range(sheets), key=lambda sheet: hashlib.blake2b(str(sheet).encode(), key=KEY).digest())
    members: dict[str, list[int]] = {}
    for split, count in COUNTS.items():
        members[split], order = sorted(order[:count]), order[count:]
    return members


def table(features: Sequence[Sequence[float]], labels: Sequence[int], sheets: Sequence[int]) -> str:
    """A split's rows as CSV: sheet, label, features."""
    bounds = list(pairwise(SHEETS))
    rows = [(sheet, row) for sheet in sheets for row in range(*bounds[sheet])]
    random.Random(repr((KEY, list(sheets)))).shuffle(rows)
    lines = ["sheet,label," + ",".join(f"x{number}" for number in range(len(features[0])))]
    for sheet, row in rows:
        values = ",".join(str(int(value)) for value in features[row])
        lines.append(f"{sheet},{int(labels[row] == POSITIVE)},{values}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all splits and say how large they are."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - only here; takes a second

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    digits = load_digits()
    for split, sheets in assign(len(SHEETS) - 1).items():
        path = folder / "data" / "train.csv" if split == "train" else folder / "vault" / split / "cases.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(table(digits.data, digits.target, sheets))
        print(f"{path.stat().st_size:7d}  {path}  sheets {sheets}")


if __name__ == "__main__":
    main()
