"""What a calibration says, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.contract import Contract
from evalkit.report.wording import duration, value_text
from evalkit.stats.noise import Noise
from evalkit.verify.rules import scale_of

__all__ = ["calibration_lines"]


def calibration_lines(contract: Contract, body: Mapping[str, Any]) -> Iterator[str]:
    """A line for each metric, and what a trial costs.

    Args:
        contract: in force.
        body: of a ``calibrated`` record.
    """
    yield f"{body['pairs']} A/A pairs, {duration(body['seconds'])} a trial"
    for metric in contract.metrics:
        noise = Noise.from_dict(body["noise"][metric.name])
        scale = scale_of(metric)
        spread = f"{100 * noise.sd:.3g} %" if scale == "log" else value_text(noise.sd)
        yield (
            f"  {metric.name}: {value_text(body['values'][metric.name])}, paired sd {spread}, "
            f"correlation within a pair {noise.rho:.2f} ({noise.why.partition(':')[0]}, {metric.trust})"
        )
