from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from guards.catalogue import catalogue
from guards.commands.scan import command
from guards.scanning import default_contract, sarif_log, scan_patch

BAD = """\
diff --git a/src/run.py b/src/run.py
index 1111111..2222222 100644
--- a/src/run.py
+++ b/src/run.py
@@ -1,2 +1,4 @@
 import time
+import os
+time.perf_counter = lambda: 0.0
 x = 1
"""
GOOD = BAD.replace("+time.perf_counter = lambda: 0.0", "+y = time.perf_counter()")


def invoke(*arguments: str, stdin: str | bytes | None = None):
    return CliRunner().invoke(command, list(arguments), input=stdin)


def test_text_and_exit_codes(tmp_path: Path):
    patch = tmp_path / "bad.diff"
    patch.write_text(BAD)
    bad = invoke(str(patch))
    assert bad.exit_code == 1
    assert "EK101 src/run.py:3" in bad.output
    assert "time.perf_counter = lambda" in bad.output
    assert invoke("-", stdin=GOOD).exit_code == 0
    assert invoke(str(patch), "--fail-on", "never").exit_code == 0


def test_json_is_one_document():
    document = json.loads(invoke("-", "--json", stdin=BAD).output)
    assert document["schema"] == "evalkit.scan/1"
    [change] = document["changes"]
    assert change["worst"] == "block"
    assert change["findings"][0]["rule"] == "EK101"


# The parts of the published schema (sarif-schema-2.1.0) that this log uses: required members, types and values.
STRING, INTEGER = str, int
RESULT_LEVELS = {"none", "note", "warning", "error"}


def check(value, shape, where="$"):
    """A structural check: dict of member -> (type or shape, required)."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for key, (inner, required) in shape.items():
            assert key in value or not required, f"{where}.{key} is missing"
            if key in value:
                check(value[key], inner, f"{where}.{key}")
        assert set(value) <= set(shape), f"{where}: {set(value) - set(shape)} is not in the schema"
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for index, item in enumerate(value):
            check(item, shape[0], f"{where}[{index}]")
    elif isinstance(shape, set):
        assert value in shape, f"{where}: {value}"
    else:
        assert isinstance(value, shape), where
        assert not isinstance(value, bool), where


MESSAGE = {"text": (STRING, True)}
REGION = {"startLine": (INTEGER, False), "snippet": ({"text": (STRING, False)}, False)}
LOCATION = {
    "physicalLocation": (
        {
            "artifactLocation": ({"uri": (STRING, False), "uriBaseId": (STRING, False)}, False),
            "region": (REGION, False),
        },
        False,
    )
}
RESULT = {
    "ruleId": (STRING, False),
    "ruleIndex": (INTEGER, False),
    "level": (RESULT_LEVELS, False),
    "message": (MESSAGE, True),
    "locations": ([LOCATION], False),
    "partialFingerprints": (dict, False),
    "properties": (dict, False),
    "suppressions": (
        [{"kind": ({"inSource", "external"}, True), "status": ({"accepted"}, False), "justification": (STRING, False)}],
        False,
    ),
}
DESCRIPTOR = {
    "id": (STRING, True),
    "name": (STRING, False),
    "shortDescription": (MESSAGE, False),
    "help": (MESSAGE, False),
    "defaultConfiguration": ({"level": (RESULT_LEVELS, False)}, False),
}
DRIVER = {"name": (STRING, True), "semanticVersion": (STRING, False), "rules": ([DESCRIPTOR], False)}
RUN = {
    "tool": ({"driver": (DRIVER, True)}, True),
    "columnKind": ({"utf16CodeUnits", "unicodeCodePoints"}, False),
    "results": ([RESULT], False),
}
LOG = {"$schema": (STRING, False), "version": ({"2.1.0"}, True), "runs": ([RUN], True)}


def test_sarif_follows_the_schema(tmp_path: Path):
    target = tmp_path / "out.sarif"
    invoke("-", "--sarif", str(target), stdin=BAD)
    log = json.loads(target.read_text())
    check(log, LOG)
    [run] = log["runs"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        for location in result.get("locations", []):
            assert location["physicalLocation"]["region"]["startLine"] >= 1
            assert " " not in location["physicalLocation"]["artifactLocation"]["uri"]
    empty = sarif_log([scan_patch(GOOD.encode(), default_contract(tmp_path))], catalogue())
    check(empty, LOG)
    assert empty["runs"][0]["results"] == []


def git(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    name = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True, env=environment)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for number, text in enumerate(["x = 1\n", "x = 2\n", "import time\ntime.time = lambda: 0\nx = 2\n", "x = 3\n"]):
        (folder / "run.py").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", f"step {number}")
    return folder


def test_a_range_is_scanned_commit_by_commit_or_as_a_whole(repository: Path):
    each = json.loads(invoke("main~3..main", "--repo", str(repository), "--json").output)["changes"]
    assert [change["subject"] for change in each] == ["step 1", "step 2", "step 3"]
    assert [change["worst"] for change in each] == [None, "block", None]
    whole = invoke("main~3..main", "--repo", str(repository), "--json", "--net")
    assert [change["worst"] for change in json.loads(whole.output)["changes"]] == [None]


def test_a_hostile_repository_runs_nothing(repository: Path, tmp_path: Path):
    mark = tmp_path / "ran"
    config = repository / ".git" / "config"
    config.write_text(
        config.read_text()
        + f"[diff]\n\texternal = touch {mark}\n[core]\n\tfsmonitor = touch {mark}\n\tpager = touch {mark}\n"
        f'[diff "x"]\n\ttextconv = touch {mark}\n\tcommand = touch {mark}\n'
    )
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "attributes").write_text("*.py diff=x\n")
    invoke("main~3..main", "--repo", str(repository))
    invoke("main~3..main", "--repo", str(repository), "--net")
    assert not mark.exists()


@pytest.mark.parametrize("span", ["nowhere..main", "--output=/tmp/x", "a b", "..", "main..--all"])
def test_ranges_that_are_none_get_a_sentence(repository: Path, span: str):
    ran = subprocess.run(
        [sys.executable, "-m", "evalkit", "scan", "--repo", str(repository), "--", span],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr


def test_nothing_that_is_scanned_is_run_or_imported(tmp_path: Path):
    mark = tmp_path / "ran"
    body = f"open({str(mark)!r}, 'w').close()\n"
    (tmp_path / "evil_module_for_scan.py").write_text(body)
    patch = "--- /dev/null\n+++ b/evil_module_for_scan.py\n@@ -0,0 +1,2 @@\n+" + body + "+exec('raise SystemExit(7)')\n"
    code = (
        "import sys\n"
        "from guards.commands.scan import command\n"
        "command(['-', '--fail-on', 'never'], standalone_mode=False)\n"
        "assert 'evil_module_for_scan' not in sys.modules\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], input=patch, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert not mark.exists()
