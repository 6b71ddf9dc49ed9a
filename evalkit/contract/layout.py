"""Recognising what a folder already holds, so that a first contract fits it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.contract.model import Goal

__all__ = ["TEMPLATES", "Layout", "detect", "plain_layout"]

TEMPLATES = ("artifacts", "served", "measured")
_CAP = 1 << 20
_BLOCK = "EVOLVE-BLOCK-START"
_SUMMARY = re.compile(r"""["'](\w+):[ ]*[{%]""")
_METRIC = re.compile(r"\bMETRIC\s+([\w.µ]+)=")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a contract is written for.

    Attributes:
        found: what was recognised, one sentence; empty where nothing was.
        template: ``artifacts``, ``served``, ``measured``, or ``reported`` for loops that print their metric.
        editable, metric, goal, run, serve, score, artifacts: as in the contract.
        hidden: evaluators beside the scorer that the contract must hide; empty for the default.
        report: the expression for a printed metric.
        instructions: the file with what a proposer is told.
        wall: as in the contract.
        vault: folder with the cases, where there is one.
    """

    found: str = ""
    template: str = "served"
    editable: tuple[str, ...] = ("train.py",)
    hidden: tuple[str, ...] = ()
    metric: str = "loss"
    goal: Goal = "minimize"
    run: tuple[str, ...] = ("python", "train.py")
    serve: tuple[str, ...] = ("python", "predict.py")
    score: tuple[str, ...] = ("python", "score.py")
    artifacts: tuple[str, ...] = ("model.npz",)
    report: str | None = None
    instructions: str | None = None
    wall: str = "60s"
    vault: str | None = None


def plain_layout(template: str, root: Path) -> Layout:
    """The layout of a template by name, with the folder's vault where it has one."""
    layout = Layout(template=template, vault="vault" if (root / "vault").is_dir() else None)
    if template == "measured":
        return replace(
            layout,
            editable=("solution.py",),
            metric="cpu_seconds",
            run=("python", "solution.py"),
            artifacts=("out.json",),
        )
    return layout


def detect(root: Path) -> Layout | None:
    """The layout of another loop that a folder holds, or None.

    Known: a logged loop (``autoresearch.jsonl``, ``.auto/log.jsonl``), a program with marked evolve blocks and its
    evaluator, and a single training file with its ``program.md``.
    """
    return _logged(root) or _evolved(root) or _single_file(root)


def _single_file(root: Path) -> Layout | None:
    source = _read(root / "train.py")
    if source is None or not (root / "program.md").is_file():
        return None
    printed = _SUMMARY.findall(source)
    metric = next((name for name in printed if name.startswith("val") or "loss" in name), "val_bpb")
    return Layout(
        found="train.py and program.md: a single training file that prints its metric",
        template="reported",
        metric=metric,
        goal="maximize" if "acc" in metric else "minimize",
        report=rf"^{re.escape(metric)}:[ \t]+(\S+)",
        instructions="program.md",
        wall="10m",
    )


def _logged(root: Path) -> Layout | None:
    log = next((name for name in (".auto/log.jsonl", "autoresearch.jsonl") if (root / name).is_file()), None)
    script = next((name for name in ("autoresearch.sh", ".auto/measure.sh") if (root / name).is_file()), None)
    if log is None or script is None:
        return None
    settings = _settings(_read(root / log) or "")
    printed = _METRIC.search(_read(root / script) or "")
    metric = str(settings.get("metricName") or (printed[1] if printed else "metric"))
    return Layout(
        found=f"{log} and {script}: a loop whose script prints METRIC lines",
        template="reported",
        editable=("src/**",) if (root / "src").is_dir() else ("*.py",),
        metric=re.sub(r"[^\w.-]", "_", metric),
        goal="maximize" if settings.get("bestDirection") == "higher" else "minimize",
        run=("bash", script),
        report=rf"^METRIC[ \t]+{re.escape(metric)}=(\S+)",
        wall="10m",
    )


def _settings(log: str) -> dict[str, object]:
    """The last configuration line of a log."""
    found: dict[str, object] = {}
    for line in log.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and record.get("type") == "config":
            found = record
    return found


def _evolved(root: Path) -> Layout | None:
    sources = sorted(path for path in root.glob("*.py") if path.is_file())
    evaluators = [path.name for path in sources if path.stem in {"evaluator", "evaluate"}]
    programs = [path.name for path in sources if path.name not in evaluators and _BLOCK in (_read(path) or "")]
    if not programs or not evaluators:
        return None
    return Layout(
        found=f"{', '.join(programs)} with evolve blocks, judged by {evaluators[0]}",
        template="served",
        editable=tuple(programs),
        hidden=tuple(evaluators),
        metric="combined_score",
        goal="maximize",
        serve=("python", programs[0]),
    )


def _read(path: Path) -> str | None:
    """A small text file, or None."""
    try:
        if not path.is_file() or path.stat().st_size > _CAP:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
