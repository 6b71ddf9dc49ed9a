"""Clocks, exits and work that outlives the measurement (mechanisms 3, 4 and 11)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context, at, is_test
from guards.rule import Rule, table
from guards.source.program import Program
from guards.source.view import FileView

__all__ = ["RULES", "inspect"]

_BLOCK, _PROBE, _NOTE = Severity.BLOCK, Severity.PROBE, Severity.NOTE

RULES = table(
    [
        Rule(
            "EK101",
            "timer-patched",
            _BLOCK,
            "A clock, a timing event or a synchronisation function is replaced.",
            "leave clocks alone; the verifier times the process tree from outside",
            4,
        ),
        Rule(
            "EK102",
            "early-exit",
            _PROBE,
            "The process ends itself without unwinding, or with success from deep inside.",
            "return, or raise an error",
            3,
        ),
        Rule(
            "EK103",
            "exit-hook",
            _PROBE,
            "What happens at an error, a signal or the end of the process is replaced.",
            "let errors end the process",
            3,
        ),
        Rule(
            "EK104",
            "unfinished-work",
            _PROBE,
            "Work is started on a thread, a stream or in a process that nothing waits for.",
            "join, synchronise or wait before returning",
            11,
        ),
    ]
)
"""By name."""

_TIMERS = re.compile(
    r"(?:time\.(?:time|perf_counter|monotonic|process_time|thread_time)(?:_ns)?|time\.(?:sleep|clock_gettime|clock)"
    r"|timeit\.\w+|datetime\.(?:datetime|date)(?:\.\w+)?|resource\.getrusage|os\.times"
    r"|torch\.(?:cuda|mps|xpu|npu)\.(?:Event|synchronize|Stream|current_stream|default_stream)(?:\.\w+)*"
    r"|torch\.utils\.benchmark\.\w+(?:\.\w+)*|triton\.testing\.\w+|cupy\.cuda\.\w+(?:\.\w+)*"
    r"|jax\.block_until_ready|mlx\.core\.(?:eval|synchronize))"
)
_HOOKS = frozenset(
    {"sys.excepthook", "threading.excepthook", "sys.unraisablehook", "sys.exit", "os._exit", "sys.settrace"}
)
_MAINS = re.compile(r"main|cli|usage|help|handle|signal|stop|quit|exit|shutdown|abort|run", re.IGNORECASE)


def inspect(view: FileView, _context: Context) -> Iterator[Finding]:
    """Findings ``EK101`` to ``EK104`` in one Python file."""
    if not view.python or is_test(view.path):
        return
    program = view.program
    yield from _patched(view, program)
    yield from _exits(view, program)
    yield from _unfinished(view, program)


def _patched(view: FileView, program: Program) -> Iterator[Finding]:
    for write in program.writes():
        if _TIMERS.fullmatch(write.name):
            yield from at(view, RULES["timer-patched"], write.node, f"`{write.name}` is replaced")
        elif write.name in _HOOKS:
            yield from at(view, RULES["exit-hook"], write.node, f"`{write.name}` is replaced")
    for call, name in program.calls():
        if name.endswith(("mock.patch", "patch.object", "monkeypatch.setattr")) and call.args:
            target = program.constant(call.args[0])
            if isinstance(target, str) and _TIMERS.fullmatch(target):
                yield from at(view, RULES["timer-patched"], call, f"`{target}` is replaced")


def _exits(view: FileView, program: Program) -> Iterator[Finding]:
    forks = any(name == "os.fork" for _, name in program.calls())
    for call, name in program.calls():
        if name in {"os._exit", "os.abort", "signal.raise_signal"} and not forks:
            yield from at(view, RULES["early-exit"], call, f"`{name}` ends the process without unwinding")
        elif name in {"os.kill", "os.killpg"} and call.args and _is_own_process(program.name(call.args[0])):
            yield from at(view, RULES["early-exit"], call, "the process kills itself or its parent")
        elif name in {"sys.exit", "exit", "quit"} and _is_success(call) and _is_deep(call, program):
            yield from at(
                view, RULES["early-exit"], call, "the process ends with success from inside a function", _NOTE
            )
        elif name == "SystemExit" and isinstance(program.parent(call), ast.Raise) and _is_success(call):
            if _is_deep(call, program):
                yield from at(view, RULES["early-exit"], call, "the process ends with success", _NOTE)
        elif name == "atexit.register" and call.args and _exits_inside(call.args[0], program):
            yield from at(view, RULES["exit-hook"], call, "the exit status is replaced at the end of the process")
        elif name == "signal.signal" and _ignores_the_end(call, program):
            yield from at(view, RULES["exit-hook"], call, "a signal that ends the process is ignored")


def _ignores_the_end(call: ast.Call, program: Program) -> bool:
    names = [program.name(argument) for argument in call.args]
    return names[1:2] == ["signal.SIG_IGN"] and names[0] not in {
        "signal.SIGPIPE",
        "signal.SIGINT",
        "signal.SIGHUP",
        "signal.SIGCHLD",
    }


def _is_own_process(name: str | None) -> bool:
    return name in {"os.getpid()", "os.getppid()", "os.getpgrp()", "os.getpgid()"}


def _is_success(call: ast.Call) -> bool:
    return not call.args or (isinstance(call.args[0], ast.Constant) and call.args[0].value in {0, None})


def _is_deep(node: ast.AST, program: Program) -> bool:
    function = program.function_of(node)
    return function is not None and _MAINS.search(function.name) is None


def _exits_inside(node: ast.expr, program: Program) -> bool:
    if program.name(node) == "os._exit":
        return True
    if isinstance(node, ast.Name):
        bodies = [function for function in program.functions if function.name == node.id]
        return any(program.name(c.func) == "os._exit" for b in bodies for c in ast.walk(b) if isinstance(c, ast.Call))
    return any(program.name(c.func) == "os._exit" for c in ast.walk(node) if isinstance(c, ast.Call))


_STARTS = {
    "threading.Thread": ("join", "queue", "Queue", "Event", "Condition"),
    "multiprocessing.Process": ("join", "Queue", "Pipe"),
    "subprocess.Popen": ("wait", "communicate", "poll"),
    "os.fork": ("waitpid", "wait", "wait3", "wait4"),
    "torch.cuda.Stream": ("synchronize", "wait_stream", "wait_event"),
    "asyncio.create_task": ("gather", "wait", "wait_for", "TaskGroup"),
}


def _unfinished(view: FileView, program: Program) -> Iterator[Finding]:
    starts = [(call, name) for call, name in program.calls() if name in _STARTS or _submits(call)]
    if not starts:
        return
    used = {node.attr for node in program.all(ast.Attribute)} | {node.id for node in program.all(ast.Name)}
    awaited = bool(program.all(ast.Await))
    for call, name in starts:
        ends = _STARTS.get(name, ("result", "shutdown", "as_completed", "wait"))
        done = used & set(ends) or (name == "asyncio.create_task" and awaited) or _in_with(call, program)
        if not done:
            yield from at(view, RULES["unfinished-work"], call, f"nothing waits for what `{name}` starts")
    for call, name in starts:
        detached = {kw.arg: kw.value for kw in call.keywords}.get("start_new_session")
        if name == "subprocess.Popen" and isinstance(detached, ast.Constant) and detached.value is True:
            yield from at(view, RULES["unfinished-work"], call, "a process is started that outlives this one")


def _submits(call: ast.Call) -> bool:
    func = call.func
    if not isinstance(func, ast.Attribute) or func.attr != "submit":
        return False
    return "executor" in ast.dump(func.value).lower() or "pool" in ast.dump(func.value).lower()


def _in_with(call: ast.Call, program: Program) -> bool:
    return isinstance(program.parent(call), ast.withitem) or any(
        isinstance(above, ast.With) for above in program.around(call) if call.func and _submits(call)
    )
