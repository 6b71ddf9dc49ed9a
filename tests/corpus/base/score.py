"""Trusted: the mean squared error on points that the candidate never sees."""

import json
import math
import random

from evalkit.protocol.scorer import InvalidAnswerError, Session


def run():
    session = Session()
    cases = json.loads((session.vault / "cases.json").read_text())
    random.Random(session.seed).shuffle(cases)
    cases = cases[:200]
    try:
        answers = session.ask([x for x, _ in cases])
    except InvalidAnswerError as error:
        session.fail(str(error))
        return
    if not isinstance(answers, list) or len(answers) != len(cases):
        session.fail("one number a query is wanted")
        return
    if not all(type(a) in (int, float) and math.isfinite(a) and abs(a) < 1e6 for a in answers):
        session.fail("an answer is no finite number")
        return
    losses = [(a - y) ** 2 for a, (_, y) in zip(answers, cases)]
    session.report(error=sum(losses) / len(losses))


if __name__ == "__main__":
    run()
