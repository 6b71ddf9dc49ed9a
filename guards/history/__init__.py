"""What a run's past and its trials say about a result; a finding here triggers probes and never rejects."""

from guards.history.guard import RULES, HistoryGuard
from guards.history.jumps import is_implausible, kept_gains, records

__all__ = ["RULES", "HistoryGuard", "is_implausible", "kept_gains", "records"]
