"""A suite run by a parent that can't be fooled: what decides is what the parent saw, not an exit code.

The child is pytest with nothing of anyone's around it: no plugin is found by itself, the configuration is a file that
the parent wrote, no environment variable of Python or pytest is passed on, and no candidate file lies on ``sys.path``.
Before anything runs it tells the parent, through a pipe of its own, which tests there are; that manifest is hashed. In
the end the parent holds the result against it: a test that is missing, was skipped, xfailed, repeated or never finished
is not a pass, however the process ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.suite.result import SCHEMA

__all__ = ["Arms", "TrustedRun", "run_trusted"]

_CAP = 256 << 20
_PINNED = "[pytest]\naddopts =\nxfail_strict = true\npython_files = test_*.py *_test.py spec_*.py\n"
_KEPT_OUTPUT = 64 << 10
_EXIT_CODES = {"KEEP": 0, "REJECT": 1, "INCONCLUSIVE": 3, "ERROR": 4}
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "XDG_RUNTIME_DIR", "DOCKER_HOST")


@dataclass(frozen=True, slots=True)
class Arms:
    """Directories of both arms.

    Attributes:
        candidate, baseline: what the subject sees: without specs, test configuration and vault.
        full: the same trees with all their files, for guards; by arm.
    """

    candidate: Path
    baseline: Path | None = None
    full: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrustedRun:
    """What the parent believes.

    Attributes:
        decision: ``KEEP``, ``REJECT``, ``INCONCLUSIVE`` or ``ERROR``.
        sentence: why.
        manifest: sha256 over the sorted node ids of the tests that had to run; empty where there was none.
        result: the suite's own result as JSON; empty where there was none.
        output: the tail of what pytest printed.
        seconds: wall time.
    """

    decision: str
    sentence: str
    manifest: str
    result: Mapping[str, Any]
    output: str
    seconds: float

    @property
    def exit_code(self) -> int:
        """Of a command that judged with this suite."""
        return _EXIT_CODES[self.decision]


def run_trusted(
    tree: Path, specs: str, arms: Arms, *, settings: Mapping[str, Any] | None = None, timeout: float = 3600.0
) -> TrustedRun:
    """Run a suite and say what came of it.

    Args:
        tree: directory with the trusted files, the specs among them; nothing of it is the candidate's.
        specs: file or folder below it.
        arms: both arms' directories.
        settings: instead of those of ``[suite]`` in the tree's contract file (see :class:`Settings`).
        timeout: seconds for the whole run.

    Raises:
        UsageError: there are no specs there.
    """
    if not (tree / specs).exists():
        raise UsageError(f"there is no {specs} in the trusted tree", "commit the specs on the base revision")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="evalkit-trusted-") as folder:
        read, write = os.pipe()
        try:
            command = _command(Path(folder), tree, specs, arms, settings=settings or {}, channel=write)
            with (Path(folder) / "output").open("w+b") as output:
                child = subprocess.Popen(
                    command, cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=output,
                    stderr=subprocess.STDOUT, pass_fds=(write,), start_new_session=True,
                )  # fmt: skip
                os.close(write)
                write = -1
                messages, ended = _listen(read, child, started + timeout)
                output.seek(max(0, output.seek(0, os.SEEK_END) - _KEPT_OUTPUT))
                said = output.read().decode("utf-8", "backslashreplace")
        finally:
            os.close(read)
            if write >= 0:
                os.close(write)
    decision, sentence, result, names = _believe(messages, ended)
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest() if names else ""
    return TrustedRun(decision, sentence, digest, result, said, time.monotonic() - started)


def _command(
    folder: Path, tree: Path, specs: str, arms: Arms, *, settings: Mapping[str, Any], channel: int
) -> list[str]:
    ready = {"candidate": str(arms.candidate)} | ({"baseline": str(arms.baseline)} if arms.baseline else {})
    parent = folder / "parent.json"
    told = {
        "root": str(tree),
        "ready": ready,
        "full": {arm: str(path) for arm, path in arms.full.items()},
        "channel": channel,
        "settings": dict(settings),
    }
    parent.write_text(json.dumps(told), encoding="utf-8")
    pinned = folder / "pytest.ini"
    pinned.write_text(_PINNED, encoding="utf-8")
    return [
        *(sys.executable, "-I", "-B", "-m", "pytest", "-p", "evalkit.suite.plugin", "-p", "no:cacheprovider"),
        *("-c", str(pinned), "--rootdir", str(tree), "--import-mode=importlib", "--strict-markers", "-q", "-ra"),
        *(f"--evalkit-parent={parent}", "--", str(tree / specs)),
    ]


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _listen(read: int, child: subprocess.Popen[bytes], deadline: float) -> tuple[list[Any], str]:
    """Every message of the child until it closes its end, and how it ended."""
    data = bytearray()
    problem = ""
    while True:
        left = deadline - time.monotonic()
        if left <= 0.0 or len(data) > _CAP:
            problem = "it took too long" if left <= 0.0 else "it said too much"
            break
        ready, _, _ = select.select([read], [], [], min(left, 1.0))
        if ready:
            part = os.read(read, 1 << 20)
            if not part:
                break
            data += part
        elif child.poll() is not None:
            break  # a grandchild may still hold the pipe; what the child had to say is in it already
    if problem or child.poll() is None:
        code = _end(child, 0.0 if problem else max(0.0, deadline - time.monotonic()))
    else:
        code = child.returncode
    lines = bytes(data).split(b"\n")
    try:
        messages = [json.loads(line) for line in lines if line]
    except ValueError:
        return [], "it broke off in the middle of a message"
    return messages, problem or f"exit code {code}"


def _end(child: subprocess.Popen[bytes], patience: float) -> int:
    try:
        return child.wait(timeout=patience + 5.0 if patience else 0.0)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _believe(  # noqa: PLR0911 - one return a way in which a run can't be believed
    messages: list[Any], ended: str
) -> tuple[str, str, Mapping[str, Any], list[str]]:
    """What follows from the messages: anything but one manifest and then one fitting result is ERROR."""
    if not messages or set(messages[0]) != {"manifest"}:
        return "ERROR", f"the suite never said which tests it has ({ended})", {}, []
    names = [entry[0] for scope in messages[0]["manifest"] for entry in scope["items"]]
    if not names:
        return "ERROR", f"the suite has no evals and no guards ({ended})", {}, []
    if len(messages) != 2 or set(messages[1]) != {"result"}:  # noqa: PLR2004 - the manifest and the result
        return "ERROR", f"the suite ended before it came to a result ({ended})", {}, names
    result = messages[1]["result"]
    if result.get("schema") != SCHEMA or sorted(result["manifest"]) != sorted(names):
        return "ERROR", "the result is not about the tests that there were before", result, names
    decision = str(result["decision"])
    gates = result["gates"]
    if decision == "NONE":
        why = gates[0]["sentence"] if gates else "the suite declares no gate"
        return "ERROR", f"nothing was judged: {why}", result, names
    if decision == "KEEP" and (trouble := _trouble(result, ended)):
        return "ERROR", trouble, result, names
    wanted = {"KEEP": "pass", "REJECT": "fail", "INCONCLUSIVE": "inconclusive", "ERROR": "error"}[decision]
    told = [f"{gate['name']}: {gate['sentence']}" for gate in gates if gate["state"] == wanted]
    return decision, "; ".join(told), result, names


def _trouble(result: Mapping[str, Any], ended: str) -> str:
    """Why a KEEP is not believed, or the empty string."""
    quarantined = {entry[0] for scope in result["scopes"] for entry in scope["items"] if entry[3]}
    bad = sorted(set(result["endings"]) - quarantined)
    if bad:
        return f"{bad[0]} is no pass: {result['endings'][bad[0]]}"
    if ended != "exit code 0":
        return f"every gate passed, but pytest ended with {ended}"
    return ""
