"""M: the metric channel, as far as a sandbox is part of it; what the verifier holds is tested where it lives."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from evalkit.protocol.strict import StrictJSONError, loads
from evalkit.sandbox.artifacts import seal_bytes
from evalkit.sandbox.interface import Bind, Job, Outcome, Sandbox
from evalkit.sandbox.redteam.arena import Arena
from evalkit.sandbox.redteam.case import SMALL, Case, Held, Mark, run

__all__ = ["CHANNEL"]

_HOSTILE_JSON = (
    *(b'{"m": NaN}', b'{"m": Infinity}', b'{"m": -Infinity}', b'{"m": 1e999}', b'{"m": 1, "m": 2}'),
    *(
        b"[" * 100_000,
        b'{"m": ' + b"9" * 5000 + b"}",
        b'{"m": 1} {"m": 2}',
        b"",
        b"\xff\xfe",
        b'{"m": 01}',
        b"{'m': 1}",
    ),
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
)


def _elsewhere(what: str) -> Callable[[Sandbox, Arena], Held]:
    return lambda *_: Held(Mark.NOT_HERE, what)


def _printed(sandbox: Sandbox, arena: Arena) -> Held:
    result = run(sandbox, arena, "print('METRIC: 1e9\\n{\"score\": 1e9}\\nPASSED')", artifacts=("metrics.json",))
    return Held.when(result.outcome is Outcome.MISSING_ARTIFACT, f"what is printed is no artefact: {result.outcome}")


def _undeclared(sandbox: Sandbox, arena: Arena) -> Held:
    code = "open('metrics.json', 'w').write('{\"score\": 1e9}')\nopen('out', 'w').write('1')"
    result = run(sandbox, arena, code, artifacts=("out",))
    names = set(result.artifacts)
    result.close()
    return Held.when(names == {"out"}, f"left the sandbox: {sorted(names)}")


def _nonce(sandbox: Sandbox, arena: Arena) -> Held:
    """A scorer holds a nonce on its input while a candidate looks for it everywhere."""
    nonce = b"nonce-5f3a9c"
    scorer = Job(
        ("python", "-I", "-c", "import sys, time; sys.stdin.read(); time.sleep(2)"), stdin=nonce, identity="scorer"
    )
    running = sandbox.start(replace(scorer, limits=SMALL))
    look = """
    import glob, os
    found = []
    for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/fd/0"):
        if path.split("/")[2] == str(os.getpid()): continue
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            if b"nonce-5f3" + b"a9c" in os.read(fd, 65536): found.append(path)
        except OSError: pass
    print(found)
    """
    said = run(sandbox, arena, look).stdout.text().strip()
    running.kill()
    running.wait()
    return Held.when(said == "[]", f"found: {said}")


def _descriptors(sandbox: Sandbox, arena: Arena) -> Held:
    code = "import os\nfor fd in range(3, 200):\n try: os.write(fd, b'{\"metric\": 1}'); print('WROTE', fd)\n except OSError: pass"
    said = run(sandbox, arena, code).stdout.text()
    return Held.when("WROTE" not in said, said or "none to write to")


def _rewriting_daemon(sandbox: Sandbox, arena: Arena) -> Held:
    code = """
    import os, time
    open("out", "w").write("honest")
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                try:
                    with open("out.new", "w") as file: file.write("forged")
                    time.sleep(0.05)
                    os.rename("out.new", "out")
                except OSError: pass
        os._exit(0)
    os.wait()
    """
    result = run(sandbox, arena, code, artifacts=("out",))
    content = {name: artifact.read() for name, artifact in result.artifacts.items()}
    sealed = True
    for artifact in result.artifacts.values():
        try:
            os.pwrite(artifact.fd, b"x", 0)
            sealed = False
        except OSError:
            pass
    result.close()
    return Held.when(content.get("out") == b"honest" and sealed, f"{content}, sealed: {sealed}")


def _strict(_: Sandbox, __: Arena) -> Held:
    accepted = []
    for text in _HOSTILE_JSON:
        try:
            accepted.append(loads(text, max_bytes=1 << 20))
        except StrictJSONError:
            continue
    return Held.when(not accepted, f"accepted: {accepted}"[:200])


def _bomb(sandbox: Sandbox, arena: Arena) -> Held:
    code = """
    import zlib
    bomb = zlib.compress(bytes(1 << 20), 9)
    keep = [zlib.decompress(bomb) + b"x" for _ in range(4096)]
    """
    result = run(sandbox, arena, code, identity="scorer")
    return Held.when(result.outcome in (Outcome.OOM, Outcome.NONZERO), f"{result.outcome}")


def _shadowing(sandbox: Sandbox, arena: Arena) -> Held:
    """A scorer started with ``-I`` in a workspace full of modules that pose as the standard library's."""
    files = ("json.py", "sitecustomize.py", "usercustomize.py", "random.py")
    poison = "".join(f"open('{name}', 'w').write('print(\"POISON\")')\n" for name in files)
    code = (
        poison
        + "import subprocess, sys\nprint(subprocess.run([sys.executable, '-I', '-c', 'import json, random; print(json.__file__)'], capture_output=True, text=True))"
    )
    said = run(sandbox, arena, code).stdout.text()
    return Held.when("POISON" not in said and "json" in said, said[-160:])


def _apart(sandbox: Sandbox, arena: Arena) -> Held:
    """A scorer sees the vault, a candidate does not."""
    vault = (Bind(arena.secret, "/vault/holdout.json"),)
    look = "import os\nprint(os.path.exists('/vault/holdout.json'))"
    with_vault = run(sandbox, arena, "import sys\nprint(len(open(sys.argv[1]).read()))", binds=vault, identity="scorer")
    del with_vault
    said = run(sandbox, arena, look).stdout.text().strip()
    return Held.when(said == "False", f"the candidate sees the vault: {said}")


def _own_clock(sandbox: Sandbox, arena: Arena) -> Held:
    code = "import time\nreal = time.sleep\ntime.time = time.perf_counter = time.monotonic = lambda: 0.0\nreal(0.3)"
    wall = run(sandbox, arena, code).usage.wall
    return Held.when(0.3 <= wall < 5, f"{wall:.3f} s measured outside")


def _early_exit(sandbox: Sandbox, arena: Arena) -> Held:
    result = run(sandbox, arena, "import os\nos._exit(0)\nopen('out', 'w')", artifacts=("out",))
    return Held.when(result.outcome is Outcome.MISSING_ARTIFACT, str(result.outcome))


def _replay(sandbox: Sandbox, arena: Arena) -> Held:
    first = run(sandbox, arena, "open('out', 'w').write('best')", artifacts=("out",))
    first.close()
    second = run(sandbox, arena, "pass", artifacts=("out",))
    second.close()
    return Held.when(second.outcome is Outcome.MISSING_ARTIFACT, f"a fresh workspace: {second.outcome}")


def _read_only(sandbox: Sandbox, arena: Arena) -> Held:
    sealed = seal_bytes("score.py", b"print('fair')")
    code = """
    import os
    path = os.environ["TARGET"]
    for act in (lambda: open(path, "w").write("x"), lambda: os.unlink(path), lambda: os.rename(path, path + "2"), lambda: os.chmod(path, 0o777)):
        try: act(); print("CHANGED")
        except OSError: pass
    """
    files = {"/trusted/score.py": sealed}
    env = arena.facts | {"TARGET": "/trusted/score.py"}
    said = run(sandbox, arena, code, files=files, env=env).stdout.text()
    sealed.close()
    return Held.when("CHANGED" not in said, said or "read-only")


def _cache(sandbox: Sandbox, arena: Arena) -> Held:
    poison = "import os\nos.makedirs('__pycache__', exist_ok=True)\nopen('__pycache__/train.pyc', 'w').write('x')\nopen('train.py', 'a').write('evil')"
    run(sandbox, arena, poison)
    said = run(
        sandbox, arena, "import os\nprint(sorted(os.listdir('.')), 'evil' in open('train.py').read())"
    ).stdout.text()
    return Held.when("__pycache__" not in said and "False" in said, said.strip())


def _crash(sandbox: Sandbox, arena: Arena) -> Held:
    result = run(sandbox, arena, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", identity="scorer")
    return Held.when(
        result.outcome is Outcome.SIGNAL and not result.artifacts, f"{result.outcome}; no value comes of it"
    )


_VERIFIER = "held by the verifier, tested in its room"

CHANNEL: tuple[Case, ...] = (
    Case("M1", "prints a metric", "not parsed", _printed),
    Case("M2", "writes a metrics file of its own", "stays inside", _undeclared),
    Case("M3", "looks for the scorer's nonce", "not found", _nonce, {"process": "sees other processes of its user"}),
    Case("M4", "writes to every descriptor", "there are none", _descriptors),
    Case("M5", "a daemon rewrites the artefact after main has ended", "the honest bytes, sealed", _rewriting_daemon),
    Case("M6", "NaN, infinities, duplicate keys, deep nesting", "refused", _strict),
    Case("M7", "an artefact that runs code when loaded", "data only", _elsewhere(_VERIFIER)),
    Case("M8", "a decompression bomb in the scorer", "capped", _bomb),
    Case("M9", "modules that pose as the standard library's", "not imported", _shadowing),
    Case("M10", "conftest.py and plugins", "never collected", _elsewhere(_VERIFIER)),
    Case("M11", "reads labels in the scorer's process", "they are apart", _apart),
    Case("M12", "patches its clocks", "time is taken outside", _own_clock),
    Case("M13", "exits before the work", "missing artefact", _early_exit),
    Case("M14", "objects that equal everything", "only bytes cross", _undeclared),
    Case("M15", "replays an old artefact", "a fresh workspace", _replay),
    Case("M16", "precomputed answers", "inputs at run time", _elsewhere(_VERIFIER)),
    Case("M17", "asks the holdout many times", "budgeted", _elsewhere(_VERIFIER)),
    Case("M18", "git configuration that runs programs", "never honoured", _elsewhere(_VERIFIER)),
    Case(
        "M19",
        "edits the evaluation",
        "read-only",
        _read_only,
        {
            "landlock": "landlock can't forbid chmod to a file's owner; the content stays",
            "process": "nothing is read-only",
        },
    ),
    Case("M20", "huge names with control characters", "refused or escaped", _elsewhere(_VERIFIER)),
    Case("M21", "names that differ by case or form", "exact names only", _undeclared),
    Case("M22", "slows the baseline", "interleaved", _elsewhere(_VERIFIER)),
    Case("M23", "leaves a cache for the next candidate", "dropped", _cache),
    Case("M24", "crashes the scorer", "never a keep", _crash),
    Case("M25", "an ending that nobody thought of", "fails closed", _elsewhere(_VERIFIER)),
)
