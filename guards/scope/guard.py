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
    patch = "
" + evidence.change.patch
    added = patch.count("
+") - patch.count("
+++ ")
