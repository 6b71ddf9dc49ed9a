"""The contract as the rest of the house sees it: frozen, validated, with every default filled in.

Nothing here reads a file; :mod:`evalkit.contract.load` does, and is the only place that makes these from bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

__all__ = [
    "Budget",
    "Contract",
    "GateSettings",
    "Goal",
    "GuardSettings",
    "Margin",
    "Metric",
    "MetricKind",
    "Phase",
    "PolicySettings",
    "Program",
    "ProposerSettings",
    "Quantity",
    "SandboxSettings",
    "Splits",
    "Suppression",
    "Trust",
]

Goal = Literal["minimize", "maximize"]
MetricKind = Literal["auto", "scalar", "binary", "bounded", "ratio", "exact"]
Phase = Literal["run", "serve", "all"]
Quantity = Literal["wall", "cpu", "memory", "bytes", "instructions", "latency"]


class Trust(StrEnum):
    """How a value was obtained."""

    MEASURED = "measured"
    """By evalkit itself, from outside the process tree."""
    SCORED = "scored"
    """By a scorer, in a process and a sandbox of its own."""
    REPORTED = "reported"
    """Printed by candidate code; can be forged."""


@dataclass(frozen=True, slots=True)
class Program:
    """One way to run a tree and to look at what it did; several metrics may read from the same run.

    Attributes:
        name: of the metric that declared it.
        run: command in the candidate's sandbox, or None where there is only something to serve.
        artifacts: names below the workspace that leave the candidate's sandbox when every process is dead.
        serve: command that answers the scorer's queries, in a fresh sandbox with the artefacts of ``run`` at their
            names in the workspace.
        score: trusted command in a sandbox of its own; None where metrics are measured or reported.
    """

    name: str
    run: tuple[str, ...] | None = None
    artifacts: tuple[str, ...] = ()
    serve: tuple[str, ...] | None = None
    score: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Margin:
    """How much of a guarded metric may be lost.

    Attributes:
        value: a loss in the metric's own unit, or a fraction of the anchor's value when ``relative``.
        relative: whether it is a fraction.
    """

    value: float
    relative: bool = False

    def absolute(self, anchor_value: float) -> float:
        """The margin in the metric's own unit, given the anchor's value."""
        return self.value * abs(anchor_value) if self.relative else self.value


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that decides, or one that must not get worse.

    Attributes:
        name: as in the contract.
        goal: which way is better.
        program: the :class:`Program` whose run it is read from.
        trust: how its value is obtained.
        kind: which evidence fits; ``auto`` lets the calibration data choose.
        measure: for ``measured`` metrics, what is taken.
        phase: for ``measured`` metrics, over which part of the program.
        min_effect: improvements smaller than this are not worth keeping (metric's unit, ≥ 0).
        margin: None for the objective; for a guarded metric, what may be lost against the anchor in total.
        report: for ``reported`` metrics, a regular expression with one group that finds the value in stdout.
    """

    name: str
    goal: Goal
    program: str
    trust: Trust
    kind: MetricKind = "auto"
    measure: Quantity | None = None
    phase: Phase = "all"
    min_effect: float = 0.0
    margin: Margin | None = None
    report: str | None = None

    @property
    def sign(self) -> int:
        """+1 where larger is better, −1 where smaller is; ``sign * value`` is what the statistics see."""
        return 1 if self.goal == "maximize" else -1


@dataclass(frozen=True, slots=True)
class Budget:
    """What one trial may cost. Seconds and bytes.

    ``wall`` and ``cpu`` hold for each phase (run, serve, score); ``cpu`` None means as much as ``wall`` allows.
    """

    wall: float = 600.0
    cpu: float | None = None
    memory: int = 4 << 30
    pids: int = 256
    disk: int = 4 << 30
    output: int = 16 << 20
    artifact: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Splits:
    """Where the cases are.

    Attributes:
        vault: folder with ``dev/``, ``confirm/`` and ``sealed/`` below the contract's folder (or an absolute path);
            None where the scorer needs no cases.
        screen: the split that calibration, screening and guard trials are scored on.
        confirm: the split that decides.
    """

    vault: str | None = None
    screen: str = "dev"
    confirm: str = "confirm"


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Which statistical policy decides, and what the contract changes in it.

    Attributes:
        name: ``standard``, ``thorough`` or ``frugal``.
        alpha: false discovery rate promised over the whole run.
        calibration_pairs: A/A pairs before the first proposal.
        estimate_pairs: fresh pairs after a keep.
        max_pairs: confirm pairs at most; None for the policy's own.
    """

    name: str = "standard"
    alpha: float = 0.05
    calibration_pairs: int = 20
    estimate_pairs: int = 4
    max_pairs: int | None = None


@dataclass(frozen=True, slots=True)
class Suppression:
    """A guard rule that the contract silences, why, and until when (an ISO date)."""

    rule: str
    reason: str
    until: str


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Which guards run and how severe they are.

    Attributes:
        disabled: guard names that are left out.
        severity: rule id → ``block``, ``probe`` or ``note``, where the contract changes a rule's own.
        suppressed: rules that are silenced with a reason and an expiry date.
        options: per guard, its own table.
    """

    disabled: tuple[str, ...] = ()
    severity: Mapping[str, str] = field(default_factory=dict)
    suppressed: tuple[Suppression, ...] = ()
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProposerSettings:
    """Who proposes.

    Attributes:
        kind: ``command``, ``python``, ``patches`` or ``tuner``.
        command: for ``command``, the argv; ``{workspace}``, ``{instructions}`` and ``{history}`` are filled in.
        function: for ``python``, ``module:callable``.
        source: for ``patches``, a folder of diffs, ``A..B``, or a list of branches.
        instructions: file with what the proposer is told; None for evalkit's own text.
        wall: seconds that one proposal may take.
        network: whether the proposer may reach the network; ``hosts`` narrows it to an allow-list.
        hosts: host names that the proposer may reach.
        secrets: names of environment variables passed on (their values are masked in transcripts).
    """

    kind: str = "tuner"
    command: tuple[str, ...] = ()
    function: str | None = None
    source: tuple[str, ...] = ()
    instructions: str | None = None
    wall: float = 900.0
    network: bool = False
    hosts: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """Where candidates run.

    Attributes:
        backend: ``auto``, ``bubblewrap``, ``docker``, ``docker:runsc``, ``landlock`` or ``process`` (unsafe).
        python: interpreter that ``python`` in commands stands for; None for the one that runs evalkit.
        masks: host paths hidden from candidates and proposers; ``{stdlib}`` and ``{purelib}`` stand for the
            interpreter's library and its packages; ``*`` matches any name.
        devices: names below ``/dev`` that candidates may use.
    """

    backend: str = "auto"
    python: str | None = None
    masks: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateSettings:
    """How the gate treats a change.

    Attributes:
        empty: ``pass`` or ``fail``: what a change is that holds nothing to judge.
    """

    empty: str = "pass"


@dataclass(frozen=True, slots=True)
class Contract:
    """What a proposer may edit, which metrics count, what a trial may cost, and which policy decides.

    Attributes:
        file: the contract file.
        name: of the task.
        editable: globs below ``root`` that a change may touch; everything else is read-only.
        hidden: globs that neither proposers nor candidates see (scorers do).
        programs: by name.
        metrics: in the file's order; exactly one has no margin and is the objective.
        gate: how the gate treats a change.
        environment: variables that candidates and scorers get.
        profile: which ``[profile.…]`` was applied, or the empty string.
    """

    file: Path
    name: str
    editable: tuple[str, ...]
    hidden: tuple[str, ...]
    programs: Mapping[str, Program]
    metrics: tuple[Metric, ...]
    budget: Budget = Budget()
    splits: Splits = Splits()
    policy: PolicySettings = PolicySettings()
    guards: GuardSettings = GuardSettings()
    proposer: ProposerSettings = ProposerSettings()
    sandbox: SandboxSettings = SandboxSettings()
    gate: GateSettings = GateSettings()
    environment: Mapping[str, str] = field(default_factory=dict)
    profile: str = ""

    @property
    def root(self) -> Path:
        """The folder that holds the contract; all its paths are relative to it."""
        return self.file.parent

    @property
    def objective(self) -> Metric:
        """The metric that has to improve."""
        return next(metric for metric in self.metrics if metric.margin is None)

    @property
    def guarded(self) -> tuple[Metric, ...]:
        """The metrics that must not get worse than their margin."""
        return tuple(metric for metric in self.metrics if metric.margin is not None)

    def as_json(self) -> dict[str, object]:
        """Everything that a verdict can depend on, as plain JSON values (what the digest covers).

        Where the file lies, who proposes and how the gate treats what it need not judge are left out: the same change
        gets the same verdict whoever brings it.
        """
        plain = asdict(self)
        del plain["file"], plain["proposer"], plain["gate"]
        return json.loads(json.dumps(plain, sort_keys=True))  # type: ignore[no-any-return]

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of :meth:`as_json`."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def load(cls, file: str | Path, *, profile: str = "") -> Contract:
        """Read ``evalkit.toml`` (or ``[tool.evalkit]`` of a ``pyproject.toml``).

        Raises:
            ContractError: with every mistake that was found.
        """
        from evalkit.contract.load import load_contract  # noqa: PLC0415 - pydantic loads late

        return load_contract(Path(file), profile=profile)
