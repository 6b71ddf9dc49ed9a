"""What a case is, and the two kinds that most of them are: a door that must be shut, and an ending that must be right."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from evalkit.sandbox.interface import Job, Limits, Outcome, Result, Sandbox
from evalkit.sandbox.redteam.arena import Arena

__all__ = ["SMALL", "Case", "Held", "Mark", "door", "ending", "run"]

SMALL = Limits(wall=8, memory=256 << 20, pids=64, disk=16 << 20, output=4 << 20, kept=4096)
"""Limits of most cases."""
_SIGSYS = 31

_FRAME = """
import ctypes, errno, fcntl, os, signal, socket, stat, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return "done"
def attack():
{body}
try:
    print("GOT", repr(attack())[:300])
except OSError as error:
    print("REFUSED", errno.errorcode.get(error.errno, str(error)[:80]))
"""


class Mark(StrEnum):
    """One cell of the table."""

    CAPPED = "+"
    PARTLY = "~"
    OPEN = "-"
    NOT_HERE = " "


@dataclass(frozen=True, slots=True)
class Held:
    """What came of a case on one backend.

    Attributes:
        mark: the cell.
        detail: what was seen.
    """

    mark: Mark
    detail: str = ""

    @classmethod
    def when(cls, held: bool, detail: str = "") -> Held:
        """Capped or not."""
        return cls(Mark.CAPPED if held else Mark.OPEN, detail)


@dataclass(frozen=True, slots=True)
class Case:
    """One attack.

    Attributes:
        id: as in the threat model, such as ``N1``.
        attack: what is tried, in a few words.
        safe: the outcome that counts as held.
        check: runs it.
        reasons: why a backend does not hold it, by backend; a reason makes an open cell a documented one.
    """

    id: str
    attack: str
    safe: str
    check: Callable[[Sandbox, Arena], Held]
    reasons: Mapping[str, str] = field(default_factory=dict)


def run(sandbox: Sandbox, arena: Arena, code: str, **changes: object) -> Result:
    """Run a program in a sandbox with small limits."""
    job = Job(argv=("python", "-c", textwrap.dedent(code)), tree=arena.tree, env=arena.facts, limits=SMALL)
    return sandbox.start(replace(job, **changes)).wait()  # type: ignore[arg-type]


def door(id: str, attack: str, body: str, safe: str = "refused", **reasons: str) -> Case:  # noqa: A002
    """A case whose program must meet an :class:`OSError` (or be killed for a forbidden system call)."""
    code = _FRAME.format(body=textwrap.indent(textwrap.dedent(body).strip(), "    "))

    def check(sandbox: Sandbox, arena: Arena) -> Held:
        result = run(sandbox, arena, code)
        said = result.stdout.text().strip()
        if result.signal == _SIGSYS:
            return Held(Mark.CAPPED, "killed for the system call")
        if said.startswith("REFUSED"):
            return Held(Mark.CAPPED, said)
        if said.startswith("GOT"):
            return Held(Mark.OPEN, said)
        return Held(Mark.OPEN, f"no answer: {result.outcome} {result.problem} {result.stderr.text()[-200:]}")

    return Case(id, attack, safe, check, _named(reasons))


def ending(
    id: str,  # noqa: A002
    attack: str,
    body: str,
    *expected: Outcome,
    limits: Limits = SMALL,
    also: Callable[[Result], bool] = lambda _: True,
    **reasons: str,
) -> Case:
    """A case that must end in one of some classes."""

    def check(sandbox: Sandbox, arena: Arena) -> Held:
        result = run(sandbox, arena, body, limits=limits)
        held = result.outcome in expected and also(result)
        return Held.when(held, f"{result.outcome}: {result.problem} {result.stderr.text()[-100:]}".strip())

    return Case(id, attack, " or ".join(expected), check, _named(reasons))


def _named(reasons: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", ":"): reason for name, reason in reasons.items()}
