"""The statistics of one experiment on a noisy number: screen, confirm, decide.

A pure state machine: it asks for what it needs, is told, and ends in a decision. The same numbers give the same
decision, bit for bit, which is what replay rests on.
"""

from __future__ import annotations

__all__ = ["ScalarTest", "experiment"]

import math
from typing import TYPE_CHECKING

from evalkit.stats.diagnostics import diagnose
from evalkit.stats.evidence import EARLY_PRIOR_SCALE, ModeratedT
from evalkit.stats.exact import ExactTest
from evalkit.stats.futility import is_futile
from evalkit.stats.noise import lag_products
from evalkit.stats.protocols import Decision, ExperimentTest, Need, Observation, Outcome, Value, bounds
from evalkit.stats.screen import Baseline, screen_verdict, uses_pairs

if TYPE_CHECKING:
    from evalkit.stats.diagnostics import Diagnostic
    from evalkit.stats.noise import Noise
    from evalkit.stats.policies import Policy


def experiment(
    policy: Policy,
    noise: Noise,
    level: float,
    *,
    baseline: Baseline | None = None,
    null: float = 0.0,
    min_effect: float = 0.0,
) -> ExperimentTest:
    """The test that the noise calls for: exact comparison where there is none, the e-process where there is.

    Args:
        policy: how much to spend.
        noise: from calibration. A metric that never differed in too few A/A pairs is treated as exact, but has to show
            it in as many pairs as calibration would have needed.
        level: α_t, reserved from the run before the experiment starts; not spent by an exact comparison.
        baseline: incumbent values to screen single trials against; None screens by pairs.
        null: largest effect that is still "no better", for a noisy metric.
        min_effect: what an exact metric must gain to be kept; kept when the gain is above it.
    """
    if noise.sd == 0.0:
        return ExactTest(min_effect=min_effect, pairs=2 if noise.kind == "exact" else 5)
    return ScalarTest(policy, noise, level, baseline=baseline, null=null)


class ScalarTest:
    """One experiment on a noisy number per trial.

    Args:
        policy: how much to spend.
        noise: from calibration (and pooling); its sd must be above 0.
        level: α_t in (0, 1].
        baseline: incumbent values to screen single trials against; None screens by pairs.
        null: largest effect that is still "no better", in the metric's oriented units.
    """

    def __init__(
        self, policy: Policy, noise: Noise, level: float, *, baseline: Baseline | None = None, null: float = 0.0
    ) -> None:
        if not 0.0 < level <= 1.0:
            raise ValueError("the level must lie in (0, 1]")
        if noise.sd == 0.0:
            raise ValueError("a metric without noise needs ExactTest or CasesTest")
        self._policy, self._noise, self._level, self._baseline = policy, noise, level, baseline
        self._null = null
        self._pairs_only = uses_pairs(policy, noise, baseline)
        self._observations: list[Observation] = []
        self._screened: list[float] = []
        self._candidate: list[float] = []
        self._incumbent: list[float] = []
        self._stage = "screen" if self._thresholds else "confirm"
        self._ended: tuple[Outcome, str] | None = None
        self._evidence = ModeratedT(
            noise.pilot_sd or noise.sd,
            noise.pilot_df,
            policy.grid,
            null=null,
            prior_df=policy.prior_df,
            weights=policy.weights,
            prior_scale=EARLY_PRIOR_SCALE,
        )
        self._found: tuple[Diagnostic, ...] = ()

    @property
    def _thresholds(self) -> tuple[float, ...]:
        return self._policy.screen_pair if self._pairs_only else self._policy.screen_single

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Everything it was told, in order."""
        return tuple(self._observations)

    @property
    def confirming(self) -> bool:
        """Whether any confirm data were seen, so that its level is spent."""
        return self._evidence.n > 0

    def need(self) -> Need | None:
        """What it has to see next; None when it is decided."""
        if self._ended is not None:
            return None
        if self._stage == "confirm":
            return Need.CONFIRM_PAIR
        return Need.SCREEN_PAIR if self._pairs_only else Need.SCREEN_SINGLE

    def observe(self, need: Need, candidate: Value, incumbent: Value | None = None) -> None:
        """Tells it what it asked for.

        Args:
            need: what this answers; must be what :meth:`need` says.
            candidate: the candidate's value.
            incumbent: the incumbent's of the same pair; None for a single screen trial.

        Raises:
            ValueError: it didn't ask for that, or a value is not a finite number.
        """
        if need != self.need():
            raise ValueError(f"the experiment needs {self.need() or 'nothing more'}, not {need}")
        ours = _finite(candidate)
        theirs = None if need == Need.SCREEN_SINGLE else _finite(incumbent)
        self._observations.append(Observation(need, ours, theirs))
        if need == Need.CONFIRM_PAIR and theirs is not None:
            self._confirm(ours, theirs)
        else:
            self._screen(ours, theirs)

    def _screen(self, ours: float, theirs: float | None) -> None:
        reference, sd = self._reference(theirs)
        self._screened.append(ours - reference - self._null)
        verdict = screen_verdict(self._thresholds, self._policy.screen_promote, self._screened, sd)
        if verdict == "reject":
            self._end("reject", "screen")
        elif verdict == "confirm":
            self._stage = "confirm"

    def _reference(self, theirs: float | None) -> tuple[float, float]:
        if theirs is not None:
            return theirs, self._noise.sd
        if self._baseline is None:
            raise ValueError("a single screen trial needs a baseline")
        return self._baseline.mean, self._noise.single_sd * math.sqrt(1.0 + 1.0 / self._baseline.count)

    def _confirm(self, ours: float, theirs: float) -> None:
        self._candidate.append(ours)
        self._incumbent.append(theirs)
        log_e = self._evidence.update(ours - theirs)
        if self._evidence.n >= self._policy.min_pairs and log_e >= -math.log(self._level):
            self._found = diagnose(self._candidate, self._incumbent, self._noise)
            if self._found:
                self._end("inconclusive", "diagnostic")
            else:
                self._end("keep", "evidence")
        elif is_futile(self._evidence, self._policy):
            self._end("reject", "futility")
        elif self._evidence.n >= self._policy.max_pairs:
            self._end("inconclusive", "pairs-exhausted")

    def _end(self, outcome: Outcome, reason: str) -> None:
        self._ended = (outcome, reason)
        self._stage = "done"

    def residuals(self) -> tuple[float, float, float]:
        """What the confirm differences say about noise: the arguments of ``pooled`` after the noise model."""
        differences = [c - i for c, i in zip(self._candidate, self._incumbent, strict=True)]
        n = len(differences)
        if n < 2:  # noqa: PLR2004
            return (0.0, 0.0, 0.0)
        mean = math.fsum(differences) / n
        return (math.fsum((d - mean) ** 2 for d in differences), float(n - 1), lag_products(differences))

    def decision(self) -> Decision:
        """How it stands; final once :meth:`need` is None."""
        outcome, reason = self._ended or ("inconclusive", "unfinished")
        differences = [c - i for c, i in zip(self._candidate, self._incumbent, strict=True)]
        n = len(differences)
        return Decision(
            outcome=outcome,
            reason=reason,
            message=self._message(reason),
            stage=self._stage,
            level=self._level,
            log_e=self._evidence.log_e,
            pairs=n,
            screens=len(self._screened),
            sum=math.fsum(differences),
            sum_of_squares=math.fsum(d * d for d in differences),
            mean=math.fsum(differences) / n if n else None,
            interval=bounds(self._evidence.interval(0.05)),
            more_pairs=self._more_pairs(outcome),
            diagnostics=self._found,
        )

    def _more_pairs(self, outcome: Outcome) -> int | None:
        if outcome != "inconclusive" or self._found or self._evidence.n == 0:
            return None
        return self._evidence.pairs_until(-math.log(self._level))

    def _message(self, reason: str) -> str:
        n, bar = self._evidence.n, -math.log(self._level)
        have = f"log evidence {self._evidence.log_e:.2f} of {bar:.2f} needed after {n} pairs"
        return {
            "screen": f"screened out after {len(self._screened)} looks; no error budget spent",
            "evidence": f"better: {have}",
            "futility": f"no effect of interest in sight: {have}",
            "pairs-exhausted": f"not decided: {have}",
            "diagnostic": "evidence is strong enough, but " + "; ".join(d.message for d in self._found),
            "unfinished": f"still measuring: {have}" if n else "still screening",
        }[reason]


def _finite(value: Value | None) -> float:
    if not isinstance(value, float | int) or not math.isfinite(value):
        raise ValueError("a trial's value must be one finite number")
    return float(value)
