"""The contamination guard: a change before any trial, what trials wrote afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from evalkit.guarding import Evidence, Finding, Severity
from guards.contamination.canaries import find_in_bytes, members
from guards.contamination.hardcoded import Leak, SourceChecker
from guards.contamination.rules import RULES
from guards.contamination.trusted import Trusted, trusted

__all__ = ["ContaminationGuard", "check_artifacts"]

_RULE_OF = {
    "text": "holdout-text",
    "encoded": "holdout-text-encoded",
    "digests": "holdout-digests",
    "answers": "holdout-answers",
    "pairs": "holdout-answer-pairs",
}
_MOST_FINDINGS = 20


class ContaminationGuard:
    """Compares what a change adds with the vault's cases.

    Cases that proposers can't read block; those that they may read (the screening split) ask for a probe, since a
    change that quotes them may have been fitted to them. A passage that the incumbent had already is no new leak.
    """

    name = "contamination"

    def inspect(self, evidence: Evidence) -> Iterable[Finding]:
        """Findings ``EK401`` to ``EK407``."""
        if evidence.vault is None:
            return
        known = trusted(evidence.vault(), evidence.contract.splits.screen)
        found = _before(evidence, known) if evidence.stage == "before" else _after(evidence, known)
        for number, finding in enumerate(found):
            if number >= _MOST_FINDINGS:
                return
            yield finding


def _before(evidence: Evidence, known: Trusted) -> Iterator[Finding]:
    for file in evidence.change.files:
        if file.status == "deleted":
            continue
        new, old = evidence.read_new(file.path), evidence.read_old(getattr(file, "old_path", None) or file.path)
        yield from _canaries(file.path, new, old, known)
        for name, content in [(file.path, new), *members(file.path, new)]:
            yield from _leaks(name, file.path, content, old, known.hidden, secret=True)
            yield from _leaks(name, file.path, content, old, known.visible, secret=False)


def _canaries(path: str, new: bytes, old: bytes, known: Trusted) -> Iterator[Finding]:
    before = {sighting.mark for sighting in find_in_bytes(path, old, known.marks)}
    for name, content in [(path, new), *members(path, new)]:
        for sighting in find_in_bytes(name, content, known.marks):
            if sighting.mark not in before:
                message = f"holds the mark of {sighting.meaning}"
                yield RULES["canary"].found(message, file=path, evidence=sighting.mark, secret=True)


def _leaks(
    name: str, path: str, new: bytes, old: bytes, checker: SourceChecker | None, *, secret: bool
) -> Iterator[Finding]:
    if checker is None or not new or new == old:
        return
    had = {(leak.kind, item) for leak in checker.check(old) for item in leak.items} if old else set()
    for leak in checker.check(new):
        if {(leak.kind, item) for item in leak.items} - had:
            yield _finding(leak, path, name, secret=secret)


def _finding(leak: Leak, path: str, name: str, *, secret: bool) -> Finding:
    rule = RULES[_RULE_OF[leak.kind]]
    message = leak.message if name == path else f"{name.removeprefix(path).lstrip('!')}: {leak.message}"
    severity = None if secret else Severity.PROBE
    if not secret:
        message = message.replace("holdout", "screening")
    return rule.found(message, file=path, line=leak.line, evidence=leak.evidence, severity=severity, secret=secret)


def _after(evidence: Evidence, known: Trusted) -> Iterator[Finding]:
    """What candidate trials printed; the incumbent's trials are not on trial."""
    told = "\n".join(trial.stdout for trial in evidence.trials if trial.arm == "candidate").encode("utf-8", "replace")
    yield from _artifact_findings("what a trial printed", told, known)


def _artifact_findings(name: str, raw: bytes, known: Trusted) -> Iterator[Finding]:
    for shown, content in [(name, raw), *members(name, raw)]:
        for sighting in find_in_bytes(shown, content, known.marks):
            message = f"{shown} holds the mark of {sighting.meaning}"
            yield RULES["canary"].found(message, evidence=sighting.mark, secret=True)
        leaks = known.hidden.check(content) if known.hidden and content else []
        for leak in leaks:
            message = f"{shown} {leak.message}"
            yield RULES["holdout-in-output"].found(
                message, evidence=leak.evidence, severity=_printed(leak), secret=True
            )


def _printed(leak: Leak) -> Severity:
    """Text may be an input that was served and echoed; answers and digests can't be."""
    return Severity.PROBE if leak.kind == "text" else Severity.BLOCK


def check_artifacts(files: Iterable[tuple[str, bytes]], known: Trusted) -> list[Finding]:
    """The same check for artefacts and caches that a trial left.

    Args:
        files: names and contents; archives are opened.
        known: the vault, from :func:`guards.contamination.trusted.trusted`.
    """
    return [finding for name, raw in files for finding in _artifact_findings(name, raw, known)]
