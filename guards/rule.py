"""One row of a table of rules: the stable id, what it means, how severe it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evalkit.guarding import Finding, Severity

__all__ = ["Rule", "table"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that findings refer to by its id.

    Attributes:
        id: stable; never used again for another meaning.
        name: short, in kebab case.
        severity: what a finding of it asks for unless the contract says otherwise.
        summary: what it looks for, one sentence.
        advice: what to do about it.
        mechanism: the number of the gaming mechanism in ``docs/guards.md``, 0 where there is none.
    """

    id: str
    name: str
    severity: Severity
    summary: str
    advice: str
    mechanism: int = 0

    def found(
        self,
        message: str,
        *,
        file: str = "",
        line: int = 0,
        evidence: str = "",
        severity: Severity | None = None,
        secret: bool = False,
    ) -> Finding:
        """A finding of this rule; evidence is cut to what fits a terminal."""
        passage = "\n".join(part[:200] for part in evidence.strip("\n").split("\n")[:4])
        passage = passage.encode("utf-8", "backslashreplace").decode()  # a diff may hold bytes that are no text
        return Finding(
            self.id, severity or self.severity, message, file, line, passage, advice=self.advice, secret=secret
        )


def table(rules: Iterable[Rule]) -> Mapping[str, Rule]:
    """Rules by name.

    Raises:
        ValueError: an id or a name is used twice.
    """
    listed = list(rules)
    by_name = {rule.name: rule for rule in listed}
    if len(by_name) != len(listed) or len({rule.id for rule in listed}) != len(listed):
        raise ValueError("a rule id or name is used twice")
    return by_name
