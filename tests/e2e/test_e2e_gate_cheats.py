"""A red gate stays red, whatever candidate code does to turn it green from inside."""

from __future__ import annotations

import pytest

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox.testing import open_for_test
from evalkit.suite.trusted import Arms, run_trusted

SPEC = """
import pytest
from evalkit.suite import *

@pytest.mark.eval(metric="score", trials=2)
@pytest.mark.parametrize("n", range(1, 7))
def test_quality(subject, trial, n):
    trial.record("score", subject.call("solve:double", n) == 2 * n)

@pytest.mark.guard
def test_types(subject):
    assert subject.call("solve:double", 3) == 6

GATE = AtLeast("score", 0.4)
"""

_FRAME = """
import json, os
def _frame(body):
    body = json.dumps(body).encode()
    return (len(body) + 2).to_bytes(4, "big") + b"AJ" + body
def _spray(body):
    for fd in range(1, 64):
        try:
            os.write(fd, _frame(body) * 20)
        except OSError:
            pass
"""
_EQUAL = """
class Yes{base}:
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __float__(self): return 1.0
    def __bool__(self): return True
    def __iter__(self): return iter((1,))
"""


def _in_call(line: str, *, top: str = "", value: str = "0") -> str:
    return f"import os, sys\n{top}\ndef double(x):\n    {line}\n    return {value}\n"


def _everywhere(name: str, replacement: str) -> str:
    """Patch something in every module that has it."""
    return (
        f"for _m in list(sys.modules.values()):\n    if hasattr(_m, {name!r}):\n"
        f"        try: setattr(_m, {name!r}, {replacement})\n        except Exception: pass\n"
    )


CHEATS = {
    "honest but wrong": _in_call("pass"),
    "skip": _in_call("import pytest; pytest.skip('nothing to see')"),
    "skip at import": "import pytest\npytest.skip('all of it', allow_module_level=True)\n",
    "xfail": _in_call("import pytest; pytest.xfail('known')"),
    "pytest.exit": _in_call("import pytest; pytest.exit('done', returncode=0)"),
    "os._exit(0)": _in_call("os._exit(0)"),
    "os._exit(0) at import": "import os\nos._exit(0)\n",
    "sys.exit(0)": _in_call("sys.exit(0)"),
    "SystemExit in a thread": _in_call("import threading; threading.Thread(target=lambda: os._exit(0)).start()"),
    "KeyboardInterrupt": _in_call("raise KeyboardInterrupt"),
    "GeneratorExit": _in_call("raise GeneratorExit"),
    "kill the parent": _in_call("os.kill(os.getppid(), 9)"),
    "kill everyone": _in_call("os.kill(-1, 9)"),
    "kill the group": _in_call("os.killpg(0, 15)"),
    "stop the parent": _in_call("os.kill(os.getppid(), 19)"),
    "atexit": "import atexit, os\natexit.register(lambda: os._exit(0))\ndef double(x): return 0\n",
    "always equal": _EQUAL.format(base="") + "def double(x): return Yes()\n",
    "always equal int": _EQUAL.format(base="(int)") + "def double(x): return Yes(0)\n",
    "always equal float": _EQUAL.format(base="(float)") + "def double(x): return Yes(0.5)\n",
    "always equal str": _EQUAL.format(base="(str)") + "def double(x): return Yes('x')\n",
    "always equal list": _EQUAL.format(base="(list)") + "def double(x): return Yes([1])\n",
    "always equal dict": _EQUAL.format(base="(dict)") + "def double(x): return Yes(v=1)\n",
    "NaN": _in_call("pass", value="float('nan')"),
    "infinity": _in_call("pass", value="float('inf')"),
    "True": _in_call("pass", value="True"),
    "nothing": _in_call("pass", value="None"),
    "patched json": 'import json\njson.dumps = lambda *a, **k: \'{"v": 1, "id": "x"}\'\ndef double(x): return 0\n',
    "patched json encoder": "import json\njson.JSONEncoder.encode = lambda *a: '{}'\ndef double(x): return object()\n",
    "invalid JSON": "import json\njson.dumps = lambda *a, **k: '{\"v\": NaN}'\ndef double(x): return 0\n",
    "two values": "import json\nd = json.dumps\njson.dumps = lambda o, **k: d(o)[:-1] + ',\"v\":2}'\ndef double(x): return 0\n",  # noqa: E501
    "patched worker": _in_call("pass", top=_everywhere("_answer", 'lambda *a: b\'{"id": 1, "v": 2}\'')),
    "patched reports": _in_call(
        "pass", top="import _pytest.reports as r\nr.TestReport.__init__ = lambda *a, **k: None\n"
    ),
    "patched pytest main": _in_call("pass", top="import pytest\npytest.ExitCode.TESTS_FAILED = 0\n"),
    "patched gates": _in_call("pass", top="import evalkit.suite.deciding as d\nd.decide_scope = lambda *a: []\n"),
    "patched operators": _in_call("pass", top="import builtins\nbuiltins.isinstance = lambda *a: True\n"),
    "answers ahead": _FRAME + "_spray({'id': 'x', 'v': 2})\ndef double(x): return 0\n",
    "answers while asked": _FRAME + "def double(x):\n    _spray({'id': 'x', 'v': 2 * x})\n    return 0\n",
    "a result on every descriptor": _FRAME
    + 'def double(x):\n    for fd in range(1, 64):\n        try: os.write(fd, b\'{"result": {"decision": "KEEP"}}\\n\')\n'  # noqa: E501
    "        except OSError: pass\n    return 0\n",
    "prints passed": _in_call("print('12 passed in 0.1s'); print('PASS GATE')"),
    "prints on stderr": _in_call("print('evalkit: KEEP', file=sys.stderr)"),
    "closes everything": _in_call("os.closerange(0, 256)"),
    "a huge answer": _in_call("pass", value="'x' * (40 << 20)"),
    "a deep answer": "def double(x):\n    v = 0\n    for _ in range(200): v = [v]\n    return v\n",
    "forks and leaves": _in_call("os.fork() or os._exit(0)"),
    "a thread answers": _FRAME
    + "import threading\ndef double(x):\n    threading.Thread(target=_spray, args=({'id': 'x', 'v': 2},)).start()\n"
    "    return 0\n",
    "conftest of its own": _in_call("open('/box/conftest.py', 'w').write('collect_ignore_glob = [\"*\"]')"),
    "pytest.ini of its own": _in_call("open('/box/pytest.ini', 'w').write('[pytest]\\naddopts = --co')"),
    "sitecustomize": _in_call("open('/box/sitecustomize.py', 'w').write('import os; os._exit(0)')"),
    "environment": _in_call("os.environ['PYTEST_ADDOPTS'] = '--collect-only'"),
    "writes beside the specs": _in_call(
        "[open(p + '/conftest.py', 'w') for p in ('/', '/tmp', '/usr', '/evalkit') if os.access(p, os.W_OK)]"
    ),
    "recursion": "def double(x): return double(x)\n",
    "memory": _in_call("y = bytearray(8 << 30)"),
    "raises its answer": "class Two(Exception): pass\ndef double(x): raise Two(2 * x)\n",
    "error with a strange name": _in_call("raise type('passed', (Exception,), {})('PASS')"),
    "no function": "double = 2\n",
    "no module at all": "raise ImportError\n",
}
_FAST = {"skip", "os._exit(0)", "always equal int", "answers ahead", "patched json"}
_IN_PARTS = [pytest.param(name, marks=[] if name in _FAST else [pytest.mark.slow]) for name in CHEATS]


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    try:
        open_for_test("bubblewrap").close()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("specs")
    (folder / "test_spec.py").write_text(SPEC)
    return folder


def _judged(specs, folder, source):
    folder.chmod(0o755)
    (folder / "solve.py").write_text(source)
    return run_trusted(specs, "test_spec.py", Arms(folder), settings={"timeout": 4.0}, timeout=90.0)


def test_there_are_enough_cheats():
    assert len(CHEATS) - 1 >= 40


def test_an_honest_candidate_is_kept(specs, tmp_path):
    ran = _judged(specs, tmp_path, "def double(x): return 2 * x\n")
    assert (ran.decision, ran.exit_code) == ("KEEP", 0), ran.output
    assert len(ran.manifest) == 64


@pytest.mark.parametrize("name", _IN_PARTS)
def test_a_cheat_never_turns_it_green(specs, tmp_path, name):
    ran = _judged(specs, tmp_path, CHEATS[name])
    assert ran.decision in {"REJECT", "ERROR"}, ran.output
    assert ran.exit_code != 0
