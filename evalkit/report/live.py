"""The terminal while a run goes on: a bar with what is being tried and the time left, a line for each verdict.

Where standard error is no terminal, the lines are printed and the bar is not.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from evalkit.report.wording import COLOURS, duration, one_line, why
from evalkit.stats.protocols import Need
from evalkit.verify.verdict import Verdict
from evalkit.verify.workbench import Workbench

__all__ = ["Live"]

_DESCRIPTION = 44
_STAGES = {Need.SCREEN_SINGLE: "screen", Need.SCREEN_PAIR: "screen pair", Need.CONFIRM_PAIR: "confirm pair"}


class Live:
    """A :class:`evalkit.loop.session.Watcher` that shows what happens.

    Args:
        bench: the open run.
        quiet: show nothing.
        total: experiments that the run shall have, or None.
        verdicts: whether to print a line for each verdict.
    """

    def __init__(
        self, bench: Workbench, *, quiet: bool = False, total: int | None = None, verdicts: bool = True
    ) -> None:
        self._bench = bench
        self._total = total
        self._verdicts = verdicts and not quiet
        self._console = Console(stderr=True, highlight=False, quiet=quiet)
        self._progress = Progress(
            TextColumn("{task.fields[head]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[doing]}"),
            console=self._console,
            transient=True,
            disable=quiet or not sys.stderr.isatty(),
        )
        self._task: TaskID | None = None
        self._began = time.monotonic()
        self._done = 0

    def __enter__(self) -> Self:
        for notice in self._bench.ledger.notices:
            self._console.print(f"note: {escape(notice)}")
        if self._bench.sandbox.unsafe:
            self._console.print("[bold red]UNSAFE: candidate code is not contained by this sandbox[/]")
        self._progress.start()
        self._task = self._progress.add_task("", total=None, head="", doing="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def _show(self, head: str, doing: str, done: float | None, total: float | None) -> None:
        if self._task is not None:
            self._progress.update(self._task, head=head, doing=doing, completed=done or 0, total=total)

    def calibrating(self, have: int, wanted: int) -> None:
        """An A/A pair is about to be measured."""
        self._show("calibrating", f"A/A pair {have + 1} of {wanted}", have, wanted)

    def estimating(self, have: int, wanted: int) -> None:
        """A fresh pair of a keep is about to be measured."""
        self._show("estimating", f"fresh pair {have + 1} of {wanted} of the keep", have, wanted)

    def comparing(self, have: int, wanted: int) -> None:
        """A fresh pair of anchor and head is about to be measured."""
        self._show("anchor against head", f"fresh pair {have + 1} of {wanted}", have, wanted)

    def proposing(self, experiment: int) -> None:
        """The proposer is at work."""
        self._show(self._head(experiment), f"proposing{self._left()}", experiment - 1, self._total)

    def measuring(self, experiment: int, description: str, need: Need, trials: int) -> None:
        """A trial or pair is about to be measured."""
        doing = f"{one_line(description, _DESCRIPTION)} · {_STAGES[need]}, trial {trials + 1}{self._left()}"
        self._show(self._head(experiment), escape(doing), experiment - 1, self._total)

    def submitting(self, need: Need, trials: int) -> None:
        """A trial or pair of a submitted candidate is about to be measured."""
        self._show("verifying", f"{_STAGES[need]}, trial {trials + 1}", None, None)

    def rerunning(self, need: Need, trials: int) -> None:
        """A trial or pair of a rerun is about to be measured."""
        self._show("measuring again", f"{_STAGES[need]}, trial {trials + 1}", None, None)

    def decided(self, verdict: Verdict) -> None:
        """An experiment has its verdict."""
        self._done += 1
        if not self._verdicts:
            return
        plain: dict[str, Any] = verdict.as_json()
        colour = COLOURS[plain["decision"]]
        self._console.print(
            f"{verdict.experiment:4d} [{colour}]{plain['decision']:12}[/] "
            f"{escape(one_line(plain['description'], _DESCRIPTION)):{_DESCRIPTION}} "
            f"{escape(one_line(why(self._bench.contract, plain), 90))}",
            soft_wrap=True,
        )

    def _head(self, experiment: int) -> str:
        return f"experiment {experiment}" + (f" of {self._total}" if self._total else "")

    def _left(self) -> str:
        if not self._total or not self._done:
            return ""
        each = (time.monotonic() - self._began) / self._done
        return f" · {duration(each * max(0, self._total - self._bench.book.experiments))} left"
