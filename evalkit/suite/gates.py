"""Gates: what has to hold before a change passes. Declarations only; :mod:`evalkit.suite.deciding` decides them.

A spec module (or a test class) declares its gates as plain attributes; every gate looks at the evals of that module
(or class) alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

from evalkit.errors import UsageError

__all__ = [
    "AllOf",
    "AnyOf",
    "AtLeast",
    "AtMost",
    "Gate",
    "NoFindings",
    "NonInferior",
    "PassAll",
    "PassAt",
    "Superior",
    "gate_as_json",
    "gate_from_json",
    "goal_of_name",
    "leaves",
    "needs_baseline",
]

Direction = Literal["maximize", "minimize"]
_SMALLER_IS_BETTER = (
    "_s", "_ms", "_us", "_ns", "_seconds", "_bytes", "_kb", "_mb", "_gb", "_usd", "_cost", "_tokens", "_errors",
    "_error", "_loss", "loss", "error", "latency", "cost",
)  # fmt: skip


def goal_of_name(name: str) -> Direction | None:
    """What a metric's name says about its direction: a unit of time, size or money, a loss; None where it says nothing.

    Args:
        name: such as ``latency_s``.
    """
    return "minimize" if name.lower().endswith(_SMALLER_IS_BETTER) else None


class Gate:
    """What every gate is."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PassAt:
    """pass@k: the chance that at least one of ``k`` trials of a case passes (a metric of zeros and ones)."""

    metric: str
    k: int

    def __post_init__(self) -> None:
        _positive("k", self.k)

    def __str__(self) -> str:
        return f"pass@{self.k}({self.metric})"


@dataclass(frozen=True, slots=True)
class PassAll:
    """pass^k: the chance that all of ``k`` trials of a case pass (a metric of zeros and ones)."""

    metric: str
    k: int

    def __post_init__(self) -> None:
        _positive("k", self.k)

    def __str__(self) -> str:
        return f"pass^{self.k}({self.metric})"


@dataclass(frozen=True, slots=True)
class Superior(Gate):
    """The candidate is better than the baseline by more than ``min_effect``.

    Attributes:
        metric: its name.
        min_effect: in the metric's unit, or a fraction where ``relative``; at least 0.
        goal: which way is better; None takes the marker's, or what the name says.
        relative: compare ratios (the metric has to be positive).
        alpha: chance of passing a candidate that is not better, in (0, 0.5).
    """

    metric: str
    min_effect: float = 0.0
    goal: Direction | None = None
    relative: bool = False
    alpha: float = 0.05

    def __post_init__(self) -> None:
        _not_negative("min_effect", self.min_effect)
        _level(self.alpha)

    def __str__(self) -> str:
        return f"Superior({self.metric})"


@dataclass(frozen=True, slots=True)
class NonInferior(Gate):
    """The candidate is not worse than the baseline by ``margin`` or more: this has to be shown, not assumed.

    Attributes:
        metric: its name.
        margin: in the metric's unit, or a fraction where ``relative``; above 0.
        goal: which way is better; None takes the marker's, or what the name says.
        relative: compare ratios (the metric has to be positive).
        alpha: chance of passing a candidate that is worse by the margin, in (0, 0.5).
    """

    metric: str
    margin: float
    goal: Direction | None = None
    relative: bool = False
    alpha: float = 0.05

    def __post_init__(self) -> None:
        _not_negative("margin", self.margin)
        if self.margin == 0.0 or (self.relative and self.margin >= 1.0):
            raise UsageError(f"the margin {self.margin:g} allows nothing, or everything", "give one above 0 (below 1)")
        _level(self.alpha)

    def __str__(self) -> str:
        return f"NonInferior({self.metric})"


@dataclass(frozen=True, slots=True)
class AtLeast(Gate):
    """The candidate's mean is at least ``value``, with its uncertainty.

    Attributes:
        metric: its name, :class:`PassAt` or :class:`PassAll`.
        value: the bar.
        exact: compare the mean as it is, for a metric without noise over a fixed set of cases.
        alpha: chance of passing a candidate below the bar, in (0, 0.5).
    """

    metric: str | PassAt | PassAll
    value: float
    exact: bool = False
    alpha: float = 0.05

    def __post_init__(self) -> None:
        _finite("value", self.value)
        _level(self.alpha)

    def __str__(self) -> str:
        return f"AtLeast({self.metric}, {self.value:g})"


@dataclass(frozen=True, slots=True)
class AtMost(Gate):
    """The candidate's mean is at most ``value``, with its uncertainty; as :class:`AtLeast`."""

    metric: str
    value: float
    exact: bool = False
    alpha: float = 0.05

    def __post_init__(self) -> None:
        _finite("value", self.value)
        _level(self.alpha)

    def __str__(self) -> str:
        return f"AtMost({self.metric}, {self.value:g})"


@dataclass(frozen=True, slots=True, init=False)
class NoFindings(Gate):
    """The named guards (all that are installed where none is named) find nothing in the change.

    Attributes:
        guards: names of ``evalkit.guards`` entry points.
        severity: the least severe finding that counts: ``block``, ``probe`` or ``note``.
    """

    guards: tuple[str, ...]
    severity: str

    def __init__(self, *guards: str, severity: Literal["block", "probe", "note"] = "probe") -> None:
        object.__setattr__(self, "guards", guards)
        object.__setattr__(self, "severity", severity)

    def __str__(self) -> str:
        return f"NoFindings({', '.join(self.guards)})"


@dataclass(frozen=True, slots=True, init=False)
class AllOf(Gate):
    """Every one of the gates; at least one has to be given."""

    gates: tuple[Gate, ...]

    def __init__(self, *gates: Gate) -> None:
        object.__setattr__(self, "gates", _some(gates, "AllOf"))

    def __str__(self) -> str:
        return f"AllOf({len(self.gates)} gates)"


@dataclass(frozen=True, slots=True, init=False)
class AnyOf(Gate):
    """One of the gates is enough; their error levels are divided among them, so that the chance is not multiplied."""

    gates: tuple[Gate, ...]

    def __init__(self, *gates: Gate) -> None:
        object.__setattr__(self, "gates", _some(gates, "AnyOf"))

    def __str__(self) -> str:
        return f"AnyOf({len(self.gates)} gates)"


def leaves(gate: Gate) -> Iterator[Gate]:
    """The gates at the ends of a composed one, in order."""
    if isinstance(gate, AllOf | AnyOf):
        for part in gate.gates:
            yield from leaves(part)
    else:
        yield gate


def needs_baseline(gate: Gate) -> bool:
    """Whether the gate compares values with the baseline's."""
    return any(isinstance(leaf, Superior | NonInferior) for leaf in leaves(gate))


def gate_as_json(gate: Gate) -> dict[str, Any]:
    """A gate as plain data, for the way from a worker process to the controller."""
    if isinstance(gate, AllOf | AnyOf):
        return {"kind": type(gate).__name__, "gates": [gate_as_json(part) for part in gate.gates]}
    if isinstance(gate, NoFindings):
        return {"kind": "NoFindings", "guards": list(gate.guards), "severity": gate.severity}
    values = {item.name: getattr(gate, item.name) for item in fields(gate)}  # type: ignore[arg-type]
    metric = values["metric"]
    if isinstance(metric, PassAt | PassAll):
        values["metric"] = {"kind": type(metric).__name__, "metric": metric.metric, "k": metric.k}
    return {"kind": type(gate).__name__, **values}


def gate_from_json(plain: dict[str, Any]) -> Gate:
    """The inverse of :func:`gate_as_json`."""
    values = dict(plain)
    kind = values.pop("kind")
    if kind in _COMPOSED:
        return _COMPOSED[kind](*(gate_from_json(part) for part in values["gates"]))
    if kind == "NoFindings":
        return NoFindings(*values["guards"], severity=values["severity"])
    metric = values["metric"]
    if isinstance(metric, dict):
        values["metric"] = (PassAt if metric["kind"] == "PassAt" else PassAll)(metric["metric"], metric["k"])
    return _SIMPLE[kind](**values)


_COMPOSED: dict[str, type[AllOf | AnyOf]] = {"AllOf": AllOf, "AnyOf": AnyOf}
_SIMPLE: dict[str, type[Superior | NonInferior | AtLeast | AtMost]] = {
    "Superior": Superior,
    "NonInferior": NonInferior,
    "AtLeast": AtLeast,
    "AtMost": AtMost,
}


def _some(gates: tuple[Gate, ...], name: str) -> tuple[Gate, ...]:
    if not gates:
        raise UsageError(f"{name}() without gates would pass everything", "name at least one gate")
    for gate in gates:
        if not isinstance(gate, Gate):
            raise UsageError(f"{name} was given {gate!r:.60}, which is no gate", "see evalkit.suite for the gates")
    return gates


def _finite(name: str, value: float) -> None:
    if value - value != 0.0:
        raise UsageError(f"{name} = {value} is not a finite number")


def _not_negative(name: str, value: float) -> None:
    _finite(name, value)
    if value < 0.0:
        raise UsageError(f"{name} = {value:g} is negative", f"give {name} without its sign; `goal` says the direction")


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{name} = {value} is not at least 1")


def _level(alpha: float) -> None:
    if not 0.0 < alpha < 0.5:  # noqa: PLR2004 - at one half a coin would do
        raise UsageError(f"alpha = {alpha:g} does not lie between 0 and 0.5")
