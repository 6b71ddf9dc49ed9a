"""Suites in folders of their own, run by a pytest of their own with evalkit's plugin and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox.testing import open_for_test

PLUGINS = (
    *("-p", "evalkit.suite.plugin", "-p", "evalkit.report.suitefiles", "-p", "no:cacheprovider"),
    *("-p", "no:evalkit", "-p", "no:evalkit-report"),
)
"""By module, so that it doesn't matter whether the entry points are installed."""


@dataclass(frozen=True)
class Ran:
    """What a run of pytest left."""

    code: int
    text: str
    cases: dict[str, str]
    result: dict[str, Any]
    sarif: dict[str, Any]
    summary: str


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.folder / name.replace("__", "/")
            path = path.with_name(path.name + ".py") if not path.suffix else path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def commit(self) -> None:
        if not (self.folder / ".git").exists():
            self.git("init", "-q", "-b", "main", ".")
        self.git("add", "-A")
        self.git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x", "--allow-empty")

    def git(self, *arguments: str) -> str:
        ran = subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True)
        return ran.stdout.strip()

    def run(self, *arguments: str) -> Ran:
        files = self._files()
        command = [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "evalkit.suite.plugin",
                "-p",
                "no:evalkit",
                "-p",
                "no:cacheprovider",
                "-q",
                "-ra",
            ),
            *(f"--junitxml={files['junit']}", f"--evalkit-json={files['json']}", *_outputs(files), *arguments),
        ]
        ran = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)
        return self._left(files, ran.returncode, ran.stdout + ran.stderr)

    def run_inside(self, pytester: pytest.Pytester, *arguments: str) -> Ran:
        """In this process, which is ten times as fast."""
        files = self._files()
        options = [f"--junitxml={files['junit']}", f"--evalkit-json={files['json']}", "--rootdir", str(self.folder)]
        options += _outputs(files)
        os.chdir(self.folder)
        ran = pytester.runpytest_inprocess(
            "-p",
            "evalkit.suite.plugin",
            "-p",
            "no:evalkit",
            "-p",
            "no:cacheprovider",
            "-q",
            "-ra",
            *options,
            *arguments,
        )
        return self._left(files, int(ran.ret), "\n".join([*ran.outlines, *ran.errlines]))

    def _files(self) -> dict[str, Path]:
        files = {name: self.folder / f"out-{name}" for name in ("junit", "json", "sarif", "summary")}
        for file in files.values():
            file.unlink(missing_ok=True)
        return files

    @staticmethod
    def _left(files: dict[str, Path], code: int, text: str) -> Ran:
        cases = _cases(files["junit"])
        result = json.loads(files["json"].read_text()) if files["json"].is_file() else {}
        sarif = json.loads(files["sarif"].read_text()) if files["sarif"].is_file() else {}
        summary = files["summary"].read_text() if files["summary"].is_file() else ""
        return Ran(code, text, cases, result, sarif, summary)


def _outputs(files: dict[str, Path]) -> list[str]:
    return [f"--evalkit-sarif={files['sarif']}", f"--evalkit-summary={files['summary']}"]


def _cases(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    return {
        case.get("name", ""): next((c.tag for c in case if c.tag in {"failure", "error", "skipped"}), "passed")
        for case in ET.parse(file).getroot().iter("testcase")  # noqa: S314 - our own pytest wrote it
    }


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def sandboxed():
    try:
        open_for_test("bubblewrap").close()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
