"""Jobs that really run, on every engine of this machine that needs no daemon."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.sandbox.artifacts import seal_bytes
from evalkit.sandbox.interface import Bind, Job, Limits, Outcome, Sandbox

pytestmark = pytest.mark.sandbox

LIMITS = Limits(wall=10, memory=256 << 20, pids=64, disk=16 << 20, output=1 << 20, kept=1000)


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "train.py").write_text("print('hello')\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "run.sh").write_text("#!/bin/sh\necho from sh\n")
    (folder / "sub" / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("train.py")
    for place in (tmp_path, *tmp_path.parents):
        if place.owner() == tmp_path.owner() and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o055)
    return folder


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def run(sandbox, code, **changes):
    return sandbox.start(replace(Job(("python", "-c", code), limits=LIMITS), **changes)).wait()


def test_follows_the_protocol(sandbox):
    assert isinstance(sandbox, Sandbox)
    assert sandbox.start(Job(("true",), limits=LIMITS)).wait().outcome is Outcome.OK


def test_tree_is_private_and_pristine(sandbox, tree):
    code = "open('train.py', 'a').write('#'); open('new', 'w'); print(open('link').read())"
    first = run(sandbox, code, tree=tree)
    assert first.outcome is Outcome.OK, first.stderr.text()
    assert first.stdout.text() == "print('hello')\n#\n"
    assert (tree / "train.py").read_text() == "print('hello')\n"
    assert not (tree / "new").exists()
    assert run(sandbox, "import os; print(os.path.exists('new'))", tree=tree).stdout.text() == "False\n"


def test_private_files_of_the_tree_can_be_read_and_written(sandbox, tree):
    (tree / "secret.cfg").write_text("x")
    (tree / "secret.cfg").chmod(0o600)
    result = run(sandbox, "open('secret.cfg', 'a').write('y'); print(open('secret.cfg').read())", tree=tree)
    assert result.stdout.text() == "xy\n"
    assert (tree / "secret.cfg").read_text() == "x"


def test_executables_of_the_tree_run(sandbox, tree):
    assert sandbox.start(Job(("sub/run.sh",), tree=tree, limits=LIMITS)).wait().stdout.text() == "from sh\n"


def test_artifacts_are_sealed_with_their_digest(sandbox, tree):
    result = run(sandbox, "import os; os.mkdir('o'); open('o/a', 'wb').write(b'abc')", tree=tree, artifacts=("o/a",))
    artifact = result.artifacts["o/a"]
    assert artifact.read() == b"abc"
    assert artifact.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(PermissionError):
        os.write(artifact.fd, b"x")
    result.close()


def test_missing_artifact(sandbox):
    result = run(sandbox, "pass", artifacts=("out",))
    assert result.outcome is Outcome.MISSING_ARTIFACT
    assert "out" in result.problem


def test_stdin_and_environment(sandbox):
    code = "import os, sys; print(sys.stdin.read(), os.environ['A'], sorted(os.environ))"
    result = run(sandbox, code, stdin=b"data", env={"A": "1"})
    assert result.stdout.text().startswith("data 1")
    for leaked in ("PYTEST_CURRENT_TEST", "USER", "PYTHONPATH"):
        assert f"'{leaked}'" not in result.stdout.text()


def test_files_and_sealed_files_at_their_paths(sandbox):
    sealed = seal_bytes("x", b"model")
    code = "import sys; print(open(sys.argv[1]).read(), open(sys.argv[2]).read())"
    job = Job(("python", "-c", code, "/inputs/a.json", "/artifacts/m"), limits=LIMITS)
    result = sandbox.start(replace(job, files={"/inputs/a.json": b"{}", "/artifacts/m": sealed})).wait()
    sealed.close()
    assert result.stdout.text() == "{} model\n", result.stderr.text()


def test_a_private_bind_is_readable_but_not_writable(bubblewrap, tmp_path):
    vault = tmp_path / "vault"
    vault.mkdir(mode=0o700)
    (vault / "labels").write_text("1 2 3")
    (vault / "labels").chmod(0o600)
    code = """
print(open('/vault/labels').read())
try: open('/vault/labels', 'w')
except OSError as error: print(error.strerror)
"""
    result = run(bubblewrap, code, binds=(Bind(vault, "/vault"),))
    assert result.stdout.text() == "1 2 3\nRead-only file system\n", result.stderr.text()


def test_writable_bind(bubblewrap, tmp_path):
    target = tmp_path / "shared"
    target.mkdir()
    assert (
        run(bubblewrap, "open('/shared/x', 'w').write('1')", binds=(Bind(target, "/shared", writable=True),)).outcome
        is Outcome.OK
    )
    assert (target / "x").read_text() == "1"
    assert (target / "x").stat().st_uid == os.getuid()


def test_workspace_is_edited_in_place_and_stays_ours(bubblewrap, tmp_path):
    (tmp_path / "code.py").write_text("old")
    code = "import os; open('code.py', 'w').write('new')\ntry: os.chmod('code.py', 0o4755)\nexcept OSError: print('no')"
    result = run(bubblewrap, code, workspace=tmp_path, identity="proposer")
    assert result.outcome is Outcome.OK, result
    assert result.stdout.text() == "no\n"
    assert (tmp_path / "code.py").read_text() == "new"
    assert (tmp_path / "code.py").stat().st_uid == os.getuid()
    assert "disk" in result.unenforced


def test_masks_hide_files_and_directories(bubblewrap, tmp_path):
    for name in ("data/hidden/a", "data/open", "data/hidden.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("secret")
    masks = (str(tmp_path / "data/hidden"), str(tmp_path / "data/hidden.txt"), str(tmp_path / "data/absent"))
    code = "import os; print(os.listdir('/d/hidden'), open('/d/open').read(), repr(open('/d/hidden.txt').read()))"
    result = run(bubblewrap, code, binds=(Bind(tmp_path / "data", "/d"),), masks=masks)
    assert result.stdout.text() == "[] secret ''\n", result.stderr.text()


def test_masks_hide_parts_of_the_interpreter(bubblewrap):
    import this  # noqa: PLC0415

    result = run(bubblewrap, "import this", masks=(this.__file__,))
    assert result.outcome is Outcome.OK
    assert "Beautiful" not in result.stdout.text()


def test_masks_hide_parts_of_a_workspace(bubblewrap, tmp_path):
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "x").write_text("1")
    result = run(
        bubblewrap, "import os; print(os.listdir('vault'))", workspace=tmp_path, masks=(str(tmp_path / "vault"),)
    )
    assert result.stdout.text() == "[]\n"


def test_a_harmless_device(bubblewrap):
    code = "print(open('/dev/urandom', 'rb').read(1) != b'', __import__('os').path.exists('/dev/kmsg'))"
    assert run(bubblewrap, code, devices=("urandom",)).stdout.text() == "True False\n"


def test_evalkit_can_be_imported_inside_and_its_surroundings_can_not(bubblewrap):
    code = "import evalkit.protocol, os, pathlib; print(sorted(os.listdir(pathlib.Path(evalkit.__file__).parents[1])))"
    said = run(bubblewrap, code).stdout.text()
    assert "evalkit" in said
    assert "tests" not in said
    assert "pyproject.toml" not in said


@pytest.mark.parametrize(
    ("code", "outcome", "changes"),
    [
        ("import sys; sys.exit(3)", Outcome.NONZERO, {}),
        ("import os; os.kill(os.getpid(), 11)", Outcome.SIGNAL, {}),
        ("import time; time.sleep(60)", Outcome.TIMEOUT_WALL, {"wall": 0.3}),
        ("while True: pass", Outcome.TIMEOUT_CPU, {"cpu": 0.2}),
        ("x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1", Outcome.OOM, {}),
        ("import os\nwhile True: os.write(1, b'x' * 65536)", Outcome.OUTPUT_LIMIT, {}),
    ],
)
def test_classes(sandbox, code, outcome, changes):
    result = run(sandbox, code, limits=replace(LIMITS, **changes))
    assert result.outcome is outcome, (result.problem, result.stderr.text())
    assert result.problem


def test_full_disk(bubblewrap):
    assert run(bubblewrap, "open('a', 'wb').write(bytes(20 << 20))").outcome is Outcome.DISK
    assert run(bubblewrap, "open('/tmp/a', 'wb').write(bytes(20 << 20))").outcome is Outcome.DISK
    small = replace(LIMITS, file_size=1 << 20)
    assert run(bubblewrap, "open('a', 'wb').write(bytes(2 << 20))", limits=small).outcome is Outcome.DISK
    assert run(bubblewrap, "open('a', 'wb').write(bytes(1 << 19))", limits=small).outcome is Outcome.OK


def test_a_command_that_does_not_exist_is_the_jobs_own_fault(sandbox):
    result = sandbox.start(Job(("no-such-program",), limits=LIMITS)).wait()
    assert result.outcome is Outcome.NONZERO


def test_interactive_conversation(sandbox):
    code = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)"
    running = sandbox.start(Job(("python", "-c", code), interactive=True, limits=LIMITS))
    for word in (b"abc", b"xyz"):
        os.write(running.stdin, word + b"\n")
        assert os.read(running.stdout, 100) == word[::-1] + b"\n"
    os.close(running.stdin)
    result = running.wait()
    os.close(running.stdout)
    assert result.outcome is Outcome.OK
    assert result.stdout.total == 0


def test_only_interactive_jobs_have_pipes(sandbox):
    running = sandbox.start(Job(("true",), limits=LIMITS))
    with pytest.raises(ValueError, match="interactive"):
        _ = running.stdin
    running.wait()


def test_an_interactive_job_is_ended_by_its_limit(sandbox):
    running = sandbox.start(Job(("python", "-c", "input()"), interactive=True, limits=replace(LIMITS, wall=0.3)))
    assert os.read(running.stdout, 1) == b""
    assert running.wait().outcome is Outcome.TIMEOUT_WALL
    os.close(running.stdin)
    os.close(running.stdout)


def test_kill_takes_the_tree(sandbox):
    code = "import os, time\nfor _ in range(5): os.fork()\nprint('up', flush=True)\ntime.sleep(60)"
    running = sandbox.start(Job(("python", "-c", code), interactive=True, limits=LIMITS))
    os.read(running.stdout, 2)
    running.kill()
    running.kill()
    result = running.wait()
    assert result.outcome is Outcome.SIGNAL
    os.close(running.stdin)
    os.close(running.stdout)


def test_head_and_tail_are_kept(sandbox):
    result = run(sandbox, "print('a' * 5000 + 'END')", limits=replace(LIMITS, kept=100))
    assert result.stdout.head == b"a" * 100
    assert result.stdout.tail == b"a" * 96 + b"END\n"
    assert result.stdout.total == 5004
    assert "bytes left out" in result.stdout.text()


def test_many_jobs_at_once(sandbox):
    jobs = [sandbox.start(Job(("python", "-c", f"print({n})"), limits=LIMITS)) for n in range(12)]
    assert [job.wait().stdout.text() for job in jobs] == [f"{n}\n" for n in range(12)]


def test_started_from_several_threads(bubblewrap):
    said = []

    def work(n):
        said.append(run(bubblewrap, f"print({n})").stdout.text())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["0\n", "1\n", "2\n", "3\n"]


def test_usage_counts_children(sandbox):
    code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'sum(range(10**7))'])"
    usage = run(sandbox, code).usage
    assert usage.cpu is not None
    assert usage.cpu > 0.05
    assert usage.wall >= 0.05
    assert usage.peak_memory is None or usage.peak_memory > 1 << 20


def test_a_job_that_makes_no_sense_is_refused(sandbox, tmp_path):
    for job in (
        Job(()),
        Job(("true",), tree=tmp_path, workspace=tmp_path),
        Job(("true",), interactive=True, stdin=b"x"),
        Job(("true",), network=True),
        Job(("true",), artifacts=("../x",)),
        Job(("true",), files={"relative": b""}),
        Job(("true",), files={"/box/x": b""}),
        Job(("true\0x",)),
        Job(("true",), env={"A=B": "x"}),
        Job(("true",), devices=("../mem",)),
        Job(("true",), tree=tmp_path / "absent"),
        Job(("true",), limits=Limits(wall=0)),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            sandbox.start(job)


def test_descriptors_do_not_pile_up(bubblewrap):
    run(bubblewrap, "pass")
    before = open_descriptors()
    for _ in range(5):
        run(bubblewrap, "pass")
    deadline = time.monotonic() + 5
    while open_descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert open_descriptors() <= before


def test_probe_says_what_holds(sandbox):
    probe = sandbox.probe()
    assert probe.usable
    assert "wall" in probe.enforced
    assert ("filesystem" in probe.enforced) is not sandbox.unsafe
    assert bool(probe.unenforced) == bool(probe.reason)


def test_a_bind_below_a_read_only_one_is_refused_and_leaves_nothing_on_the_host(bubblewrap, tmp_path):
    result = run(bubblewrap, "pass", binds=(Bind(tmp_path, "/usr/evalkit-not-there"),))
    assert result.outcome is Outcome.SANDBOX_ERROR
    assert "read-only" in result.problem
    assert not Path("/usr/evalkit-not-there").exists()


def test_closed_sandbox_says_so():
    from evalkit.errors import SandboxUnavailable  # noqa: PLC0415
    from evalkit.sandbox.testing import open_for_test  # noqa: PLC0415

    try:
        sandbox = open_for_test("bubblewrap")
    except SandboxUnavailable as error:
        pytest.skip(error.message)
    sandbox.close()
    with pytest.raises(SandboxUnavailable, match="closed"):
        sandbox.start(Job(("true",)))
