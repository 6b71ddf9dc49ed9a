"""Candidates that attack a contract: known-bad, neutral, made from the contract and its tree."""

from guards.doctor.candidates import Candidate, Expected, known_bad, neutral
from guards.doctor.holes import Hole, hole_of

__all__ = ["Candidate", "Expected", "Hole", "hole_of", "known_bad", "neutral"]
