"""The contract file, table by table: every key, what it means, and why its default is what it is.

The reference in ``docs/contract.md``, ``evalkit init --explain`` and the messages about mistakes are made from these
models. Defaults that are constants live in :mod:`evalkit.contract.model` and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from evalkit.contract import model
from evalkit.contract.fields import (
    Argv,
    Artifacts,
    Day,
    Duration,
    Environment,
    Flag,
    Fraction,
    GlobList,
    MarginField,
    Name,
    NonNegative,
    Options,
    Pattern,
    Severities,
    Size,
    Sources,
    Text,
    Texts,
    choice,
    key,
    whole,
)

__all__ = [
    "BudgetTable",
    "Embedded",
    "GateTable",
    "GuardTable",
    "HeadTable",
    "MetricTable",
    "PolicyTable",
    "ProfileTable",
    "ProposerTable",
    "SandboxTable",
    "SplitTable",
    "Standalone",
    "SuiteTable",
    "SuppressTable",
    "Table",
    "Tables",
]

_BACKENDS = ("auto", "bubblewrap", "docker", "docker:runsc", "landlock", "process")


class Table(BaseModel):
    """One table of the file; keys that it does not have are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    settings: ClassVar[type | None] = None
    """The dataclass whose fields hold this table's constant defaults."""


class HeadTable(Table):
    """What is optimised, and what a proposer may touch."""

    name: Name | None = key(
        "name of the task, in reports and branch names",
        example='"charlm"',
        default="the folder's name",
        why="it is what people call it already",
    )
    editable: GlobList | None = key(
        "globs that a change may touch; everything else is read-only",
        example='["train.py"]',
        default="it must be there",
        why="a surface nobody chose is a surface nobody guards",
    )
    hidden: GlobList | None = key(
        "globs that neither proposers nor candidates see; scorers do (the vault always belongs to them)",
        example='["score.py"]',
        default="the files that score commands name",
        why="a scorer that can be read can be gamed",
    )
    env: Environment | None = key(
        "environment variables of candidates and scorers",
        example='{ OMP_NUM_THREADS = "1" }',
        default="none",
        why="nothing of your shell leaks into a trial",
    )


class MetricTable(Table):
    """A number that decides (exactly one, without a margin) or one that must not get worse (with a margin)."""

    settings: ClassVar[type | None] = model.Metric

    goal: Annotated[str, choice("minimize", "maximize")] | None = key(
        "which way is better",
        example='"minimize"',
        default="it must be there",
        why="guessing it from a name would be wrong one day",
    )
    run: Argv | None = key(
        "command in the candidate's sandbox; `{seed}` and EVALKIT_SEED carry the trial's seed",
        example='["python", "train.py"]',
        default="none",
        why="a program that only serves has nothing to run first",
    )
    artifacts: Artifacts | None = key(
        "files below the workspace that leave the sandbox when every process is dead",
        example='["model.npz"]',
        default="none",
        why="only declared bytes cross to the trusted side",
    )
    serve: Argv | None = key(
        "command that answers the scorer's queries, in a fresh sandbox with the artifacts",
        example='["python", "predict.py"]',
        default="none",
        why="only what predicts needs it; it sees inputs, never labels",
    )
    score: Argv | None = key(
        "trusted command in a sandbox of its own; reads artifacts or asks `serve`, and reports the metrics",
        example='["python", "score.py"]',
        default="none",
        why="without it a metric is measured, or it can be forged",
    )
    with_: Text | None = key(
        "name of the metric whose program this one is read from",
        example='"val_bpb"',
        default="none: a program of its own",
        why="two metrics of one run cost one run",
        alias="with",
    )
    measure: Annotated[str, choice("wall", "cpu", "memory", "bytes", "instructions", "latency")] | None = key(
        "what evalkit takes from outside: wall, cpu, memory, bytes (of artifacts), instructions, latency (of answers)",
        example='"cpu"',
        default="none",
        why="most metrics come from a scorer",
    )
    phase: Annotated[str, choice("run", "serve", "all")] | None = key(
        "over which part of the program `measure` counts",
        example='"serve"',
        why="cost that moves from one phase to the other is no gain",
    )
    report: Pattern | None = key(
        "regular expression with one group that finds the value in stdout; ^ and $ match at each line",
        example=r"'^loss:\s+(\S+)$'",
        default=r"`^METRIC[ \t]+NAME=(\S+)[ \t]*$` where neither score nor measure is there",
        why="a line that loops print already; it can be forged, and each verdict says so",
    )
    kind: Annotated[str, choice("auto", "scalar", "binary", "bounded", "ratio", "exact")] | None = key(
        "which evidence fits the metric's values: auto, scalar, binary, bounded, ratio or exact",
        example='"auto"',
        why="calibration data know better than a guess",
    )
    min_effect: NonNegative | None = key(
        "improvements smaller than this are not worth keeping (metric's unit); for the objective",
        example="0.001",
        why="any real improvement counts until you say what it costs you",
    )
    margin: MarginField | None = key(
        "makes it a guarded metric: what may be lost in total against the anchor",
        example='"5%"',
        default="none: it is the objective",
        why="many small losses must not add up to a large one",
    )


class BudgetTable(Table):
    """What one trial may cost."""

    settings: ClassVar[type | None] = model.Budget

    wall: Duration | None = key("wall time of each phase", example='"60s"', why="longer than most, short of a hang")
    cpu: Duration | None = key(
        "CPU time of each phase, the whole process tree",
        example='"2m"',
        default="as much as `wall` allows",
        why="wall and cores already bound it",
    )
    memory: Size | None = key("of the whole process tree, swap included", example='"4GiB"', why="fits a laptop")
    pids: Annotated[int, whole(1, 1 << 22)] | None = key(
        "processes and threads at a time", example="256", why="room for thread pools, none for a fork bomb"
    )
    disk: Size | None = key("bytes a phase may write", example='"1GiB"', why="checkpoints fit, a full disk does not")
    output: Size | None = key("bytes of stdout and stderr", example='"16MiB"', why="more is a runaway log")
    artifact: Size | None = key("bytes of one artifact", example='"256MiB"', why="models of a laptop's size fit")


class SplitTable(Table):
    """Where the cases are."""

    settings: ClassVar[type | None] = model.Splits

    vault: Text | None = key(
        "folder with the splits' cases; scorers alone can read it",
        example='"vault"',
        default="none",
        why="a scorer may need no cases",
    )
    screen: Name | None = key(
        "split for calibration, screening and guard trials", example='"dev"', why="what a proposer may learn from"
    )
    confirm: Name | None = key(
        "split that decides; one bit a proposal leaves it", example='"confirm"', why="never the cases that were seen"
    )


class PolicyTable(Table):
    """Which statistical policy decides."""

    settings: ClassVar[type | None] = model.PolicySettings

    name: Annotated[str, choice("standard", "thorough", "frugal")] | None = key(
        "standard, thorough (finds smaller effects, more trials) or frugal",
        example='"thorough"',
        why="the best gain for its trials in simulation",
    )
    alpha: Fraction | None = key(
        "false discovery rate promised over the whole run", example="0.05", why="the usual promise"
    )
    calibration_pairs: Annotated[int, whole(2, 100_000)] | None = key(
        "A/A pairs before the first proposal", example="20", why="the noise is then known to -24 % / +46 % (95 %)"
    )
    estimate_pairs: Annotated[int, whole(2, 100_000)] | None = key(
        "fresh pairs after a keep, for the effect that is claimed", example="4", why="the deciding pairs flatter"
    )
    max_pairs: Annotated[int, whole(2, 100_000)] | None = key(
        "confirm pairs at most", example="24", default="the policy's own", why="each policy was simulated with its own"
    )


class SuppressTable(Table):
    """A guard rule that is silenced, why, and until when."""

    rule: Text = key("id of the rule", example='"EK101"', required=True)
    reason: Text = key("why; it stands in every verdict", example='"the file is generated"', required=True)
    until: Day = key("the last day it holds; guards ignore it afterwards", example="2027-01-31", required=True)


class GuardTable(Table):
    """Which guards run and how severe they are."""

    settings: ClassVar[type | None] = model.GuardSettings

    disabled: Texts | None = key(
        "names of guards that are left out", example='["contamination"]', default="none", why="each one costs little"
    )
    severity: Severities | None = key(
        "rule id and block, probe or note, where it should differ from the rule's own",
        example='{ EK101 = "note" }',
        default="each rule's own",
        why="rules know their false-alarm rate",
    )
    suppress: list[SuppressTable] | None = key(
        "rules that are silenced, each with a reason and an end",
        example='[{ rule = "EK101", reason = "generated file", until = 2027-01-31 }]',
        default="none",
        why="silence without an end is forgotten",
    )
    options: Options | None = key(
        "one table of options a guard",
        example="{ scope = { max_files = 20 } }",
        default="each guard's own",
        why="measured on honest changes",
    )


class ProposerTable(Table):
    """Who proposes."""

    settings: ClassVar[type | None] = model.ProposerSettings

    kind: Annotated[str, choice("command", "python", "patches", "tuner")] | None = key(
        "command, python, patches or tuner",
        example='"command"',
        default="what `command`, `function` or `source` says, else `tuner`",
        why="the tuner needs no model and no key",
    )
    command: Argv | None = key(
        "for command: the program; `{workspace}`, `{instructions}` and `{history}` are filled in",
        example='["my-agent", "{instructions}"]',
        default="none",
        why="no agent is called that you did not name",
    )
    function: Text | None = key(
        "for python: `module:callable`", example='"proposer:propose"', default="none", why="as above"
    )
    source: Sources | None = key(
        "for patches: a folder of diffs, a range `A..B`, or a list of branches",
        example='"patches"',
        default="none",
        why="as above",
    )
    instructions: Text | None = key(
        "file with what the proposer is told",
        example='"program.md"',
        default="evalkit's own text",
        why="says what may be edited, what counts and what is forbidden",
    )
    wall: Duration | None = key("time for one proposal", example='"15m"', why="an agent thinks for minutes, not hours")
    network: Flag | None = key(
        "whether the proposer may reach the network", example="true", why="off until you say otherwise"
    )
    hosts: Texts | None = key(
        "host names that it may reach, with `network`",
        example='["api.example.com"]',
        default="all",
        why="whoever needs the network may name its hosts",
    )
    secrets: Texts | None = key(
        "names of environment variables passed on to it; masked in transcripts",
        example='["API_KEY"]',
        default="none",
        why="a proposer gets the keys it needs and no others",
    )


class SandboxTable(Table):
    """Where candidates run."""

    settings: ClassVar[type | None] = model.SandboxSettings

    backend: Annotated[str, choice(*_BACKENDS)] | None = key(
        "auto, bubblewrap, docker, docker:runsc, landlock, or process (UNSAFE: no isolation)",
        example='"bubblewrap"',
        why="the strongest that runs here, never process by itself",
    )
    python: Text | None = key(
        "interpreter that `python` in commands stands for",
        example='".venv/bin/python"',
        default="the one that runs evalkit",
        why="the same packages on both sides",
    )
    masks: Texts | None = key(
        "host paths hidden from candidates; `{stdlib}` is the library, `{purelib}` the packages, `*` any name",
        example='["{stdlib}/pydoc_data"]',
        default="none",
        why="only you know which installed file holds the answers",
    )
    devices: Texts | None = key(
        "names below /dev that candidates may use", example='["nvidia0"]', default="none", why="devices widen the host"
    )


class GateTable(Table):
    """What `evalkit gate` makes of a change."""

    settings: ClassVar[type | None] = model.GateSettings

    empty: Annotated[str, choice("pass", "fail")] | None = key(
        "what a change is that holds nothing to judge: pass or fail",
        example='"fail"',
        why="most changes to a repository touch no contract",
    )


class SuiteTable(Table):
    """What eval specs run with (`docs/suite.md`); the command line comes first."""

    module: Text | None = key(
        "module in which a bare function name of `subject.call` is looked for",
        example='"solve"',
        default="none",
        why="a call may name its module itself",
    )
    vault: Text | None = key(
        "folder with the splits' cases", example='"vault"', default="vault/ where it is there", why="the usual name"
    )
    hidden: Texts | None = key(
        "globs that the subject does not see besides specs, test configuration, contract and vault",
        example='["answers/**"]',
        default="none",
        why="what is expected is in the specs and the vault",
    )
    baseline: Text | None = key(
        "revision to compare with",
        example='"main"',
        default="where HEAD left the main branch",
        why="it is what a change is against",
    )
    profile: Annotated[str, choice("quick", "ci", "vault")] | None = key(
        "quick: few trials on dev cases; ci: as written; vault: every split",
        example='"quick"',
        default="ci",
        why="what is written is what is meant",
    )
    trials: Annotated[int, whole(1, 100_000)] | None = key(
        "trials of every eval", example="8", default="the markers' numbers", why="an eval knows its own noise"
    )
    timeout: Duration | None = key("time for one call", example='"30s"', default="10s", why="calls are short")
    memory: Size | None = key("memory of one trial", example='"4GiB"', default="2GiB", why="enough for most")
    sandbox: Annotated[str, choice(*_BACKENDS)] | None = key(
        "where the subject runs", example='"bubblewrap"', default="auto", why="the strongest that runs here"
    )
    env: Environment | None = key(
        "environment variables of the subject",
        example='{ OMP_NUM_THREADS = "1" }',
        default="none",
        why="nothing of your shell leaks into a trial",
    )


class ProfileTable(Table):
    """Overrides that apply when the profile is asked for by name."""

    env: Environment | None = key(
        "as in the head", example='{ STEPS = "10" }', default="nothing is overridden", why="one contract, one meaning"
    )
    budget: BudgetTable | None = key(
        "as [budget]", example='{ wall = "5s" }', default="nothing is overridden", why="one contract, one meaning"
    )
    splits: SplitTable | None = key(
        "as [splits]", example='{ screen = "dev" }', default="nothing is overridden", why="one contract, one meaning"
    )
    policy: PolicyTable | None = key(
        "as [policy]",
        example="{ calibration_pairs = 8 }",
        default="nothing is overridden",
        why="one contract, one meaning",
    )
    proposer: ProposerTable | None = key(
        "as [proposer]", example='{ kind = "tuner" }', default="nothing is overridden", why="one contract, one meaning"
    )
    sandbox: SandboxTable | None = key(
        "as [sandbox]",
        example='{ backend = "docker" }',
        default="nothing is overridden",
        why="one contract, one meaning",
    )


class Tables(Table):
    """The tables beside the head."""

    metric: dict[str, MetricTable] = Field(default_factory=dict)
    budget: BudgetTable = BudgetTable()
    splits: SplitTable = SplitTable()
    policy: PolicyTable = PolicyTable()
    guards: GuardTable = GuardTable()
    proposer: ProposerTable = ProposerTable()
    sandbox: SandboxTable = SandboxTable()
    gate: GateTable = GateTable()
    suite: SuiteTable = SuiteTable()
    profile: dict[str, ProfileTable] = Field(default_factory=dict)


class Standalone(Tables):
    """``evalkit.toml``: the head is ``[evalkit]``."""

    evalkit: HeadTable = HeadTable()


class Embedded(HeadTable, Tables):
    """``[tool.evalkit]`` of a ``pyproject.toml``: the head's keys stand directly below it."""
