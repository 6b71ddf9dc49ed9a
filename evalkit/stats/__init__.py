"""Statistics that hold for a whole run: what decides a keep.

Everything here is pure: numbers in, frozen values out, no clock, no files, no hidden randomness. Every metric is
oriented before it comes here, so that **larger is better** and an effect is ``candidate − incumbent``.
Importing this package loads nothing; a name is found when it is first used, and ``scipy.stats`` never is.

Calibration (``noise``)
    ``calibrate(incumbent, candidate) -> Noise`` from A/A pairs;
    ``pooled(noise, sum_of_squares, df, lag_products=0.0) -> Noise``;
    ``Noise.to_dict() / Noise.from_dict(d)``. ``Noise.kind`` is ``"noisy"``, ``"exact"`` or ``"coarse"``.

Policies (``policies``)
    ``Policy`` with the sets ``STANDARD``, ``THOROUGH``, ``FRUGAL``; ``policy(name) -> Policy``;
    ``Policy.to_dict() / from_dict``.

One experiment (``sequential``, ``cases``, ``exact``): one protocol ``ExperimentTest``, three machines::

    ScalarTest(policy, noise, level, *, baseline=None, null=0.0)      a noisy number per trial
    CasesTest(policy, level, *, null=0.0, fresh=True)                 a number in [0, 1] per case per trial
    ExactTest(*, min_effect=0.0, pairs=2)                             a number without noise

    test.need() -> Need | None        Need.SCREEN_SINGLE | SCREEN_PAIR | CONFIRM_PAIR
    test.observe(need, candidate, incumbent=None)                     incumbent is None for SCREEN_SINGLE
    test.decision() -> Decision       at any time; final once need() is None
    test.observations -> tuple[Observation, ...]   what replay needs
    test.residuals() -> (sum_of_squares, df, lag_products), so that pooled(noise, *test.residuals()) learns from it
    replay(test, observations) -> Decision         feeds the same numbers, gives the same JSON

    ``experiment(policy, noise, level, *, ...)`` builds the machine that the noise calls for.
    ``Decision`` has outcome ("keep" | "reject" | "inconclusive"), reason (a code), message, stage, log_e, level,
    pairs, screens, sum, sum_of_squares, mean, interval, more_pairs, diagnostics; ``to_dict() / from_dict``.
    ``Baseline(mean, count)``: the running mean of incumbent values that single screens are compared with; start it with
    ``Baseline(noise.mean, noise.cost)``, then ``including(incumbent values)`` after a confirmation that ends without a
    keep, and ``after_keep(candidate, incumbent, noise)`` then ``including(fresh head values)`` after one.

The whole run (``online``): ``run_level(rule="e-lond", alpha=0.05, expected=60) -> RunLevel``; state is plain data::

    level = run.reserve(test_id)      before the experiment starts; fixed from then on
    run.release(test_id)              it was rejected before any confirm pair was measured: gives its place back
    run.settle(test_id, keep, log_e)  it was decided
    run.state() -> dict ; RunLevel.restore(state)

    ``ELond.level(index, keeps)`` is the bare formula.

Evidence (``evidence``, ``discrete``, ``bounded``, ``percase``): the protocol ``Evidence`` with ``update(x) ->
log_e``, ``log_e``,
    ``n``, ``interval(alpha)``; ``ModeratedT``, ``BinaryEvidence``, ``BettingEvidence``, ``ClusteredEvidence``,
    ``PerCaseEvidence``, ``RatioEvidence``; ``choose_evidence(kind, ...) -> Choice(evidence, reason)``;
    ``sign_flip_p_value(differences)``.

After and beside (``guardrail``, ``estimate``, ``diagnostics``)
    ``GuardrailTest(noise, margin, level, *, spent=0.0)`` with ``observe(candidate, incumbent)``, ``decision()``;
    ``CumulativeMargin(margin)``; ``estimate_effect(differences, noise) -> Estimate`` on fresh pairs;
    ``diagnose(candidate, incumbent, noise) -> tuple[Diagnostic, ...]``.

Planning, reporting, watching (``plan``, ``simulate``, ``holdout``, ``changepoint``)
    ``plan_run(policy, noise) -> Plan`` (chance to keep by effect, detectable effect by budget, ``lines()`` as a chart);
    ``simulate_run(policy, World(...), Population(...)) -> Characteristics``;
    ``Ladder``, ``Thresholdout``, ``Rotation(items, key=...).draw(size)``;
    ``ECusum(threshold=1000).visit(differences, noise) -> log_m`` with ``alarm``, ``since``, ``state()``, ``restore``;
    ``e_divisive(series)``, ``cusum(series)`` for diagnosis.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "noise": ("Noise", "calibrate", "pooled"),
    "policies": ("FRUGAL", "STANDARD", "THOROUGH", "Policy", "policy"),
    "sequential": ("ScalarTest", "experiment"),
    "protocols": ("Decision", "ExperimentTest", "Need", "Observation", "replay"),
    "cases": ("CasesTest",),
    "exact": ("ExactTest",),
    "screen": ("Baseline",),
    "online": ("ELond", "RunLevel", "run_level"),
    "evidence": ("Evidence", "ModeratedT", "RatioEvidence"),
    "discrete": ("BinaryEvidence", "sign_flip_p_value"),
    "bounded": ("BettingEvidence",),
    "percase": ("ClusteredEvidence", "PerCaseEvidence"),
    "choice": ("Choice", "choose_evidence"),
    "guardrail": ("CumulativeMargin", "GuardrailTest"),
    "estimate": ("Estimate", "estimate_effect"),
    "diagnostics": ("Diagnostic", "diagnose"),
    "plan": ("Plan", "keep_curve", "plan_run"),
    "simulate": ("Characteristics", "simulate_run"),
    "world": ("Population", "World"),
    "holdout": ("Ladder", "Rotation", "Thresholdout"),
    "changepoint": ("ChangePoint", "ECusum", "cusum", "e_divisive"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - the table above is the one list of names


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"evalkit.stats.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
