"""A clone, and with it the virtual environment, may lie below /tmp, which every job has for itself."""

import tempfile
import venv
from pathlib import Path

import pytest

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox import open_sandbox
from evalkit.sandbox.interface import Job, Outcome
from evalkit.sandbox.testing import open_for_test

CODE = """
import os, sys
print(sys.prefix)
open("/tmp/mine", "w").write("x")
try:
    open(os.path.join(sys.prefix, "planted"), "w")
except OSError as error:
    print("refused", error.errno)
"""


@pytest.mark.sandbox
def test_an_interpreter_below_tmp_is_there_and_read_only():
    try:
        open_for_test("bubblewrap").close()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        venv.create(folder, with_pip=False, symlinks=True)
        sandbox = open_sandbox("bubblewrap", python=Path(folder) / "bin" / "python")
        try:
            result = sandbox.start(Job(argv=("python", "-c", CODE))).wait()
        finally:
            sandbox.close()
        assert result.outcome is Outcome.OK, (result.problem, result.stderr.text())
        assert result.stdout.text().splitlines() == [folder, "refused 30"]
        assert not (Path(folder) / "planted").exists()
