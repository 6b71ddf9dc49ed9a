"""The table of contamination rules, ``EK401`` to ``EK419``."""

from __future__ import annotations

from evalkit.guarding import Severity
from guards.rule import Rule, table

__all__ = ["RULES"]

_BLOCK, _NOTE = Severity.BLOCK, Severity.NOTE

RULES = table(
    [
        Rule(
            "EK401",
            "holdout-text",
            _BLOCK,
            "The change holds the text of a held-out item: in source, a prompt, an example or data.",
            "remove the passage; a proposer that could read it has seen the vault, so rotate those items",
            mechanism=9,
        ),
        Rule(
            "EK402",
            "holdout-text-encoded",
            _BLOCK,
            "A literal of the change stands for the text of a held-out item: encoded, compressed, enciphered or split.",
            "remove the literal, and find out how the item got out",
            mechanism=9,
        ),
        Rule(
            "EK403",
            "holdout-digests",
            _BLOCK,
            "The change holds digests of held-out items: a table that recognises them.",
            "remove the table",
            mechanism=9,
        ),
        Rule(
            "EK404",
            "holdout-answers",
            _BLOCK,
            "A list in the change is the answers of held-out items, in order, in reverse or shuffled.",
            "remove the list, and find out how the answers got out",
            mechanism=9,
        ),
        Rule(
            "EK405",
            "holdout-answer-pairs",
            _BLOCK,
            "The change maps pieces of held-out questions to their answers.",
            "remove the table",
            mechanism=9,
        ),
        Rule(
            "EK406",
            "canary",
            _BLOCK,
            "A mark of the vault stands in the change, or in what a trial wrote: the vault was read.",
            "find out how the vault could be read, close that, and make new splits",
            mechanism=7,
        ),
        Rule(
            "EK407",
            "holdout-in-output",
            _BLOCK,
            "What a trial wrote holds the text of held-out items.",
            "keep inputs out of what the candidate writes; what it was never served it can't have come by honestly",
            mechanism=17,
        ),
        Rule(
            "EK408",
            "paraphrase",
            _NOTE,
            "A text of the change is near a held-out item in its rare words; a person should read both.",
            "compare the two passages; this is a review queue, not a verdict",
            mechanism=9,
        ),
    ]
)
