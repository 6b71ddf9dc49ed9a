"""The order in which held-out data is scored, learnt from and kept (mechanisms 15, 16, 17 and 19)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context
from guards.rule import Rule, table
from guards.source.flow import Event, Flow, Scope, analyse, key_of
from guards.source.program import Program
from guards.source.roles import Role, role_of, words
from guards.source.view import FileView

__all__ = ["RULES", "inspect"]

_PROBE = Severity.PROBE

RULES = table(
    [
        Rule(
            "EK150",
            "trains-on-held-out",
            _PROBE,
            "Parameters are fitted on held-out data that was not scored before in the same step.",
            "score each part before anything learns from it, or train on training data only",
            15,
        ),
        Rule(
            "EK151",
            "scores-after-adapting",
            _PROBE,
            "The same held-out data is passed over several times, and scored after it was learnt from.",
            "count the score of the first pass only",
            15,
        ),
        Rule(
            "EK152",
            "best-of-passes",
            _PROBE,
            "The best of several scores of the same held-out case is kept.",
            "choose the pass before looking at its score",
            15,
        ),
        Rule(
            "EK153",
            "label-keyed-lookup",
            _PROBE,
            "A prediction is looked up under the true answer, in a table that is filled while held-out data is scored.",
            "predict the whole distribution first, check that it sums to one, then look at the answer",
            16,
        ),
        Rule(
            "EK154",
            "work-after-the-clock",
            _PROBE,
            "Training data is used again after the timed training has stopped, outside its budget.",
            "do it before the clock stops, or reserve its time within the budget",
            19,
        ),
        Rule(
            "EK155",
            "held-out-as-training",
            _PROBE,
            "Held-out data becomes training data.",
            "train on the training split only",
            17,
        ),
        Rule(
            "EK156",
            "held-out-in-artifact",
            _PROBE,
            "Held-out data is written into what the trial leaves behind.",
            "keep answers out of artefacts",
            17,
        ),
        Rule(
            "EK157",
            "loss-overwritten",
            _PROBE,
            "The loss of a case is replaced by a constant where something equals its true answer.",
            "let the answer cost what the prediction says",
            17,
        ),
    ]
)
"""By name."""

_TOUCHED = Role.HELD_OUT | Role.DERIVED
_REPEATS = frozenset({"epoch", "epochs", "ep", "pass", "passes", "round", "rounds", "repeat", "repeats", "sweep"})
_SCORERS = frozenset({"score", "eval", "evaluate", "scoring", "grade"})
_CLOCK = frozenset({"wallclock", "budget", "deadline", "elapsed", "limit", "timeout", "remaining"})
_HELD = frozenset({"val", "valid", "validation", "test", "eval", "holdout", "heldout", "confirm", "sealed"})
_TRAIN = frozenset({"train", "training"})
_IDLE = frozenset(
    {"print", "log", "len", "glob", "join", "format", "info", "write", "append", "exists", "hasattr", "getattr"}
    | {"isinstance", "str", "path"}
)
_LOGARITHMS = frozenset({"log", "log2", "log10", "log1p", "log_softmax", "nll_loss", "cross_entropy", "div"})
_LOSSES = frozenset({"loss", "losses", "nll", "ce", "error", "errors", "bits", "cost", "costs"})
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def inspect(view: FileView, _context: Context) -> Iterator[Finding]:
    """Findings ``EK150`` to ``EK156`` in one Python file."""
    yield from _links(view)
    if not view.python or not _worth_it(view.text):
        return
    program = view.program
    flow = analyse(program)
    yield from _training(view, program, flow)
    yield from _lookups(view, program, flow)
    yield from _best(view, program, flow)
    yield from _overwritten(view, program)
    yield from _after_clock(view, program, flow)
    yield from _mixed(view, flow)


def _worth_it(text: str) -> bool:
    low = text.lower()
    return any(word in low for word in ("val", "test", "eval", "held", "hidden", "target", "label", "train"))


def _found(view: FileView, rule: str, node: ast.AST, message: str) -> Finding:
    line = getattr(node, "lineno", 0)
    return RULES[rule].found(message, file=view.path, line=line, evidence=view.line(line).strip())


# -- learning from what is to be scored


def _training(view: FileView, program: Program, flow: Flow) -> Iterator[Finding]:
    for scope, event in flow.events("train"):
        if not event.role & _TOUCHED:
            continue
        for site_scope, site in _sites(scope, event, flow, program):
            order = _order(site_scope, site, program)
            block = _outer_block(site.node, program)
            if order is None or not (view.touches(block) or view.touches(event.node)):
                continue
            if not view.whole and order == "trains-on-held-out" and not _begins_in_change(view, block, program):
                continue  # what was scored before may be outside the fragment
            what = "held-out data is learnt from before it is scored"
            if order == "scores-after-adapting":
                what = "held-out data is scored again after it was learnt from"
            yield _found(view, order, site.node, what)


def _sites(scope: Scope, event: Event, flow: Flow, program: Program) -> list[tuple[Scope, Event]]:
    """Where the order is decided: at the training step, or where its function is called with held-out data."""
    if scope.function is None or _order(scope, event, program) != "trains-on-held-out":
        return [(scope, event)]
    calls = [(s, e) for s, e in flow.events("call") if e.name == scope.name and e.role & _TOUCHED]
    return calls or [(scope, event)]


def _order(scope: Scope, event: Event, program: Program) -> str | None:
    """The rule that the order breaks, if any."""
    loops = [node for node in program.around(event.node) if isinstance(node, _LOOPS)]
    loops = [loop for loop in loops if program.function_of(loop) is scope.function]
    for at, loop in enumerate(loops):
        if _scored_in(loop, scope, event, program):
            repeated = any(_repeats(outer) for outer in loops[at:])
            return "scores-after-adapting" if repeated else None
    return "trains-on-held-out"


def _scored_in(loop: ast.AST, scope: Scope, event: Event, program: Program) -> bool:
    """Whether held-out data is scored inside a loop, before an event of the same loop."""
    line = event.node.lineno
    first = getattr(loop, "lineno", 0)
    for other in scope.events:
        if not first <= other.node.lineno < line:
            continue
        if other.kind != "call" or not other.role & _TOUCHED:
            continue
        if set(words(other.name)) & _SCORERS or _without_gradient(other.node, program, first):
            return True
    return False


def _without_gradient(node: ast.AST, program: Program, first: int) -> bool:
    for above in program.around(node):
        if getattr(above, "lineno", first) < first:
            return False
        if isinstance(above, ast.With):
            names = [program.name(item.context_expr) or "" for item in above.items]
            if any("no_grad" in name or "inference_mode" in name or "stop_gradient" in name for name in names):
                return True
    return False


def _repeats(loop: ast.AST) -> bool:
    """Whether a loop goes over the same data again, as far as its names say."""
    if not isinstance(loop, ast.For):
        return False
    names = {n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)}
    names |= {
        n.id if isinstance(n, ast.Name) else n.attr
        for n in ast.walk(loop.iter)
        if isinstance(n, ast.Name | ast.Attribute)
    }
    return any(set(words(name)) & _REPEATS for name in names)


def _begins_in_change(view: FileView, block: ast.AST, program: Program) -> bool:
    function = program.function_of(block)
    return getattr(block, "lineno", 0) in view.added or (function is not None and function.lineno in view.added)


def _outer_block(node: ast.AST, program: Program) -> ast.AST:
    """The outermost loop around a node within its function, or the node."""
    block = node
    for above in program.around(node):
        if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
            break
        if isinstance(above, _LOOPS):
            block = above
    return block


# -- predictions that know the answer


def _lookups(view: FileView, program: Program, flow: Flow) -> Iterator[Finding]:
    tables: dict[str, list[tuple[Scope, Event]]] = {}
    for scope, event in flow.events("update"):
        tables.setdefault(event.name.rsplit(".", 1)[-1], []).append((scope, event))
    seen: set[str] = set()
    for _scope, event in flow.events("lookup"):
        if event.role & Role.TRAINING:
            continue
        name = event.name.rsplit(".", 1)[-1]
        if name not in tables or name in seen:
            continue
        function = program.function_of(event.node) or event.node
        if not _becomes_probability(function, program):
            continue
        if view.touches(event.node) or view.touches(function):
            seen.add(name)
            yield _found(view, "label-keyed-lookup", event.node, f"`{name}` is looked up under the true answer")


def _becomes_probability(function: ast.AST, program: Program) -> bool:
    """Whether a function divides, or takes logarithms: counts that are looked up for anything else predict nothing."""
    for node in ast.walk(function):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return True
        if isinstance(node, ast.Call) and (program.name(node.func) or "").rsplit(".", 1)[-1] in _LOGARITHMS:
            return True
    return False


def _best(view: FileView, program: Program, flow: Flow) -> Iterator[Finding]:
    for _scope, event in flow.events("best"):
        parent = program.parent(event.node)
        if not isinstance(parent, ast.Assign) or not isinstance(event.node, ast.Call) or not view.touches(event.node):
            continue
        targets = {ast.dump(target).replace("Store()", "Load()") for target in parent.targets}
        if any(ast.dump(argument) in targets for argument in event.node.args):
            names = {w for t in parent.targets for n in ast.walk(t) if isinstance(n, ast.Name) for w in words(n.id)}
            if names & {"loss", "nll", "ce", "bpb", "bits", "error", "err", "score", "acc"}:
                yield _found(view, "best-of-passes", event.node, "the best of several scores of a case is kept")


def _overwritten(view: FileView, program: Program) -> Iterator[Finding]:
    """``loss[guess == target] = 0`` in any spelling; masks of padding are no such thing."""
    for assign in program.all(ast.Assign):
        target = assign.targets[0]
        match assign.value:
            case ast.Constant(value=int() | float()) if isinstance(target, ast.Subscript):
                mask, loss = target.slice, target.value
            case ast.Call(func=ast.Attribute(value=loss, attr="masked_fill" | "masked_fill_"), args=[mask, *_]):
                pass
            case ast.Call(func=ast.Attribute(attr="where"), args=[mask, *branches]) if len(branches) == 2:  # noqa: PLR2004
                loss = branches[0] if isinstance(branches[1], ast.Constant) else branches[1]
            case _:
                continue
        yield from _replaced(view, program, assign, loss, mask)
    for update in program.all(ast.AugAssign):
        if isinstance(update.op, ast.Mult):
            yield from _replaced(view, program, update, update.target, update.value)


def _replaced(view: FileView, program: Program, node: ast.stmt, loss: ast.expr, mask: ast.expr) -> Iterator[Finding]:
    name = key_of(loss).rsplit(".", 1)[-1]
    if set(words(name)) & _LOSSES and _knows_answer(mask, program) and view.touches(node):
        yield _found(view, "loss-overwritten", node, f"`{name}` is replaced where the true answer is met")


def _knows_answer(mask: ast.expr, program: Program) -> bool:
    """Whether a mask compares true answers with something that is no constant."""
    names = {node.id for node in ast.walk(mask) if isinstance(node, ast.Name)}
    bound = [a.value for a in program.all(ast.Assign) for t in a.targets if isinstance(t, ast.Name) and t.id in names]
    for root in [mask, *bound]:
        for node in ast.walk(root):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
                sides = [node.left, *node.comparators]
                labels = [bool(role_of(key_of(side).rsplit(".", 1)[-1]) & Role.LABEL) for side in sides]
                others = [side for side, label in zip(sides, labels, strict=True) if not label]
                if any(labels) and not any(_is_padding(side) for side in others):
                    return True
    return False


def _is_padding(node: ast.expr) -> bool:
    name = set(words(key_of(node)))
    return isinstance(node, ast.Constant | ast.UnaryOp) or bool(
        name & {"pad", "padding", "ignore", "eos", "bos", "mask"}
    )


# -- budgets and splits


def _after_clock(view: FileView, program: Program, flow: Flow) -> Iterator[Finding]:
    for scope in flow.scopes:
        end = _timed_loop_end(scope, program)
        if end is None or _reserves(scope, program):
            continue
        for event in scope.events:
            if (
                event.kind == "call"
                and event.node.lineno > end
                and _uses_training_data(event)
                and view.touches(event.node)
            ):
                yield _found(view, "work-after-the-clock", event.node, "training data is used after the timed loop")
                break


def _timed_loop_end(scope: Scope, program: Program) -> int | None:
    """The last line of the loop that trains under a time limit."""
    for event in scope.events:
        if event.kind != "train":
            continue
        loops = [node for node in program.around(event.node) if isinstance(node, _LOOPS)]
        if loops and program.function_of(loops[-1]) is scope.function and _watches_clock(loops[-1]):
            return loops[-1].end_lineno
    return None


def _watches_clock(loop: ast.AST) -> bool:
    return any(
        set(words(name)) & _CLOCK
        for node in ast.walk(loop)
        if isinstance(node, ast.Compare)
        for part in ast.walk(node)
        if (name := part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else "")
    )


def _reserves(scope: Scope, program: Program) -> bool:
    """Whether the limit is lowered to leave time for what comes after."""
    for node in program.all(ast.AugAssign):
        if isinstance(node.op, ast.Sub) and program.function_of(node) is scope.function:
            names = {part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)}
            if any(set(words(name)) & _CLOCK for name in names):
                return True
    return False


def _uses_training_data(event: Event) -> bool:
    """Whether training data itself is handed to something that works on it."""
    name = set(words(event.name))
    if not isinstance(event.node, ast.Call) or name & _IDLE or not event.role & Role.TRAINING:
        return False
    arguments = [*event.node.args, *(keyword.value for keyword in event.node.keywords)]
    return any(role_of(key_of(part).rsplit(".", 1)[-1]) & Role.TRAINING for part in arguments)


def _mixed(view: FileView, flow: Flow) -> Iterator[Finding]:
    for _scope, event in flow.events("assign"):
        name = event.name.rsplit(".", 1)[-1]
        if role_of(name) & Role.TRAINING and event.role & Role.HELD_OUT and view.touches(event.node):
            yield _found(view, "held-out-as-training", event.node, f"`{name}` is made of held-out data")
    if not any(flow.events("train")):
        return
    for _scope, event in flow.events("save"):
        if view.touches(event.node):
            yield _found(view, "held-out-in-artifact", event.node, f"`{event.name}` writes held-out data")


_LINK = re.compile(r"^\s*(?:\$ |sudo )?(?:ln\s+-\w+|cp(?:\s+-\w+)?|mv|rsync\s+-\w+)\s+(\S+)\s+(\S+)\s*$")


def _links(view: FileView) -> Iterator[Finding]:
    """Shell commands that put a held-out file where the training split is read from."""
    for number, line in view.added.items():
        if (match := _LINK.match(line)) is None:
            continue
        source, target = (part.rstrip("/").rsplit("/", 1)[-1].strip("\"'") for part in match.groups())
        if set(words(source)) & _HELD and set(words(target)) & _TRAIN and not set(words(target)) & _HELD:
            message = "a held-out file is put in the place of training data"
            yield RULES["held-out-as-training"].found(message, file=view.path, line=number, evidence=line.strip())
