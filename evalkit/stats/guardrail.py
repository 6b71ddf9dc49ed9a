"""Guardrails: every guarded metric must be shown not to be worse than a margin allows.

"Not significantly worse" accepts nine of ten small losses and lets them pile up. Here the burden of proof is turned
round:
H0 is "worse by the margin or more", and evidence must speak against it. Every guardrail must pass, so an
intersection–union test: each is tested at the full level, and no level is split (Berger 1982).

A margin is a budget against the frozen anchor. What earlier keeps may have lost is taken off it before the next
candidate is tested, so that a hundred small allowed losses can't add up to a large one.
"""

from __future__ import annotations

__all__ = ["CumulativeMargin", "GuardrailTest"]

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.stats.diagnostics import diagnose
from evalkit.stats.evidence import DEFAULT_GRID, DEFAULT_PRIOR_DF, EARLY_PRIOR_SCALE, ModeratedT
from evalkit.stats.protocols import Decision, Outcome, bounds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evalkit.stats.diagnostics import Diagnostic
    from evalkit.stats.noise import Noise


@dataclass(frozen=True, slots=True)
class CumulativeMargin:
    """What a guarded metric may still lose against the anchor.

    Attributes:
        margin: the whole allowance, in the metric's oriented units, above 0.
        spent: estimated loss of head against the anchor so far; gains lower it, but never below 0.
    """

    margin: float
    spent: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin > 0.0 and self.spent >= 0.0):
            raise ValueError("a margin must be above zero and what is spent of it not below")

    @property
    def left(self) -> float:
        """What is left of the allowance, at least 0."""
        return max(0.0, self.margin - self.spent)

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        return self.left == 0.0

    def after(self, estimated_change: float) -> CumulativeMargin:
        """After a keep whose effect on this metric is estimated, on fresh pairs, as ``estimated_change``."""
        if not math.isfinite(estimated_change):
            raise ValueError("an estimated change must be finite")
        return CumulativeMargin(self.margin, max(0.0, self.spent - estimated_change))

    def measured(self, head_minus_anchor: float) -> CumulativeMargin:
        """After head was measured against the anchor itself, which replaces every sum of estimates."""
        return CumulativeMargin(self.margin, max(0.0, -head_minus_anchor))

    def to_dict(self) -> dict[str, float]:
        """Plain data."""
        return {"margin": self.margin, "spent": self.spent}

    @classmethod
    def from_dict(cls, data: Mapping[str, float]) -> CumulativeMargin:
        """The inverse of :meth:`to_dict`."""
        return cls(data["margin"], data["spent"])


class GuardrailTest:
    """Non-inferiority of one guarded metric, fed with the same pairs as the main metric.

    The e-process of the main metric on ``d + δ``: H0 is ``Δ ≤ −δ`` with δ what is left of the margin. A metric without
    noise is compared exactly.

    Args:
        noise: the guarded metric's own noise model.
        margin: the whole allowance against the anchor, above 0.
        level: the level that evidence must reach, in (0, 1].
        spent: what earlier keeps already lost of it.
        max_pairs: after so many pairs without a decision it is inconclusive.
        prior_df: lower end of the evidence's bracket.
    """

    def __init__(
        self,
        noise: Noise,
        margin: float,
        level: float,
        *,
        spent: float = 0.0,
        max_pairs: int = 24,
        prior_df: float = DEFAULT_PRIOR_DF,
    ) -> None:
        if not 0.0 < level <= 1.0:
            raise ValueError("the level must lie in (0, 1]")
        self._budget = CumulativeMargin(margin, spent)
        self._noise, self._level, self._max_pairs = noise, level, max_pairs
        self._candidate: list[float] = []
        self._incumbent: list[float] = []
        self._evidence = self._make(noise, prior_df)
        self._peak = 0.0

    def _make(self, noise: Noise, prior_df: float) -> ModeratedT | None:
        if noise.pilot_sd == 0.0:
            return None
        # A margin far above the noise needs bold bets to be settled in few pairs, one far below needs patience.
        ratio = max(self._budget.left / noise.pilot_sd, 0.1)
        grid = (*DEFAULT_GRID, ratio)
        return ModeratedT(
            noise.pilot_sd,
            noise.pilot_df,
            grid,
            null=-self._budget.left,
            prior_df=prior_df,
            prior_scale=EARLY_PRIOR_SCALE,
        )

    def observe(self, candidate: float, incumbent: float) -> None:
        """Takes one confirm pair of the guarded metric, oriented so that larger is better.

        Raises:
            ValueError: a value is not finite.
        """
        if not (math.isfinite(candidate) and math.isfinite(incumbent)):
            raise ValueError("a trial's value must be finite")
        self._candidate.append(float(candidate))
        self._incumbent.append(float(incumbent))
        if self._evidence is not None:
            self._peak = max(self._peak, self._evidence.update(candidate - incumbent))

    @property
    def passed(self) -> bool:
        """Whether non-inferiority is shown."""
        return self.decision().outcome == "keep"

    def decision(self) -> Decision:
        """How it stands: ``keep`` (not worse than allowed), ``reject`` (worse), ``inconclusive``."""
        differences = [c - i for c, i in zip(self._candidate, self._incumbent, strict=True)]
        n = len(differences)
        outcome, reason = self._judge(differences)
        found: tuple[Diagnostic, ...] = ()
        if outcome == "keep" and self._evidence is not None:
            found = tuple(d for d in diagnose(self._candidate, self._incumbent, self._noise) if d.code != "outlier")
            outcome, reason = ("inconclusive", "diagnostic") if found else (outcome, reason)
        evidence = self._evidence
        low, high = evidence.interval(0.05) if evidence is not None else (-math.inf, math.inf)
        return Decision(
            outcome=outcome,
            reason=reason,
            message=self._message(reason),
            stage="confirm" if outcome == "inconclusive" else "done",
            level=self._level if evidence is not None else None,
            log_e=self._peak,
            pairs=n,
            screens=0,
            sum=math.fsum(differences),
            sum_of_squares=math.fsum(d * d for d in differences),
            mean=math.fsum(differences) / n if n else None,
            interval=bounds((low, high)),
            more_pairs=evidence.pairs_until(-math.log(self._level))
            if evidence is not None and outcome == "inconclusive" and not found
            else None,
            diagnostics=found,
        )

    def _judge(self, differences: list[float]) -> tuple[Outcome, str]:
        if self._budget.exhausted:
            return "reject", "margin-spent"
        if not differences:
            return "inconclusive", "unfinished"
        if self._evidence is None:
            return self._judge_exact(differences)
        if self._peak >= -math.log(self._level):
            return "keep", "not-inferior"
        if self._evidence.interval(self._level)[1] < -self._budget.left:
            return "reject", "inferior"
        return ("inconclusive", "pairs-exhausted" if len(differences) >= self._max_pairs else "unfinished")

    def _judge_exact(self, differences: list[float]) -> tuple[Outcome, str]:
        if any(d != differences[0] for d in differences):
            return "inconclusive", "not-exact"
        return ("keep", "not-inferior") if differences[0] > -self._budget.left else ("reject", "inferior")

    def _message(self, reason: str) -> str:
        left = f"{self._budget.left:g} of {self._budget.margin:g} left against the anchor"
        return {
            "margin-spent": f"the allowance against the anchor is spent ({left})",
            "not-inferior": f"not worse than allowed ({left})",
            "inferior": f"worse than allowed ({left})",
            "not-exact": "the metric was exact in calibration but varies here: calibrate again",
            "pairs-exhausted": f"can't rule out a loss beyond the allowance ({left})",
            "diagnostic": "the evidence can't be trusted: see the diagnostics",
            "unfinished": f"still measuring ({left})",
        }[reason]
