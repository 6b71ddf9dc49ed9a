"""The contract: what a proposer may edit, which metrics count, what a trial may cost, which policy decides."""

from evalkit.contract.model import (
    Budget,
    Contract,
    Goal,
    GuardSettings,
    Margin,
    Metric,
    MetricKind,
    Phase,
    PolicySettings,
    Program,
    ProposerSettings,
    Quantity,
    SandboxSettings,
    Splits,
    Suppression,
    Trust,
)

__all__ = [
    "Budget",
    "Contract",
    "Goal",
    "GuardSettings",
    "Margin",
    "Metric",
    "MetricKind",
    "Phase",
    "PolicySettings",
    "Program",
    "ProposerSettings",
    "Quantity",
    "SandboxSettings",
    "Splits",
    "Suppression",
    "Trust",
]
