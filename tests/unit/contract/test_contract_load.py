import re
import subprocess
import sys

import pytest

from evalkit.contract import Budget, Contract, Margin, Trust

FULL = r"""
[evalkit]
name = "charlm"
editable = ["train.py", "src/**"]
[evalkit.env]
OMP_NUM_THREADS = "1"

[metric.val_bpb]
goal = "minimize"
run = ["python", "train.py", "{seed}"]
artifacts = ["model.npz", "out/log.json"]
serve = ["python", "predict.py"]
score = ["python", "score.py"]
kind = "scalar"
min_effect = 0.001

[metric.calibration]
goal = "minimize"
with = "val_bpb"
margin = 0.01

[metric.latency]
goal = "minimize"
with = "val_bpb"
measure = "latency"
phase = "serve"
margin = "10%"

[metric.steps]
goal = "maximize"
with = "val_bpb"
report = '^num_steps:\s+(\S+)$'
margin = 100

[budget]
wall = "60s"
cpu = "2m"
memory = "512MB"
pids = 64
disk = "1GiB"
output = "1MiB"
artifact = "64MiB"

[splits]
vault = "vault"

[policy]
name = "thorough"
alpha = 0.1
max_pairs = 12

[guards]
disabled = ["degradation"]
severity = { EK101 = "note" }
options.scope = { max_files = 20, deep = [{ a = 1.5 }] }
[[guards.suppress]]
rule = "EK102"
reason = "generated"
until = 2001-01-01

[proposer]
command = ["agent", "{instructions}"]
network = true
hosts = ["api.example.com"]
secrets = ["API_KEY"]
wall = "20m"

[sandbox]
backend = "bubblewrap"
masks = ["{stdlib}/pydoc_data", "/opt/answers"]
devices = ["nvidia0"]

[profile.demo]
env = { STEPS = "10" }
budget.wall = "5s"
policy = { calibration_pairs = 8 }
"""


def test_everything_at_once(folder):
    contract = folder.load(FULL)
    assert contract.root == folder.root.resolve()
    assert (contract.name, contract.editable) == ("charlm", ("train.py", "src/**"))
    assert contract.hidden == ("score.py", "vault/**")
    assert list(contract.programs) == ["val_bpb"]
    assert contract.programs["val_bpb"].run == ("python", "train.py", "{seed}")
    assert contract.objective.name == "val_bpb"
    assert [m.name for m in contract.guarded] == ["calibration", "latency", "steps"]
    assert [m.trust for m in contract.metrics] == [Trust.SCORED, Trust.SCORED, Trust.MEASURED, Trust.REPORTED]
    assert {m.program for m in contract.metrics} == {"val_bpb"}
    assert contract.guarded[1].margin == Margin(0.1, relative=True)
    assert contract.budget == Budget(60.0, 120.0, 512_000_000, 64, 1 << 30, 1 << 20, 64 << 20)
    assert (contract.policy.name, contract.policy.alpha, contract.policy.calibration_pairs) == ("thorough", 0.1, 20)
    assert contract.guards.severity == {"EK101": "note"}
    assert contract.guards.options["scope"]["max_files"] == 20
    assert contract.proposer.kind == "command"
    assert contract.environment == {"OMP_NUM_THREADS": "1"}
    assert len(contract.digest) == 64


def test_an_expired_suppression_is_kept_for_the_guards_to_judge(folder):
    assert folder.load(FULL).guards.suppressed[0].until == "2001-01-01"


def test_a_profile_overrides_key_by_key(folder):
    contract = folder.load(FULL, profile="demo")
    assert contract.profile == "demo"
    assert contract.environment == {"OMP_NUM_THREADS": "1", "STEPS": "10"}
    assert (contract.budget.wall, contract.budget.cpu) == (5.0, 120.0)
    assert (contract.policy.name, contract.policy.calibration_pairs) == ("thorough", 8)
    assert contract.digest != folder.load(FULL).digest


def test_the_smallest_contract_has_the_models_defaults(folder, smallest):
    contract = folder.load(smallest)
    assert contract.name == "task"
    assert contract.budget == Budget()
    assert contract.hidden == ("score.py",)
    assert contract.proposer.kind == "tuner"


def test_a_project_file_says_the_same(folder):
    table = re.sub(r"^(\[+)(?!evalkit)", r"\1tool.evalkit.", FULL, flags=re.MULTILINE)
    table = re.sub(r"^\[evalkit", "[tool.evalkit", table, flags=re.MULTILINE)
    project = folder.load('[project]\nname = "x"\n' + table, name="pyproject.toml")
    assert project.digest == folder.load(FULL).digest


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(folder, smallest):
    raw = b"\xef\xbb\xbf" + smallest.replace("\n", "\r\n").encode()
    assert folder.load(raw).digest == folder.load(smallest).digest


def test_a_folder_stands_for_its_contract(folder, smallest):
    folder.file("evalkit.toml", smallest)
    assert Contract.load(folder.root).name == "task"


def test_the_digest_does_not_depend_on_where_the_folder_lies(folder, changed, tmp_path):
    contract = folder.load(changed("editable", 'name = "task"\neditable'))
    moved = folder.root.rename(tmp_path / "elsewhere")
    assert Contract.load(moved).digest == contract.digest


def test_a_reported_metric_has_an_expression_that_finds_its_line(folder, changed):
    text = changed('score = ["python", "score.py"]\n').replace("[metric.loss]", '[metric."loss.a"]')
    metric = folder.load(text).objective
    assert metric.trust is Trust.REPORTED
    found = re.findall(metric.report, "x\nMETRIC loss.a=0.5 \nMETRIC lossXa=1\n METRIC loss.a=2\nMETRIC loss.a=3\r\n")
    assert found == ["0.5", "3"]


def test_an_expression_matches_line_by_line(folder, changed):
    text = changed('score = ["python", "score.py"]', "report = '(?i)^LOSS: (\\S+)$'")
    assert re.findall(folder.load(text).objective.report, "a\nloss: 3\nb") == ["3"]


def test_speed_may_be_the_objective_and_the_score_a_guard(folder, smallest):
    text = smallest + 'measure = "wall"\n[metric.right]\ngoal = "maximize"\nwith = "loss"\nmargin = 0\n'
    assert [m.trust for m in folder.load(text).metrics] == [Trust.MEASURED, Trust.SCORED]


def test_serving_alone_is_a_program(folder, changed):
    text = changed('run = ["python", "train.py"]\nartifacts = ["model.npz"]', 'serve = ["python", "predict.py"]')
    assert folder.load(text).programs["loss"].run is None


@pytest.mark.parametrize(
    ("command", "hidden"),
    [
        (["python", "score.py", "--cases=tools/cases.json"], ("score.py", "tools/cases.json")),
        (["env", "A=1", "python", "-X", "dev", "-m", "tools.score"], ("tools/score.py",)),
        (["python", "-m", "grader"], ("grader/**",)),
        (["python", "grader"], ("grader/**",)),
        (["sh", "-c", "cd . && python tools/score.py"], ("tools/score.py",)),
        (["./score[1].sh"], ("score[[]1].sh",)),
        (["python", "score.py", "train.py", "model.npz"], ("score.py",)),
        (["true"], ()),
    ],
)
def test_what_score_commands_name_is_hidden(folder, changed, command, hidden):
    for name in ("tools/cases.json", "tools/score.py", "grader/__main__.py", "score[1].sh", "model.npz"):
        folder.file(name)
    text = changed('["python", "score.py"]', str(command).replace("'", '"'))
    assert folder.load(text).hidden == hidden


def test_a_hidden_list_replaces_the_default_but_never_the_vault(folder, changed):
    text = changed("editable", "hidden = []\neditable", '[splits]\nvault = "vault"\n')
    assert folder.load(text).hidden == ("vault/**",)


def test_a_vault_may_lie_elsewhere(folder, changed, tmp_path):
    (tmp_path / "cases").mkdir()
    contract = folder.load(changed(more=f'[splits]\nvault = "{tmp_path / "cases"}"\n'))
    assert contract.hidden == ("score.py",)


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ("", "tuner"),
        ('command = ["x"]', "command"),
        ('function = "a.b:c"', "python"),
        ('source = "patches"', "patches"),
        ('source = ["a", "b"]\nkind = "patches"', "patches"),
    ],
)
def test_the_kind_of_proposer_follows_from_what_is_given(folder, changed, keys, kind):
    assert folder.load(changed(more=f"[proposer]\n{keys}\n")).proposer.kind == kind


def test_importing_the_package_does_not_load_pydantic():
    code = "import sys, evalkit.contract; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
