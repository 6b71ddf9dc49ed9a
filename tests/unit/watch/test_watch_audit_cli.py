"""The command: exit codes, files, folders, mistakes."""

import json

import pytest
from click.testing import CliRunner

from evalkit.cli.audit import command
from evalkit.errors import DataError, UsageError

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def table(path, keeps, discards=40):
    rows = "".join(f"d{i}\t{1 + 0.001 * ((i * 37) % 11)}\t4\tdiscard\tx{i}\n" for i in range(discards))
    path.write_text(HEADER + "base\t1.005\t4\tkeep\tbaseline\n" + rows + "".join(keeps))
    return path


def call(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False, catch_exceptions=False)


def test_a_run_whose_keeps_are_real_ends_with_0(tmp_path):
    result = call(table(tmp_path / "results.tsv", ["k1\t0.5\t4\tkeep\tfaster\n"]))
    assert result.return_value == 0
    assert "1 of 1 keeps" in " ".join(result.output.split())


def test_a_lucky_keep_ends_with_1_unless_told_otherwise(tmp_path):
    path = table(tmp_path / "results.tsv", ["k1\t1.0005\t4\tkeep\tlucky\n", *["e\t1.005\t4\tdiscard\ty\n"] * 1])
    assert call(path).return_value == 1
    assert call(path, "--exit-zero").return_value == 0


def test_a_file_that_cannot_tell_ends_with_3(tmp_path):
    path = table(tmp_path / "results.tsv", ["k1\t0.9\t4\tkeep\tx\n"], discards=0)
    assert call(path).return_value == 3


def test_json_html_markdown(tmp_path):
    path = table(tmp_path / "results.tsv", ["k1\t0.5\t4\tkeep\tfaster\n"])
    result = call(path, "--json", "--html", tmp_path / "a.html", "--markdown", tmp_path / "a.md")
    assert json.loads(result.output)["schema"] == "evalkit/audit/1"
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "a.md").read_text().startswith("# Audit")
    assert call(path, "--markdown", "-").output.startswith("# Audit")


def test_a_folder(tmp_path):
    table(tmp_path / "results.tsv", ["k1\t0.5\t4\tkeep\tfaster\n"])
    (tmp_path / "b").mkdir()
    table(tmp_path / "b" / "results.tsv", ["k1\t0.5\t4\tkeep\tfaster\n"])
    (tmp_path / "people.csv").write_text("name,age\nx,1\n")
    result = call(tmp_path, "--json", "--html", tmp_path / "out.html")
    document = json.loads(result.output)
    assert document["schema"] == "evalkit/audits/1"
    assert len(document["audits"]) == 2
    assert [item["path"] for item in document["unread"]] == [str(tmp_path / "people.csv")]
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["out-b-results.html", "out-results.html"]


@pytest.mark.parametrize("options", [["--sd", "0"], ["--sd", "nan"], ["--fdr", "1"], ["--fdr", "0"]])
def test_mistakes(tmp_path, options):
    with pytest.raises(UsageError):
        call(table(tmp_path / "results.tsv", []), *options)


def test_a_folder_without_histories(tmp_path):
    with pytest.raises(DataError, match="no history"):
        call(tmp_path)
