"""From collected items to scopes: which evals there are, in which order they run, and whether all were selected."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from evalkit.errors import UsageError
from evalkit.suite.casefiles import Case
from evalkit.suite.gates import Gate, gate_as_json, needs_baseline
from evalkit.suite.records import Item, Scope

__all__ = ["PLAN", "ItemPlan", "Marker", "arrange", "gates_of", "params_of", "plan_of", "quarantine", "scopes_of"]

_PARAMETER = "_evalkit_trial"
_KNOWN = {"metric", "goal", "trials", "pair_by", "split", "module", "timeout"}


@dataclass(frozen=True, slots=True)
class Marker:
    """What ``@pytest.mark.eval`` says."""

    metric: str = ""
    goal: str = "maximize"
    trials: int = 1
    pair_by: str = ""
    split: str = ""
    module: str = ""
    timeout: float | None = None

    @classmethod
    def of(cls, mark: pytest.Mark, where: str) -> Marker:
        """From the marker's keywords.

        Raises:
            UsageError: one is not known, or of no use.
        """
        unknown = set(mark.kwargs) - _KNOWN
        if mark.args or unknown:
            odd = ", ".join([*map(repr, mark.args), *sorted(unknown)])
            raise UsageError(f"{where}: the eval marker does not know {odd}", f"it takes: {', '.join(sorted(_KNOWN))}")
        marker = cls(**{name: value for name, value in mark.kwargs.items() if value is not None})
        if marker.goal not in {"maximize", "minimize"}:
            raise UsageError(f"{where}: goal = {marker.goal!r}", 'use "maximize" or "minimize"')
        if not isinstance(marker.trials, int) or marker.trials < 1:
            raise UsageError(f"{where}: trials = {marker.trials!r} is not a number from 1")
        return marker


@dataclass(frozen=True, slots=True)
class ItemPlan:
    """What a test item stands for.

    Attributes:
        scope: node id of the module or class whose gates look at it.
        evaluation: node id of the test function.
        kind: ``eval`` or ``guard``.
        arm, trial, seed: of an eval; a guard is a candidate's trial 0.
        unit, cluster: which case.
        marker: the eval marker's content.
    """

    scope: str
    evaluation: str
    kind: str
    arm: str
    trial: int
    seed: int
    unit: str
    cluster: str
    marker: Marker

    def told(self) -> dict[str, Any]:
        """What a row needs to know, as plain data."""
        names = ("scope", "evaluation", "arm", "trial", "unit", "cluster")
        return {name: getattr(self, name) for name in names}


PLAN = pytest.StashKey[ItemPlan]()


def gates_of(holder: Any) -> dict[str, Gate]:
    """The gates that a module or class declares itself, by name."""
    return {name: value for name, value in vars(holder).items() if isinstance(value, Gate)} if holder else {}


def params_of(metafunc: pytest.Metafunc, trials: int, first: int) -> None:
    """Parametrise an eval by arm and trial; the baseline runs where a gate compares with it."""
    declared = gates_of(metafunc.cls) or gates_of(metafunc.module)
    arms = ["candidate", "baseline"] if any(map(needs_baseline, declared.values())) else ["candidate"]
    values = [(arm, index) for index in range(first, first + trials) for arm in arms]
    metafunc.fixturenames.append(_PARAMETER)
    metafunc.parametrize(_PARAMETER, values, ids=[f"{arm}-t{index}" for arm, index in values])


def _holder(item: pytest.Function) -> tuple[str, Any]:
    """The class or module whose gates look at an item."""
    if item.cls is not None and gates_of(item.cls):
        parent = item.getparent(pytest.Class)
        if parent is not None:
            return parent.nodeid, item.cls
    module = item.getparent(pytest.Module)
    return (module.nodeid if module else item.nodeid), item.module


def plan_of(item: pytest.Function, entropy: int) -> ItemPlan | None:
    """What an item stands for; None where it is neither an eval nor a guard.

    Raises:
        UsageError: its marker is wrong.
    """
    mark = item.get_closest_marker("eval")
    if mark is None and item.get_closest_marker("guard") is None:
        return None
    scope, _ = _holder(item)
    parent = item.parent.nodeid if item.parent else ""
    evaluation = f"{parent}::{item.originalname}"
    callspec = getattr(item, "callspec", None)
    params: Mapping[str, Any] = callspec.params if callspec else {}
    name = callspec.id if callspec else ""
    if mark is None:
        return ItemPlan(scope, evaluation, "guard", "candidate", 0, _seed(entropy, evaluation, 0), name, name, Marker())
    marker = Marker.of(mark, item.nodeid)
    arm, trial = params[_PARAMETER]
    unit = re.sub(rf"-?{arm}-t{trial}$", "", name)
    cluster = _cluster(params, marker, unit, item.nodeid)
    return ItemPlan(scope, evaluation, "eval", arm, trial, _seed(entropy, evaluation, trial), unit, cluster, marker)


def _cluster(params: Mapping[str, Any], marker: Marker, unit: str, where: str) -> str:
    if marker.pair_by:
        if marker.pair_by not in params:
            raise UsageError(f"{where}: pair_by = {marker.pair_by!r}, but the test has no such parameter")
        value = params[marker.pair_by]
        return value.cluster if isinstance(value, Case) else str(value)
    case = next((value for value in params.values() if isinstance(value, Case)), None)
    return case.cluster if case else unit


def _seed(entropy: int, evaluation: str, trial: int) -> int:
    digest = hashlib.blake2b(f"{entropy}\0{evaluation}\0{trial}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def arrange(items: list[pytest.Item], plans: Mapping[str, ItemPlan], entropy: int) -> None:
    """Put evals in order, in the places that they have: trial by trial, both arms of a pair together, in random order.

    Random order within the pair keeps a machine that drifts from favouring an arm; trial by trial lets one process
    answer all cases of a trial.
    """
    places = [index for index, item in enumerate(items) if item.nodeid in plans and plans[item.nodeid].kind == "eval"]
    first: dict[str, int] = {}
    units: dict[tuple[str, str], int] = {}
    for place in places:
        plan = plans[items[place].nodeid]
        first.setdefault(plan.evaluation, place)
        units.setdefault((plan.evaluation, plan.unit), place)

    def key(item: pytest.Item) -> tuple[int, int, int, bytes]:
        plan = plans[item.nodeid]
        coin = hashlib.blake2b(f"{entropy}\0{plan.evaluation}\0{plan.unit}\0{plan.trial}\0{plan.arm}".encode()).digest()
        return first[plan.evaluation], plan.trial, units[plan.evaluation, plan.unit], coin

    ordered = sorted((items[place] for place in places), key=key)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def scopes_of(
    items: Sequence[pytest.Item], plans: Mapping[str, ItemPlan], known: Iterable[str], left_out: Mapping[str, str]
) -> dict[str, Scope]:
    """The scopes of all items that were selected.

    Args:
        items: selected.
        plans: by node id.
        known: node ids of all eval functions that were seen while collecting.
        left_out: by scope, why a part of it was not selected.

    Raises:
        UsageError: a quarantine has no reason or no date.
    """
    scopes: dict[str, Scope] = {}
    seen: set[str] = set()
    for item in items:
        plan = plans.get(item.nodeid)
        if plan is None or not isinstance(item, pytest.Function):
            continue
        scope = scopes.get(plan.scope)
        if scope is None:
            _, holder = _holder(item)
            scope = scopes[plan.scope] = Scope(plan.scope, item.nodeid.partition("::")[0], gates=_declared(holder))
        seen.add(plan.evaluation)
        reason, expired = quarantine(item, datetime.now(UTC).date())
        if expired and expired not in scope.expired:
            scope.expired.append(expired)
        scope.items[item.nodeid] = Item(item.nodeid, plan.kind, plan.arm, reason, plan.evaluation)
        if plan.marker.metric:
            scope.goals[plan.marker.metric] = plan.marker.goal
    missing = sorted(set(known) - seen)
    for scope in scopes.values():
        lost = [name for name in missing if name.startswith(f"{scope.name}::")]
        scope.partial = left_out.get(scope.name, "") or (f"{lost[0]} was not selected" if lost else "")
    return scopes


def _declared(holder: Any) -> list[tuple[str, int, dict[str, Any]]]:
    return [(name, _line(holder, name), gate_as_json(gate)) for name, gate in gates_of(holder).items()]


def _line(holder: Any, name: str) -> int:
    import inspect  # noqa: PLC0415

    try:
        lines, start = inspect.getsourcelines(holder)
    except (OSError, TypeError):
        return 0
    pattern = re.compile(rf"\s*{re.escape(name)}\s*(:[^=]+)?=")
    return next((max(start, 1) + offset for offset, line in enumerate(lines) if pattern.match(line)), 0)


def quarantine(item: pytest.Item, today: date) -> tuple[str, str]:
    """Why a test's failure does not count, and what to say where the quarantine is over.

    Raises:
        UsageError: there is no reason, or no date.
    """
    mark = item.get_closest_marker("evalkit_quarantine")
    if mark is None:
        return "", ""
    given = {**dict(zip(("reason", "until"), mark.args, strict=False)), **mark.kwargs}
    reason, until = str(given.get("reason", "")).strip(), str(given.get("until", ""))
    try:
        last = date.fromisoformat(until)
    except ValueError:
        last = None
    if not reason or last is None:
        raise UsageError(
            f"{item.nodeid}: a quarantine needs a reason and the day when it ends",
            'write @pytest.mark.evalkit_quarantine(reason="…", until="2030-01-31")',
        )
    if last < today:
        name = item.nodeid.partition("[")[0]
        return "", f"the quarantine of {name} ended on {until} ({reason}): repair it, or give it a new date"
    return f"{reason} (until {until})", ""
