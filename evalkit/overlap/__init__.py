"""Text overlap: is this text in that corpus, and where?

    holdout = Holdout(read_items(["holdout.jsonl"], Problems()))
    scan = holdout.scan_files(plan_shards(["corpus/"]), jobs=2)
    for report in holdout.report(scan):
        print(report.id, report.state, report.why)

Containment is exact over letters (:mod:`evalkit.overlap.index`); near-duplicates and paraphrases have modules of their
own. Nothing in here knows of contracts, trials or verdicts.
"""

from __future__ import annotations

from evalkit.overlap.corpus import CorpusScan, Found, scan_corpus
from evalkit.overlap.holdout import Holdout, ItemReport, State
from evalkit.overlap.index import ContainmentIndex
from evalkit.overlap.items import Item, read_items
from evalkit.overlap.rows import Problems, Row, read_rows
from evalkit.overlap.rules import DEFAULT_RULE, RULES, Rule
from evalkit.overlap.scanning import Match, Scanner
from evalkit.overlap.sources import Shard, plan_shards
from evalkit.overlap.windows import Window

__all__ = [
    "DEFAULT_RULE",
    "RULES",
    "ContainmentIndex",
    "CorpusScan",
    "Found",
    "Holdout",
    "Item",
    "ItemReport",
    "Match",
    "Problems",
    "Row",
    "Rule",
    "Scanner",
    "Shard",
    "State",
    "Window",
    "plan_shards",
    "read_items",
    "read_rows",
    "scan_corpus",
]
