"""Nothing stays behind: not after the end, not after the runner was killed and another one has started."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from evalkit.sandbox import open_sandbox
from evalkit.sandbox.cgroups import owner_tag
from evalkit.sandbox.interface import Job, Limits
from evalkit.sandbox.redteam.processes import marked_processes

pytestmark = pytest.mark.sandbox

RUNNER = """
import os, pathlib, sys
from evalkit.sandbox.testing import open_for_test
from evalkit.sandbox.interface import Job, Limits
sandbox = open_for_test(sys.argv[1])
code = "import os, time\\nfor _ in range(3): os.fork()\\nprint(1, flush=True)\\ntime.sleep(60)  # " + sys.argv[2]
tree = pathlib.Path(sys.argv[3])
job = Job(("python", "-c", code), tree=tree, limits=Limits(wall=60), interactive=True)
running = [sandbox.start(job) for _ in range(2)]
for each in running: os.read(each.stdout, 1)
print("RUNNING", flush=True)
running[0].wait()
"""


def ours(tag_pid):
    """What carries the name of one process, anywhere that a sandbox may leave something."""
    found = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/evalkit-*-{tag_pid}-*")]
    found += [str(path) for path in Path(tempfile.gettempdir()).glob(f"evalkit-*-{tag_pid}-*")]
    return found + [line for line in Path("/proc/mounts").read_text().splitlines() if f"-{tag_pid}-" in line]


ENGINES = ["bubblewrap", *(pytest.param(name, marks=pytest.mark.slow) for name in ("landlock", "process", "docker"))]


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_after_a_killed_runner_and_a_new_start(engine, tmp_path):
    mark = f"left-{os.getpid()}-{time.monotonic_ns()}"
    tmp_path.chmod(0o755)
    command = [sys.executable, "-c", RUNNER, engine.name, mark, str(tmp_path)]
    runner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert runner.stdout.readline() == b"RUNNING\n", runner.communicate()
    assert marked_processes(mark)
    runner.send_signal(signal.SIGKILL)
    runner.communicate()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        engine.sweep()
        if not marked_processes(mark) and not ours(runner.pid):
            break
        time.sleep(0.02)
    assert not marked_processes(mark)
    assert not ours(runner.pid)


def test_opening_an_engine_sweeps():
    group = Path("/sys/fs/cgroup/pids")
    own = [line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":pids:" in line]
    if os.geteuid() != 0 or not own:
        pytest.skip("needs root and cgroup v1")
    namespace, pid, start = owner_tag().split("-")
    left = group / own[0].lstrip("/") / f"evalkit-{namespace}-{pid}-{int(start) + 1}-0"
    left.mkdir()
    sleeper = subprocess.Popen(["/usr/bin/sleep", "60"])
    (left / "cgroup.procs").write_text(str(sleeper.pid))
    open_sandbox("bubblewrap").close()
    assert sleeper.wait() == -signal.SIGKILL
    assert not left.exists()


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_after_an_ordinary_end(engine):
    for _ in range(3):
        engine.start(Job(("python", "-c", "pass"), limits=Limits(wall=10))).wait()
    assert not [place for place in ours(os.getpid()) if "evalkit-runner" not in place]
