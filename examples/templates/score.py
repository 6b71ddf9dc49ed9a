"""Trusted: the share of cases that are rendered exactly as they must be.

Every query is one template with one context, in random order; no pair is asked twice, so that keeping outputs is worth
nothing, while keeping what was understood of a template is. Time is taken by evalkit, from outside.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

from evalkit.protocol.scorer import InvalidAnswerError, Session


def chosen(cases: list[dict[str, Any]], seed: int, count: int) -> list[dict[str, Any]]:
    """``count`` of the cases (all, where there are fewer) in random order."""
    return random.Random(seed).sample(cases, min(count, len(cases)))


def is_right(answer: object, case: dict[str, Any]) -> bool:
    """Whether an answer is the case's, to the character and the type."""
    expected = case["answer"]
    return (
        isinstance(answer, dict)
        and answer.keys() == expected.keys()
        and all(type(answer[key]) is type(expected[key]) and answer[key] == expected[key] for key in expected)
    )


def main() -> None:
    session = Session()
    with (session.vault / "cases.json").open(encoding="utf-8") as file:
        cases = chosen(json.load(file), session.seed, int(os.environ["TEMPLATES_CASES"]))
    right = []
    for case in cases:
        try:
            answer = session.ask({"template": case["template"], "context": case["context"]})
        except InvalidAnswerError as error:
            session.fail(str(error))
            return
        right.append(float(is_right(answer, case)))
    session.report(
        correct=sum(right) / len(right), cases={"correct": right}, clusters=[case["family"] for case in cases]
    )


if __name__ == "__main__":
    main()
