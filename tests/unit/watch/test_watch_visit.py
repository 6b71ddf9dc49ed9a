"""Visits of a run: sixty keeps with a planted loss, caught and named; what is not the code is called so."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from evalkit.cli import watch as watch_command
from evalkit.contract import Margin, Metric, Trust
from evalkit.errors import TrialError, UsageError
from evalkit.ledger import canonical
from evalkit.measure import Fault, Observation, Pair, Reading
from evalkit.sandbox.interface import Outcome
from evalkit.stats.noise import Noise
from evalkit.verify.runbook import Runbook
from evalkit.watch.bisect import Outcome as Ending
from evalkit.watch.visit import find_keep, suspects, visit

SCORE = Metric("score", "maximize", "p", Trust.SCORED)
ERROR = Metric("error", "minimize", "p", Trust.SCORED, kind="scalar", margin=Margin(0.5))


def noise(sd):
    return Noise(sd, 20, sd, 20, 0.5, 0.0, 19, 0.0, 1.0, 40, 40, 1e-6, 0.0, "noisy" if sd else "exact")


class Ledger:
    def __init__(self):
        self.items = []

    def records(self, kind=None, start=0):
        return iter([item for item in self.items if kind in {None, item.kind} and item.seq >= start])

    def latest(self, kind):
        return next((item for item in reversed(self.items) if item.kind == kind), None)


class Bench:
    """A run whose trees' true levels are known."""

    def __init__(self, levels, *, sd=1.0, seed=0, metrics=(SCORE, ERROR), shift=0.0):
        self.levels, self.sd, self.shift = levels, sd, shift
        self.rng = np.random.default_rng(seed)
        self.contract = SimpleNamespace(
            metrics=metrics, guarded=metrics[1:], objective=metrics[0], splits=SimpleNamespace(screen="dev")
        )
        self.ledger = Ledger()
        self.pairing = SimpleNamespace(pair=self.pair)
        self.invalid = {}
        self.pairs = 0
        names = [metric.name for metric in metrics]
        self.book = Runbook(
            anchor="tree-0",
            incumbent="tree-0",
            noise={name: noise(sd) for name in names},
            anchor_values=dict.fromkeys(names, 10.0),
        )

    def keep(self, number):
        body = {"experiment": 100 + number, "commit": f"{number:040x}", "tree": f"tree-{number}"}
        self.record("kept", body)
        fields = {name: getattr(self.book, name) for name in ("anchor", "noise", "anchor_values")}
        self.book = Runbook(incumbent=body["tree"], keeps=number, **fields)

    def record(self, kind, body):
        canonical(body)  # strict JSON or nothing
        seq = len(self.ledger.items)
        self.ledger.items.append(SimpleNamespace(kind=kind, seq=seq, body=json.loads(json.dumps(body))))

    def trial(self, tree, block):
        if tree in self.invalid:
            return Observation(tree, 0, 0, "dev", {}, (), Outcome.OK, self.invalid[tree], "it fell over")
        level = self.levels[int(tree.removeprefix("tree-"))]
        readings = {}
        for metric, own in zip(self.contract.metrics, level, strict=True):
            value = 10 + metric.sign * (own + block + self.shift + self.sd * self.rng.standard_normal() / 2**0.5)
            readings[metric.name] = Reading(value, Trust.SCORED)
        return Observation(tree, 0, 0, "dev", readings, (), Outcome.OK)

    def pair(self, incumbent, candidate, *, split):
        assert split == "dev"
        self.pairs += 1
        block = 3 * self.rng.standard_normal()
        return Pair(self.trial(incumbent, block), self.trial(candidate, block), "incumbent")


def drive(bench, keeps, every=5):
    """Keep by keep, with a visit every five, until an alarm."""
    for number in range(1, keeps + 1):
        bench.keep(number)
        if number % every == 0:
            done = visit(bench)
            if done.alarms or done.broken:
                return done
    return done


def test_a_planted_loss_is_caught_and_named():
    for seed in range(5):
        levels = [(0.1 * keep, -2.0 * (keep >= 23)) for keep in range(61)]
        bench = Bench(levels, seed=seed)
        done = drive(bench, 60)
        assert [metric.name for metric in done.alarms] == ["error"]
        assert 25 <= done.keeps <= 40
        among = suspects(bench, done.alarms[0])
        before = bench.pairs
        finding, kept = find_keep(bench, among)
        assert finding.outcome is Ending.NAMED
        assert kept["experiment"] == 123
        assert bench.pairs - before <= among.cost.most
        assert bench.ledger.latest("bisected").body["kept"]["experiment"] == 123


def test_creep_is_caught_and_called_gradual():
    bench = Bench([(0.1 * keep, -0.1 * keep) for keep in range(61)], seed=2)
    done = drive(bench, 60)
    assert [metric.name for metric in done.alarms] == ["error"]
    finding, _ = find_keep(bench, suspects(bench, done.alarms[0]))
    assert finding.outcome is not Ending.NAMED or abs(finding.change) > 0.1


def test_a_good_run_raises_no_alarm_and_stays_cheap():
    bench = Bench([(0.1 * keep, 0.0) for keep in range(61)])
    assert not drive(bench, 60).alarms
    assert bench.pairs <= 8 * 12


def test_the_objective_may_lose_nothing():
    bench = Bench([(-1.0 * (keep >= 3), 0.0) for keep in range(61)])
    assert [metric.name for metric in drive(bench, 60).alarms] == ["score"]


def test_state_goes_on_in_another_process():
    levels = [(0.0, -1.0 * (keep >= 1)) for keep in range(61)]
    one = Bench(levels, seed=4)
    one.keep(1)
    reports = []
    for _ in range(12):
        done = visit(one)
        reports.append({metric.name: metric.report for metric in done.metrics}["error"])
        if reports[-1].alarm:
            break
    assert [report.visit for report in reports] == list(range(1, len(reports) + 1))
    assert reports[-1].alarm


def test_a_slower_machine_is_called_so():
    bench = Bench([(0.0, 0.0)] * 61, sd=0.1)
    bench.contract.splits.screen = "dev"
    bench.pair_block = 0.0
    for number in range(1, 6):
        bench.keep(number)
        visit(bench)
    bench.shift = -500.0
    bench.keep(6)
    done = visit(bench)
    assert not done.alarms
    assert all(metric.shift["z"] < -4 for metric in done.metrics)


def test_nothing_kept_and_nothing_calibrated():
    bench = Bench([(0.0, 0.0)])
    assert visit(bench).metrics == ()
    bench.book = Runbook(anchor="tree-0", incumbent="tree-0")
    with pytest.raises(UsageError, match="noise"):
        visit(bench)


def test_a_broken_head_is_an_alarm_and_a_broken_anchor_is_not():
    bench = Bench([(0.0, 0.0)] * 3)
    bench.keep(1)
    bench.invalid = {"tree-1": Fault.CANDIDATE}
    assert "fell over" in visit(bench).broken
    bench.invalid = {"tree-0": Fault.OURS}
    with pytest.raises(TrialError, match="anchor"):
        visit(bench)
    bench.invalid = {}
    assert not visit(bench).broken


def test_a_metric_without_noise_is_compared_as_it_is():
    size = Metric("bytes", "minimize", "p", Trust.SCORED, margin=Margin(1.0))
    bench = Bench([(0.0, 0.0), (0.0, -0.5), (0.0, -3.0)], sd=0.0, metrics=(SCORE, size))
    bench.keep(1)
    assert not visit(bench).alarms
    bench.keep(2)
    done = visit(bench)
    assert [metric.name for metric in done.alarms] == ["bytes"]
    finding, kept = find_keep(bench, suspects(bench, done.alarms[0]))
    assert (finding.outcome, kept["experiment"], finding.change) == (Ending.NAMED, 102, pytest.approx(-2.5))


@pytest.mark.parametrize("planted", [1, 7, 23, 60])
def test_a_search_without_noise_takes_one_pair_a_look(planted):
    size = Metric("bytes", "minimize", "p", Trust.SCORED, margin=Margin(1.0))
    levels = [(0.0, -0.01 * keep - 3.0 * (keep >= planted)) for keep in range(61)]
    bench = Bench(levels, sd=0.0, metrics=(SCORE, size))
    for number in range(1, 61):
        bench.keep(number)
    among = suspects(bench, visit(bench).alarms[0])
    before = bench.pairs
    finding, kept = find_keep(bench, among)
    assert (finding.outcome, kept["experiment"]) == (Ending.NAMED, 100 + planted)
    assert bench.pairs - before == finding.pairs <= among.cost.most == 8


def test_creep_without_noise_is_gradual():
    size = Metric("bytes", "minimize", "p", Trust.SCORED, margin=Margin(1.0))
    bench = Bench([(0.0, -0.1 * keep) for keep in range(41)], sd=0.0, metrics=(SCORE, size))
    for number in range(1, 41):
        bench.keep(number)
    finding, kept = find_keep(bench, suspects(bench, visit(bench).alarms[0]))
    assert (finding.outcome, kept["experiment"]) == (Ending.GRADUAL, 121)


@pytest.fixture
def opened(monkeypatch):
    bench = Bench([(0.0, -2.0 * (keep >= 3)) for keep in range(10)])
    context = SimpleNamespace(__enter__=lambda _: bench, __exit__=lambda *_: None)
    holder = type("Open", (), {"__enter__": lambda _: bench, "__exit__": lambda *_: None})()
    monkeypatch.setattr(watch_command, "load", lambda *_: context)
    monkeypatch.setattr("evalkit.verify.workbench.Workbench.open", lambda *_: holder)
    return bench


def call(*arguments):
    return CliRunner().invoke(watch_command.command, list(arguments), catch_exceptions=False)


def test_the_command(opened):
    assert "nothing was kept yet" in call().output
    for number in range(1, 3):
        opened.keep(number)
    assert call("--every", "5").output.startswith("fewer than 5 keeps")
    first = call()
    assert first.exit_code == 0
    assert first.output.count("ok:") == 2
    for number in range(3, 10):
        opened.keep(number)
    outputs = [call() for _ in range(6)]
    alarm = next(result for result in outputs if result.exit_code == 1)
    assert "ALARM: error" in alarm.output
    assert "searching" in alarm.output
    assert "experiment 103" in alarm.output
    document = json.loads(call("--json", "--no-find").output)
    assert document["schema"] == "evalkit/watch/1"
    assert document["alarm"]


def test_the_command_on_a_series(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "x.csv"
    values = [*rng.normal(10, 0.1, 30), *rng.normal(12, 0.1, 30)]
    path.write_text("commit,ms\n" + "".join(f"c{i},{value}\n" for i, value in enumerate(values)))
    result = call("--series", str(path))
    assert result.exit_code == 0
    assert "c30 (after c29)" in result.output
    document = json.loads(call("--series", str(path), "--json").output)
    assert document["series"][0]["changes"][0]["commit"] == "c30"


def test_the_pages(opened, tmp_path):
    opened.contract.name = "tiny <b>"
    page, text = tmp_path / "w.html", tmp_path / "w.md"
    call("--html", str(page))
    assert "nothing lost after 0 keeps" in page.read_text()
    for number in range(1, 10):
        opened.keep(number)
    outputs = [call("--html", str(page), "--markdown", str(text)) for _ in range(6)]
    assert max(result.exit_code for result in outputs) == 1
    assert text.read_text().startswith("# Watch: tiny &lt;b&gt;: ALARM after 9 keeps\n\n| metric |")
    assert "experiment 103" in text.read_text()
    assert page.read_text().count("<circle") >= 2 * 2
    assert "tiny &lt;b&gt;" in page.read_text()
    assert "<b>" not in page.read_text()
    printed = call("--markdown", "-", "--no-find")
    assert printed.output.startswith("# Watch")
    assert printed.exit_code == 1
    with pytest.raises(UsageError, match="can't be written"):
        call("--html", str(tmp_path / "nowhere" / "x.html"))
    with pytest.raises(UsageError, match="--no-find"):
        call("--rollback", "--no-find")


def test_a_keep_that_a_guard_wanted_probed_brings_the_visit_forward(opened):
    opened.keep(1)
    assert call("--every", "5").output.startswith("fewer than 5 keeps")
    body = {"experiment": 101, "decision": "KEEP", "findings": [{"severity": "probe"}]}
    opened.ledger.items.append(SimpleNamespace(kind="decided", seq=len(opened.ledger.items), body=body))
    assert "ok: score" in call("--every", "5").output
    assert call("--every", "5").output.startswith("fewer than 5 keeps")
