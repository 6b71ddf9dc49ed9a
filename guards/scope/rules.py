"""The table of scope rules, ``EK010`` to ``EK029``."""

from __future__ import annotations

from evalkit.guarding import Severity
from guards.rule import Rule, table

__all__ = ["RULES"]

_BLOCK, _PROBE, _NOTE = Severity.BLOCK, Severity.PROBE, Severity.NOTE

RULES = table(
    [
        Rule(
            "EK010",
            "outside-editable",
            _BLOCK,
            "A path outside the contract's editable globs is added, changed, renamed or deleted.",
            "undo that part of the change, or widen `editable` in the contract",
            mechanism=1,
        ),
        Rule(
            "EK011",
            "hidden-path",
            _BLOCK,
            "A path that the contract hides, or that holds the vault or evalkit's state, is touched.",
            "undo that part of the change",
            mechanism=7,
        ),
        Rule(
            "EK012",
            "unsafe-path",
            _BLOCK,
            "A path leaves the tree, is absolute, names git's own files or holds control characters.",
            "use a plain relative path",
            mechanism=8,
        ),
        Rule(
            "EK013",
            "file-too-large",
            _BLOCK,
            "A changed file is larger than the contract allows.",
            "keep data out of the change, or raise `max_file` in [guards.scope]",
            mechanism=22,
        ),
        Rule(
            "EK014",
            "change-too-large",
            _BLOCK,
            "The change touches more files or adds more lines than the contract allows.",
            "split the change, or raise `max_files` / `max_lines` in [guards.scope]",
        ),
        Rule(
            "EK015",
            "binary",
            _BLOCK,
            "A binary file is added or changed: nobody can read it.",
            "produce it in the run instead, or list it in `binary` of [guards.scope]",
            mechanism=22,
        ),
        Rule(
            "EK016",
            "symlink",
            _BLOCK,
            "A symbolic link is added or changed.",
            "put the file itself in the tree",
            mechanism=7,
        ),
        Rule(
            "EK017",
            "submodule",
            _BLOCK,
            "A submodule is added or moved.",
            "vendor the code, or change the submodule in a commit of your own",
        ),
        Rule("EK018", "mode", _BLOCK, "The mode of a file changes.", "restore the mode", mechanism=2),
        Rule(
            "EK019",
            "renamed",
            _NOTE,
            "A file is renamed within the editable surface.",
            "make sure that nothing outside the surface refers to the old name",
        ),
        Rule(
            "EK020",
            "packed-code",
            _BLOCK,
            "A program carries a payload that it decodes and runs, or text that no person can read.",
            "submit the source itself",
            mechanism=22,
        ),
        Rule(
            "EK021",
            "unreadable-text",
            _BLOCK,
            "A source file holds NUL bytes, invalid UTF-8, or characters that make it read differently than it runs.",
            "save the file as plain UTF-8",
            mechanism=22,
        ),
        Rule(
            "EK022",
            "large-literal",
            _PROBE,
            "A program gains a large block of opaque data.",
            "say where it comes from; better, compute it in the run",
            mechanism=17,
        ),
    ]
)
"""By name."""
