"""What a gate found, in one shape that every output is made from, so that they can't disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.contract import Contract
from evalkit.report.wording import REASONS, pairs_text

__all__ = ["Judged", "Report", "judged_contract", "judged_suite"]

_ORDER = ("REJECT", "ERROR", "INCONCLUSIVE", "KEEP", "NOTHING")
_EXIT_CODES = {"KEEP": 0, "REJECT": 1, "INCONCLUSIVE": 3, "ERROR": 4}


@dataclass(frozen=True, slots=True)
class Judged:
    """One contract or suite, judged.

    Attributes:
        name: of the contract or the suite.
        file: its file, relative to the repository's top.
        line: where in it; 0 where there is none.
        decision: a verdict's, or ``NOTHING`` where the change touches nothing of it.
        sentence: why.
        details: further lines.
        findings: of guards, as JSON, paths relative to ``folder``.
        folder: of the contract, relative to the repository's top; empty at the top.
        effect: of the objective, as text; empty where nothing was measured.
        more: how many more pairs or trials would probably decide.
        trust: the weakest that it rests on.
        plain: the whole verdict as JSON.
        empty_passes: whether its contract lets a change pass that holds nothing to judge.
    """

    name: str
    file: str
    decision: str
    sentence: str
    line: int = 0
    details: tuple[str, ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()
    folder: str = ""
    effect: str = ""
    more: int | None = None
    trust: str = ""
    plain: Mapping[str, Any] | None = None
    empty_passes: bool = True

    def path_of(self, finding: Mapping[str, Any]) -> str:
        """A finding's file, relative to the repository's top; the contract itself where it names none."""
        if not finding["file"]:
            return self.file
        return f"{self.folder}/{finding['file']}" if self.folder else str(finding["file"])

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "file": self.file,
            "decision": self.decision,
            "sentence": self.sentence,
            "more": self.more,
            "trust": self.trust,
            "verdict": None if self.plain is None else dict(self.plain),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one call of the gate found.

    Attributes:
        base, head: commit ids.
        judged: one entry a contract or suite.
        unjudged: changed files that matter to none of them.
        empty_passes: whether nothing to judge is a pass.
        seconds: wall time.
    """

    base: str
    head: str
    judged: tuple[Judged, ...]
    unjudged: tuple[str, ...] = ()
    empty_passes: bool = True
    seconds: float = 0.0

    @property
    def decision(self) -> str:
        """The worst of all; ``NOTHING`` where nothing was judged."""
        found = {entry.decision for entry in self.judged}
        return next((decision for decision in _ORDER if decision in found), "NOTHING")

    @property
    def exit_code(self) -> int:
        """Of the command."""
        return _EXIT_CODES.get(self.decision, 0 if self.empty_passes else 1)

    @property
    def passed(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    @property
    def headline(self) -> str:
        """The decision in one line."""
        if self.decision != "NOTHING":
            return self.decision
        return "NOTHING TO JUDGE" + ("" if self.passed else ", which this gate does not allow")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "base": self.base,
            "head": self.head,
            "decision": self.decision,
            "exit_code": self.exit_code,
            "judged": [entry.as_json() for entry in self.judged],
            "unjudged": list(self.unjudged),
            "seconds": round(self.seconds, 3),
        }


def judged_contract(contract: Contract, verdict: Mapping[str, Any], folder: str) -> Judged:
    """A contract's verdict.

    Args:
        contract: that judged.
        verdict: as JSON.
        folder: of the contract, relative to the repository's top.
    """
    effect = f"{contract.objective.name}: {pairs_text(contract.objective, verdict['effect'])}"
    unsafe = (verdict["unsafe"],) if verdict["unsafe"] else ()
    reported = ("rests on values that candidate code printed itself, which it can forge",)
    return Judged(
        name=contract.name,
        file=f"{folder}/{contract.file.name}" if folder else contract.file.name,
        decision=verdict["decision"],
        sentence=f"{REASONS.get(verdict['reason'], verdict['reason'])}: {verdict['sentence']}",
        details=(*unsafe, *(reported if verdict["trust"] == "reported" else ())),
        findings=tuple(verdict["findings"]),
        folder=folder,
        effect=effect if verdict["effect"] else "",
        more=verdict["more_pairs"],
        trust=verdict["trust"],
        plain=verdict,
    )


def judged_suite(name: str, result: Mapping[str, Any], *, decision: str = "", sentence: str = "") -> list[Judged]:
    """A suite's gates, one entry each.

    Args:
        name: of the suite.
        result: as JSON; empty where the suite came to none.
        decision: of the trusted parent where it differs from the suite's own; it is then an entry of its own.
        sentence: the parent's.
    """
    states = {"pass": "KEEP", "fail": "REJECT", "inconclusive": "INCONCLUSIVE", "error": "ERROR"}
    entries = [
        Judged(
            name=f"{name}::{gate['name']}",
            file=gate["file"],
            line=gate["line"],
            decision=states.get(gate["state"], "NOTHING"),
            sentence=gate["sentence"],
            details=tuple(f"{part['state']} {part['name']}: {part['sentence']}" for part in gate["parts"]),
            findings=tuple(gate["findings"]),
            more=gate["more"],
            trust=gate["trust"],
            plain=gate,
        )
        for gate in result.get("gates", ())
    ]
    if decision and decision != result.get("decision"):
        entries.append(Judged(name=name, file=name, decision=decision, sentence=sentence))
    return entries
