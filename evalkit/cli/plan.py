"""``evalkit plan``: what the budget can detect, before it is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.cli.common import contract_options, open_ledger, print_json
from evalkit.errors import LedgerError, UsageError

if TYPE_CHECKING:
    from evalkit.report.planning import Subject
    from evalkit.stats.noise import Noise
    from evalkit.stats.policies import Policy

__all__ = ["Basis", "basis", "command", "noise_options", "policies_of"]

_NAMES = ("standard", "thorough", "frugal")
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class Basis:
    """What is planned from.

    Attributes:
        subject: how effects are shown.
        noise: of the objective.
        policies: to compare, with what the contract changes in them.
    """

    subject: Subject
    noise: Noise
    policies: tuple[Policy, ...]


def noise_options(function: click.decorators.FC) -> click.decorators.FC:
    """``--sd``, ``--rho``, ``--df`` and ``--seed``."""
    options = (
        click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the simulation."),
        click.option(
            "--df", type=click.IntRange(_FEWEST), default=20, show_default=True, help="A/A pairs behind --sd."
        ),
        click.option(
            "--rho",
            type=click.FloatRange(0.0, 0.99),
            default=0.5,
            show_default=True,
            help="Correlation within a pair, beside --sd.",
        ),
        click.option("--sd", type=float, help="Noise of a paired difference, by hand instead of from the ledger."),
    )
    for option in options:
        function = option(function)
    return function


@click.command(name="plan")
@contract_options
@noise_options
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one offline HTML page.")
@click.option(
    "--trials", type=click.IntRange(50), default=200, show_default=True, help="Simulated candidates an effect."
)
def command(
    file: Path | None,
    profile: str,
    as_json: bool,
    sd: float | None,
    rho: float,
    df: int,
    seed: int,
    html: Path | None,
    trials: int,
) -> None:
    """What the budget can detect: chance to keep, smallest detectable effect and cost, for each policy.

    Reads the noise from the last calibration, or takes it by hand with --sd.
    """
    from evalkit.report.planning import plan_document, plan_html, plan_lines  # noqa: PLC0415 - loads late
    from evalkit.stats.plan import plan_run  # noqa: PLC0415

    found = basis(file, profile, sd, rho, df, seed)
    plans = [plan_run(policy, found.noise, trials=trials, seed=seed) for policy in found.policies]
    if html is not None:
        _write(html, plan_html(found.subject, plans))
    if as_json:
        print_json("plan", plan_document(found.subject, plans))
        return
    for line in plan_lines(found.subject, plans):
        click.echo(line)


def basis(file: Path | None, profile: str, sd: float | None, rho: float, df: int, seed: int) -> Basis:
    """The noise to plan with: by hand, or from the last calibration.

    Raises:
        UsageError: ``sd`` is no standard deviation, or the metric has no noise.
        LedgerError: there is no calibration yet.
    """
    if sd is None:
        return _calibrated(file, profile, seed)
    from evalkit.report.planning import Subject  # noqa: PLC0415 - loads late
    from evalkit.stats.policies import policy  # noqa: PLC0415

    if not (0.0 < sd < float("inf")):
        raise UsageError(f"--sd {sd} is not a standard deviation", "give a number above 0")
    note = f"noise given by hand: paired sd {sd:g}, correlation {rho:g}, {df} A/A pairs"
    subject = Subject("the metric", "linear", None, seed, note)
    return Basis(subject, _by_hand(sd, rho, df), policies_of([policy(name) for name in _NAMES], df))


def _by_hand(sd: float, rho: float, df: int) -> Noise:
    from evalkit.stats.noise import Noise  # noqa: PLC0415 - loads late

    single = sd / (2.0 * (1.0 - rho)) ** 0.5
    return Noise(
        sd=sd, df=float(df), pilot_sd=sd, pilot_df=float(df), rho=rho, lag1=0.0, lag_df=float(df - 1), mean=0.0,
        single_sd=single, cost=2 * df, distinct=2 * df, resolution=0.0, ties=0.0, kind="noisy",
    )  # fmt: skip


def policies_of(policies: Sequence[Policy], pairs: int) -> tuple[Policy, ...]:
    """The policies with as many A/A pairs as there really are: power depends on them."""
    return tuple(replace(policy, calibration_pairs=pairs) for policy in policies)


def _calibrated(file: Path | None, profile: str, seed: int) -> Basis:
    from evalkit.report.planning import Subject  # noqa: PLC0415 - loads late
    from evalkit.stats.noise import Noise  # noqa: PLC0415
    from evalkit.verify.rules import min_effect_on_scale, policy_of, scale_of  # noqa: PLC0415
    from evalkit.verify.units import Units  # noqa: PLC0415

    contract, ledger = open_ledger(file, profile)
    with ledger:
        record = ledger.latest("calibrated")
    if record is None:
        raise LedgerError("this run is not calibrated yet", "`evalkit calibrate` does that; --sd plans without")
    objective, body = contract.objective, record.body
    noise, units = Noise.from_dict(body["noise"][objective.name]), Units.from_json(body.get("evidence"))
    if noise.sd == 0.0:
        how = "its cases decide, in one pair" if units.by_case else "any gain above min_effect is seen in two pairs"
        raise UsageError(f"{objective.name!r} has no noise to plan with: {how}", "--sd plans with noise given by hand")
    note = noise.why + ("; cases decide here, so these figures are cautious" if units.by_case else "")
    scale = scale_of(objective)
    subject = Subject(objective.name, scale, body["seconds"], seed, note, min_effect_on_scale(objective, scale))
    chosen = [policy_of(replace(contract.policy, name=name)) for name in _NAMES]
    return Basis(subject, noise, policies_of(chosen, body["pairs"]))


def _write(target: Path, text: str) -> None:
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} can't be written ({error.strerror})", "name a file in a folder of yours") from None
