"""``evalkit gate``: in CI, a head revision against a base revision."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.common import contract_options, end, load, print_json

if TYPE_CHECKING:
    from evalkit.contract import Contract
    from evalkit.verify.verdict import Verdict

__all__ = ["command"]


@click.command(name="gate")
@contract_options
@click.option("--base", default="", metavar="REV", help="Default: the merge base of HEAD and the main branch.")
@click.option("--head", default="HEAD", show_default=True, metavar="REV", help="What is to be merged.")
@click.option("--allow-empty/--refuse-empty", default=True, help="Whether a head without changes to judge passes.")
def command(file: Path | None, profile: str, as_json: bool, base: str, head: str, allow_empty: bool) -> None:
    """Judge HEAD against BASE in a run of its own; nothing is committed, nothing is kept in the state folder.

    Exit code: 0 the head is better, or has nothing to judge; 1 rejected; 2 the contract; 3 inconclusive; 4 ours.
    """
    from evalkit.report.summary import verdict_lines  # noqa: PLC0415 - loads late
    from evalkit.workspace import Repository  # noqa: PLC0415

    contract = load(file, profile)
    repository = Repository.find(contract.root)
    base_commit = repository.resolve(base or _merge_base(contract))
    verdict = _judge(contract, base_commit, repository.resolve(head), quiet=as_json)
    plain: dict[str, Any] = {"base": base_commit, "head": head, "judged": verdict is not None}
    if as_json:
        print_json("gate", {**plain, "verdict": verdict.as_json() if verdict else None})
    elif verdict is None:
        click.echo(f"nothing to judge: {head} has the same files as {base_commit[:10]} in {contract.root}")
    else:
        for line in verdict_lines(contract, verdict.as_json()):
            click.echo(line)
    end(verdict.decision.exit_code if verdict else (0 if allow_empty else 1))


def _judge(contract: Contract, base: str, head: str, *, quiet: bool) -> Verdict | None:
    """The verdict, or None where head holds the same files as base."""
    from evalkit.report.live import Live  # noqa: PLC0415
    from evalkit.verify.calibration import calibrate_run  # noqa: PLC0415
    from evalkit.verify.examination import Attempt, examine  # noqa: PLC0415
    from evalkit.verify.workbench import Workbench  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="evalkit-gate-") as state:
        bench = Workbench.open(contract, revision=base, state=Path(state), expected_tests=1)
        with bench, Live(bench, quiet=quiet, verdicts=False) as live:
            _refuse_changed_contract(contract, bench)
            tree = bench.store.import_revision(contract.root, head)
            if tree == bench.book.anchor:
                return None
            calibrate_run(bench, progress=live.calibrating)
            return examine(bench, Attempt(tree, "gate", f"head {head[:10]}"), progress=live.submitting)


def _refuse_changed_contract(contract: Contract, bench: Any) -> None:
    """The contract that judges is the base's: a head that brings its own can't be judged under it."""
    from evalkit.errors import UsageError  # noqa: PLC0415

    committed = bench.store.files(bench.book.anchor)
    name = contract.file.name
    if name in committed and bench.store.read(bench.book.anchor, name) != contract.file.read_bytes():
        raise UsageError(
            f"{name} is not the one of the base revision; a change can't be judged by a contract it brings along",
            "land the contract's change on its own, then judge what follows it",
        )


def _merge_base(contract: Contract) -> str:
    """Where HEAD left the main branch, by the usual CI variables or the usual names."""
    import os  # noqa: PLC0415

    from evalkit.errors import UsageError, WorkspaceError  # noqa: PLC0415
    from evalkit.workspace import Repository  # noqa: PLC0415

    named = [os.environ.get(variable, "") for variable in ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME")]
    for branch in [*filter(None, named), "main", "master"]:
        for ref in (f"origin/{branch}", branch):
            try:
                return Repository.find(contract.root).merge_base(ref, "HEAD")
            except WorkspaceError:
                continue
    raise UsageError("there is no main branch to compare with", "say which revision: --base REV")
