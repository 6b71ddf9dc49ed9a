"""``evalkit plan`` and ``evalkit simulate``: from a ledger, by hand, and where there is nothing to plan with."""

import json
import math
import re

import pytest
from click.testing import CliRunner

from evalkit.cli.main import _evalkit
from evalkit.cli.plan import command as plan
from evalkit.cli.simulate import command as simulate
from evalkit.contract.load import load_contract
from evalkit.errors import LedgerError, UsageError
from evalkit.ledger import Ledger
from evalkit.report.planning import Subject, plan_html, plan_lines
from evalkit.stats.noise import calibrate
from evalkit.stats.plan import plan_run
from evalkit.stats.policies import STANDARD
from evalkit.verify.units import Units
from evalkit.verify.workbench import state_folder

CONTRACT = """
[evalkit]
name = "c"
editable = ["train.py"]

[metric.loss]
goal = "minimize"
run = ["python", "train.py"]
kind = "{kind}"
report = 'loss=(\\S+)'
min_effect = {min_effect}
"""


def project(folder, values=None, kind="scalar", min_effect=0.0, units=None):
    """A contract, and a ledger with one calibration where values are given."""
    file = folder / "evalkit.toml"
    (folder / "train.py").write_text("print('loss=1')\n")
    file.write_text(CONTRACT.format(kind=kind, min_effect=min_effect))
    state = state_folder(load_contract(file)) / "ledger"
    state.parent.mkdir(parents=True, exist_ok=True)
    with Ledger.open(state) as ledger:
        if values:
            body = {"noise": {"loss": calibrate(*values).to_dict()}, "pairs": len(values[0]), "seconds": 30.0}
            ledger.append("calibrated", {**body, "evidence": (units or Units()).as_json()})
    return str(file)


def noisy(pairs=8, step=0.02):
    return [[step * math.sin(7.0 * i + arm) for i in range(pairs)] for arm in (0, 2)]


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def document(command, *arguments):
    return json.loads(run(command, *arguments, "--json").output)


def test_a_plan_by_hand_needs_no_contract(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = document(plan, "--sd", 0.5, "--trials", 50)
    assert found["schema"] == "evalkit/plan/1"
    assert [policy["policy"] for policy in found["policies"]] == ["standard", "thorough", "frugal"]
    chances = [chance["keep"] for chance in found["policies"][0]["curve"]]
    assert chances[0] < 0.3
    assert chances[-1] > 0.9
    assert found["policies"][0]["sd"] == 0.5


def test_a_plan_reads_the_last_calibration(tmp_path):
    file = project(tmp_path, noisy())
    found = document(plan, "--contract", file, "--trials", 50)
    assert found["metric"] == "loss"
    assert found["seconds"] == 30.0
    assert found["policies"][0]["sd"] == pytest.approx(calibrate(*noisy()).sd)
    assert found["policies"][0]["calibration"] == 16, "as many pairs as there really are"


def test_effects_are_factors_on_the_log_scale_and_count_from_min_effect(tmp_path):
    file = project(tmp_path, noisy(), kind="ratio", min_effect=0.1)
    text = run(plan, "--contract", file, "--trials", 50).output
    factors = [float(factor) for factor in re.findall(r"×([0-9.]+)", text)]
    assert min(factors) > 1.1
    assert "min" in text
    assert "seed 1" in text


def test_the_page_is_offline_and_names_are_escaped():
    noise = calibrate(*noisy())
    page = plan_html(Subject("<b>\u202e", "linear", None, 3, "a & b"), [plan_run(STANDARD, noise, trials=50)])
    assert "<b>" not in page
    assert "&lt;b&gt;⟦U+202E⟧" in page
    assert "a &amp; b" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<polyline") == 2


def test_the_page_is_written(tmp_path):
    target = tmp_path / "plan.html"
    run(plan, "--sd", 1, "--trials", 50, "--html", target)
    assert "<svg" in target.read_text()
    with pytest.raises(UsageError):
        run(plan, "--sd", 1, "--trials", 50, "--html", tmp_path / "no" / "plan.html")


def test_time_is_shown_where_it_is_known():
    one = plan_run(STANDARD, calibrate(*noisy()), trials=50)
    timed = "\n".join(plan_lines(Subject("m", "linear", 300.0, 1, "n"), [one]))
    assert " h)" in timed
    assert "(" not in next(plan_lines(Subject("m", "linear", None, 1, "n"), [one]))


@pytest.mark.parametrize("command", [plan, simulate])
def test_without_a_calibration_the_way_out_is_said(command, tmp_path):
    file = project(tmp_path)
    with pytest.raises(LedgerError, match="not calibrated"):
        run(command, "--contract", file)


@pytest.mark.parametrize(("units", "words"), [(Units(), "two pairs"), (Units("cases-once", "so"), "cases decide")])
def test_a_metric_without_noise_says_how_it_is_decided(units, words, tmp_path):
    file = project(tmp_path, [[1.0] * 8] * 2, units=units)
    with pytest.raises(UsageError, match=words):
        run(plan, "--contract", file)


@pytest.mark.parametrize("sd", ["0", "-1", "nan", "inf"])
def test_nonsense_is_refused(sd):
    with pytest.raises(UsageError):
        run(plan, "--sd", sd)


def test_a_simulation_compares_policies_with_keeping_what_is_better():
    arguments = ("--sd", 2.0, "--runs", 8, "--proposals", 80, "--median", 2.0, "--seed", 5)
    found = document(simulate, *arguments)
    rules = found["rules"]
    assert list(rules) == ["standard", "thorough", "frugal", "keep if better"]
    assert rules["keep if better"]["fdr"]["value"] > 30 > rules["standard"]["fdr"]["value"]
    assert found["seed"] == 5
    assert found == document(simulate, *arguments), "the seed is all that it depends on"


def test_none_seen_is_shown_with_its_bound():
    text = run(simulate, "--sd", 1, "--runs", 4, "--proposals", 20, "--improving", 0).output
    assert "0 (below 52.7)" in text
    assert "—" in text, "no gain is possible where nothing improves"
    assert "seed 1" in text


def test_shares_that_do_not_add_up_are_refused():
    with pytest.raises(UsageError):
        run(simulate, "--sd", 1, "--improving", 0.7, "--harmful", 0.7)


def test_the_main_command_lists_both():
    text = CliRunner().invoke(_evalkit, ["--help"]).output
    assert re.search(r"^\s+plan\s", text, flags=re.MULTILINE)
    assert re.search(r"^\s+simulate\s", text, flags=re.MULTILINE)
