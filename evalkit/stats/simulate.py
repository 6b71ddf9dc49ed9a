"""Operating characteristics: what a policy would do over whole runs, at the user's own noise.

The machine of :class:`evalkit.stats.sequential.ScalarTest`, for many runs side by side in numpy; levels come from
the same
``RunLevel`` and diagnostics from the same function, and a test feeds both the same trials and compares every decision.
"""

from __future__ import annotations

__all__ = ["Characteristics", "Figure", "Gate", "characteristics", "simulate_run"]

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.stats.diagnostics import diagnose
from evalkit.stats.futility import FAR
from evalkit.stats.noise import Noise
from evalkit.stats.online import run_level
from evalkit.stats.world import Draws, Population, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from evalkit.stats.policies import Policy

Array = np.ndarray
_MEMORY = 60.0


@dataclass(frozen=True, slots=True)
class Figure:
    """A simulated mean with the half-width of its 95 % interval."""

    value: float
    half_width: float


@dataclass(frozen=True, slots=True)
class Characteristics:
    """What a rule did over simulated runs.

    Attributes:
        evaluations: trials per proposal, calibration and estimates included.
        fdr: mean share of false keeps (no effect or harmful) among keeps, per cent.
        any_false: share of runs with at least one false keep, per cent.
        gain: true gain of what was kept, per cent of keeping exactly the improvements.
        keeps: keeps a run.
        harmful: harmful keeps a run.
        claimed: claimed over true gain of the keeps; NaN without keeps.
        tests: confirmations a run.
    """

    evaluations: Figure
    fdr: Figure
    any_false: Figure
    gain: Figure
    keeps: Figure
    harmful: Figure
    claimed: Figure
    tests: Figure


class Gate:
    """The gate over many runs at once.

    Args:
        policy: how much to spend.
        runs: how many runs.
        draws: where trials come from.
        rule: run-level rule.
    """

    def __init__(self, policy: Policy, runs: int, draws: Draws, rule: str = "e-lond") -> None:
        self.policy, self.draws = policy, draws
        first, second = draws.calibration(runs, policy.calibration_pairs)
        differences, values = second - first, np.concatenate([first, second], axis=1)
        pairs = policy.calibration_pairs
        self.pilot_sd = np.sqrt((differences**2).mean(axis=1))
        self.squares, self.df = (differences**2).sum(axis=1), np.full(runs, float(pairs))
        self.lags, self.lag_df = _lag_products(differences), np.full(runs, pairs - 1.0)
        self.single_sd = values.std(axis=1, ddof=1)
        centred = [x - values.mean(axis=1, keepdims=True) for x in (first, second)]
        total = ((values - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / 2.0
        self.rho = np.clip((centred[0] * centred[1]).sum(axis=1) / total, -1.0, 1.0)
        self.mean, self.count = values.mean(axis=1), np.full(runs, min(2.0 * pairs, _MEMORY))
        self.cost, self.tests = np.full(runs, 2.0 * pairs), np.zeros(runs)
        self.claimed = np.zeros(runs)
        self.books = [run_level(rule, policy.alpha, policy.expected_tests) for _ in range(runs)]
        self._candidate = np.zeros((runs, policy.max_pairs))
        self._incumbent = np.zeros((runs, policy.max_pairs))

    def propose(self, effect: Array) -> Array:
        """One proposal in every run; which of them are kept.

        Args:
            effect: true effect of each run's candidate on its incumbent. Levels are tracked relative to the
            incumbent, so a
                keep moves every later value down by its effect.
        """
        runs = np.arange(effect.size)
        self.draws.next_proposal(effect.size)
        paired = self.rho >= self.policy.paired_screen_rho
        passed = np.concatenate([self._screen_singles(runs[~paired], effect), self._screen_pairs(runs[paired], effect)])
        kept = np.zeros(effect.size, dtype=bool)
        if passed.size:
            kept[self._confirm(np.sort(passed), effect)] = True
        return kept

    def _screen_singles(self, active: Array, effect: Array) -> Array:
        def look(which: Array) -> Array:
            self.cost[which] += 1.0
            value: Array = effect[which] + self.draws.single(which) - self.mean[which]
            return value

        sd = self.single_sd * np.sqrt(1.0 + 1.0 / self.count)
        return self._screen(active, sd, self.policy.screen_single, look)

    def _screen_pairs(self, active: Array, effect: Array) -> Array:
        def look(which: Array) -> Array:
            self.cost[which] += 2.0
            ours, theirs = self.draws.pair(which)
            value: Array = effect[which] + ours - theirs
            return value

        return self._screen(active, np.sqrt(self.squares / self.df), self.policy.screen_pair, look)

    def _screen(self, active: Array, sd: Array, thresholds: tuple[float, ...], look: Callable[[Array], Array]) -> Array:
        """The runs whose candidate goes on to confirmation."""
        sums, passed = np.zeros(sd.size), [np.zeros(0, dtype=int)]
        for i, threshold in enumerate(thresholds, 1):
            if active.size == 0:
                break
            sums[active] += look(active)
            z = sums[active] / math.sqrt(i) / sd[active]
            active, z = active[z > threshold], z[z > threshold]
            promoted = (z > self.policy.screen_promote) | (i == len(thresholds))
            passed.append(active[promoted])
            active = active[~promoted]
        return np.concatenate(passed) if thresholds else active

    def _confirm(self, active: Array, effect: Array) -> Array:
        policy = self.policy
        self.tests[active] += 1.0
        bar = np.array([-math.log(self.books[i].reserve("now")) for i in active])
        sums, squares = np.zeros(active.size), np.zeros(active.size)
        scale = self.pilot_sd[active]
        kept: list[int] = []
        for n in range(1, policy.max_pairs + 1):
            ours, theirs = self.draws.pair(active)
            ours = ours + effect[active]
            self.cost[active] += 2.0
            self._candidate[active, n - 1], self._incumbent[active, n - 1] = ours, theirs
            u = (ours - theirs) / scale
            sums, squares = sums + u, squares + u * u
            log_e, ratio = self._evidence(n, sums, squares)
            strong = (log_e >= bar) & (n >= policy.min_pairs)
            weak = (ratio < policy.futility_growth * n - policy.futility_bound) & (sums <= FAR * n)
            ended = strong | weak | (n == policy.max_pairs)
            kept += self._settle(active[ended], strong[ended], log_e[ended], n, effect)
            active, bar, scale = active[~ended], bar[~ended], scale[~ended]
            sums, squares = sums[~ended], squares[~ended]
            if active.size == 0:
                break
        return np.array(kept, dtype=int)

    def _evidence(self, n: int, sums: Array, squares: Array) -> tuple[Array, Array]:
        """Log of the e-process, and the log-likelihood ratio that futility looks at."""
        policy, pilot = self.policy, float(self.policy.calibration_pairs)
        grid = np.array([*policy.grid, policy.futility_effect])[:, None]
        gain = grid * (2.0 * sums - n * grid)
        weights = np.log(np.array(policy.weights) / sum(policy.weights))[:, None]
        ratios = [_log_ratio(df, n, squares, gain) for df in (min(policy.prior_df, pilot), pilot)]
        ratios.append(0.5 * gain)
        return np.minimum.reduce([_log_mean(weights + r[:-1]) for r in ratios]), ratios[0][-1]

    def _settle(self, which: Array, strong: Array, log_e: Array, n: int, effect: Array) -> list[int]:
        """Ends experiments that all have n pairs: diagnostics, books, noise, baselines; returns the kept ones."""
        kept: list[int] = []
        for i, ok, e in zip(which.tolist(), strong.tolist(), log_e.tolist(), strict=True):
            keep = ok and not self._diagnosed(i, n)
            self.books[i].settle("now", keep, e)
            kept += [i] if keep else []
        differences = self._candidate[which, :n] - self._incumbent[which, :n]
        if n > 1:
            self.squares[which] += ((differences - differences.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
            self.lags[which] += _lag_products(differences)
            self.df[which] += n - 1.0
            self.lag_df[which] += n - 1.0
        rest = np.setdiff1d(which, kept)
        self._include(rest, self._incumbent[rest, :n])
        self._after_keep(np.array(kept, dtype=int), n, effect)
        return kept

    def _diagnosed(self, i: int, n: int) -> bool:
        return bool(diagnose(self._candidate[i, :n].tolist(), self._incumbent[i, :n].tolist(), self.noise(i)))

    def noise(self, i: int) -> Noise:
        """The noise model of one run now."""
        variance = self.squares[i] / self.df[i]
        return Noise(
            sd=math.sqrt(variance),
            df=float(self.df[i]),
            pilot_sd=float(self.pilot_sd[i]),
            pilot_df=float(self.policy.calibration_pairs),
            rho=float(self.rho[i]),
            lag1=float(np.clip(self.lags[i] / (self.lag_df[i] * variance), -1.0, 1.0)),
            lag_df=float(self.lag_df[i]),
            mean=float(self.mean[i]),
            single_sd=float(self.single_sd[i]),
            cost=2 * self.policy.calibration_pairs,
            distinct=2 * self.policy.calibration_pairs,
            resolution=0.0,
            ties=0.0,
            kind="noisy",
        )

    def _include(self, which: Array, values: Array) -> None:
        if which.size:
            total = self.count[which] + values.shape[1]
            self.mean[which] = (self.mean[which] * self.count[which] + values.sum(axis=1)) / total
            self.count[which] = np.minimum(total, _MEMORY)

    def _after_keep(self, which: Array, n: int, effect: Array) -> None:
        """The new baseline, and the claim from fresh pairs; everything is now relative to the new incumbent."""
        if which.size == 0:
            return
        rho = np.clip(self.rho[which], 0.0, 0.95)
        sd = np.sqrt(self.squares[which] / self.df[which])
        ours, theirs = self._candidate[which, :n].mean(axis=1), self._incumbent[which, :n].mean(axis=1)
        shift = rho * (theirs - self.mean[which])
        self.mean[which] = ours - shift - self.policy.baseline_shrink * sd / math.sqrt(n) - effect[which]
        self.count[which] = np.minimum(n / (1.0 - rho * rho), _MEMORY)
        pairs = [self.draws.pair(which) for _ in range(self.policy.estimate_pairs)]
        self.cost[which] += 2.0 * len(pairs)
        if pairs:
            claims = np.mean([a - b for a, b in pairs], axis=0) + effect[which]
            self.claimed[which] += claims
            self._include(which, np.stack([a for a, _ in pairs], axis=1))


def _log_ratio(df: float, n: int, squares: Array, gain: Array) -> Array:
    top = df + squares
    result: Array = 0.5 * (df + n) * np.log(top / np.maximum(df, top - gain))
    return result


def _log_mean(terms: Array) -> Array:
    highest = terms.max(axis=0)
    result: Array = highest + np.log(np.exp(terms - highest).sum(axis=0))
    return result


def _lag_products(differences: Array) -> Array:
    """As :func:`evalkit.stats.noise.lag_products`, row by row."""
    centred = differences - differences.mean(axis=1, keepdims=True)
    products: Array = (centred[:, :-1] * centred[:, 1:]).sum(axis=1) + (centred**2).sum(axis=1) / centred.shape[1]
    return products


def simulate_run(
    policy: Policy,
    world: World,
    population: Population,
    *,
    runs: int = 200,
    proposals: int = 700,
    seed: int = 0,
    rule: str = "e-lond",
) -> Characteristics:
    """Operating characteristics of a policy.

    Args:
        policy: how much to spend.
        world: how trials vary.
        population: what is proposed, in units of ``world.sd``.
        runs: simulated runs; intervals shrink with their root.
        proposals: proposals a run.
        seed: of everything random.
        rule: run-level rule.
    """
    rng = np.random.default_rng(seed)
    effects = world.sd * population.draw(rng, runs, proposals)
    gate = Gate(policy, runs, Draws(rng, world, runs), rule)
    kept = np.stack([gate.propose(effects[:, t]) for t in range(proposals)], axis=1)
    return characteristics(effects, kept, gate.cost, gate.claimed, gate.tests)


def characteristics(
    effects: Array, kept: Array, cost: Array, claimed: Array | None = None, tests: Array | None = None
) -> Characteristics:
    """Figures of any rule's keeps.

    Args:
        effects: true effects, runs × proposals.
        kept: which were kept, same shape.
        cost: trials of each run.
        claimed: sum of the claimed effects of each run's keeps.
        tests: confirmations of each run.
    """
    keeps = kept.sum(axis=1)
    harmful = (kept & (effects < 0.0)).sum(axis=1)
    false = (kept & (effects <= 0.0)).sum(axis=1)
    true = (kept * effects).sum(axis=1)
    possible = (effects * (effects > 0.0)).sum(axis=1)
    return Characteristics(
        evaluations=_mean(cost / effects.shape[1]),
        fdr=_mean(100.0 * false / np.maximum(keeps, 1)),
        any_false=_mean(100.0 * (false > 0)),
        gain=_ratio(100.0 * true, possible),
        keeps=_mean(keeps),
        harmful=_mean(harmful),
        claimed=Figure(math.nan, math.nan) if claimed is None else _ratio(claimed, true),
        tests=_mean(np.full(keeps.size, effects.shape[1]) if tests is None else tests),
    )


def _mean(values: Array) -> Figure:
    values = np.asarray(values, dtype=float)
    return Figure(float(values.mean()), 1.96 * float(values.std(ddof=1)) / math.sqrt(values.size))


def _ratio(top: Array, bottom: Array) -> Figure:
    """Ratio of means, with the delta method's interval."""
    below = float(bottom.mean())
    if below == 0.0:
        return Figure(math.nan, math.nan)
    ratio = float(top.mean()) / below
    spread = float(np.std(top - ratio * bottom, ddof=1)) / math.sqrt(top.size)
    return Figure(ratio, 1.96 * spread / abs(below))
