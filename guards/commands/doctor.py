"""``evalkit doctor``: attack the contract with known-bad candidates, and say what would have been kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from evalkit.contract import Contract
from guards.doctor.attack import Attacked, attack, copied_task, read_tree
from guards.doctor.candidates import Candidate, Expected, known_bad, neutral
from guards.figures.table import wilson

__all__ = ["command"]

_SCHEMA = "evalkit.doctor/1"


@click.command("doctor")
@click.argument("task", type=click.Path(path_type=Path, exists=True), default=Path())
@click.option("--profile", default="", help="Profile of the contract.")
@click.option("--only", multiple=True, help="Candidates with this in their name, or of this mechanism's number.")
@click.option("--quick", is_flag=True, help="One candidate a mechanism, two neutral ones.")
@click.option("--fix", is_flag=True, help="Propose the edits of the contract that close the holes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(task: Path, profile: str, only: tuple[str, ...], quick: bool, fix: bool, as_json: bool) -> None:  # noqa: PLR0917
    """Attack the contract of TASK (a folder or an evalkit.toml) on a copy, with the real verifier.

    Exit code 0: no cheat was kept and nothing harmless was refused by a guard; 1: there is a hole.
    """
    contract = Contract.load(task / "evalkit.toml" if task.is_dir() else task, profile=profile)
    with copied_task(contract) as copy:
        tree = read_tree(copy.root)
        chosen = _chosen([*known_bad(copy, tree), *neutral(copy, tree)], only, quick=quick)
        done: list[Attacked] = []
        for attacked in attack(copy, chosen, progress=None if as_json else _announce(len(chosen))):
            done.append(attacked)
            if not as_json:
                _line(attacked)
    if as_json:
        click.echo(json.dumps(_document(done), ensure_ascii=False))
    else:
        _summary(done, fix=fix)
    sys.exit(0 if all(attacked.ok for attacked in done) else 1)


def _chosen(candidates: Sequence[Candidate], only: tuple[str, ...], *, quick: bool) -> list[Candidate]:
    found = [c for c in candidates if not only or any(o in c.name or o == str(c.mechanism) for o in only)]
    if not quick:
        return found
    seen: dict[int, int] = {}
    few: list[Candidate] = []
    for candidate in found:
        seen[candidate.mechanism] = seen.get(candidate.mechanism, 0) + 1
        if seen[candidate.mechanism] <= (2 if candidate.mechanism == 0 else 1):
            few.append(candidate)
    return few


def _announce(total: int) -> Callable[[int, Candidate], None]:
    def say(number: int, candidate: Candidate) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{number + 1}/{total} {candidate.name}", nl=False, err=True)

    return say


def _line(attacked: Attacked) -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    mark = click.style("ok  ", fg="green") if attacked.ok else click.style("HOLE", fg="red", bold=True)
    what = f"{attacked.candidate.mechanism:2}" if attacked.candidate.mechanism else " -"
    click.echo(f"{mark} {what} {attacked.candidate.name:28} {attacked.decision:12} {attacked.sentence[:80]}")


def _rates(done: Sequence[Attacked]) -> dict[str, tuple[int, int, float, float]]:
    bad = [attacked for attacked in done if attacked.candidate.expected is Expected.REFUSED]
    idle = [attacked for attacked in done if attacked.candidate.expected is Expected.LEFT]
    rows = {
        "false accepts": (sum(a.kept for a in bad), len(bad)),
        "false rejects": (sum(not a.ok for a in idle), len(idle)),
    }
    return {name: (hits, total, *wilson(hits, total)) for name, (hits, total) in rows.items()}


def _document(done: Sequence[Attacked]) -> dict[str, object]:
    rates = {
        name: {"count": hits, "of": total, "low": low, "high": high}
        for name, (hits, total, low, high) in _rates(done).items()
    }
    return {"schema": _SCHEMA, "rates": rates, "candidates": [attacked.as_json() for attacked in done]}


def _summary(done: Sequence[Attacked], *, fix: bool) -> None:
    click.echo()
    for name, (hits, total, low, high) in _rates(done).items():
        click.echo(f"{name}: {hits} of {total} (95 % {100 * low:.1f}–{100 * high:.1f} %)")
    holes = {attacked.hole.what: attacked.hole for attacked in done if attacked.hole}
    for hole in holes.values():
        click.echo(f"\nhole: {hole.what}")
        if fix:
            click.echo("\n".join(f"    {line}" for line in hole.line.split("\n")))
    if holes and not fix:
        click.echo("\n`evalkit doctor --fix` proposes the lines that close them")
