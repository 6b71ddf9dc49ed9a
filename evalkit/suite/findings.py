"""Guards over the change that a suite judges, for the ``NoFindings`` gate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError, UsageError
from evalkit.suite.gates import NoFindings

__all__ = ["findings_of"]

_ORDER = ("block", "probe", "note")


def findings_of(
    root: Path, baseline: str, ready: Mapping[str, Path]
) -> Callable[[NoFindings], list[Mapping[str, Any]]]:
    """What guards find between the baseline and the candidate.

    Args:
        root: the project's folder.
        baseline: revision.
        ready: directories of the arms with all their files, where a parent made them.
    """

    def find(gate: NoFindings) -> list[Mapping[str, Any]]:
        from evalkit.contract.model import GuardSettings  # noqa: PLC0415 - only suites with this gate need them
        from evalkit.guarding import Evidence, find_guards, inspect_all  # noqa: PLC0415
        from evalkit.workspace import Store  # noqa: PLC0415

        guards = {guard.name: guard for guard in find_guards(GuardSettings())}
        unknown = sorted(set(gate.guards) - set(guards))
        if unknown:
            raise UsageError(f"there is no guard {unknown[0]!r}", f"installed: {', '.join(sorted(guards))}")
        chosen = [guards[name] for name in gate.guards or sorted(guards)]
        with tempfile.TemporaryDirectory(prefix="evalkit-change-") as folder, Store.open(Path(folder)) as store:
            old, new = _trees(store, root, baseline, ready)
            before, after = store.files(old), store.files(new)
            evidence = Evidence(
                "before",
                _contract(root),
                store.diff(old, new),
                read_old=lambda path: store.read(old, path) if path in before else b"",
                read_new=lambda path: store.read(new, path) if path in after else b"",
            )
            found = inspect_all(chosen, evidence, today=datetime.now(UTC).date()).findings
        counted = _ORDER[: _ORDER.index(gate.severity) + 1]
        return [finding.as_json() for finding in found if finding.severity in counted]

    return find


def _trees(store: Any, root: Path, baseline: str, ready: Mapping[str, Path]) -> tuple[str, str]:
    if ready:
        from evalkit.workspace import EMPTY_TREE  # noqa: PLC0415

        old = store.snapshot(ready["baseline"], like=EMPTY_TREE)
        return old, store.snapshot(ready["candidate"], like=old)
    if not baseline:
        raise UsageError("there is no baseline to compare with", "say which revision: --evalkit-baseline REV")
    return store.import_revision(root, baseline), store.import_worktree(root)


def _contract(root: Path) -> Any:
    """The project's contract, or one that allows every edit where there is none."""
    from evalkit.contract import Contract, Metric, Program, Trust  # noqa: PLC0415

    try:
        return Contract.load(root / "evalkit.toml")
    except EvalkitError:
        return Contract(
            file=root / "evalkit.toml",
            name=root.name or "suite",
            editable=("**",),
            hidden=(),
            programs={"suite": Program("suite")},
            metrics=(Metric("suite", "maximize", "suite", Trust.SCORED),),
        )
