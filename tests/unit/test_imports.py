"""The directions of imports between rooms, and what importing the package or asking for help may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LAYERS = (
    {"errors"},
    {"stats", "overlap", "protocol"},
    {"contract", "sandbox", "ledger"},
    {"workspace", "splits"},
    {"measure"},
    {"guarding"},
    {"verify"},
    {"interop"},
    {"loop", "watch", "suite"},
    {"report"},
    {"cli"},
    {"bench", "__main__"},
)
"""Bottom to top, as docs/architecture.md draws them; a room may import from any layer below its own."""

FREE = {"__init__"}
"""The package itself: its names are found lazily, and everyone may ask it for its version."""


def layer(room: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


def room_of(file: Path) -> str:
    parts = file.relative_to(ROOT / "evalkit").parts
    return parts[0].removesuffix(".py")


def imported(file: Path, package: str) -> Iterator[str]:
    """Every module that a file imports, wherever in it and for whatever purpose; relative ones made absolute."""
    here = list(file.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level]) + "." if node.level else ""
            module = (base + (node.module or "")).rstrip(".")
            if module == package:
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            yield from (
                arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            )


FILES = sorted((ROOT / "evalkit").rglob("*.py"))
GUARDS = sorted((ROOT / "guards").rglob("*.py"))


def test_every_room_has_its_layer():
    rooms = {room_of(file) for file in FILES} - FREE
    known = set().union(*LAYERS)
    assert rooms <= known, f"not in LAYERS: {sorted(rooms - known)}"


@pytest.mark.parametrize("room", sorted({room_of(file) for file in FILES} - FREE))
def test_imports_only_go_down(room):
    wrong = []
    for file in FILES:
        if room_of(file) != room:
            continue
        for module in imported(file, "evalkit"):
            parts = module.split(".")
            if parts[0] != "evalkit" or len(parts) == 1 or parts[1] == room:
                continue
            if parts[1].startswith("__") or parts[1] in {"Contract", "Verifier", "verified"}:
                allowed = parts[1] == "__version__"
            else:
                allowed = layer(parts[1]) < layer(room)
            if not allowed:
                wrong.append(f"{file.relative_to(ROOT)} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_evalkit_never_imports_guards():
    """Only the bench, which measures ours from outside, names them."""
    wrong = []
    for file in FILES:
        named = any(module.split(".")[0] == "guards" for module in imported(file, "evalkit"))
        if named and room_of(file) != "bench":
            wrong.append(str(file.relative_to(ROOT)))
    assert not wrong, "\n".join(wrong)


def test_guards_import_nothing_above_the_verifier_but_their_commands():
    lowest = layer("verify")
    wrong = []
    for file in GUARDS:
        for module in imported(file, "guards"):
            parts = module.split(".")
            if parts[0] != "evalkit" or len(parts) == 1:
                continue
            top = {"commands", "doctor"} & set(file.parts)
            if not parts[1].startswith("__") and layer(parts[1]) >= lowest and not top:
                wrong.append(f"{file.relative_to(ROOT)} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_overlap_stats_and_protocol_know_nothing_of_the_harness():
    for room in ("overlap", "stats", "protocol"):
        for file in (ROOT / "evalkit" / room).rglob("*.py"):
            others = {
                m
                for m in imported(file, "evalkit")
                if m.startswith("evalkit.") and m.split(".")[1] not in {room, "errors"}
            }
            assert not others, f"{file.relative_to(ROOT)} imports {sorted(others)}"


def test_the_scorers_protocol_needs_the_standard_library_alone():
    allowed = set(sys.stdlib_module_names) | {"evalkit", "numpy"}
    for file in (ROOT / "evalkit" / "protocol").rglob("*.py"):
        assert {module.split(".")[0] for module in imported(file, "evalkit")} <= allowed
    code = "import sys, evalkit.protocol.scorer, evalkit.protocol.candidate; print('numpy' in sys.modules)"
    assert python(code) == "False"


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = ("scipy", "numpy", "docker", "ray", "pydantic", "libcst", "rich", "jinja2", "cryptography", "tomlkit", "pytest")


def test_importing_the_package_loads_nothing_heavy():
    loaded = python(f"import sys, evalkit; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded == "[]"
    assert python("import sys, evalkit; print([m for m in sys.modules if m.startswith('evalkit.')])") == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_asking_for_help_loads_nothing_heavy(arguments):
    code = f"""
import sys
from evalkit.cli.main import main
try:
    main({arguments!r})
except SystemExit as end:
    assert not end.code
print([m for m in {HEAVY} if m in sys.modules])
"""
    assert python(code).splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", ["run", "submit", "calibrate", "log", "show", "verify", "replay"])
def test_help_of_one_command_loads_neither_numbers_nor_engines(name):
    heavy = ("scipy", "docker", "ray", "pydantic", "libcst")
    code = f"""
import sys
from evalkit.cli.main import main
try:
    main([{name!r}, "--help"])
except SystemExit as end:
    assert not end.code
print([m for m in {heavy} if m in sys.modules])
"""
    assert python(code).splitlines()[-1] == "[]"


def test_the_public_names_are_there():
    assert python(
        "import evalkit; print(evalkit.Contract.__name__, evalkit.Verifier.__name__, evalkit.verified.__name__)"
    ) == ("Contract Verifier verified")
    assert python("import evalkit; print(sorted(dir(evalkit)) == sorted(evalkit.__all__))") == "True"


def test_what_drives_trials_loads_no_scipy():
    names = "evalkit.verify.verifier, evalkit.loop.session, evalkit.measure.trial"
    unwanted = ("scipy", "docker", "pydantic", "rich")
    assert python(f"import sys, {names}; print([m for m in {unwanted} if m in sys.modules])") == "[]"
