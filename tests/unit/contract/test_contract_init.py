import json

import pytest
from click.testing import CliRunner

from evalkit.cli.init import command
from evalkit.contract import Contract, Trust
from evalkit.contract.layout import TEMPLATES, detect
from evalkit.errors import UsageError

TRAINING = 'print("---")\nprint(f"val_bpb:          {bpb:.6f}")\n'


def init(*arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_template_loads_where_its_files_are(tmp_path, template):
    for name in ("train.py", "predict.py", "score.py", "solution.py"):
        (tmp_path / name).touch()
    assert "it loads" in init(tmp_path, "--template", template)
    contract = Contract.load(tmp_path)
    assert contract.hidden == ("score.py",)
    assert contract.objective.trust is (Trust.MEASURED if template == "measured" else Trust.SCORED)
    assert all(metric.trust is not Trust.REPORTED for metric in contract.metrics)


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_commented_line_holds_when_it_is_uncommented(tmp_path, template):
    for name in ("train.py", "predict.py", "score.py", "solution.py"):
        (tmp_path / name).touch()
    (tmp_path / "vault").mkdir()
    init(tmp_path, "--template", template)
    file = tmp_path / "evalkit.toml"
    before = Contract.load(file)
    lines = [line[2:] if line.startswith("# ") and (" = " in line or "# [" in line) else line for line in text_of(file)]
    file.write_text("\n".join(line for line in lines if "[...]" not in line))
    after = Contract.load(file)
    assert (after.budget, after.policy, after.proposer, after.sandbox) == (
        before.budget, before.policy, before.proposer, before.sandbox
    )  # fmt: skip
    assert after.splits == before.splits


def text_of(file):
    return file.read_text().splitlines()


def test_an_empty_folder_is_told_what_is_left_to_do(tmp_path):
    output = init(tmp_path)
    assert "left to do" in output
    assert 'there is no file "score.py"' in output
    document = json.loads(init(tmp_path, "--force", "--json"))
    assert document["schema"] == "evalkit/init/1"
    assert len(document["todo"]) == 4
    assert document["todo"][0].startswith("evalkit.toml:")


def test_a_contract_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "evalkit.toml").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        init(tmp_path)
    assert (tmp_path / "evalkit.toml").read_text() == "mine"
    init(tmp_path, "--force")
    assert (tmp_path / "evalkit.toml").read_text() != "mine"


def test_a_project_file_with_a_contract_is_not_doubled(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.evalkit]\n")
    with pytest.raises(UsageError, match=r"\[tool.evalkit\]"):
        init(tmp_path)
    assert not (tmp_path / "evalkit.toml").exists()


def test_a_link_is_replaced_and_not_followed(tmp_path):
    other = tmp_path / "other"
    other.write_text("theirs")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/evalkit.toml").symlink_to(other)
    with pytest.raises(UsageError):
        init(tmp_path / "a")
    init(tmp_path / "a", "--force")
    assert other.read_text() == "theirs"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["evalkit.toml"]


def test_explain_prints_every_default_and_writes_nothing(tmp_path):
    assert "alpha = 0.05" in init(tmp_path, "--explain")
    keys = json.loads(init(tmp_path, "--explain", "--json"))["keys"]
    assert {"table", "key", "means", "default", "why", "example", "constant"} == set(keys[0])
    assert list(tmp_path.iterdir()) == []


def test_a_single_training_file(tmp_path):
    (tmp_path / "train.py").write_text(TRAINING)
    (tmp_path / "program.md").touch()
    output = init(tmp_path)
    assert "caution" in output
    contract = Contract.load(tmp_path)
    assert contract.objective.name == "val_bpb"
    assert contract.objective.trust is Trust.REPORTED
    assert contract.objective.report == r"(?m)^val_bpb:[ \t]+(\S+)"
    assert contract.proposer.instructions == "program.md"


def test_a_logged_loop(tmp_path):
    (tmp_path / "autoresearch.sh").write_text('echo "METRIC total_µs=12"\n')
    (tmp_path / "main.py").touch()
    config = {"type": "config", "metricName": "total_µs", "bestDirection": "higher"}
    (tmp_path / "autoresearch.jsonl").write_text(f'broken\n{json.dumps(config)}\n{{"run": 1}}\n[1]\n')
    init(tmp_path)
    contract = Contract.load(tmp_path)
    assert (contract.objective.name, contract.objective.goal) == ("total_µs", "maximize")
    assert contract.programs["total_µs"].run == ("bash", "autoresearch.sh")


def test_evolve_blocks_get_a_scorer_that_does_not_import_them(tmp_path):
    (tmp_path / "initial_program.py").write_text("# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\n")
    (tmp_path / "evaluator.py").touch()
    output = init(tmp_path)
    assert 'there is no file "score.py"' in output
    (tmp_path / "score.py").touch()
    contract = Contract.load(tmp_path)
    assert contract.editable == ("initial_program.py",)
    assert contract.hidden == ("evaluator.py", "score.py")


def test_a_plain_folder_is_not_mistaken(tmp_path):
    (tmp_path / "train.py").write_text(TRAINING)
    (tmp_path / "evolve.py").write_text("# EVOLVE-BLOCK-START")
    (tmp_path / "autoresearch.jsonl").touch()
    assert detect(tmp_path) is None
