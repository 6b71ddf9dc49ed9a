"""The pytest plugin's thin part: names and hooks. Whatever does the work is loaded once a suite uses it.

A suite without a marker or fixture of evalkit's pays for importing this file and for a few dictionary look-ups.

PYTEST_DONT_REWRITE: there is nothing to rewrite here, and looking for it costs more than the rest.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from evalkit.suite.session import SuiteSession
    from evalkit.suite.settings import Settings
    from evalkit.suite.subject import Subject
    from evalkit.suite.trial import Trial

__all__ = ["BUFFER", "PROPERTY", "ReportBuffer", "run_seed", "session_settings"]

_EXTEND = "evalkit_extend"
_MARKERS = (
    "eval(metric, goal='maximize', trials=1, pair_by, split, module, timeout): every trial is a test, gates judge them",
    "guard: a test that has to pass before any gate does",
    "evalkit_quarantine(reason, until): failures are reported but don't count, up to and with the ISO date `until`",
)
_OPTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("baseline", "revision to compare with (default: where HEAD left the main branch)", {"metavar": "REV"}),
    ("trials", "trials of every eval, instead of the markers' numbers", {"type": int, "metavar": "N"}),
    (
        "profile",
        "quick: few trials on dev cases; ci: as written (default); vault: every split",
        {"choices": ("quick", "ci", "vault")},
    ),
    (
        "mode",
        "record: run without a verdict; decide: judge a record without running",
        {"choices": ("record", "decide")},
    ),
    ("record", "what `record` writes and `decide` reads (default: .evalkit/suite.json)", {"metavar": "FILE"}),
    ("continue", "add trials to the evidence of an earlier --evalkit-json", {"metavar": "FILE", "dest": _EXTEND}),
    ("json", "write what was recorded and decided as JSON", {"metavar": "FILE"}),
    ("seed", "seed of the whole run (default: a fresh one)", {"type": int, "metavar": "N"}),
    ("sandbox", "where candidate code runs (default: auto)", {"metavar": "NAME"}),
)
PROPERTY = "evalkit"
"""Name of the user property that reports of evals and guards carry."""
BUFFER = "evalkit-reports"
_CONFIGS: list[pytest.Config] = []
_SEED = "evalkit_seed"
_NAME = "evalkit-session"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, each ``--evalkit-NAME``."""
    group = parser.getgroup("evalkit", "evals as tests")
    group.addoption("--evalkit-parent", help=argparse.SUPPRESS, default=None)
    for name, text, more in _OPTIONS:
        group.addoption(f"--evalkit-{name}", help=text, **{"default": None, "dest": f"evalkit_{name}", **more})


def pytest_configure(config: pytest.Config) -> None:
    """The markers; and where xdist runs the tests, a place for what its workers report."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    config.pluginmanager.register(ReportBuffer(), BUFFER)
    _CONFIGS.append(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The session is over."""
    if config in _CONFIGS:
        _CONFIGS.remove(config)


def session_settings() -> Settings | None:
    """Those of the pytest session that runs in this process, innermost first; None outside of one."""
    return _session(_CONFIGS[-1]).settings if _CONFIGS else None


class ReportBuffer:
    """Keeps the reports of evals and guards, which carry a property of that name; other reports pass by."""

    def __init__(self) -> None:
        self.reports: list[pytest.TestReport] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of a test is over, here or in a worker of xdist."""
        if report.user_properties and any(name == PROPERTY for name, _ in report.user_properties):
            self.reports.append(report)


def _session(config: pytest.Config) -> SuiteSession:
    """The working part, made when it is first needed."""
    found: SuiteSession | None = config.pluginmanager.get_plugin(_NAME)
    if found is None:
        from evalkit.suite.session import SuiteSession  # noqa: PLC0415 - this is the whole point of this file

        found = SuiteSession(config)
        config.pluginmanager.register(found, _NAME)
    return found


def _used(item: pytest.Item) -> bool:
    return item.get_closest_marker("eval") is not None or item.get_closest_marker("guard") is not None


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Trials and arms of an eval become items."""
    if _used(metafunc.definition):
        _session(metafunc.config).parametrize(metafunc)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Cases are named by their id."""
    if type(val).__name__ != "Case":
        return None
    from evalkit.suite.casefiles import case_name  # noqa: PLC0415

    return case_name(val)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Evals are put in order, once everything that deselects has had its turn."""
    if config.pluginmanager.has_plugin(_NAME) or any(map(_used, items)):
        _session(config).arrange(items)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """All xdist workers use one seed, so that they collect the same items in the same order."""
    node.workerinput[_SEED] = run_seed(node.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ARG001
    """What an xdist worker collected; a worker that crashed tells nothing."""
    told = getattr(node, "workeroutput", {}).get("evalkit")
    if told:
        _session(node.config).learn(told)


def run_seed(config: pytest.Config) -> int:
    """The run's seed: given, told by the controller, or fresh."""
    told = getattr(config, "workerinput", {}).get(_SEED, config.getoption("evalkit_seed"))
    if told is None:
        import os  # noqa: PLC0415 - loaded anyway

        told = int.from_bytes(os.urandom(4), "big") >> 1
        config.option.evalkit_seed = told
    return int(told)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Evals may be coroutine functions; those that another plugin runs are left to it."""
    if not _used(pyfuncitem) or any(pyfuncitem.get_closest_marker(name) for name in ("asyncio", "anyio", "trio")):
        return None
    import inspect  # noqa: PLC0415

    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    import asyncio  # noqa: PLC0415

    names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - pytest's own runner reads it the same way
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> Trial:
    """The trial that this test is: ``record``, ``seed``, ``artifact``."""
    return _session(request.config).trial(request.node)


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """Candidate code of this trial's arm, called in the sandbox: data in, data out."""
    return _session(request.config).subject(request.node)


@pytest.fixture
def baseline(request: pytest.FixtureRequest) -> Subject:
    """The baseline's code with the same seed, for tests that look at both at once."""
    return _session(request.config).subject(request.node, "baseline")


@pytest.fixture(name="cases")
def _cases() -> Callable[..., Any]:
    """``cases(split)``: the cases of a split, as a list."""
    from evalkit.suite.casefiles import cases  # noqa: PLC0415

    return cases


@pytest.fixture
def vault(request: pytest.FixtureRequest) -> Any:
    """The vault's folder (``vault`` profile only): what no subject ever sees."""
    return _session(request.config).vault()
