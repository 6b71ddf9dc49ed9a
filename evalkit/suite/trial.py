"""The ``trial`` fixture: what a test records about one trial."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from typing import Any

from evalkit.errors import UsageError
from evalkit.suite.subject import Measured, Reported

__all__ = ["Trial"]

_NAME = re.compile(r"[A-Za-z_][\w.@^-]{0,99}")


class Trial:
    """One trial of one arm on one case.

    Attributes:
        arm: ``candidate`` or ``baseline``.
        index: number of the trial, from 0.
        seed: the same in both arms; the subject has it as ``EVALKIT_SEED``.
    """

    def __init__(self, arm: str, index: int, seed: int, keep: Callable[[str, bytes], None]) -> None:
        self.arm, self.index, self.seed = arm, index, seed
        self._keep = keep
        self._values: dict[str, tuple[float, str]] = {}
        self._artifacts: dict[str, str] = {}

    def record(self, metric: str, value: float) -> None:
        """One value of one metric; gates look at it.

        Args:
            metric: its name.
            value: a finite number or a bool. ``subject.seconds`` counts as measured; a bare number of the subject's
                as reported, which every verdict that rests on it says.

        Raises:
            UsageError: the metric was recorded before in this test, or the value is no finite number.
        """
        if not _NAME.fullmatch(metric):
            raise UsageError(f"{metric!r} can't be the name of a metric", "use letters, digits and underscores")
        if metric in self._values:
            raise UsageError(f"{metric!r} was recorded twice in one test", "record every metric once a trial")
        if isinstance(value, str | bytes | complex) or value is None:
            raise UsageError(f"{metric!r} is {value!r:.60}, not a number")
        number = float(value)
        if not math.isfinite(number):
            raise UsageError(f"{metric!r} is {number}; a metric must be a finite number")
        trust = "reported" if isinstance(value, Reported) else "measured" if isinstance(value, Measured) else "scored"
        self._values[metric] = (number, trust)

    def artifact(self, name: str, data: bytes) -> None:
        """Keep some bytes beside the result; their digest stands in the record.

        Args:
            name: a file name.
            data: its content.

        Raises:
            UsageError: the name is not a plain file name.
        """
        if not re.fullmatch(r"[\w.-]{1,100}", name) or name.startswith("."):
            raise UsageError(f"{name!r} is not a plain file name")
        self._artifacts[name] = hashlib.sha256(data).hexdigest()
        self._keep(name, data)

    def told(self) -> dict[str, Any]:
        """What was recorded, as plain data."""
        return {"values": {name: list(pair) for name, pair in self._values.items()}, "artifacts": self._artifacts}
