"""Planning: what a policy can see at a metric's noise, and what that costs, before anything is spent.

Every number is simulated with the machine that decides, so that calibration error, screens, futility and run-level
error
control are all in it.
"""

from __future__ import annotations

__all__ = ["Chance", "Detectable", "Plan", "detectable_by_budget", "keep_curve", "plan_run"]

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.stats.simulate import Gate
from evalkit.stats.world import Draws, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evalkit.stats.noise import Noise
    from evalkit.stats.policies import Policy

_SIZES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
_POWER = 0.8


@dataclass(frozen=True, slots=True)
class Chance:
    """What happens to candidates of one effect.

    Attributes:
        effect: in the metric's units.
        in_sd: in units of the paired noise sd.
        keep: chance of being kept, in [0, 1].
        evaluations: expected trials until the decision (calibration and the estimate after a keep left out).
    """

    effect: float
    in_sd: float
    keep: float
    evaluations: float


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest effect that is kept four times out of five within a budget.

    Attributes:
        max_pairs: confirm pairs at most.
        effect: in the metric's units; None if none up to 4 sd is.
        evaluations: expected trials to decide such a candidate.
    """

    max_pairs: int
    effect: float | None
    evaluations: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will be like.

    Attributes:
        policy: the policy's name.
        sd: paired noise sd, in the metric's units.
        calibration: trials that calibration takes.
        evaluations_null: expected trials on a candidate that changes nothing.
        curve: chance to keep, by effect, for the first confirmation of a run.
        curve_later: the same once ten candidates have been kept, when levels are easier.
        detectable: smallest detectable effect by budget.
        interval: half-width, in the metric's units, of the 95 % interval of the effect that is claimed after a keep.
    """

    policy: str
    sd: float
    calibration: int
    evaluations_null: float
    curve: tuple[Chance, ...]
    curve_later: tuple[Chance, ...]
    detectable: tuple[Detectable, ...]
    interval: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def lines(self, width: int = 40) -> tuple[str, ...]:
        """The chance to keep as a bar chart in text, one line an effect."""
        return tuple(
            f"{c.effect:12.4g} ({c.in_sd:4.2f} sd) {'█' * round(width * c.keep):<{width}} {c.keep:6.1%} "
            f"{c.evaluations:6.1f} trials"
            for c in self.curve
        )


def keep_curve(
    policy: Policy,
    noise: Noise,
    sizes: Sequence[float] = _SIZES,
    *,
    keeps: int = 0,
    trials: int = 500,
    seed: int = 0,
) -> tuple[Chance, ...]:
    """Chance to keep and expected trials, by effect.

    Args:
        policy: how much to spend.
        noise: from calibration; its sd must be above 0.
        sizes: effects in units of the noise sd.
        keeps: keeps that the run already has, which make levels easier.
        trials: simulated candidates an effect; a chance is known to about ``1/√trials``.
        seed: of everything random.
    """
    if noise.sd <= 0.0:
        raise ValueError("there is nothing to plan for a metric without noise: every difference is seen in one pair")
    world = World(sd=noise.sd, rho=max(0.0, min(0.99, noise.rho)))
    effects = np.repeat(np.array(sizes) * noise.sd, trials)
    easier = replace(policy, alpha=min(0.5, policy.alpha * (keeps + 1)), estimate_pairs=0)
    gate = Gate(easier, effects.size, Draws(np.random.default_rng(seed), world, effects.size))
    before = gate.cost.copy()
    kept = gate.propose(effects).reshape(len(sizes), trials).mean(axis=1)
    cost = (gate.cost - before).reshape(len(sizes), trials).mean(axis=1)
    rows = zip(sizes, kept.tolist(), cost.tolist(), strict=True)
    return tuple(Chance(size * noise.sd, size, keep, spent) for size, keep, spent in rows)


def detectable_by_budget(
    policy: Policy, noise: Noise, budgets: Sequence[int] = (4, 8, 16, 24, 48), *, trials: int = 200, seed: int = 0
) -> tuple[Detectable, ...]:
    """The smallest effect kept with probability 0.8, for several limits on confirm pairs."""
    sizes = tuple(np.linspace(0.4, 4.0, 19).tolist())
    out = []
    for pairs in budgets:
        curve = keep_curve(replace(policy, max_pairs=pairs), noise, sizes, trials=trials, seed=seed)
        seen = next((c for c in curve if c.keep >= _POWER), None)
        out.append(Detectable(pairs, seen.effect if seen else None, (seen or curve[-1]).evaluations))
    return tuple(out)


def plan_run(policy: Policy, noise: Noise, *, trials: int = 500, seed: int = 0) -> Plan:
    """The whole plan for one metric.

    Args:
        policy: how much to spend.
        noise: from calibration; its sd must be above 0.
        trials: simulated candidates an effect.
        seed: of everything random.
    """
    nothing = keep_curve(policy, noise, (0.0,), trials=trials, seed=seed)[0]
    half = 1.96 * noise.sd / math.sqrt(max(1, policy.estimate_pairs))
    return Plan(
        policy=policy.name,
        sd=noise.sd,
        calibration=2 * policy.calibration_pairs,
        evaluations_null=nothing.evaluations,
        curve=keep_curve(policy, noise, trials=trials, seed=seed),
        curve_later=keep_curve(policy, noise, keeps=10, trials=trials, seed=seed),
        detectable=detectable_by_budget(policy, noise, trials=max(50, trials // 2), seed=seed),
        interval=half,
    )
