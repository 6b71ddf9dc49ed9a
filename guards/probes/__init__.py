"""Probes: what is decided from behaviour. The rules here are pure; whoever runs trials feeds them numbers.

Each rule gives an :class:`Outcome`. False-alarm rates are by construction (a rank or sign test at a level) where there
is a null hypothesis, and zero where the condition is exact.
"""

from guards.probes.comparing import cold_and_warm, reordered_differ, repeats_differ, work_after_stop
from guards.probes.distributions import beats_constant, constant_score, sums_to_one
from guards.probes.labels import future_truncation, label_shuffle
from guards.probes.permuting import Permutation, permute_cases, rename_fields, shuffle_labels
from guards.probes.plan import ProbeKind, plan_probes
from guards.probes.protocol import Outcome, Probe, Verdict

__all__ = [
    "Outcome",
    "Permutation",
    "Probe",
    "ProbeKind",
    "Verdict",
    "beats_constant",
    "cold_and_warm",
    "constant_score",
    "future_truncation",
    "label_shuffle",
    "permute_cases",
    "plan_probes",
    "rename_fields",
    "reordered_differ",
    "repeats_differ",
    "shuffle_labels",
    "sums_to_one",
    "work_after_stop",
]
