"""The scope guard: nothing outside the editable surface, and nothing that nobody can read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from evalkit.contract import Contract
from evalkit.guarding import Evidence, Finding, Severity
from evalkit.workspace import Globs
from guards.scope.limits import ScopeLimits
from guards.scope.readable import deceptive_characters, opaque_blocks, runs_what_it_decodes
from guards.scope.rules import RULES
from guards.text import decode, is_binary, is_code

__all__ = ["ScopeGuard"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINK, _SUBMODULE, _REGULAR = "120000", "160000", {"100644", "100755", "644", "755", "", "000000"}
_OWN = (".evalkit", "**/.git")
_PACKED = 2_000
"""Characters of opaque data, beside code that decodes and runs it, that make a program packed."""


class ScopeGuard:
    """Blocks on paths, kinds of file and sizes that the contract does not allow; looks before any trial."""

    name = "scope"

    def inspect(self, evidence: Evidence) -> Iterable[Finding]:
        """Findings ``EK010`` to ``EK022``."""
        if evidence.stage != "before":
            return
        limits = ScopeLimits.read(evidence.contract.guards.options.get(self.name, {}))
        yield from _whole_change(evidence, limits)
        for file in evidence.change.files:
            yield from _paths(file, evidence.contract)
            yield from _kind(file)
            if file.status not in {"deleted", "mode"} and not _is_special(file):
                yield from _content(file.path, evidence, limits)


def _whole_change(evidence: Evidence, limits: ScopeLimits) -> Iterator[Finding]:
    rule, count = RULES["change-too-large"], len(evidence.change.files)
    if count > limits.max_files:
        yield rule.found(f"{count} files are touched; {limits.max_files} are allowed")
    patch = "\n" + evidence.change.patch
    added = patch.count("\n+") - patch.count("\n+++ ")
    if added > limits.max_lines:
        yield rule.found(f"{added} lines are added; {limits.max_lines} are allowed")


def _paths(file: Any, contract: Contract) -> Iterator[Finding]:
    old = getattr(file, "old_path", None)
    for path in dict.fromkeys(p for p in (file.path, old) if p):
        if (reason := _unsafe(path)) is not None:
            yield RULES["unsafe-path"].found(f"{reason}: {path!r}", file=path)
        elif Globs((*contract.hidden, *_vault(contract), *_OWN)).covers(path):
            yield RULES["hidden-path"].found("a hidden path is touched", file=path)
        elif not Globs(contract.editable).matches(path):
            done = {"added": "added", "deleted": "deleted", "renamed": "renamed"}.get(file.status, "changed")
            yield RULES["outside-editable"].found(
                f"{done}, but `editable` covers only {', '.join(contract.editable)}", file=path
            )
    if file.status == "renamed" and old != file.path:
        yield RULES["renamed"].found(f"renamed from {old or 'another path'}", file=file.path)


def _unsafe(path: str) -> str | None:
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or not path:
        return "the path leaves the tree"
    if any(part.lower().rstrip(". ") in {".git", "git~1"} for part in parts):
        return "the path names git's own files"
    if _CONTROL.search(path):
        return "the path holds control characters"
    if "\\" in path or any(part in {"", "."} for part in parts):
        return "the path is not in its plain form"
    return None


def _vault(contract: Contract) -> tuple[str, ...]:
    vault = contract.splits.vault
    if vault is None or PurePosixPath(vault).is_absolute():
        return ()
    return (vault.rstrip("/"),)


def _modes(file: Any) -> tuple[str, str]:
    """Old and new mode as octal text; a regular file's where the change does not say."""
    old, new = getattr(file, "old_mode", ""), getattr(file, "new_mode", "")
    return _octal(old), _octal(new)


def _octal(mode: str | int | None) -> str:
    if isinstance(mode, int):
        return f"{mode:o}" if mode else ""
    return mode or ""


def _is_special(file: Any) -> bool:
    return _modes(file)[1] in {_LINK, _SUBMODULE}


def _kind(file: Any) -> Iterator[Finding]:
    old, new = _modes(file)
    if _LINK in {old, new} or file.status == "symlink":
        yield RULES["symlink"].found("a symbolic link is touched", file=file.path)
    elif _SUBMODULE in {old, new} or file.status == "submodule":
        yield RULES["submodule"].found("a submodule is touched", file=file.path)
    elif new not in _REGULAR:
        yield RULES["mode"].found(f"the file has mode {new}", file=file.path)
    elif file.status == "mode" or (file.status in {"modified", "renamed"} and old and new and old != new):
        yield RULES["mode"].found(f"the mode changes from {old or '?'} to {new or '?'}", file=file.path)


def _listed(path: str, globs: tuple[str, ...]) -> bool:
    return bool(globs) and Globs(globs).matches(path)


def _content(path: str, evidence: Evidence, limits: ScopeLimits) -> Iterator[Finding]:
    raw = evidence.read_new(path)
    if len(raw) > limits.max_file:
        yield RULES["file-too-large"].found(f"{len(raw):,} bytes; {limits.max_file:,} are allowed", file=path)
        return
    if is_code(path):
        yield from _source(path, raw, evidence.read_old(path), limits)
    elif is_binary(raw) and not _listed(path, limits.binary):
        yield RULES["binary"].found("a binary file is in the change", file=path)


def _source(path: str, raw: bytes, before: bytes, limits: ScopeLimits) -> Iterator[Finding]:
    if (strange := deceptive_characters(raw)) is not None and deceptive_characters(before) != strange:
        yield RULES["unreadable-text"].found(f"the source holds {strange[1]}", file=path, line=strange[0])
    text = decode(raw, cap=limits.max_file).text
    blocks = opaque_blocks(text)
    known = {block.evidence for block in opaque_blocks(decode(before, cap=limits.max_file).text)} if blocks else set()
    added = [block for block in blocks if block.evidence not in known]
    if not added:
        return
    size, first = sum(block.size for block in added), added[0]
    packed = size >= _PACKED and runs_what_it_decodes(text)
    rule = RULES["packed-code" if packed else "large-literal"]
    allowed = Severity.NOTE if packed and _listed(path, limits.packed) else None
    what = "that the program decodes and runs" if packed else "in a program"
    yield rule.found(
        f"{size:,} characters of opaque data {what}",
        file=path,
        line=first.line,
        evidence=first.evidence,
        severity=allowed,
    )
