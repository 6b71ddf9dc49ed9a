"""How ``evalkit gate`` judges: which contracts a change matters to, and each of them in a run of its own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import EvalkitError, InfrastructureError, UsageError
from evalkit.report.gating import Judged, judged_contract, judged_suite

if TYPE_CHECKING:
    from evalkit.contract import Contract
    from evalkit.verify.workbench import Workbench

__all__ = ["Change", "changed_between", "contracts_at", "judge_contract", "judge_suite", "top_of"]

_MORE_PAIRS = 2


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be judged.

    Attributes:
        top: of the checkout.
        base, head: commit ids.
        files: changed, relative to the top.
    """

    top: Path
    base: str
    head: str
    files: tuple[str, ...]


def top_of(folder: Path) -> Path:
    """The top of the checkout around a folder.

    Raises:
        WorkspaceError: there is none.
    """
    from evalkit.workspace import Repository  # noqa: PLC0415 - loads late

    prefix = Repository.find(folder).prefix
    resolved = folder.resolve()
    return resolved.parents[len(Path(prefix).parts) - 1] if prefix else resolved


def changed_between(top: Path, base: str, head: str) -> tuple[str, ...]:
    """The files that differ between two commits, both names of a renamed one.

    Raises:
        UsageError: git can't compare them.
    """
    from evalkit.workspace.git import git  # noqa: PLC0415

    ran = git(
        ["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", "--no-textconv", base, head],
        folder=top,
    )
    if ran.code:
        raise UsageError(f"{base[:12]} and {head[:12]} can't be compared: {ran.said}", "run: git fetch --unshallow")
    return tuple(part.decode("utf-8", "surrogateescape") for part in ran.out.split(b"\0") if part)


def contracts_at(top: Path, base: str) -> list[Path]:
    """The contract files of a revision that are in the checkout too, outermost first."""
    from evalkit.contract.load import find_contract  # noqa: PLC0415
    from evalkit.workspace.git import git  # noqa: PLC0415

    ran = git(["ls-tree", "-r", "-z", "--name-only", "--full-tree", base], folder=top)
    names = [part.decode("utf-8", "surrogateescape") for part in ran.out.split(b"\0") if part]
    folders = {(top / name).parent for name in names if Path(name).name in {"evalkit.toml", "pyproject.toml"}}
    found: set[Path] = set()
    for folder in folders:
        with contextlib.suppress(EvalkitError):
            contract = find_contract(folder)
            if contract.parent == folder.resolve() and not _only_settings(contract):
                found.add(contract)
    return sorted(found, key=lambda file: (len(file.parts), file))


def _only_settings(file: Path) -> bool:
    """Whether a file holds settings of suites and of the gate, and no contract."""
    import tomllib  # noqa: PLC0415

    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # reading it as a contract says what is wrong with it
    own = document.get("tool", {}).get("evalkit", {}) if file.name == "pyproject.toml" else document
    return set(own) <= {"suite", "gate"}


def judge_contract(contract: Contract, change: Change, others: list[Path], *, state: Path | None, more: bool,
                   quiet: bool) -> Judged:  # fmt: skip
    """A contract's verdict about a change; a mistake in the set-up is an ``ERROR`` of this contract alone.

    Args:
        contract: from the checkout.
        change: what is to be judged.
        others: contract files of the repository: what lies in a deeper one's folder is that one's.
        state: folder for the evidence, so that it can be continued; None for one that is thrown away.
        more: whether to add pairs to an inconclusive verdict that lies in ``state``.
        quiet: show no progress.

    Raises:
        UsageError: the contract is not the base's.
    """
    folder = contract.root.resolve().relative_to(change.top.resolve()).as_posix().removeprefix(".")
    touched = _touched(folder, change.files, [_below(other.parent, change.top) for other in others])
    nothing = Judged(contract.name, f"{folder}/{contract.file.name}".lstrip("/"), "NOTHING", "", folder=folder)
    nothing = replace(nothing, empty_passes=contract.gate.empty == "pass")
    if not touched:
        return replace(nothing, sentence="the change touches none of its files")
    if not _edits(contract, touched) and not _protected(contract, touched):
        shown = ", ".join(sorted(touched)[:5])
        return replace(nothing, sentence=f"the change touches nothing that may be edited, only {shown}")
    try:
        verdict = _verdict(contract, change, state, more=more, quiet=quiet)
    except InfrastructureError as error:
        return replace(nothing, decision="ERROR", sentence=str(error))
    if verdict is None:
        return replace(nothing, sentence="both revisions have the same files there")
    return judged_contract(contract, verdict, folder)


def _below(folder: Path, top: Path) -> str:
    return folder.resolve().relative_to(top.resolve()).as_posix().removeprefix(".")


def _touched(folder: str, files: tuple[str, ...], folders: list[str]) -> list[str]:
    """The changed files that are this contract's, relative to its folder."""
    prefix = f"{folder}/" if folder else ""
    deeper = [f"{other}/" for other in folders if other != folder and other.startswith(prefix)]
    ours = [file for file in files if file.startswith(prefix) and not file.startswith(tuple(deeper))]
    return [file.removeprefix(prefix) for file in ours]


def _edits(contract: Contract, touched: list[str]) -> bool:
    from evalkit.workspace import Globs  # noqa: PLC0415

    editable = Globs(contract.editable)
    return any(editable.matches(file) for file in touched)


def _protected(contract: Contract, touched: list[str]) -> bool:
    """Whether the change touches what decides: the contract, the scorer, the vault, whatever a command names.

    Such a change is never "nothing to judge": it goes to the scope check, which refuses it.
    """
    from evalkit.workspace import Globs  # noqa: PLC0415

    hidden = Globs(contract.hidden)
    programs = contract.programs.values()
    commands = [argv or () for program in programs for argv in (program.run, program.serve, program.score)]
    named = {argument for argv in commands for argument in argv}
    vault = f"{contract.splits.vault}/" if contract.splits.vault else "\0"
    return any(
        file == contract.file.name or file in named or file.startswith(vault) or hidden.covers(file) for file in touched
    )


def _verdict(
    contract: Contract, change: Change, state: Path | None, *, more: bool, quiet: bool
) -> Mapping[str, Any] | None:
    """The verdict as JSON, or None where head holds the same files as base."""
    from evalkit.report.live import Live  # noqa: PLC0415
    from evalkit.verify.calibration import calibrate_run  # noqa: PLC0415
    from evalkit.verify.examination import Attempt, examine  # noqa: PLC0415
    from evalkit.verify.workbench import Workbench  # noqa: PLC0415

    with _state(state, contract.name) as folder:
        bench = Workbench.open(contract, revision=change.base, state=folder, expected_tests=1)
        with bench, Live(bench, quiet=quiet, verdicts=False) as live:
            _refuse_changed_contract(contract, bench)
            tree = bench.store.import_revision(contract.root, change.head)
            if tree == bench.book.anchor:
                return None
            if not bench.book.calibrated:
                calibrate_run(bench, progress=live.calibrating)
            attempt = Attempt(tree, "gate", f"head {change.head[:10]}")
            earlier = _earlier(bench, tree)
            if earlier is not None and (earlier["decision"] != "INCONCLUSIVE" or not more):
                return earlier
            if earlier is not None:
                attempt = _reopen(bench, earlier)
            verdict = examine(bench, attempt, progress=live.submitting)
            return {**verdict.as_json(), "ledger": {"head": bench.ledger.head, "records": bench.ledger.count}}


@contextlib.contextmanager
def _state(folder: Path | None, name: str) -> Iterator[Path]:
    if folder is not None:
        yield folder / name
        return
    with tempfile.TemporaryDirectory(prefix="evalkit-gate-") as made:
        yield Path(made)


def _earlier(bench: Workbench, tree: str) -> Mapping[str, Any] | None:
    """The last verdict about this very tree in this state."""
    if bench.book.open_experiment is not None:
        return None
    found = [record.body for record in bench.ledger.records("decided") if record.body["candidate"] == tree]
    return found[-1] if found else None


def _reopen(bench: Workbench, earlier: Mapping[str, Any]) -> Any:
    """Open an inconclusive experiment again, with all its trials and room for as many more, at the level that it had.

    The evidence is an e-process: it may be looked at whenever one likes, so adding trials costs nothing of its level.
    """
    from evalkit.verify.examination import Attempt  # noqa: PLC0415
    from evalkit.verify.replay import story_of  # noqa: PLC0415

    story = story_of(bench.ledger.records(), earlier["experiment"])
    rules = dict(story.proposed["rules"])
    rules["policy"] = {**rules["policy"], "max_pairs": _MORE_PAIRS * rules["policy"]["max_pairs"]}
    number = bench.book.experiments + 1
    bench.record("proposed", {**story.proposed, "experiment": number, "rules": rules})
    for trial in story.trials:
        bench.record("measured", {**trial, "experiment": number})
    return Attempt.of_record(story.proposed)


def _refuse_changed_contract(contract: Contract, bench: Workbench) -> None:
    """The contract that judges is the base's: a head that brings its own can't be judged under it."""
    committed = bench.store.files(bench.book.anchor)
    name = contract.file.name
    if name in committed and bench.store.read(bench.book.anchor, name) != contract.file.read_bytes():
        raise UsageError(
            f"{name} is not the one of the base revision; a change can't be judged by a contract it brings along",
            "land the contract's change on its own, then judge what follows it",
        )


def judge_suite(specs: str, change: Change, *, settings: Mapping[str, Any], hidden: tuple[str, ...]) -> list[Judged]:
    """The gates of a suite, run with the base's specs in a parent that can't be fooled.

    Args:
        specs: file or folder, relative to the top.
        change: what is to be judged.
        settings: instead of those in the base's ``[suite]``.
        hidden: globs that the subject does not see, besides the specs.

    Raises:
        UsageError: the base has no such specs.
    """
    from evalkit.suite.trusted import Arms, run_trusted  # noqa: PLC0415
    from evalkit.workspace import Store  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="evalkit-gate-") as folder, Store.open(Path(folder)) as store:
        Path(folder).chmod(0o755)
        base, head = (store.import_revision(change.top, revision, "") for revision in (change.base, change.head))
        if base == head:
            return [Judged(specs, specs, "NOTHING", "both revisions have the same files")]
        without = [specs, "conftest.py", "**/conftest.py", "vault", "evalkit.toml", *hidden]
        full = {"baseline": store.pristine(base), "candidate": store.pristine(head)}
        arms = Arms(store.pristine(head, without), store.pristine(base, without), full)
        ran = run_trusted(full["baseline"], specs, arms, settings=settings)
    note = [file for file in change.files if file == specs or file.startswith(f"{specs.rstrip('/')}/")]
    entries = judged_suite(specs, ran.result, decision=ran.decision, sentence=ran.sentence)
    if note:
        entries = [replace(entry, details=(*entry.details, f"judged by the base's specs; {note[0]} differs"))
                   for entry in entries]  # fmt: skip
    return entries or [Judged(specs, specs, "ERROR", ran.sentence)]
