"""What tests and assertions a source holds, so that before and after can be compared."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from guards.gaming.finding import is_test
from guards.source.program import FunctionNode, Program

__all__ = ["TestFunction", "collected_ids", "protected_digest", "test_functions"]

_SKIPS = ("skip", "skipif", "xfail", "expectedFailure", "skipIf", "skipUnless", "importorskip", "SkipTest", "fail_if")
_TOLERANCES = frozenset({"rel", "abs", "rtol", "atol", "rel_tol", "abs_tol", "delta", "eps", "tol", "tolerance"})
_APPROX = frozenset({"approx", "isclose", "allclose", "assert_allclose", "assertAlmostEqual", "assert_close"})


@dataclass(slots=True)
class TestFunction:
    """What one test checks.

    Attributes:
        name: ``Class.method`` or the function's name.
        node: the function.
        asserts: its assertions, as normalised source without numbers that are tolerances.
        trivial: how many of them hold whatever the code does.
        skips: how it is kept from running or failing.
        tolerances: by the assertion that uses it, the widest.
    """

    __test__ = False  # not a test of this project, whatever its name

    name: str
    node: FunctionNode
    asserts: list[str] = field(default_factory=list)
    trivial: int = 0
    skips: list[str] = field(default_factory=list)
    tolerances: dict[str, float] = field(default_factory=dict)


def collected_ids(sources: Iterable[tuple[str, Program]]) -> set[str]:
    """Ids of tests that a runner would collect: ``path::Class.test`` for every test file."""
    return {f"{path}::{name}" for path, program in sources if is_test(path) for name in test_functions(program)}


def protected_digest(paths: Iterable[str], read: Callable[[str], bytes]) -> str:
    """One sha256 over paths and contents, to compare before and after the trials."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        content = hashlib.sha256(read(path)).hexdigest()
        whole.update(f"{path}\0{content}\n".encode())
    return whole.hexdigest()


def test_functions(program: Program) -> dict[str, TestFunction]:
    """Every test of a file by its name."""
    found: dict[str, TestFunction] = {}
    for function in program.functions:
        owner = program.parent(function)
        if not function.name.startswith("test") or isinstance(owner, ast.FunctionDef):
            continue
        prefix = f"{owner.name}." if isinstance(owner, ast.ClassDef) else ""
        test = TestFunction(prefix + function.name, function)
        decorated = [*function.decorator_list, *(owner.decorator_list if isinstance(owner, ast.ClassDef) else [])]
        test.skips = [name for node in decorated if (name := _skip_name(node))]
        for node in ast.walk(function):
            _take(node, test)
        found[test.name] = test
    return found


test_functions.__test__ = False  # type: ignore[attr-defined]


def _skip_name(node: ast.AST) -> str:
    target = node.func if isinstance(node, ast.Call) else node
    last = target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""
    return last if last in _SKIPS else ""


def _take(node: ast.AST, test: TestFunction) -> None:
    if isinstance(node, ast.Assert):
        _assertion(node.test, test)
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name.startswith("assert") or name in {"raises", "warns", "fail"}:
            _assertion(node, test)
        elif name in {"skip", "xfail", "skipTest", "importorskip"}:
            test.skips.append(name)
    elif isinstance(node, ast.Return) and node.value is None and node in test.node.body[:-1]:
        test.skips.append("return")


def _assertion(node: ast.expr, test: TestFunction) -> None:
    plain, tolerance = _without_tolerance(node)
    test.asserts.append(plain)
    if _always_true(node):
        test.trivial += 1
    if tolerance is not None:
        test.tolerances[plain] = max(tolerance, test.tolerances.get(plain, 0.0))


def _without_tolerance(node: ast.expr) -> tuple[str, float | None]:
    """An assertion's source with tolerances taken out, and the widest of them."""
    widest: float | None = None
    text = ast.unparse(node)
    for part in ast.walk(node):
        if not isinstance(part, ast.Call):
            continue
        name = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
        for keyword in part.keywords:
            if keyword.arg in _TOLERANCES | {"places", "decimal"} and isinstance(keyword.value, ast.Constant):
                value = keyword.value.value
                if isinstance(value, int | float):
                    wide = 10.0**-value if keyword.arg in {"places", "decimal"} else float(value)
                    widest = max(wide, widest or 0.0)
                    text = text.replace(f"{keyword.arg}={ast.unparse(keyword.value)}", f"{keyword.arg}=…")
        if name in _APPROX and widest is None:
            widest = 0.0
    for part in ast.walk(node):
        if isinstance(part, ast.Compare) and isinstance(part.ops[0], ast.Lt | ast.LtE) and len(part.comparators) == 1:
            bound = part.comparators[0]
            if isinstance(bound, ast.Constant) and isinstance(bound.value, int | float):
                widest = max(float(bound.value), widest or 0.0)
                text = text.replace(ast.unparse(part), f"{ast.unparse(part.left)} < …")
    return text, widest


def _always_true(node: ast.expr) -> bool:  # noqa: PLR0911 - one return a kind of expression
    match node:
        case ast.Constant(value=value):
            return bool(value)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_always_true(value) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Constant(value=value)):
            return not value
        case ast.Compare(left=left, ops=[ast.Eq() | ast.LtE() | ast.GtE() | ast.Is()], comparators=[right]):
            return ast.dump(left) == ast.dump(right)
        case ast.Tuple(elts=elts):
            return bool(elts)
        case ast.Call(func=ast.Attribute(attr="assertTrue"), args=[inner, *_]):
            return _always_true(inner)
        case ast.Call(func=ast.Attribute(attr="assertEqual" | "assertIs"), args=[one, two, *_]):
            return ast.dump(one) == ast.dump(two)
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Name(id="object")]):
            return True
    return False
