"""The tamper guard: what a change does to scorers, tests, configuration and whatever loads itself."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from evalkit.guarding import Evidence, Finding, Severity
from guards.gaming.finding import Context, at, is_test
from guards.source.program import Program
from guards.source.view import FileView, views
from guards.tamper.rules import RULES
from guards.tamper.specs import TestFunction, test_functions

__all__ = ["TamperGuard", "inspect_views"]

_AUTO = re.compile(r"(?:^|/)(?:sitecustomize|usercustomize)\.py$|\.(?:pth|egg-link)$|(?:^|/)pyvenv\.cfg$")
_RUNNER = re.compile(
    r"(?:^|/)(?:conftest\.py|pytest\.ini|tox\.ini|\.pytest\.ini|\.coveragerc|noxfile\.py|pytest_\w+\.py)$"
)
_RUNNER_TABLE = re.compile(
    r"^\s*\[(?:tool[.:]pytest|pytest|tool\.coverage)|^\s*(?:addopts|testpaths|python_files|norecursedirs)\s*="
)
_CONFIGS = frozenset({"pyproject.toml", "setup.cfg"})
_PROGRAMS = frozenset(
    {
        "python",
        "python3",
        "pytest",
        "git",
        "bash",
        "sh",
        "env",
        "perf",
        "time",
        "nvcc",
        "gcc",
        "cc",
        "make",
        "timeout",
        "node",
    }
)
_PATHS = frozenset(
    {
        "PATH",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PYTHONHOME",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "BASH_ENV",
        "PYTEST_ADDOPTS",
        "PYTEST_PLUGINS",
    }
)
_HOOKS = frozenset(
    {"pytest_runtest_makereport", "pytest_collection_modifyitems", "pytest_runtest_call", "pytest_sessionfinish"}
    | {"pytest_runtest_protocol", "pytest_pyfunc_call", "pytest_report_teststatus", "pytest_ignore_collect"}
    | {"pytest_runtest_logreport", "pytest_terminal_summary", "pytest_deselected", "pytest_runtestloop"}
)
_REWRITES = re.compile(
    r"\.outcome\s*=|\.when\s*=|\bexitstatus\s*=|force_result|\.longrepr\s*=|items\[:\]|items\.clear|\.wasxfail|testsfailed\s*="
)
_HARNESS = frozenset(
    {
        "score",
        "scorer",
        "scoring",
        "evaluate",
        "evaluator",
        "evaluation",
        "grade",
        "grader",
        "judge",
        "verifier",
        "verify",
        "harness",
        "reward",
        "checker",
    }
)
_LIBRARIES = frozenset(
    {
        "numpy",
        "torch",
        "scipy",
        "pandas",
        "sklearn",
        "pytest",
        "_pytest",
        "jax",
        "tensorflow",
        "evalkit",
        "triton",
        "requests",
        "yaml",
    }
)
_WRITERS = frozenset(
    {
        "open",
        "write_text",
        "write_bytes",
        "unlink",
        "remove",
        "rename",
        "replace",
        "rmtree",
        "chmod",
        "symlink",
        "copy",
        "copyfile",
        "move",
        "symlink_to",
        "touch",
    }
)


class TamperGuard:
    """Looks before the trials, at the source; never runs it."""

    name = "tamper"

    def inspect(self, evidence: Evidence) -> Iterable[Finding]:
        """Findings ``EK201`` to ``EK215``."""
        if evidence.stage == "before":
            yield from inspect_views(views(evidence), Context.of(evidence.contract))


def inspect_views(changed: Iterable[FileView], context: Context) -> Iterator[Finding]:
    """Every tamper rule over the files of one change.

    Args:
        changed: the files.
        context: what the contract tells the rules.
    """
    for view in changed:
        yield from _paths(view, context)
        if view.python:
            if is_test(view.path):
                yield from _tests(view)
            yield from _hooks(view, view.program)
            if not is_test(view.path):
                yield from _environment(view, view.program)
                yield from _modules(view, view.program, context)
                yield from _writes(view, view.program, context)


# -- by path


def _paths(view: FileView, context: Context) -> Iterator[Finding]:
    pure = PurePosixPath(view.path)
    if view.path in context.protected:
        yield RULES["scorer-edited"].found(f"{view.status}, though a scorer runs it", file=view.path)
    if view.status != "deleted" and _AUTO.search(view.path):
        yield RULES["auto-loaded"].found(f"{view.status}; an interpreter loads it by itself", file=view.path)
    elif _RUNNER.search(view.path) or _configures_runner(view, pure):
        yield RULES["test-runner-configured"].found(f"{view.status}; a test runner loads it by itself", file=view.path)
    if view.status in {"added", "renamed"}:
        yield from _shadows(view, pure)


def _configures_runner(view: FileView, pure: PurePosixPath) -> bool:
    if pure.name not in _CONFIGS:
        return False
    lines = [*view.added.values(), *(text for _, text in view.removed)]
    return any(_RUNNER_TABLE.match(line) for line in lines)


def _shadows(view: FileView, pure: PurePosixPath) -> Iterator[Finding]:
    """New modules beside a program, and new files that look like programs."""
    top = pure.parts[0] if pure.name == "__init__.py" and len(pure.parts) == 2 else pure.stem  # noqa: PLR2004
    importable = view.python and len(pure.parts) <= (2 if pure.name == "__init__.py" else 1)
    if importable and (top in sys.stdlib_module_names or top in _LIBRARIES):
        yield RULES["module-shadowed"].found(f"`import {top}` would load this file", file=view.path)
    elif pure.name in _PROGRAMS:
        yield RULES["program-shadowed"].found(f"`{pure.name}` would run this file", file=view.path)


# -- tests


def _tests(view: FileView) -> Iterator[Finding]:
    if view.status == "added":
        return
    before, after = test_functions(view.before), test_functions(view.program)
    for name, old in before.items():
        if name not in after:
            if (view.whole or view.status == "deleted") and not _only_renamed(old, before, after):
                yield RULES["test-removed"].found(f"`{name}` is no longer collected", file=view.path, evidence=name)
            continue
        yield from _compared(view, old, after[name])
    for node in view.program.all(ast.Assign):
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        if names & {"collect_ignore", "collect_ignore_glob", "__test__"} or (
            "pytestmark" in names and "skip" in ast.unparse(node.value)
        ):
            yield from at(view, RULES["test-skipped"], node, "tests are kept from being collected or run")


def _only_renamed(old: TestFunction, before: dict[str, TestFunction], after: dict[str, TestFunction]) -> bool:
    """Whether a new test makes the same assertions."""
    return any(
        set(old.asserts) <= set(new.asserts) for name, new in after.items() if name not in before and old.asserts
    )


def _compared(view: FileView, old: TestFunction, new: TestFunction) -> Iterator[Finding]:
    if len(new.skips) > len(old.skips):
        line = new.node.lineno
        yield RULES["test-skipped"].found(
            f"`{new.name}` is not run as before ({new.skips[-1]})", file=view.path, line=line, evidence=view.line(line)
        )
    if not view.touches(new.node) and len(old.asserts) == len(new.asserts):
        return
    what = ""
    if new.trivial > old.trivial:
        what = "an assertion now holds whatever the code does"
    elif len(new.asserts) < len(old.asserts):
        what = f"{len(old.asserts) - len(new.asserts)} of {len(old.asserts)} assertions are gone"
    else:
        for plain, wide in new.tolerances.items():
            if plain in old.tolerances and wide > old.tolerances[plain]:
                what = f"a tolerance is widened from {old.tolerances[plain]:g} to {wide:g}"
    if what:
        yield RULES["assertion-weakened"].found(f"`{new.name}`: {what}", file=view.path, line=new.node.lineno)


def _hooks(view: FileView, program: Program) -> Iterator[Finding]:
    for function in program.functions:
        if function.name in _HOOKS and view.touches(function):
            rewrites = _REWRITES.search(ast.unparse(function)) is not None
            severity = None if rewrites else Severity.PROBE
            message = f"`{function.name}` {'rewrites' if rewrites else 'can change'} the outcome of tests"
            yield from at(view, RULES["report-rewritten"], function, message, severity)
    for write in program.writes():
        if re.match(r"_?pytest\.|unittest\.(?:case\.)?(?:TestCase|TestResult|main)", write.name):
            yield from at(view, RULES["report-rewritten"], write.node, f"`{write.name}` is replaced")


# -- at run time


def _environment(view: FileView, program: Program) -> Iterator[Finding]:
    for subscript in program.all(ast.Subscript):
        if isinstance(subscript.ctx, ast.Store) and program.name(subscript.value) == "os.environ":
            yield from _variable(view, subscript, program.constant(subscript.slice))
    for write in program.writes():
        if write.name in {"sys.meta_path", "sys.path_hooks", "builtins.__import__", "sys.path_importer_cache"}:
            yield from at(view, RULES["import-hooked"], write.node, f"`{write.name}` is replaced")
    for call, name in program.calls():
        if name in {"os.putenv", "os.environ.setdefault", "os.environ.__setitem__"} and call.args:
            yield from _variable(view, call, program.constant(call.args[0]))
        elif re.match(r"sys\.(?:meta_path|path_hooks)\.(?:insert|append|extend)", name):
            yield from at(view, RULES["import-hooked"], call, "an importer is added")


def _variable(view: FileView, node: ast.expr, name: object) -> Iterator[Finding]:
    if name in _PATHS:
        yield from at(view, RULES["environment-changed"], node, f"{name} is changed")


def _modules(view: FileView, program: Program, context: Context) -> Iterator[Finding]:
    harness = _HARNESS | {PurePosixPath(path).stem for path in context.protected}
    for assign in program.all(ast.Assign):
        for target in assign.targets:
            if not isinstance(target, ast.Subscript) or program.name(target.value) != "sys.modules":
                continue
            module = program.constant(target.slice)
            known = isinstance(module, str) and module.split(".")[0] in harness | _LIBRARIES | sys.stdlib_module_names
            severity = None if known else Severity.PROBE
            yield from at(view, RULES["report-rewritten"], assign, f"module {module!r} is replaced", severity)
    for write in program.writes():
        top = write.name.split(".", 1)[0]
        if top in harness and "." in write.name and top in program.imported:
            yield from at(view, RULES["report-rewritten"], write.node, f"`{write.name}` of the harness is replaced")


def _writes(view: FileView, program: Program, context: Context) -> Iterator[Finding]:
    for call, name in program.calls():
        last = call.func.attr if isinstance(call.func, ast.Attribute) else name
        if last not in _WRITERS or (last == "open" and not _opens_for_writing(call, program)):
            continue
        for node in ast.walk(call):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and _is_protected(text, context):
                yield from at(view, RULES["protected-written"], call, f"{text[:80]!r} is written or removed")
                break


def _opens_for_writing(call: ast.Call, program: Program) -> bool:
    modes = [program.constant(argument) for argument in call.args[1:2]]
    modes += [program.constant(keyword.value) for keyword in call.keywords if keyword.arg == "mode"]
    return any(isinstance(mode, str) and set(mode) & set("wax+") for mode in modes)


def _is_protected(text: str, context: Context) -> bool:
    if text in context.protected or any(text.strip("./").startswith(f"{hidden}/") for hidden in context.hidden):
        return True
    name = PurePosixPath(text).name
    scored = PurePosixPath(name).suffix == ".py" and (is_test(name) or PurePosixPath(name).stem in _HARNESS)
    return scored or bool(_AUTO.search(text) or _RUNNER.search(text)) or name == "evalkit.toml"
