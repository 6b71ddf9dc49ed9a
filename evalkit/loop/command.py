"""A proposer that is any command: a coding agent, a script, a model behind a command line.

It runs in a sandbox of its own, with the workspace writable at ``/box`` (its working directory), what it should do in
``/evalkit/program.md``, the history so far in ``/evalkit/history.tsv``, and nothing else of evalkit in sight. Its
output and its exit are recorded whole; the values of the secrets it was given are masked there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evalkit.contract import Budget, ProposerSettings
from evalkit.errors import UsageError
from evalkit.loop.proposing import Briefing, Past, Proposal, ProposalError
from evalkit.sandbox.interface import Job, Limits, Outcome, Result, Sandbox

__all__ = ["Command", "history_table"]

_INSTRUCTIONS = "/evalkit/program.md"
_HISTORY = "/evalkit/history.tsv"
_TRANSCRIPT_KEPT = 8 << 20
_MASKED = "[secret]"
_DESCRIPTION = 120


class Command:
    """Runs a command line for each proposal.

    Args:
        settings: the contract's ``[proposer]``.
        sandbox: where it runs.
        budget: memory, processes and disk; wall time is the proposer's own.

    Raises:
        UsageError: there is no command, or a secret that it should get is not set.
    """

    name = "command"

    def __init__(self, settings: ProposerSettings, sandbox: Sandbox, budget: Budget) -> None:
        if not settings.command:
            raise UsageError("the proposer `command` has no command", 'say which: [proposer] command = ["my-agent"]')
        self._settings = settings
        self._sandbox = sandbox
        self._secrets = _secrets(settings)
        self._limits = Limits(
            wall=settings.wall,
            memory=budget.memory,
            pids=max(budget.pids, 512),
            disk=budget.disk,
            output=_TRANSCRIPT_KEPT * 4,
            kept=_TRANSCRIPT_KEPT,
        )

    def propose(self, briefing: Briefing) -> Proposal:
        """Run the command in the workspace; what it leaves there is the proposal.

        Raises:
            ProposalError: it ended with anything but exit code 0.
        """
        filled = {"{workspace}": "/box", "{instructions}": _INSTRUCTIONS, "{history}": _HISTORY}
        job = Job(
            argv=tuple(_fill(argument, filled) for argument in self._settings.command),
            workspace=briefing.workspace,
            files={
                _INSTRUCTIONS: briefing.instructions.encode(),
                _HISTORY: history_table(briefing.history).encode(),
            },
            env={**self._secrets, "EVALKIT_EXPERIMENT": str(briefing.experiment)},
            limits=replace(self._limits, wall=min(self._limits.wall, briefing.wall)),
            network=self._settings.network,
            hosts=self._settings.hosts,
            identity="proposer",
        )
        result = self._sandbox.start(job).wait()
        result.close()
        transcript = self._masked(result)
        if result.outcome is not Outcome.OK:
            raise ProposalError(f"the proposer ended as {result.outcome}: {result.problem}", transcript=transcript)
        last = _last_line(self._without_secrets(result.stdout.text()))
        return Proposal(description=last or self._settings.command[0], transcript=transcript)

    def _masked(self, result: Result) -> bytes:
        text = result.stdout.text() + ("\n--- standard error ---\n" if result.stderr.total else "")
        return self._without_secrets(text + result.stderr.text()).encode()

    def _without_secrets(self, text: str) -> str:
        for value in self._secrets.values():
            if shown := os.fsencode(value).decode("utf-8", "backslashreplace"):
                text = text.replace(shown, _MASKED)
        return text


def _secrets(settings: ProposerSettings) -> Mapping[str, str]:
    missing = [name for name in settings.secrets if name not in os.environ]
    if missing:
        raise UsageError(
            f"the proposer needs {', '.join(missing)}, which the environment does not have",
            "export it, or take it out of [proposer] secrets",
        )
    return {name: os.environ[name] for name in settings.secrets}


def _fill(argument: str, filled: Mapping[str, str]) -> str:
    for placeholder, value in filled.items():
        argument = argument.replace(placeholder, value)
    return argument


def _last_line(printed: str) -> str:
    """The last line that the command printed: what agents end with is what they did."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable())[:_DESCRIPTION] if lines else ""


def history_table(history: Sequence[Past]) -> str:
    """The history as tab-separated lines with a header, for a prompt."""
    return "\n".join(["experiment\tdecision\treason\tdescription", *(past.line() for past in history)]) + "\n"
