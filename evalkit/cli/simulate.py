"""``evalkit simulate``: how whole runs would go at the user's own noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.common import contract_options, print_json
from evalkit.cli.plan import Basis, basis, noise_options
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.stats.simulate import Characteristics, Figure
    from evalkit.stats.world import Population

__all__ = ["command"]

_COLUMNS = (
    ("fdr", "false keeps %"),
    ("any_false", "runs with one %"),
    ("gain", "gain % of oracle"),
    ("keeps", "keeps a run"),
    ("harmful", "harmful keeps"),
    ("evaluations", "trials a proposal"),
)


@click.command(name="simulate")
@contract_options
@noise_options
@click.option("--improving", type=click.FloatRange(0, 1), default=0.03, show_default=True, help="Share that improves.")
@click.option("--harmful", type=click.FloatRange(0, 1), default=0.4, show_default=True, help="Share that does harm.")
@click.option("--median", type=float, default=1.0, show_default=True, help="Median improvement, in paired noise sds.")
@click.option("--runs", type=click.IntRange(2, 10_000), default=40, show_default=True, help="Simulated runs.")
@click.option("--proposals", type=click.IntRange(1, 10_000), default=300, show_default=True, help="In each run.")
def command(
    file: Path | None,
    profile: str,
    as_json: bool,
    sd: float | None,
    rho: float,
    df: int,
    seed: int,
    improving: float,
    harmful: float,
    median: float,
    runs: int,
    proposals: int,
) -> None:
    """How whole runs would go: false keeps, gain against an oracle and trials, with 95 % intervals.

    Every policy, and a loop that keeps what measures better, get the same proposals at your own noise. The oracle keeps
    exactly the improvements.
    """
    from evalkit.stats.world import Population  # noqa: PLC0415 - numpy loads late

    if improving + harmful > 1.0 or not 0.0 < median < math.inf:
        raise UsageError("these proposals can't be drawn", "the shares add up to at most 1, and the median is above 0")
    found = basis(file, profile, sd, rho, df, seed)
    population = Population(improving, harmful, median)
    rows = dict(_rows(found, population, runs, proposals, seed))
    if as_json:
        print_json("simulation", _document(found, population, runs, proposals, rows))
        return
    for line in _lines(found, population, runs, proposals, rows):
        click.echo(line)


def _rows(
    found: Basis, population: Population, runs: int, proposals: int, seed: int
) -> Iterator[tuple[str, Characteristics]]:
    import numpy as np  # noqa: PLC0415 - loads late

    from evalkit.stats.peers import PEERS  # noqa: PLC0415
    from evalkit.stats.simulate import characteristics, simulate_run  # noqa: PLC0415
    from evalkit.stats.world import World  # noqa: PLC0415

    world = World(sd=found.noise.sd, rho=max(0.0, min(0.99, found.noise.rho)))
    for policy in found.policies:
        yield policy.name, simulate_run(policy, world, population, runs=runs, proposals=proposals, seed=seed)
    effects = world.sd * population.draw(np.random.default_rng(seed), runs, proposals)
    peer = PEERS[0]
    done = peer.rule(effects, world, np.random.default_rng(seed + 1))
    yield "keep if better", characteristics(effects, done.kept, done.cost, done.claimed)


def _document(
    found: Basis, population: Population, runs: int, proposals: int, rows: dict[str, Characteristics]
) -> dict[str, Any]:
    return {
        "metric": found.subject.metric,
        "noise": {"sd": found.noise.sd, "rho": found.noise.rho, "df": found.noise.df},
        "population": asdict(population),
        "runs": runs,
        "proposals": proposals,
        "seed": found.subject.seed,
        "unseen_below_percent": _unseen(runs),
        "rules": {name: {key: _finite(figure) for key, figure in asdict(row).items()} for name, row in rows.items()},
    }


def _unseen(runs: int) -> float:
    """Upper 95 % bound, in per cent, of what was seen in none of the runs (Clopper & Pearson 1934)."""
    return 100.0 * (1.0 - math.pow(0.05, 1.0 / runs))


def _finite(figure: dict[str, float]) -> dict[str, float | None]:
    """NaN, where nothing was kept, is null in JSON."""
    return {name: value if math.isfinite(value) else None for name, value in figure.items()}


def _lines(
    found: Basis, population: Population, runs: int, proposals: int, rows: dict[str, Characteristics]
) -> Iterator[str]:
    yield f"{found.subject.metric}: {found.subject.note}"
    yield (
        f"{runs} runs of {proposals} proposals: {population.improving:.0%} improve "
        f"(median {found.subject.size(population.median * found.noise.sd)}), {population.harmful:.0%} harm, "
        "the rest do nothing"
    )
    width = max(len(name) for name in rows) + 2
    yield " " * width + "".join(f"{title:>19}" for _, title in _COLUMNS)
    for name, row in rows.items():
        cells = (_cell(key, getattr(row, key), runs) for key, _ in _COLUMNS)
        yield f"{name:<{width}}" + "".join(f"{cell:>19}" for cell in cells)
    yield f"± is half a 95 % interval; seed {found.subject.seed}"


def _cell(key: str, figure: Figure, runs: int) -> str:
    """A figure with its interval; none seen in few runs is not none at all."""
    if key in {"fdr", "any_false"} and figure.value == 0.0:
        return f"0 (below {_unseen(runs):.1f})"
    return f"{figure.value:.2f} ± {figure.half_width:.2f}" if math.isfinite(figure.value) else "—"
