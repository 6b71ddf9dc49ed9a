import json
import webbrowser

import pytest
from click.testing import CliRunner

from evalkit.cli.report import command
from evalkit.contract.load import load_contract
from evalkit.errors import LedgerError
from evalkit.workspace import EMPTY_TREE, Store

_CONTRACT = """
[evalkit]
name = "task"
editable = ["train.py"]

[metric.bits]
goal = "minimize"
run = ["python", "train.py"]
report = "bits: (.+)"

[metric.cpu]
with = "bits"
goal = "minimize"
measure = "cpu"
margin = "20%"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, scripts_of, write):
    """A folder with a contract, a run of one keep, and a store with its trees."""
    monkeypatch.delenv("EVALKIT_STATE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evalkit.toml").write_text(_CONTRACT)
    (tmp_path / "train.py").write_text("speed = 1\n")
    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text("speed = 1\n")
    with Store.open(tmp_path / ".evalkit" / "store") as store:
        old = store.snapshot(work, like=EMPTY_TREE)
        (work / "train.py").write_text("speed = 2  # </pre><script>\n")
        new = store.snapshot(work, like=old)
    script = scripts_of(load_contract(tmp_path / "evalkit.toml")).begin(anchor=old)
    assert script.propose(script.level * 0.8, "faster", tree=new) == "KEEP"
    write(tmp_path / ".evalkit" / "ledger", script.records)
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_the_page_lands_beside_the_ledger_with_its_diffs(folder):
    result = run()
    page = (folder / ".evalkit" / "report.html").read_text(encoding="utf-8")
    assert "report.html (1 experiments, " in result.output
    assert "+speed = 2  # &lt;/pre&gt;&lt;script&gt;" in page
    assert "-speed = 1" in page
    assert "faster" in page


def test_json_says_where_it_is(folder):
    document = json.loads(run("--json", "--out", str(folder / "page.html")).output)
    size = (folder / "page.html").stat().st_size
    file = str(folder / "page.html")
    assert document == {"schema": "evalkit/report/1", "file": file, "bytes": size, "experiments": 1, "diffs": True}


def test_it_is_opened_when_asked_for(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(webbrowser, "open", seen.append)
    run("--open")
    assert seen == [(folder / ".evalkit" / "report.html").as_uri()]


def test_without_a_store_there_is_a_page_without_diffs(folder):
    (folder / ".evalkit" / "store").rename(folder / "elsewhere")
    result = run()
    assert "without diffs" in result.stderr
    assert "store of trees was not at hand" in (folder / ".evalkit" / "report.html").read_text(encoding="utf-8")
    assert not (folder / ".evalkit" / "store").exists()


def test_without_a_run_there_is_an_error_and_no_page(folder):
    (folder / ".evalkit" / "ledger").rename(folder / "elsewhere")
    with pytest.raises(LedgerError):
        CliRunner().invoke(command, [], catch_exceptions=False)
    assert not (folder / ".evalkit" / "report.html").exists()
