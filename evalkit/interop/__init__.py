"""Other loops' files: their histories, read into one frozen model."""

from __future__ import annotations

from evalkit.interop.detect import Found, find_histories, read_history
from evalkit.interop.history import History, HistoryRow, Problem, Segment, Status

__all__ = ["Found", "History", "HistoryRow", "Problem", "Segment", "Status", "find_histories", "read_history"]
