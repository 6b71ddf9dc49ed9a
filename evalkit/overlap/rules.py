"""When a text counts as holding an item: our rule, and those of three published contamination studies.

All rules run over the same index; they differ in the window that is looked up and in what is asked of what is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.overlap.windows import DEFAULT_WINDOW, Window

__all__ = ["DEFAULT_RULE", "RULES", "Rule", "gpt3_rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked up, and how much of it must be found.

    Attributes:
        name: of the rule.
        window: what is looked up.
        coverage: the least share, in [0, 1], of an item's letters (or windows) that must be found; 0 means that any
            window is enough.
        run: letters in one unbroken run that are enough whatever the coverage; None for no such rule.
        least: letters that must be found in any case, unless the alignment counts.
        aligned: weak matches (fewer letters than ``least``, or too small a share) count when at least this share of the
            item, by the weight of its words, stands around them in order (three quarters of that where they have half
            of ``least``); None for no such rule.
        measure: whether coverage counts letters or windows.
        scope: whether windows must lie near each other in one document, or may come from anywhere in the corpus.
        common: windows found in more items than this start no match (they add to one that others started).
        distinctive: how telling the windows found must be, against the item's own average; a window that *n* items
            share tells 1/*n*. Keeps an item out of matches with siblings from the same template. 0 for no such rule.
        source: where the rule comes from.
    """

    name: str
    window: Window = DEFAULT_WINDOW
    coverage: float = 0.3
    run: int | None = 60
    least: int = 0
    aligned: float | None = None
    measure: Literal["letters", "windows"] = "letters"
    scope: Literal["document", "corpus"] = "document"
    common: int = 50
    distinctive: float = 0.0
    source: str = ""


DEFAULT_RULE = Rule(
    "default", Window(20), least=64, aligned=0.6, distinctive=0.25, source="measured; see docs/contamination.md"
)

RULES: dict[str, Rule] = {
    "default": DEFAULT_RULE,
    "gpt3": Rule(
        "gpt3",
        Window(13, words=True),
        coverage=0.0,
        run=None,
        source="Brown et al. 2020, arXiv:2005.14165, appendix C: any shared 13-gram",
    ),
    "palm": Rule(
        "palm",
        Window(8, words=True),
        coverage=0.7,
        run=None,
        measure="windows",
        scope="corpus",
        common=1 << 30,
        source="Chowdhery et al. 2022, arXiv:2204.02311, section 8: at least 70 % of an item's 8-grams seen",
    ),
    "llama": Rule(
        "llama",
        Window(8, words=True),
        coverage=0.8,
        run=None,
        scope="corpus",
        common=1 << 30,
        source="8-grams and token coverage of arXiv:2407.21783, section 5.1.4, with the 80 % that arXiv:2307.09288,"
        " appendix A.6, calls dirty; letters stand for tokens",
    ),
}
"""The rules by name."""


def gpt3_rule(word_counts: Sequence[int]) -> Rule:
    """The GPT-3 rule for one benchmark: N is the 5th percentile of item lengths in words, kept within 8 and 13.

    Args:
        word_counts: words of every item of the benchmark.
    """
    length = int(np.percentile(np.asarray(word_counts), 5)) if word_counts else 13
    words = min(13, max(8, length))
    base = RULES["gpt3"]
    return Rule(base.name, Window(words, words=True), base.coverage, base.run, source=base.source)
