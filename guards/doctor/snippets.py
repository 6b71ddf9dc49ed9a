"""The code of the cheats, from ``cheats.txt`` beside this file; every one runs in the sandbox and nowhere else.

A block begins with ``=== front|whole MECHANISM NAME``: code in front of the program's own, or a program of its own.
``@metric@`` is the objective's name, ``@best@`` an excellent value of it, ``@artifact@`` the first declared artefact,
``@scorer@`` the scorer's file, ``@vault@`` the vault's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Snippet", "snippets"]


@dataclass(frozen=True, slots=True)
class Snippet:
    """One cheat's code.

    Attributes:
        name: unique.
        mechanism: the number of the gaming mechanism.
        in_front: whether the program's own code follows.
        code: with placeholders.
    """

    name: str
    mechanism: int
    in_front: bool
    code: str

    def filled(self, values: Mapping[str, str]) -> str:
        """The code with every ``@placeholder@`` replaced."""
        code = self.code
        for name, value in values.items():
            code = code.replace(f"@{name}@", value)
        return code


@cache
def snippets() -> tuple[Snippet, ...]:
    """All of them, in the file's order."""
    text = files("guards.doctor").joinpath("cheats.txt").read_text(encoding="utf-8")
    found: list[Snippet] = []
    for block in ("\n" + text).split("\n=== ")[1:]:
        head, _, code = block.partition("\n")
        where, mechanism, name = head.split(" ", 2)
        found.append(
            Snippet(name, int(mechanism), where == "front", code if code.endswith("\n") or not code else code + "\n")
        )
    return tuple(found)
