"""Where held-out data, labels and training data flow in one file, statement by statement, without running it.

Every function is walked once in source order with the roles of its variables; the roles of arguments reach the
parameters of the file's own functions. What matters on the way is recorded as :class:`Event` s that rules read.
The analysis is an approximation on purpose: it says where to look, and a probe decides.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from guards.source.program import FunctionNode, Program
from guards.source.roles import Role, role_of, words

__all__ = ["Event", "Flow", "Kind", "Scope", "analyse"]

Kind = Literal["train", "score", "update", "lookup", "best", "call", "assign", "save"]
_ROUNDS = 3
_SIZES = frozenset(
    {"len", "numel", "size", "shape", "dim", "ndim", "range", "nelement", "__len__", "isinstance", "type"}
)
_TRANSFORMS = frozenset(
    {"to", "reshape", "view", "cpu", "cuda", "numpy", "astype", "clone", "contiguous", "copy", "detach"}
    | {"float", "int", "long", "tobytes", "tensor", "array", "asarray", "as_tensor", "from_numpy", "cat"}
    | {"stack", "concatenate", "concat", "vstack", "hstack", "list", "tuple", "zip", "enumerate", "iter"}
    | {"next", "load", "loads", "open", "read", "read_bytes", "read_text", "read_csv", "read_parquet"}
    | {"memmap", "frombuffer", "fromfile", "flatten", "ravel", "squeeze", "unsqueeze", "split", "chunk"}
    | {"slice", "narrow", "index_select", "take", "sorted", "reversed", "shuffle", "permute", "transpose"}
    | {"encode", "decode", "compress", "dumps", "bytes", "bytearray", "items", "values", "unfold", "pad"}
    | {"pin_memory", "tolist", "dict", "set", "batch", "DataLoader", "Dataset", "Subset", "ConcatDataset"}
)
_FITS = frozenset({"fit", "partial_fit", "fit_transform", "train_on_batch", "fit_predict", "fit_generator"})
_SAVES = frozenset(
    {"save", "savez", "savez_compressed", "dump", "write", "write_bytes", "write_text", "tofile", "to_csv"}
)
_TABLE_WRITES = frozenset({"scatter_add_", "index_add_", "index_put_", "scatter_", "scatter_reduce_"})
_TABLE_READS = frozenset({"get", "gather", "index_select", "take", "take_along_axis"})
_KEYS = frozenset({"hash", "key", "keys", "index", "bucket", "slot", "pack", "encode", "combine", "ids"})
_SCORES = frozenset({"loss", "nll", "score", "bits", "bpb", "bytes", "ce", "correct", "logprob", "lp", "total", "sum"})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a value that plays a part.

    Attributes:
        kind: what happened.
        node: where.
        role: of the value or the key.
        name: the table, the callee, or the target.
        roles: for ``call``, of each positional argument.
    """

    kind: Kind
    node: ast.expr | ast.stmt
    role: Role
    name: str = ""
    roles: tuple[Role, ...] = ()


@dataclass(slots=True)
class Scope:
    """One function, or the module's own statements (``function`` is None).

    Attributes:
        seeds: roles that calls give its parameters.
        events: in source order.
    """

    function: FunctionNode | None
    seeds: dict[str, Role] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    env: dict[str, Role] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the function, or the empty string."""
        return self.function.name if self.function else ""


@dataclass(frozen=True, slots=True)
class Flow:
    """All scopes of a file.

    Attributes:
        scopes: the module's first, then every function.
        by_name: the scopes of functions with a name.
    """

    scopes: tuple[Scope, ...]
    by_name: dict[str, list[Scope]]

    def events(self, kind: Kind) -> Iterable[tuple[Scope, Event]]:
        """Every event of a kind."""
        for scope in self.scopes:
            for event in scope.events:
                if event.kind == kind:
                    yield scope, event


def analyse(program: Program) -> Flow:
    """Walk a file; cost is proportional to its size times a small constant."""
    scopes = [Scope(None), *(Scope(function) for function in program.functions)]
    by_name: dict[str, list[Scope]] = {}
    for scope in scopes[1:]:
        by_name.setdefault(scope.name, []).append(scope)
    parents = {id(scope.function): scope for scope in scopes if scope.function}
    todo = scopes
    for _ in range(_ROUNDS):
        for scope in todo:
            outer = program.function_of(scope.function) if scope.function else None
            _Walker(scope, parents.get(id(outer)) if outer else None).run(program.tree)
        todo = _pass_arguments(todo, by_name)
        if not todo:
            break
    return Flow(tuple(scopes), by_name)


def _pass_arguments(scopes: Sequence[Scope], by_name: dict[str, list[Scope]]) -> list[Scope]:
    """Give parameters the roles of arguments; return the functions that learnt something."""
    changed: dict[int, Scope] = {}
    for scope in scopes:
        for event in scope.events:
            if event.kind != "call" or event.name not in by_name or not isinstance(event.node, ast.Call):
                continue
            for callee in by_name[event.name]:
                if _seed(callee, event):
                    changed[id(callee)] = callee
    return list(changed.values())


def _seed(callee: Scope, event: Event) -> bool:
    if callee.function is None or not isinstance(event.node, ast.Call):
        return False
    params = [arg.arg for arg in (*callee.function.args.posonlyargs, *callee.function.args.args)]
    if params[:1] in (["self"], ["cls"]):
        params = params[1:]
    pairs = list(zip(params, event.roles, strict=False))
    keywords = event.node.keywords
    pairs += [(kw.arg, role) for kw, role in zip(keywords, event.roles[len(event.node.args) :], strict=False) if kw.arg]
    learnt = False
    for name, role in pairs:
        new = role & (Role.HELD_OUT | Role.LABEL | Role.TRAINING)
        if new & ~callee.seeds.get(name, Role.NONE):
            callee.seeds[name] = callee.seeds.get(name, Role.NONE) | new
            learnt = True
    return learnt


def key_of(node: ast.AST) -> str:
    """``a``, ``self.a`` or ``a.b`` of an expression, subscripts dropped; empty where it has none."""
    parts: list[str] = []
    while True:
        match node:
            case ast.Attribute(value=value, attr=attr):
                parts.append(attr)
                node = value
            case ast.Subscript(value=value):
                node = value
            case ast.Name(id=name):
                return ".".join([name, *reversed(parts)])
            case ast.Call(func=ast.Attribute(value=value, attr="reshape" | "view" | "setdefault" | "flatten")):
                node = value
            case _:
                return ""


class _Walker:
    """Walks one scope's statements."""

    def __init__(self, scope: Scope, outer: Scope | None) -> None:
        self.scope = scope
        scope.events.clear()
        scope.env.clear()
        scope.origin.clear()
        if outer is not None:
            scope.env.update(outer.env)
            scope.origin.update(outer.origin)
        scope.env.update(scope.seeds)
        self.env = scope.env

    def run(self, tree: ast.Module) -> None:
        body = self.scope.function.body if self.scope.function else tree.body
        self._body(body)

    def _body(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:  # noqa: C901, PLR0912 - one case a kind of statement
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return
            case ast.ClassDef(body=body):
                if self.scope.function is None:
                    self._body([part for part in body if not isinstance(part, ast.FunctionDef)])
            case ast.Assign(targets=targets, value=value):
                role = self._use(value)
                for target in targets:
                    self._assign(target, value, role, node)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                self._assign(target, value, self._use(value), node)
            case ast.AugAssign(target=target, value=value):
                self._augment(target, self._use(value), node)
            case ast.For(target=target, iter=iterable) | ast.AsyncFor(target=target, iter=iterable):
                self._assign(target, iterable, self._use(iterable), node)
                self._body(node.body)
                self._body(node.orelse)
            case ast.If(test=test):
                self._use(test)
                self._branches(node)
            case ast.While(test=test):
                self._use(test)
                self._body(node.body)
            case ast.With(items=items) | ast.AsyncWith(items=items):
                for item in items:
                    self._use(item.context_expr)
                self._body(node.body)
            case ast.Try():
                self._body(node.body)
                for handler in node.handlers:
                    self._body(handler.body)
                self._body([*node.orelse, *node.finalbody])
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self._use(child)

    def _branches(self, node: ast.If) -> None:
        before = dict(self.env)
        self._body(node.body)
        first = dict(self.env)
        self.env.clear()
        self.env.update(before)
        self._body(node.orelse)
        for name, role in first.items():
            self.env[name] = self.env.get(name, Role.NONE) | role

    def _assign(self, target: ast.expr, value: ast.expr, role: Role, node: ast.stmt | ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            values = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts) else None
            for at, element in enumerate(target.elts):
                part = values[at] if values else value
                self._assign(element, part, self.role(part) if values else role, node)
            return
        if isinstance(target, ast.Starred):
            target = target.value
        key = key_of(target)
        if isinstance(target, ast.Subscript):
            self._table_write(target, node)
            self.env[key] = self.env.get(key, Role.NONE) | (role & ~Role.LABEL)
            return
        if not key:
            return
        self.scope.events.append(Event("assign", node, role, key))
        self.env[key] = role
        if isinstance(value, ast.Subscript | ast.Attribute | ast.Call) and (origin := key_of(value)):
            self.scope.origin[key] = self.scope.origin.get(origin, origin)
        else:
            self.scope.origin.pop(key, None)

    def _augment(self, target: ast.expr, role: Role, node: ast.AugAssign) -> None:
        key = key_of(target)
        if isinstance(target, ast.Subscript):
            self._table_write(target, node)
        if any(isinstance(n, ast.Attribute) and n.attr in {"bincount", "histogram"} for n in ast.walk(node.value)):
            self._event("update", node, role, key)
        if role & (Role.DERIVED | Role.HELD_OUT) and set(words(key)) & _SCORES:
            self._event("score", node, role, key)
        self.env[key] = self.env.get(key, Role.NONE) | role

    def _table_write(self, target: ast.Subscript, node: ast.stmt | ast.expr) -> None:
        role = self.role(target.slice)
        if role & (Role.HELD_OUT | Role.LABEL):
            self._event("update", node, role, key_of(target.value))

    def _event(self, kind: Kind, node: ast.expr | ast.stmt, role: Role, name: str, *roles: Role) -> None:
        name = self.scope.origin.get(name, name)
        self.scope.events.append(Event(kind, node, role, name, roles))

    def _use(self, node: ast.expr) -> Role:
        """Record the events inside an expression, innermost last, and give its role."""
        for part in ast.walk(node):
            if isinstance(part, ast.Call):
                self._call(part)
            elif isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Load):
                role = self.role(part.slice)
                if role & Role.LABEL:
                    self._event("lookup", part, role, key_of(part.value))
            elif isinstance(part, ast.NamedExpr):
                self._assign(part.target, part.value, self.role(part.value), part)
        return self.role(node)

    def _call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else key_of(node.func)
        base = node.func.value if isinstance(node.func, ast.Attribute) else None
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        roles = tuple(self.role(argument) for argument in arguments)
        every = Role.NONE
        for role in roles:
            every |= role
        own = self.role(base) if base is not None else Role.NONE
        if name == "backward":
            self._event("train", node, own | every, key_of(node.func))
        elif name in _FITS or (name in {"grad", "value_and_grad"} and every & (Role.DERIVED | Role.HELD_OUT)):
            self._event("train", node, every, key_of(node.func))
        elif name == "append" and own == Role.NONE and base is not None and set(words(key_of(base))) & _SCORES:
            if every & (Role.DERIVED | Role.HELD_OUT):
                self._event("score", node, every, key_of(base))
        elif name in _SAVES and every & Role.HELD_OUT:
            self._event("save", node, every, key_of(node.func))
        self._tables(node, name, base, roles, every)
        if name in {"minimum", "fmin", "min", "maximum"} and (every | own) & Role.DERIVED:
            self._event("best", node, every | own, name)
        self._event("call", node, every, name, *roles)

    def _tables(self, node: ast.Call, name: str, base: ast.expr | None, roles: tuple[Role, ...], every: Role) -> None:
        if name in _TABLE_WRITES and base is not None and every & (Role.HELD_OUT | Role.LABEL):
            self._event("update", node, every, key_of(base))
        elif name == "at" and len(roles) > 1 and roles[1] & (Role.HELD_OUT | Role.LABEL):
            self._event("update", node, roles[1], key_of(node.args[0]))
        elif name in _TABLE_READS and base is not None and roles and every & Role.LABEL:
            self._event("lookup", node, every, key_of(base))

    def role(self, node: ast.AST | None) -> Role:  # noqa: C901 - one case a kind of expression
        """The roles of an expression's value."""
        found = Role.NONE
        todo: list[ast.AST] = [node] if node is not None else []
        while todo:
            part = todo.pop()
            match part:
                case ast.Name(id=name):
                    found |= self.env.get(name, Role.NONE) | role_of(name)
                case ast.Attribute(value=value, attr=attr):
                    if attr in _SIZES:
                        continue
                    found |= self.env.get(key_of(part), Role.NONE) | role_of(attr)
                    todo.append(value)
                case ast.Call(func=func):
                    found |= self._call_role(part, func)
                case ast.Compare():
                    continue
                case ast.Lambda():
                    continue
                case ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                    found |= self._comprehension(part)
                case ast.Subscript(value=value, slice=index):
                    inner = self.role(value)
                    found |= inner
                    if inner & Role.HELD_OUT and _shifted(index):
                        found |= Role.LABEL
                    if self.role(index) & (Role.LABEL | Role.HELD_OUT):
                        found |= Role.DERIVED
                case _:
                    todo.extend(ast.iter_child_nodes(part))
        return found

    def _comprehension(self, node: ast.AST) -> Role:
        found = Role.NONE
        for generator in getattr(node, "generators", []):
            role = self.role(generator.iter)
            for name in ast.walk(generator.target):
                if isinstance(name, ast.Name):
                    self.env[name.id] = role
        for part in ("elt", "key", "value", "body"):
            if (child := getattr(node, part, None)) is not None:
                found |= self.role(child)
        return found

    def _call_role(self, node: ast.Call, func: ast.expr) -> Role:
        name = func.attr if isinstance(func, ast.Attribute) else key_of(func)
        if name in _SIZES:
            return Role.NONE
        found = Role.NONE
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            found |= self.role(argument)
        if isinstance(func, ast.Attribute):
            found |= self.role(func.value)
        if name in _TRANSFORMS or set(words(name)) & {
            "load",
            "read",
            "batch",
            "get",
            "tokens",
            "data",
            "loader",
            "dataset",
        }:
            return found | (role_of(name) & (Role.HELD_OUT | Role.TRAINING))
        if set(words(name)) & _KEYS:
            return found
        return Role.DERIVED if found & (Role.HELD_OUT | Role.DERIVED) else Role.NONE


def _shifted(index: ast.expr) -> bool:
    """``[1:]`` and ``[a + 1 : b + 1]``: the next element of a sequence, which is what a sequence model predicts."""
    if not isinstance(index, ast.Slice) or index.lower is None:
        return False
    match index.lower:
        case ast.Constant(value=1) | ast.BinOp(op=ast.Add(), right=ast.Constant(value=1)):
            return True
    return False
