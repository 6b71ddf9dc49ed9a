"""A watcher that says nothing."""

from __future__ import annotations

from evalkit.stats.protocols import Need
from evalkit.verify.verdict import Verdict

__all__ = ["Silent"]


class Silent:
    """Implements :class:`evalkit.loop.session.Watcher` and does nothing."""

    def calibrating(self, have: int, wanted: int) -> None:
        """Say nothing."""

    def proposing(self, experiment: int) -> None:
        """Say nothing."""

    def measuring(self, experiment: int, description: str, need: Need, trials: int) -> None:
        """Say nothing."""

    def estimating(self, have: int, wanted: int) -> None:
        """Say nothing."""

    def decided(self, verdict: Verdict) -> None:
        """Say nothing."""
