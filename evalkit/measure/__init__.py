"""Trials: run a tree in the sandbox, meet it with its scorer, and say what came out.

The rooms inside: :mod:`observation` (what a trial yields), :mod:`relay` (the parent between scorer and candidate),
:mod:`scoring` (the scorer's side), :mod:`trial` (one trial, all phases), :mod:`pairing` (seeds and order),
:mod:`environment` (the fingerprint of the machine).
"""

from evalkit.measure.environment import Environment, fingerprint
from evalkit.measure.observation import Fault, Observation, PhaseRecord, Reading
from evalkit.measure.pairing import Pair, Pairing
from evalkit.measure.trial import TrialRunner, Trusted

__all__ = [
    "Environment",
    "Fault",
    "Observation",
    "Pair",
    "Pairing",
    "PhaseRecord",
    "Reading",
    "TrialRunner",
    "Trusted",
    "fingerprint",
]
