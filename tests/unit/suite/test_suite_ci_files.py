"""The files for CI services, as far as they can be exercised without them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from evalkit.cli.gate import command

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[3]
STUB = '#!/bin/sh\nprintf "%s\\n" "$@" > "$SEEN"\nexit 3\n'


def _load(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_action_is_composite_and_pinned():
    action = _load("action.yml")
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]) if "uses" in step else step["shell"] == "bash"
        assert "${{" not in step.get("run", ""), "an input inside a script is an injection"
    assert "==" in action["inputs"]["version"]["default"]


def test_the_actions_script_hands_over_what_it_was_given(tmp_path):
    script = _load("action.yml")["runs"]["steps"][-1]
    stub = tmp_path / "evalkit"
    stub.write_text(STUB)
    stub.chmod(0o755)
    given = {"SPECS": "specs; rm -rf /", "SARIF": "a b.sarif", "JUNIT": "j.xml", "ALLOW_EMPTY": "false"}
    env = {
        **dict.fromkeys(script["env"], ""),
        **given,
        "SEEN": str(tmp_path / "seen"),
        "GITHUB_OUTPUT": str(tmp_path / "o"),
    }
    env["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    ran = subprocess.run(["bash", "-eo", "pipefail", "-c", script["run"]], env=env, check=False)
    assert ran.returncode == 3
    assert (tmp_path / "o").read_text() == "exit-code=3\n"
    assert (tmp_path / "seen").read_text().splitlines() == [
        *("gate", "--sarif", "a b.sarif", "--junit", "j.xml", "--specs", "specs; rm -rf /", "--refuse-empty"),
    ]


def test_the_templates_use_options_that_there_are():
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    texts = [*_load("ci-templates/gitlab.yml")["evalkit"]["script"], (ROOT / "action.yml").read_text()]
    used = {word for text in texts for word in re.findall(r"(?<![\w-])--[a-z-]+", text)}
    assert used - {"--quiet", "--disable-pip-version-check"} <= known
    assert _load("ci-templates/gitlab.yml")["evalkit"]["retry"]["exit_codes"] == [4]


def test_the_hooks_run_what_there_is():
    hooks = {hook["id"]: hook for hook in _load(".pre-commit-hooks.yaml")}
    assert hooks["evalkit-gate"]["entry"] == "evalkit gate"
    assert hooks["evalkit-gate"]["stages"] == ["pre-push"]
    assert hooks["evalkit-scan"]["pass_filenames"] is False
