"""Everything that a run needs, opened together and closed together: ledger, store, sandbox, guards.

The ledger comes first: whoever holds its lock owns the run, and a second one is refused with the first's pid.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evalkit.contract import Contract
from evalkit.errors import UsageError, WorkspaceError
from evalkit.guarding import Guard, find_guards
from evalkit.ledger import Ledger, Record
from evalkit.measure import Pairing, TrialRunner, Trusted, fingerprint
from evalkit.sandbox import open_sandbox
from evalkit.sandbox.interface import Sandbox
from evalkit.stats.online import run_level
from evalkit.verify.rules import policy_of
from evalkit.verify.runbook import Runbook
from evalkit.workspace import Globs, Repository, Store
from evalkit.workspace.disk import disk_errors

__all__ = ["Workbench", "set_aside", "state_folder", "vault_digest", "vault_folder"]

_IGNORE_ITSELF = "*\n"
_HASH_BLOCK = 1 << 20
_CHECKED_FILE = 64 << 20
"""Vault files beyond this are not compared with changes; splits of text are far smaller."""


def _remembered(verdict: Mapping[str, Any]) -> dict[str, Any]:
    found = [{"rule": finding["rule"]} for finding in verdict["findings"]]
    return {
        "experiment": verdict["experiment"],
        "decision": verdict["decision"],
        "effect": verdict["effect"],
        "findings": found,
        "estimate": None,
    }


def state_folder(contract: Contract) -> Path:
    """Where the state lives: ``EVALKIT_STATE``, or ``.evalkit/`` beside the contract (per profile)."""
    configured = os.environ.get("EVALKIT_STATE")
    base = Path(configured) if configured else contract.root / ".evalkit"
    return base / contract.profile if contract.profile else base


def _make_state(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text(_IGNORE_ITSELF, encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(
            f"the state folder {folder} can't be written: {error.strerror}",
            "make room or rights there, or point EVALKIT_STATE somewhere else",
        ) from error


_LASTING = ("opened", "calibrated", "decided", "kept", "estimated", "rolled-back")


def _state_records(ledger: Ledger) -> Iterator[Record]:
    """The records that the state follows from, in order; of trials only those that no verdict has used yet."""
    decided, calibrated = ledger.latest("decided"), ledger.latest("calibrated")
    streams = [ledger.records(kind) for kind in _LASTING]
    streams += [ledger.records(kind, decided.seq if decided else 0) for kind in ("proposed", "measured")]
    streams.append(ledger.records("calibrating", calibrated.seq if calibrated else 0))
    return heapq.merge(*streams, key=lambda record: record.seq)


@dataclass(frozen=True, slots=True)
class _Anchor:
    tree: str
    commit: str


class Workbench:
    """An open run.

    Use :meth:`open`, as a context manager.

    Attributes:
        contract: in force.
        state: the state folder.
        ledger: held by this process.
        store: of trees.
        sandbox: where trials run.
        guards: installed and not disabled.
        book: where the run stands.
        history: of each decided experiment what guards look at: decision, effect, rules found, worth on fresh pairs.
    """

    def __init__(self, contract: Contract, state: Path, ledger: Ledger, store: Store, sandbox: Sandbox) -> None:
        self.contract = contract
        self.state = state
        self.ledger = ledger
        self.store = store
        self.sandbox = sandbox
        self.guards: tuple[Guard, ...] = find_guards(contract.guards)
        self.book = Runbook()
        self.history: list[dict[str, Any]] = []
        self.listeners: list[Callable[[str, Mapping[str, Any]], None]] = []
        self._closing = ExitStack()
        self._pairing: Pairing | None = None

    @classmethod
    def open(
        cls,
        contract: Contract,
        *,
        revision: str = "HEAD",
        branch: str = "",
        sandbox: Sandbox | None = None,
        state: Path | None = None,
        expected_tests: int | None = None,
    ) -> Self:
        """Open the run of a contract, or begin one.

        Args:
            contract: its file lies in the user's repository.
            revision: the anchor of a new run; an existing run keeps its own.
            branch: that keeps go to; by default ``evalkit/NAME``.
            sandbox: for tests; None opens what the contract names.
            state: instead of the default state folder.
            expected_tests: confirmations that a new run's error budget is planned for; None for the policy's.

        Raises:
            LedgerLocked: another process runs it.
            WorkspaceError: the repository can't be worked with.
            SandboxUnavailable: candidates can't be run safely here.
        """
        with ExitStack() as closing:
            folder = state or state_folder(contract)
            _make_state(folder)
            ledger = closing.enter_context(Ledger.open(folder / "ledger"))
            shutil.rmtree(folder / "work", ignore_errors=True)
            store = closing.enter_context(Store.open(folder / "store"))
            box = sandbox or open_sandbox(contract.sandbox.backend, python=_python(contract))
            if sandbox is None:
                closing.callback(box.close)
            bench = cls(contract, folder, ledger, store, box)
            for record in _state_records(ledger):
                bench._fold(record.kind, record.body)
            bench._begin(revision, branch, expected_tests)
            bench._closing = closing.pop_all()
            return bench

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back."""
        self._closing.close()

    @contextmanager
    def work_folder(self) -> Iterator[Path]:
        """A folder for one proposal, gone afterwards; what a killed run left of one is gone at the next start."""
        with disk_errors("make a folder for the proposal"):
            (self.state / "work").mkdir(exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self.state / "work"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Write a record, wait until it is on disk, and only then believe it."""
        self.ledger.append(kind, body)
        self._fold(kind, body)
        for listener in self.listeners:
            listener(kind, body)

    def _fold(self, kind: str, body: Mapping[str, Any]) -> None:
        self.book = self.book.after(kind, body)
        if kind == "decided":
            self.history.append(_remembered(body))
        elif kind == "estimated" and self.history:
            found = body["effects"].get(self.contract.objective.name)
            self.history[-1]["estimate"] = {"mean": found["effect"]} if found else None

    def vault_files(self) -> Iterator[tuple[str, bytes]]:
        """Names (``confirm/cases.json``) and bytes of the vault's files, for trusted checks only."""
        folder = vault_folder(self.contract)
        for file in sorted(folder.rglob("*")) if folder else ():
            if file.is_file() and file.stat().st_size <= _CHECKED_FILE:
                yield file.relative_to(folder or file).as_posix(), file.read_bytes()

    def decided_before(self, candidate: str, incumbent: str) -> int | None:
        """The experiment that finally decided this very change, or None; what was inconclusive may be tried again."""
        for record in self.ledger.by_tree(candidate, "candidate"):
            body = record.body
            final = record.kind == "decided" and body["decision"] in {"KEEP", "REJECT"}
            if final and body["incumbent"] == incumbent:
                number: int = body["experiment"]
                return number
        return None

    @property
    def pairing(self) -> Pairing:
        """Runs trials and pairs of this contract."""
        if self._pairing is None:
            trusted = Trusted(tree=self._trusted_tree(), vault=vault_folder(self.contract))
            hidden = self.contract.hidden
            runner = TrialRunner(self.contract, self.sandbox, trusted, lambda tree: self.store.pristine(tree, hidden))
            self._pairing = Pairing(runner)
        return self._pairing

    def _trusted_tree(self) -> Path:
        """The anchor's files without what anyone may edit, and without the vault."""
        without = list(self.contract.editable)
        if self.contract.splits.vault:
            without.append(self.contract.splits.vault.rstrip("/") + "/**")
        return self.store.pristine(self.book.anchor, without)

    def _begin(self, revision: str, branch: str, expected_tests: int | None) -> None:
        if self.book.anchor:
            self._check_same_contract()
            return
        anchor = _anchor(self.store, self.contract, revision)
        self._check_anchor(anchor)
        _check_vault(self.contract)
        self.record(
            "opened",
            {
                "name": self.contract.name,
                "contract": self.contract.as_json(),
                "digest": self.contract.digest,
                "anchor": anchor.tree,
                "commit": anchor.commit,
                "branch": branch or _free_branch(self.contract),
                "environment": fingerprint().as_json(),
                "sandbox": self.sandbox.name,
                "unsafe": self.sandbox.unsafe,
                "vault": vault_digest(self.contract),
                "budget": _error_budget(self.contract, expected_tests),
            },
        )

    def _check_same_contract(self) -> None:
        opened = self.ledger.latest("opened")
        if opened is None or opened.body["digest"] == self.contract.digest:
            return
        before, now = opened.body["contract"], self.contract.as_json()
        changed = ", ".join(sorted(key for key in now if now[key] != before.get(key)))
        raise UsageError(
            f"the contract is not the one that the run in {self.state} began with (changed: {changed})",
            "evidence under one contract says nothing about another: `evalkit run --restart` sets the old run aside "
            "and begins a new one",
        )

    def _check_anchor(self, anchor: _Anchor) -> None:
        files = self.store.files(anchor.tree)
        editable = Globs(self.contract.editable)
        if not any(editable.matches(path) for path in files):
            raise WorkspaceError(
                f"no committed file matches editable = {list(self.contract.editable)}",
                f"commit the files that proposals may change, or correct `editable` in {self.contract.file}",
            )
        for program in self.contract.programs.values():
            for argument in program.score or ():
                if (self.contract.root / argument).is_file() and argument not in files:
                    raise WorkspaceError(
                        f"the scorer's file {argument} is not committed, so it is not part of the trusted tree",
                        f"git add {argument} && git commit",
                    )


def _anchor(store: Store, contract: Contract, revision: str) -> _Anchor:
    commit = Repository.find(contract.root).resolve(revision)
    return _Anchor(store.import_revision(contract.root, commit), commit)


def _check_vault(contract: Contract) -> None:
    folder = vault_folder(contract)
    if folder is None:
        return
    for split in dict.fromkeys((contract.splits.screen, contract.splits.confirm)):
        if not (folder / split).is_dir():
            raise UsageError(
                f"the vault {folder} has no folder {split}/",
                f"put the {split} cases there (see `evalkit split --help`), or correct [splits] in {contract.file}",
            )


def _free_branch(contract: Contract) -> str:
    """``evalkit/NAME``, or with a number where an earlier run has that branch: its keeps stay where they are."""
    repository = Repository.find(contract.root)
    name, number = f"evalkit/{contract.name}", 1
    while True:
        branch = name if number == 1 else f"{name}-{number}"
        try:
            repository.resolve(f"refs/heads/{branch}")
        except WorkspaceError:
            return branch
        number += 1


def _error_budget(contract: Contract, expected_tests: int | None) -> Mapping[str, Any]:
    """Rule, alpha and planned confirmations: fixed for the whole run when it is opened."""
    policy = policy_of(contract.policy)
    state = run_level(alpha=policy.alpha, expected=expected_tests or policy.expected_tests).state()
    return {name: state[name] for name in ("rule", "alpha", "expected")}


def _python(contract: Contract) -> Path | None:
    return (contract.root / contract.sandbox.python) if contract.sandbox.python else None


def set_aside(contract: Contract) -> Path | None:
    """Move a run's state out of the way, whole; says where it went, or None where there was none.

    Raises:
        LedgerLocked: the run is going on.
    """
    folder = state_folder(contract)
    if not (folder / "ledger").exists():
        return None
    Ledger.open(folder / "ledger").close()
    number = 1
    while (target := folder / f"old-{number}").exists():
        number += 1
    target.mkdir()
    for name in ("ledger", "store", "transcripts"):
        if (folder / name).exists():
            (folder / name).rename(target / name)
    return target


def vault_folder(contract: Contract) -> Path | None:
    """The vault's folder, or None."""
    return (contract.root / contract.splits.vault) if contract.splits.vault else None


def vault_digest(contract: Contract) -> str:
    """sha256 over the vault's names and bytes; empty where there is none."""
    folder = vault_folder(contract)
    if folder is None:
        return ""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(os.fsencode(file.relative_to(folder)) + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(_HASH_BLOCK):
                digest.update(block)
    return digest.hexdigest()
