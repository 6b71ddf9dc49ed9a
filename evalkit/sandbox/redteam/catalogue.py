"""All cases."""

from __future__ import annotations

from evalkit.sandbox.redteam.case import Case
from evalkit.sandbox.redteam.channel import CHANNEL
from evalkit.sandbox.redteam.files import FILES
from evalkit.sandbox.redteam.network import NETWORK
from evalkit.sandbox.redteam.processes import PROCESSES

__all__ = ["CASES"]

CASES: tuple[Case, ...] = (*NETWORK, *FILES, *PROCESSES, *CHANNEL)
