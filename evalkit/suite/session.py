"""A pytest session with evals in it: from markers to trials, from trials to gates, from gates to reports.

Trials are ordinary test items. What they record travels in their reports' properties as plain data, through xdist too;
at the end of the session the controller alone decides every gate and sends a report for each, so that the terminal,
JUnit and the exit code show the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from evalkit.errors import EvalkitError, InfrastructureError, UsageError
from evalkit.suite.collecting import PLAN, ItemPlan, Marker, arrange, params_of, plan_of, scopes_of
from evalkit.suite.concluding import announce, conclude, emit, exit_status, merge
from evalkit.suite.plugin import BUFFER, PROPERTY, ReportBuffer, run_seed
from evalkit.suite.records import Scope
from evalkit.suite.result import SuiteResult
from evalkit.suite.settings import Settings

if TYPE_CHECKING:
    from evalkit.suite.subject import Arena, Subject
    from evalkit.suite.trial import Trial

__all__ = ["SuiteSession"]

_TRIAL = pytest.StashKey["Trial"]()
_QUICK_TRIALS = 2


class SuiteSession:
    """The working part of the plugin, one a session and process.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._worker = hasattr(config, "workerinput")
        parent = _parent(config)
        self.settings = _settings(config, parent)
        self._entropy = run_seed(config) if self.settings.seed is None else self.settings.seed
        self._channel = int(parent.get("channel", -1))
        self._full: dict[str, Path] = {arm: Path(path) for arm, path in parent.get("full", {}).items()}
        self._plans: dict[str, ItemPlan] = {}
        self._scopes: dict[str, Scope] = {}
        self._known: set[str] = set()
        self._left_out: dict[str, str] = {}
        self._specs: set[str] = set()
        self._base: str | None = None
        self._earlier = _earlier(self.settings)
        self._opened: Arena | None = None
        self._result: SuiteResult | None = None

    # Collecting

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Trials and arms of an eval; a guard is only noted."""
        definition = metafunc.definition
        self._known.add(definition.nodeid)
        mark = definition.get_closest_marker("eval")
        if mark is None:
            return
        try:
            marker = Marker.of(mark, definition.nodeid)
        except UsageError as error:
            raise pytest.Collector.CollectError(str(error)) from None
        trials = self.settings.trials or marker.trials
        if self.settings.profile == "quick" and self.settings.trials is None:
            trials = min(trials, _QUICK_TRIALS)
        done = [row["trial"] for row in self._earlier.get("rows", ()) if row["evaluation"] == definition.nodeid]
        params_of(metafunc, trials, max(done, default=-1) + 1)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Left out by ``-k``, ``-m``, ``--lf`` or another plugin: then there is no verdict."""
        for item in items:
            module = item.getparent(pytest.Module)
            owner = item.getparent(pytest.Class)
            for parent in (module, owner):
                if parent is not None and self._is_ours(item):
                    self._left_out.setdefault(parent.nodeid, "only a part of its tests was selected")

    @staticmethod
    def _is_ours(item: pytest.Item) -> bool:
        return item.get_closest_marker("eval") is not None or item.get_closest_marker("guard") is not None

    def arrange(self, items: list[pytest.Item]) -> None:
        """Everything is collected: find out what each item is, and put evals in order."""
        try:
            for item in items:
                plan = plan_of(item, self._entropy) if isinstance(item, pytest.Function) else None
                if plan is not None:
                    self._plans[item.nodeid] = plan
                    item.stash[PLAN] = plan
            for argument in self._config.args:
                if "[" in argument.partition("::")[2]:
                    self._partial_file(argument.partition("::")[0])
            self._specs = {_relative(item.path, self.settings.root) for item in items if item.nodeid in self._plans}
            self._scopes = scopes_of(items, self._plans, self._known, self._left_out)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        arrange(items, self._plans, self._entropy)
        self._tell({"manifest": [scope.as_json() for scope in self._scopes.values()]})

    def _partial_file(self, file: str) -> None:
        shown = _relative((self._config.invocation_params.dir / file).resolve(), self._config.rootpath)
        for nodeid, plan in self._plans.items():
            if nodeid.partition("::")[0] == shown:
                self._left_out.setdefault(plan.scope, "only some of its cases were named")

    def learn(self, told: str) -> None:
        """What a worker of xdist collected; all collect the same."""
        for plain in json.loads(told):
            scope = Scope.from_json(plain)
            self._scopes.setdefault(scope.name, scope)

    # Running

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:  # noqa: ARG002
        """``decide`` runs nothing."""
        return True if self.settings.mode == "decide" else None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Reports of evals and guards say what they are and what was recorded; quarantined failures don't count."""
        report: pytest.TestReport = yield  # type: ignore[assignment]
        plan = item.stash.get(PLAN, None)
        if plan is None:
            return report  # type: ignore[return-value]
        ending: str = report.outcome
        if hasattr(report, "wasxfail"):
            ending = "xfailed" if report.outcome == "skipped" else "passed though it was marked xfail"
        elif call.excinfo is not None and isinstance(call.excinfo.value, InfrastructureError | UsageError):
            ending = "error"  # ours or the spec's, never the candidate's
        told: dict[str, Any] = {**plan.told(), "phase": report.when, "ending": ending}
        if ending != "passed":
            told["problem"] = _first_line(report)
        if report.when == "call" and _TRIAL in item.stash:
            told["recorded"] = item.stash[_TRIAL].told()
        report.user_properties.append((PROPERTY, json.dumps(told, sort_keys=True)))
        scope = self._scopes.get(plan.scope)
        reason = scope.items[item.nodeid].quarantined if scope and item.nodeid in scope.items else ""
        if reason and report.outcome == "failed":
            report.outcome, report.wasxfail = "skipped", f"quarantined: {reason}"
        return report  # type: ignore[return-value]

    def trial(self, item: pytest.Item) -> Trial:
        """The trial that an item is.

        Raises:
            UsageError: it is not an eval.
        """
        from evalkit.suite.trial import Trial  # noqa: PLC0415 - loads the sandbox's interface

        plan = self._plan(item, "trial")
        name = f"{plan.arm}-t{plan.trial}"
        item.stash[_TRIAL] = made = Trial(
            plan.arm, plan.trial, plan.seed, lambda file, data: self._keep(f"{plan.unit}-{name}-{file}", data)
        )
        return made

    def _keep(self, name: str, data: bytes) -> None:
        if self.settings.json is not None:
            folder = self._config.invocation_params.dir / self.settings.json.parent / "artifacts"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "".join(c if c.isalnum() or c in "-._" else "_" for c in name)).write_bytes(data)

    def subject(self, item: pytest.Item, arm: str = "") -> Subject:
        """Candidate code of an item's trial."""
        from evalkit.suite.subject import Subject  # noqa: PLC0415

        plan = self._plan(item, "subject")
        marker, settings = plan.marker, self.settings
        timeout = marker.timeout or settings.timeout
        module = marker.module or settings.module
        return Subject(self._arena(), arm or plan.arm, plan.evaluation, seed=plan.seed, module=module, timeout=timeout)

    def _plan(self, item: pytest.Item, fixture: str) -> ItemPlan:
        plan = item.stash.get(PLAN, None)
        if plan is None:
            raise UsageError(
                f"the fixture {fixture!r} is for evals and guards, and {item.nodeid} is neither",
                "mark it with @pytest.mark.eval or @pytest.mark.guard",
            )
        return plan

    def vault(self) -> Path:
        """The vault's folder.

        Raises:
            UsageError: the profile does not open it, or there is none.
        """
        if self.settings.profile != "vault":
            raise UsageError("only the vault profile opens the vault", "pytest --evalkit-profile vault")
        if self.settings.vault is None:
            raise UsageError("no vault is configured", 'set vault = "vault" in [suite]')
        return self.settings.root / self.settings.vault

    def _arena(self) -> Arena:
        if self._opened is None:
            from evalkit.sandbox.interface import Limits  # noqa: PLC0415
            from evalkit.suite.subject import Arena  # noqa: PLC0415
            from evalkit.suite.trees import Trees  # noqa: PLC0415

            settings = self.settings
            hidden = [*settings.hidden, *sorted(self._specs), *_inside(settings.vault)]
            ready = dict(settings.ready or {})
            trees = Trees(settings.root, hidden, "" if ready else self.baseline, ready)
            limits = Limits(wall=max(60.0, settings.timeout), memory=settings.memory)
            self._opened = Arena(trees, settings.sandbox, limits, settings.env or {})
        return self._opened

    @property
    def baseline(self) -> str:
        """The revision to compare with; empty where there is none."""
        if self._base is None:
            self._base = self.settings.baseline or _found_base(self.settings.root)
        return self._base

    # Concluding

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decide every gate and say so to everyone who listens to reports."""
        try:
            if self._worker:
                told = json.dumps([scope.as_json() for scope in self._scopes.values()])
                self._config.workeroutput["evalkit"] = told  # type: ignore[attr-defined]
            elif not self._config.getoption("collectonly"):
                self._conclude(session, exitstatus)
        finally:
            unsafe, self._opened = self._opened, None
            if unsafe is not None:
                unsafe.close()

    def _conclude(self, session: pytest.Session, exitstatus: int) -> None:
        buffer: Any = self._config.pluginmanager.get_plugin(BUFFER)
        reports = buffer.reports if isinstance(buffer, ReportBuffer) else []
        earlier = self._earlier.get("rows", ())
        if self.settings.mode == "decide":
            self._scopes = {plain["name"]: Scope.from_json(plain) for plain in self._earlier.get("scopes", ())}
        merge(self._scopes, reports, earlier, decided_from_record=self.settings.mode == "decide")
        look = int(self._earlier.get("look", 0)) + (self.settings.mode != "decide")
        result = conclude(
            self._scopes,
            look=max(1, look),
            find=self._find(),
            profile=self.settings.profile,
            seed=self._entropy,
            unsafe=self._opened is not None and self._opened.unsafe,
            decide=self.settings.mode != "record",
            endings=self._earlier.get("endings", {}) if self.settings.mode == "decide" else None,
        )
        self._result = result
        emit(self._config, result)
        session.exitstatus = exit_status(exitstatus, result)
        self._write(result)
        self._tell({"result": result.as_json()})
        self._config.hook.pytest_evalkit_finished(config=self._config, result=result)

    def _find(self) -> Any:
        from evalkit.suite.findings import findings_of  # noqa: PLC0415

        if self._full:
            return findings_of(self.settings.root, "", self._full)
        return partial(_find_lazily, self)

    def _write(self, result: SuiteResult) -> None:
        target = self.settings.json
        if self.settings.mode == "record":
            target = self.settings.record or self.settings.root / ".evalkit" / "suite.json"
        if target is None:
            return
        file = self._config.invocation_params.dir / target
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result.as_json(), indent=1) + "\n", encoding="utf-8")

    def _tell(self, message: Mapping[str, Any]) -> None:
        """To the parent of a trusted run."""
        if self._channel >= 0 and not self._worker:
            import os  # noqa: PLC0415

            data = memoryview(json.dumps(message).encode() + b"\n")
            while data:
                data = data[os.write(self._channel, data) :]

    @staticmethod
    def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
        """A hook for writers of other formats."""
        from evalkit.suite import hooks  # noqa: PLC0415

        pluginmanager.add_hookspecs(hooks)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Every gate with its numbers, at the end of the terminal's output."""
        if self._result is not None:
            announce(terminalreporter, self._result)


def _find_lazily(session: SuiteSession, gate: Any) -> Any:
    """The baseline is looked for only where a gate needs it."""
    from evalkit.suite.findings import findings_of  # noqa: PLC0415

    return findings_of(session.settings.root, session.baseline, {})(gate)


def _parent(config: pytest.Config) -> dict[str, Any]:
    """What the parent of a trusted run says; empty in anyone else's."""
    file = config.getoption("evalkit_parent")
    if not file:
        return {}
    told: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    return told


def _settings(config: pytest.Config, parent: Mapping[str, Any]) -> Settings:
    names = ("baseline", "trials", "profile", "mode", "record", "extend", "json", "sandbox")
    given = {name: config.getoption(f"evalkit_{name}") for name in names}
    if parent:
        given |= {"ready": {arm: Path(path) for arm, path in parent["ready"].items()}, **parent.get("settings", {})}
    try:
        return Settings.of(Path(parent["root"]) if parent else config.rootpath, given)
    except EvalkitError as error:
        raise pytest.UsageError(str(error)) from None


def _earlier(settings: Settings) -> dict[str, Any]:
    """The record that this run continues or decides."""
    file = settings.extend
    if settings.mode == "decide":
        file = settings.record or settings.root / ".evalkit" / "suite.json"
    if file is None:
        return {}
    try:
        plain: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"the record {file} can't be read: {error}") from None
    if plain.get("schema") != "evalkit/suite/1":
        raise pytest.UsageError(f"{file} is no record of a suite")
    return plain


def _found_base(root: Path) -> str:
    from evalkit.suite.revisions import default_base  # noqa: PLC0415

    try:
        return default_base(root, alone="{head}")
    except EvalkitError:
        return ""


def _inside(vault: Path | None) -> tuple[str, ...]:
    return () if vault is None or vault.is_absolute() else (vault.as_posix(),)


def _relative(path: Path, root: Path) -> str:
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.name


def _first_line(report: pytest.TestReport) -> str:
    """Where and why a phase failed, one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return str(crash.message).splitlines()[0][:300] if crash.message else ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])[:300]
    return str(report.longrepr).strip().splitlines()[-1][:300] if report.longrepr else ""
