"""Runs made of records that the verifier's own course decides, without sandboxes and without waiting."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evalkit.contract import Contract, Margin, Metric, Program, Trust
from evalkit.ledger import GENESIS, Ledger
from evalkit.ledger.chain import encode
from evalkit.measure import Observation, Reading
from evalkit.sandbox.interface import Outcome
from evalkit.stats.estimate import estimate_effect
from evalkit.stats.noise import calibrate
from evalkit.stats.online import run_level
from evalkit.stats.protocols import Need
from evalkit.stats.screen import Baseline
from evalkit.verify.course import Course
from evalkit.verify.rules import oriented, policy_of, scale_of
from evalkit.verify.runbook import Runbook
from evalkit.verify.verdict import Decision, Reason, Verdict

ANCHOR = f"{0xA:040x}"
_AT = "2026-03-01T12:00:00.000000Z"


def make_contract(folder: Path, **changed: Any) -> Contract:
    """Bits to make fewer (or seconds, with ``kind="ratio"``), processor time guarded."""
    objective: dict[str, Any] = {"name": "bits", "goal": "minimize", "program": "bits", "trust": Trust.SCORED}
    objective |= {key: changed.pop(key) for key in ("kind", "trust", "goal") if key in changed}
    guarded = Metric("cpu", "minimize", "bits", Trust.MEASURED, measure="cpu", margin=Margin(0.2, relative=True))
    given: dict[str, Any] = {
        "file": folder / "evalkit.toml",
        "name": "task",
        "editable": ("*.py",),
        "hidden": (),
        "programs": {"bits": Program("bits", run=("python", "train.py"))},
        "metrics": (Metric(**objective), guarded),
    }
    return Contract(**{**given, **changed})


class Script:
    """Writes a run. Every number comes from one seed."""

    def __init__(self, contract: Contract, *, noise: float = 0.02, seed: int = 1) -> None:
        self.contract = contract
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.level = 4.0
        self._book = Runbook()
        self._noise = noise
        self._random = random.Random(seed)
        self._tree = 0xA

    def write(self, kind: str, body: Mapping[str, Any]) -> None:
        self.records.append((kind, dict(body)))
        self._book = self._book.after(kind, body)

    def begin(self, *, unsafe: bool = False, pairs: int = 8, **changed: Any) -> Script:
        policy = policy_of(self.contract.policy)
        state = run_level(alpha=policy.alpha, expected=policy.expected_tests).state()
        machine = {
            "python": "3.13",
            "system": "Linux",
            "cpu": "a cpu",
            "cores": 2,
            "packages": "f" * 64,
            "evalkit": "1",
        }
        opened = {
            "name": self.contract.name,
            "contract": self.contract.as_json(),
            "digest": self.contract.digest,
            "anchor": ANCHOR,
            "commit": "c" * 40,
            "branch": "evalkit/task",
            "environment": machine,
            "sandbox": "process" if unsafe else "bubblewrap",
            "unsafe": unsafe,
            "vault": "",
            "budget": {name: state[name] for name in ("rule", "alpha", "expected")},
        }
        self.write("opened", {**opened, **changed})
        values = [(self._trial(ANCHOR, self.level), self._trial(ANCHOR, self.level)) for _ in range(pairs)]
        for first, second in values:
            body = {"tree": ANCHOR, "first": "candidate", "incumbent": first.as_json(), "candidate": second.as_json()}
            self.write("calibrating", body)
        self.write("calibrated", self._calibrated(values, machine))
        return self

    def _calibrated(self, values: list[tuple[Observation, Observation]], machine: Mapping[str, Any]) -> dict[str, Any]:
        noise = {}
        for metric in self.contract.metrics:
            arms = [[self._oriented(metric, pair[arm]) for pair in values] for arm in (0, 1)]
            noise[metric.name] = calibrate(*arms).to_dict()
        every = [self._oriented(self.contract.objective, trial) for pair in values for trial in pair]
        return {
            "tree": ANCHOR,
            "pairs": len(values),
            "noise": noise,
            "values": {"bits": self.level, "cpu": 1.0},
            "baseline": Baseline(sum(every) / len(every), float(len(every))).to_dict(),
            "seconds": 1.0,
            "environment": machine,
        }

    def _oriented(self, metric: Metric, trial: Observation) -> float:
        return oriented(trial.readings[metric.name].value, metric.sign, scale_of(metric), metric.name)

    def _trial(self, tree: str, level: float) -> Observation:
        value = level * (1.0 + self._random.gauss(0.0, self._noise))
        cpu = 1.0 + self._random.gauss(0.0, 0.02)
        readings = {"bits": Reading(value, Trust.SCORED), "cpu": Reading(cpu, Trust.MEASURED)}
        return Observation(
            tree=tree,
            seed=self._random.getrandbits(31),
            scoring_seed=self._random.getrandbits(31),
            split="confirm",
            readings=readings,
            phases=(),
            outcome=Outcome.OK,
            wall=0.8,
        )

    def propose(self, level: float, description: str = "a change", *, tree: str = "", **changed: Any) -> str:
        """An experiment whose candidate's true value is ``level``; what was decided."""
        rules = self._book.rules(self.contract, digest=self.contract.digest)
        candidate = tree or self._next_tree()
        incumbent = self._book.incumbent
        self.write("proposed", self._proposed(candidate, description, rules.as_json()))
        course, evaluations = Course(rules), 0
        while (need := course.need()) is not None:
            ours = self._trial(candidate, level)
            theirs = None if need is Need.SCREEN_SINGLE else self._trial(incumbent, self.level)
            body = {"need": str(need.value), "first": "candidate", "candidate": ours.as_json()}
            other = theirs.as_json() if theirs else None
            self.write("measured", {"experiment": self.number, **body, "incumbent": other})
            evaluations += 2 if theirs else 1
            course.take(need, ours, theirs)
        found = course.conclusion()
        settled = {
            "objective": "bits",
            "index": rules.index,
            "level": rules.level,
            "keeps_before": rules.keeps_before,
            "confirmed": found.statistics["confirming"],
            "log_e": found.statistics["objective"]["log_e"],
            "residuals": found.statistics["residuals"],
        }
        verdict = Verdict(
            experiment=self.number,
            decision=found.decision,
            reason=found.reason,
            sentence=found.sentence,
            incumbent=incumbent,
            candidate=candidate,
            trust="scored",
            effect=found.effect,
            evaluations=evaluations,
            body={
                "level": rules.level,
                "statistics": found.statistics,
                "settled": settled,
                **self._common(description),
            },
        )
        self.write("decided", {**verdict.as_json(), **changed})
        if found.decision is Decision.KEEP:
            self._keep(candidate, level)
        return str(found.decision)

    def refuse(self, reason: Reason, sentence: str, description: str = "a change", **changed: Any) -> None:
        """An experiment that ends before any trial."""
        candidate = self._next_tree()
        self.write("proposed", self._proposed(candidate, description, None))
        verdict = Verdict(
            experiment=self.number,
            decision=Decision.ERROR if reason is Reason.PROPOSER else Decision.REJECT,
            reason=reason,
            sentence=sentence,
            incumbent=self._book.incumbent,
            candidate=candidate,
            trust="scored",
            body={"statistics": None, "settled": None, **self._common(description)},
        )
        self.write("decided", {**verdict.as_json(), **changed})

    @property
    def number(self) -> int:
        """Of the experiment that is open or comes next."""
        return self._book.experiments + 1

    def _next_tree(self) -> str:
        self._tree += 1
        return f"{self._tree:040x}"

    def _proposed(self, candidate: str, description: str, rules: Mapping[str, Any] | None) -> dict[str, Any]:
        return {
            "experiment": self.number,
            "incumbent": self._book.incumbent,
            "candidate": candidate,
            "proposer": "tuner",
            "description": description,
            "details": {},
            "transcript": "",
            "rules": rules,
        }

    def _common(self, description: str) -> dict[str, Any]:
        return {
            "proposer": "tuner",
            "description": description,
            "details": {},
            "contract": self.contract.digest,
            "environment": "e" * 64,
            "sandbox": "bubblewrap",
            "enforced": ["network", "pids"],
            "unenforced": [],
            "suppressed": [],
            "seconds": 3.25,
        }

    def _keep(self, tree: str, level: float) -> None:
        number = self._book.experiments
        commit = f"{0xC0FFEE + number:040x}"
        body = {"experiment": number, "commit": commit, "parent": "c" * 40, "tree": tree, "branch": "evalkit/task"}
        self.write("kept", body)
        pairs = [(self._trial(ANCHOR, self.level), self._trial(tree, level)) for _ in range(4)]
        effects = {}
        for metric in self.contract.metrics:
            moved = [self._oriented(metric, new) - self._oriented(metric, old) for old, new in pairs]
            effects[metric.name] = estimate_effect(moved, self._book.noise[metric.name]).to_dict()
        every = [self._oriented(self.contract.objective, new) for _, new in pairs]
        baseline = Baseline(sum(every) / len(every), 4.0).to_dict()
        body = {"experiment": number, "effects": effects, "scale": scale_of(self.contract.objective), "pairs": []}
        self.write("estimated", {**body, "spent": {"cpu": 0.0}, "baseline": baseline, "head": commit})
        self.level = level


def write_ledger(folder: Path, records: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """A ledger file in one go; the ledger itself would sync after every record."""
    folder.mkdir(parents=True)
    prev = GENESIS
    with (folder / "ledger.jsonl").open("wb") as file:
        for seq, (kind, body) in enumerate(records):
            line, prev = encode(seq, kind, body, _AT, prev)
            file.write(line)


@pytest.fixture
def contract(tmp_path) -> Contract:
    return make_contract(tmp_path)


@pytest.fixture
def script(contract) -> Script:
    return Script(contract)


@pytest.fixture
def ledger_of(tmp_path, request) -> Callable[[Script], Ledger]:
    """The ledger of a script, open for reading."""

    def opened(script: Script) -> Ledger:
        folder = tmp_path / "ledger"
        write_ledger(folder, script.records)
        ledger = Ledger.open(folder, write=False)
        request.addfinalizer(ledger.close)
        return ledger

    return opened


@pytest.fixture
def scripts(tmp_path) -> Callable[..., Script]:
    """Scripts under other contracts: ``scripts(kind="ratio")``."""
    return lambda noise=0.02, seed=1, **changed: Script(make_contract(tmp_path, **changed), noise=noise, seed=seed)


@pytest.fixture
def scripts_of() -> Callable[[Contract], Script]:
    """The script of a given contract."""
    return Script


@pytest.fixture
def write() -> Callable[[Path, Iterable[tuple[str, Mapping[str, Any]]]], None]:
    """See :func:`write_ledger`."""
    return write_ledger
