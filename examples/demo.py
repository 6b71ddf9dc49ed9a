"""``make demo``: a real loop on ``charlm``, about three minutes on two cores.

It calibrates, lets the built-in tuner propose, slips in six planted candidates, and shows what was kept and why. All
of it happens in a copy below ``build/demo``, which is a git repository of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evalkit import Contract
from evalkit.errors import EvalkitError
from evalkit.loop import Briefing, Proposal, Session
from evalkit.loop.session import Limits
from evalkit.loop.tuner import Tuner
from evalkit.report.keepifbetter import keep_if_better
from evalkit.report.live import Live
from evalkit.report.page import write_page
from evalkit.report.wording import COLOURS, duration, one_line, pairs_text, value_text, why
from evalkit.verify import Workbench
from evalkit.verify.comparison import compare_with_anchor

ROOT = Path(__file__).resolve().parents[1]
PLANTED = sorted((ROOT / "examples/charlm/patches/demo").glob("*.patch"))


class TunerWithPlants:
    """The tuner, with a planted candidate in every third place."""

    name = "tuner"

    def __init__(self, entropy: int) -> None:
        self._tuner = Tuner(entropy=entropy)
        self._plants = {3 * (index + 1): patch for index, patch in enumerate(PLANTED)}

    def propose(self, briefing: Briefing) -> Proposal:
        patch = self._plants.get(briefing.experiment)
        if patch is None:
            return self._tuner.propose(briefing)
        return Proposal(
            description=f"planted: {patch.stem.partition('-')[2].replace('-', ' ')}", patch=patch.read_bytes()
        )


def fresh_copy(target: Path) -> Path:
    """The example as a repository of its own, with one commit."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "examples/charlm", target, ignore=shutil.ignore_patterns(".evalkit", "__pycache__"))
    who = ["-c", "user.name=demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-q", "-m", "the anchor"]):
        subprocess.run(["git", *command], cwd=target, check=True, env=environment)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=26)
    parser.add_argument("--minutes", type=float, default=3.5, help="begin no experiment after that")
    parser.add_argument("--compare", type=int, default=8, help="fresh pairs of anchor and head at the end")
    parser.add_argument("--entropy", type=int, default=211, help="of the tuner's choices")
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    started = time.monotonic()
    folder = fresh_copy(ROOT / "build" / "demo" / "charlm")
    contract = Contract.load(folder / "evalkit.toml", profile="demo")
    console.print(
        f"[bold]{contract.name}[/]: {contract.objective.goal} {contract.objective.name}; "
        f"{options.experiments} experiments, {len(PLANTED)} of them planted; about three minutes\n"
    )
    with Workbench.open(contract) as bench:
        with Live(bench, total=options.experiments) as live:
            session = Session(bench, TunerWithPlants(options.entropy), live)
            session.run(Limits(options.experiments, options.minutes * 60))
            compared = compare_with_anchor(bench, options.compare, progress=live.comparing)
        page = folder.parent / "report.html"
        write_page(contract, bench.ledger, bench.store, page)
        tell(console, contract, bench, compared)
        console.print(f"\nledger   {bench.ledger.folder} (check it: evalkit verify)")
        console.print(f"page     {page}")
        console.print(f"keeps    git -C {folder} log --stat {bench.book.branch}")
        console.print(f"time     {duration(time.monotonic() - started)}")


def tell(console: Console, contract: Contract, bench: Workbench, compared: dict) -> None:
    """The closing table: kept, rejected and why, anchor and head, and what keep-if-better would have done."""
    verdicts = [record.body for record in bench.ledger.records("decided")]
    table = Table(title=None, header_style="bold", expand=False)
    for column, width in (("#", 3), ("verdict", 12), ("change", 44), ("why", 40)):
        table.add_column(column, justify="right" if column == "#" else "left", no_wrap=True, min_width=width)
    for verdict in verdicts:
        colour = COLOURS[verdict["decision"]]
        table.add_row(
            str(verdict["experiment"]),
            f"[{colour}]{verdict['decision']}[/]",
            one_line(verdict["description"], 44),
            one_line(why(contract, verdict), 84),
        )
    console.print(table, soft_wrap=not sys.stdout.isatty())
    objective = contract.objective
    values = compared["values"][objective.name]
    for arm in ("anchor", "head"):
        seen = values[arm]
        shown = f"{value_text(seen['mean'])} [{value_text(seen['low'])}, {value_text(seen['high'])}]"
        console.print(f"{arm:8} {objective.name} {shown} on {compared['pairs']} fresh pairs")
    console.print(f"gain     {pairs_text(objective, compared['effects'][objective.name])}, 95 %, + is better")
    tell_keep_if_better(console, contract, bench, verdicts)


def tell_keep_if_better(console: Console, contract: Contract, bench: Workbench, verdicts: list) -> None:
    """Beside what was kept: what a loop that keeps what looks better once would have kept of the same stream."""
    first = next(bench.ledger.records("calibrating")).body["incumbent"]["readings"][contract.objective.name]["value"]
    naive = keep_if_better(contract.objective, first, (record.body for record in bench.ledger.records("measured")))
    kept = [verdict["experiment"] for verdict in verdicts if verdict["decision"] == "KEEP"]
    false = [number for number in naive if number not in kept]
    console.print(f"\nkept     {len(kept)}: {', '.join(map(str, kept)) or 'none'}")
    listed = ", ".join(map(str, naive)) or "none"
    console.print(f"keep-if-better (one run each, same stream) would have kept {len(naive)}: {listed};")
    console.print(f"         {len(false)} of them did not survive verification")


if __name__ == "__main__":
    try:
        main()
    except EvalkitError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit("demo: stopped")
