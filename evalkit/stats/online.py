"""Error control over a whole run: which level each confirmation gets.

Every rule answers one question, "how strong must evidence be for this experiment", before that experiment's confirm
data exist, from nothing but how earlier experiments ended. ``RunLevel`` keeps the books as plain data, so that a ledger
can hold them and a resumed run continues with the same numbers.

e-LOND (Xu & Ramdas 2024, "Online multiple testing with e-values", AISTATS, §3) gives ``α_t = α·γ_t·(R+1)`` with
``Σγ ≤ 1``. If every null e-value has expectation at most 1, *whatever their dependence*, then FDR ≤ α: a kept t has
``e_t ≥ 1/α_t`` and at least R+1 keeps are counted in the end, so ``1{kept}/keeps ≤ α·γ_t·e_t``. Nothing in that line
cares how proposals were chosen, in which order parallel experiments finish, or whether e-values share a pilot.
"""

from __future__ import annotations

__all__ = ["ELond", "RunLevel", "planned_gamma", "run_level"]

from typing import TYPE_CHECKING, Any

from evalkit.stats.investing import ELord, ESaffron, LordPlusPlus, OpenLevel, Rule, Saffron, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DEFAULT_EXPECTED = 60


def planned_gamma(expected: int) -> Callable[[int], float]:
    """Weights that sum to exactly 1 over all t ≥ 1: flat for the planned tests, then a tail that never dies.

    ``γ_t = 3/(4m)`` for t ≤ m and ``m/(4(t−1)t)`` after; the tail telescopes to 1/4.

    Args:
        expected: m, how many confirmations are planned, at least 1.
    """
    if expected < 1:
        raise ValueError("at least one confirmation must be expected")

    def gamma(t: int) -> float:
        return 0.75 / expected if t <= expected else 0.25 * expected / ((t - 1) * t)

    return gamma


class ELond:
    """e-LOND: the level of the t-th confirmation, given how many keeps there were.

    Args:
        alpha: false discovery rate to hold, in (0, 1).
        gamma: weights by test index from 1 on; non-negative, summing to at most 1.
    """

    name = "e-lond"

    def __init__(self, alpha: float = 0.05, gamma: Callable[[int], float] | None = None) -> None:
        if not 0.0 < alpha < 1.0:
            raise ValueError("alpha must lie in (0, 1)")
        self.alpha = alpha
        self._gamma = gamma or planned_gamma(_DEFAULT_EXPECTED)

    def level(self, test_index: int, keeps: int) -> float:
        """``α·γ_t·(R+1)``, at most 1 (Xu & Ramdas 2024, §3).

        Args:
            test_index: t, from 1 on.
            keeps: R, keeps decided before this test's level was fixed.
        """
        if test_index < 1 or keeps < 0:
            raise ValueError("the test index starts at 1 and keeps at 0")
        return min(1.0, self.alpha * self._gamma(test_index) * (keeps + 1))

    def next_level(self, index: int, history: tuple[Settled, ...], open_levels: Mapping[int, OpenLevel]) -> float:
        """:meth:`level` in the shape that all rules share; parallel tests that are still open count as no keep."""
        del open_levels
        return self.level(index, sum(s.keep for s in history))


_RULES = ("e-lond", "e-lord", "e-saffron", "lord++", "saffron")


def _rule(name: str, alpha: float, expected: int) -> Rule:
    if name == "e-lond":
        return ELond(alpha, planned_gamma(expected))
    if name == "e-lord":
        return ELord(alpha, 1.0 / (expected + 1))
    if name == "e-saffron":
        return ESaffron(alpha, 1.0 / (expected + 1))
    if name == "lord++":
        return LordPlusPlus(alpha)
    if name == "saffron":
        return Saffron(alpha)
    raise ValueError(f"no run-level rule {name!r}; there are {', '.join(_RULES)}")


def run_level(rule: str = "e-lond", alpha: float = 0.05, expected: int = _DEFAULT_EXPECTED) -> RunLevel:
    """The books of a new run.

    Args:
        rule: ``e-lond`` (default), ``e-lord``, ``e-saffron``, ``lord++`` or ``saffron``.
        alpha: false discovery rate to hold over the run, in (0, 1).
        expected: confirmations that the budget is planned for; more only get smaller levels.
    """
    return RunLevel({"rule": rule, "alpha": alpha, "expected": expected, "open": {}, "settled": []})


class RunLevel:
    """Hands out levels and remembers how confirmations ended.

    A level is reserved before the experiment starts and never changes. An experiment that ends before any confirm
    pair was measured gives its place back, because its e-value never existed; the choice to do so rests on screen
    data alone, which confirmation doesn't reuse.

    Args:
        state: what :func:`run_level` or :meth:`state` made.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._name, self._alpha, self._expected = state["rule"], float(state["alpha"]), int(state["expected"])
        self._rule = _rule(self._name, self._alpha, self._expected)
        self._open: dict[str, tuple[int, float, int]] = {
            k: (int(v[0]), float(v[1]), int(v[2])) for k, v in state["open"].items()
        }
        self._settled = [Settled(int(s[0]), float(s[1]), int(s[2]), bool(s[3]), float(s[4])) for s in state["settled"]]

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> RunLevel:
        """The inverse of :meth:`state`."""
        return cls(state)

    def state(self) -> dict[str, Any]:
        """Plain data: everything that later levels depend on."""
        return {
            "rule": self._name,
            "alpha": self._alpha,
            "expected": self._expected,
            "open": {k: list(v) for k, v in self._open.items()},
            "settled": [[s.index, s.level, s.keeps_before, s.keep, s.log_e] for s in self._settled],
        }

    @property
    def keeps(self) -> int:
        """Keeps so far."""
        return sum(s.keep for s in self._settled)

    @property
    def tests(self) -> int:
        """Confirmations decided so far."""
        return len(self._settled)

    def reserve(self, test_id: str) -> float:
        """The level of this experiment; asking again for the same open one gives the same number.

        Raises:
            ValueError: nothing; an id may be used again once it was settled or released.
        """
        if test_id not in self._open:
            index = self._first_free()
            levels = {i: OpenLevel(level, keeps) for i, level, keeps in self._open.values()}
            level = self._rule.next_level(index, tuple(self._settled), levels)
            self._open[test_id] = (index, level, self.keeps)
        return self._open[test_id][1]

    def release(self, test_id: str) -> None:
        """The experiment ended before any confirm pair was measured: its place is free again.

        Raises:
            ValueError: no level is reserved under this id.
        """
        self._take(test_id)

    def settle(self, test_id: str, keep: bool, log_e: float) -> None:
        """The experiment was decided after confirm data were seen.

        Args:
            test_id: what :meth:`reserve` was called with.
            keep: the final verdict; a candidate that evidence favoured but a guardrail refused is no keep.
            log_e: log of its e-process when it stopped.

        Raises:
            ValueError: no level is reserved under this id.
        """
        index, level, keeps = self._take(test_id)
        self._settled.append(Settled(index, level, keeps, bool(keep), float(log_e)))

    def _take(self, test_id: str) -> tuple[int, float, int]:
        if test_id not in self._open:
            raise ValueError(f"no level is reserved for {test_id!r}")
        return self._open.pop(test_id)

    def _first_free(self) -> int:
        used = {s.index for s in self._settled} | {i for i, _, _ in self._open.values()}
        return next(i for i in range(1, len(used) + 2) if i not in used)
