import os

import pytest

from evalkit.contract.load import find_contract, load_contract
from evalkit.errors import ContractError

GUARDED = 'goal = "minimize"\nmargin = 0.1\n'

# (what is replaced, by what, what is added) → (line and key, part of what was found, part of what would be right)
CASES = {
    "misspelt table": (("", "", "[bugdet]\n"), ("9: bugdet", "no such key", "budget is meant")),
    "misspelt key": (("", "", '[budget]\nwal = "1s"\n'), ("10: budget.wal", "no such key", "wall is meant")),
    "key of another table": (
        ("", "", '[policy]\nwall = "1s"\n'),
        ("10: policy.wall", "here", "[budget] or [proposer]"),
    ),
    "table in the head": (("editable", "budget = {}\neditable", ""), ("2: evalkit.budget", "here", "[budget]")),
    "head key at the top": (("[evalkit]", "hidden = []\n[evalkit]", ""), ("1: hidden", "here", "[evalkit]")),
    "another file's form": (("", "", "[tool.evalkit]\n"), ("9: tool", "pyproject", "top of this file")),
    "goal misspelt": (('"minimize"', '"minimise"', ""), ("5: metric.loss.goal", '"minimise"', '"minimize" is meant')),
    "no goal": (('goal = "minimize"\n', "", ""), ("4: metric.loss", "no goal", 'goal = "minimize"')),
    "command as text": (
        ('["python", "train.py"]', "\"python train.py --x 'a b'\"", ""),
        ("6: metric.loss.run", "is a string", '["python", "train.py", "--x", "a b"]'),
    ),
    "empty command": (('["python", "train.py"]', "[]", ""), ("6: metric.loss.run", "[]", "a list")),
    "number in a command": (('"train.py"]\na', '"train.py", 3]\na', ""), ("6: metric.loss.run", "3", '"3"')),
    "nothing to run": (('run = ["python", "train.py"]\n', "", ""), ("4: metric.loss", "neither", "run")),
    "nothing for the scorer": (
        ('artifacts = ["model.npz"]\n', "", ""),
        ("7: metric.loss.score", "nothing", "artifacts"),
    ),
    "serve without score": (
        ('score = ["python", "score.py"]', 'serve = ["python", "predict.py"]', ""),
        ("8: metric.loss.serve", "nobody asks", "score"),
    ),
    "artifacts without run": (
        ('run = ["python", "train.py"]', 'serve = ["python", "predict.py"]', ""),
        ("7: metric.loss.artifacts", "nothing runs", "run"),
    ),
    "score that nobody reads": (("", "", 'measure = "cpu"\n'), ("8: metric.loss.score", "nothing else reads", "with")),
    "score and report": (("", "", "report = '(x)'\n"), ("9: metric.loss.report", "scored", "no report")),
    "phase without measure": (("", "", 'phase = "run"\n'), ("9: metric.loss.phase", "nothing is measured", "measure")),
    "unknown metric": (
        ("", "", f'[metric.b]\nwith = "lost"\n{GUARDED}'),
        ("10: metric.b.with", 'no metric "lost"', '"loss" is meant'),
    ),
    "itself": (("", "", f'[metric.b]\nwith = "b"\n{GUARDED}'), ("10: metric.b.with", "itself", "another")),
    "with and own program": (
        ("", "", f'[metric.b]\nwith = "loss"\nrun = ["python", "train.py"]\n{GUARDED}'),
        ("11: metric.b.run", "read from", "either"),
    ),
    "a chain": (
        ("", "", f'[metric.b]\nwith = "loss"\n{GUARDED}[metric.c]\nwith = "b"\n{GUARDED}'),
        ("14: metric.c.with", "no program", 'with = "loss"'),
    ),
    "latency of nothing": (
        ("", "", f'[metric.b]\nwith = "loss"\nmeasure = "latency"\n{GUARDED}'),
        ("11: metric.b.measure", "nothing is served", "serve"),
    ),
    "phase that is not there": (
        ("", "", f'[metric.b]\nwith = "loss"\nmeasure = "cpu"\nphase = "serve"\n{GUARDED}'),
        ("12: metric.b.phase", "no serve command", 'phase = "run"'),
    ),
    "measure and report": (
        ("", "", f'[metric.b]\nwith = "loss"\nmeasure = "cpu"\nreport = "(x)"\n{GUARDED}'),
        ("12: metric.b.report", "measured", "either"),
    ),
    "two objectives": (
        ("", "", '[metric.b]\ngoal = "minimize"\nwith = "loss"\n'),
        ("9: metric.b", "no margin", "exactly one"),
    ),
    "no objective": (("", "", "margin = 1\n"), ("4: metric", "every metric", "exactly one")),
    "min_effect of a guard": (
        ("", "", f'[metric.b]\nwith = "loss"\nmin_effect = 1\n{GUARDED}'),
        ("11: metric.b.min_effect", "guarded", "objective"),
    ),
    "negative margin": (("", "", "margin = -1\n"), ("9: metric.loss.margin", "less than 0", '"5%"')),
    "infinite margin": (("", "", "margin = inf\n"), ("9: metric.loss.margin", "inf", '"5%"')),
    "negative effect": (("", "", "min_effect = -1\n"), ("9: metric.loss.min_effect", "less than 0", "0 or more")),
    "effect as text": (("", "", 'min_effect = "1"\n'), ("9: metric.loss.min_effect", "no number", "without quotes")),
    "metric's name": (("[metric.loss]", '[metric."a b"]', ""), ('4: metric."a b"', "no name", "letters")),
    "metric that is no table": (
        ("[metric.loss]", "[metric]\nx = 1\n[metric.loss]", ""),
        ("5: metric.x", "1", "[metric.x]"),
    ),
    "artifact outside": (("model.npz", "../model.npz", ""), ("7: metric.loss.artifacts", "leaves", "path")),
    "absolute artifact": (("model.npz", "/tmp/x", ""), ("7: metric.loss.artifacts", "leaves", "path")),
    "artifact with NUL": (("model.npz", "a\\u0000b", ""), ("7: metric.loss.artifacts", "NUL", "without")),
    "artifact as a glob": (("model.npz", "*.npz", ""), ("7: metric.loss.artifacts", "glob", "name")),
    "artifact in no plain form": (("model.npz", "./a//b", ""), ("7: metric.loss.artifacts", "plain", '"a/b"')),
    "artifact as a folder": (("model.npz", "out/", ""), ("7: metric.loss.artifacts", "folder", "file")),
    "artifact below another": (('"model.npz"', '"a", "a/b"', ""), ("7: metric.loss.artifacts", "folder", "none below")),
    "artifact twice": (('"model.npz"', '"a", "a"', ""), ("7: metric.loss.artifacts", "twice", "once")),
    "artifact of git": (('"model.npz"', '".git/config"', ""), ("7: metric.loss.artifacts", "not a program's", "own")),
    "no expression": (
        ('score = ["python", "score.py"]', "report = '('", ""),
        ("8: metric.loss.report", "no regular", "("),
    ),
    "no group": (('score = ["python", "score.py"]', "report = 'x'", ""), ("8: metric.loss.report", "0 groups", "one")),
    "two groups": (('score = ["python", "score.py"]', "report = '(a)(b)'", ""), ("8: metric.loss.report", "2", "one")),
    "no editable": (('editable = ["train.py"]', "", ""), ("1: evalkit.editable", "missing", "editable")),
    "empty editable": (('["train.py"]', "[]", ""), ("2: evalkit.editable", "nothing could change", "editable =")),
    "editable as text": (('["train.py"]', '"train.py"', ""), ("2: evalkit.editable", "a string", '["train.py"]')),
    "editable that fits nothing": (("train.py", "trian.py", ""), ("2: evalkit.editable", "no file", '"train.py"')),
    "editable glob that fits nothing": (("train.py", "lib/*.py", ""), ("2: evalkit.editable", "no file", "glob")),
    "editable folder": (("train.py", "vault", ""), ("2: evalkit.editable", "folder", '"vault/**"')),
    "editable contract": (("train.py", "*.toml", ""), ("2: evalkit.editable", "contract", "leave")),
    "editable scorer": (("train.py", "*.py", ""), ("2: evalkit.editable", "score.py", "sets the score")),
    "editable vault": (
        ("train.py", "*/dev/*", '[splits]\nvault = "vault"\n'),
        ("2: evalkit.editable", "vault", "leave"),
    ),
    "hidden and editable": (
        ("editable = [", 'hidden = ["predict.py"]\neditable = ["predict.py", ', ""),
        ("2: evalkit.hidden", "predict.py is hidden and editable", "one"),
    ),
    "hidden program": (("editable", 'hidden = ["*.py"]\neditable', ""), ("2: evalkit.hidden", "train.py", "leave")),
    "no scorer": (("score.py", "scoer.py", ""), ("8: metric.loss.score", 'no file "scoer.py"', '"score.py"')),
    "scorer outside": (("score.py", "../score.py", ""), ("8: metric.loss.score", "outside", "below")),
    "scorer that is a folder": (("score.py", "vault", ""), ("8: metric.loss.score", "folder", "script")),
    "no program": (('train.py"]\na', 'tain.py"]\na', ""), ("6: metric.loss.run", 'no file "tain.py"', '"train.py"')),
    "time without unit": (("", "", "[budget]\nwall = 60\n"), ("10: budget.wall", "60 has no unit", '"60s"')),
    "no time at all": (("", "", '[budget]\nwall = "0s"\n'), ("10: budget.wall", "no time", '"60s"')),
    "size": (("", "", '[budget]\nmemory = "4G"\n'), ("10: budget.memory", '"4G"', '"4GiB"')),
    "processes": (("", "", "[budget]\npids = 0\n"), ("10: budget.pids", "0", "from 1")),
    "true is no number": (("", "", "[budget]\npids = true\n"), ("10: budget.pids", "true", "from 1")),
    "no vault": (("", "", '[splits]\nvault = "vualt"\n'), ("10: splits.vault", "no folder", "evalkit split")),
    "vault outside": (("", "", '[splits]\nvault = "../v"\n'), ("10: splits.vault", "leaves", "absolute")),
    "vault is everything": (("", "", '[splits]\nvault = "."\n'), ("10: splits.vault", "contract", "own")),
    "vault around it": (("", "", '[splits]\nvault = "/"\n'), ("10: splits.vault", "contract", "own")),
    "one split": (("", "", '[splits]\nconfirm = "dev"\n'), ("10: splits.confirm", '"dev"', "two splits")),
    "sealed": (("", "", '[splits]\nconfirm = "sealed"\n'), ("10: splits.confirm", "audits", "another")),
    "policy": (("", "", '[policy]\nname = "standart"\n'), ("10: policy.name", '"standart"', '"standard" is meant')),
    "alpha": (("", "", "[policy]\nalpha = 0.5\n"), ("10: policy.alpha", "0.5", "0.05")),
    "alpha nan": (("", "", "[policy]\nalpha = nan\n"), ("10: policy.alpha", "nan", "finite")),
    "pairs": (("", "", "[policy]\nmax_pairs = 1\n"), ("10: policy.max_pairs", "1", "from 2")),
    "severity": (("", "", '[guards]\nseverity.EK1 = "warn"\n'), ("10: guards.severity", '"warn"', '"note"')),
    "suppress as a table": (
        ("", "", '[guards.suppress]\nrule = "a"\n'),
        ("9: guards.suppress", "list", "[[guards.suppress]]"),
    ),
    "no reason": (
        ("", "", '[[guards.suppress]]\nrule = "a"\nuntil = 2027-01-01\n'),
        ("9: guards.suppress[1].reason", "missing", "reason ="),
    ),
    "no date": (
        ("", "", '[[guards.suppress]]\nrule = "a"\nreason = "b"\nuntil = "soon"\n'),
        ("12: guards.suppress[1].until", '"soon"', "2027-01-31"),
    ),
    "time instead of date": (
        ("", "", '[[guards.suppress]]\nrule = "a"\nreason = "b"\nuntil = 2027-01-31T00:00:00\n'),
        ("12: guards.suppress[1].until", "2027", "2027-01-31"),
    ),
    "date in options": (("", "", "[guards.options.x]\na = 2027-01-31\n"), ("9: guards.options", "date", "quotes")),
    "options of a guard": (
        ("", "", "[guards.options]\nx = 1\n"),
        ("9: guards.options", "x is 1", "[guards.options.x]"),
    ),
    "options in the wrong place": (
        ("", "", "[guards.scope]\nmax_files = 1\n"),
        ("9: guards.scope", "no such key", "[guards.options.scope]"),
    ),
    "variable": (("", "", '[evalkit.env]\n"a b" = "1"\n'), ("9: evalkit.env", '"a b"', "letters")),
    "variable's value": (("", "", "[evalkit.env]\nA = 1\n"), ("9: evalkit.env", "A is 1", 'A = "1"')),
    "own variable": (("", "", '[evalkit.env]\nEVALKIT_SEED = "1"\n'), ("9: evalkit.env", "own", "another")),
    "command missing": (("", "", '[proposer]\nkind = "command"\n'), ("10: proposer.kind", "no command", "beside")),
    "two proposers": (
        ("", "", '[proposer]\ncommand = ["a"]\nsource = "b"\n'),
        ("11: proposer.source", "kind is command", "patches"),
    ),
    "function": (("", "", '[proposer]\nfunction = "a.b"\n'), ("10: proposer.function", "no callable", "module:")),
    "instructions": (("", "", '[proposer]\ninstructions = "a"\n'), ("10: proposer.instructions", "no file", "file")),
    "hosts": (("", "", '[proposer]\nhosts = ["a"]\n'), ("10: proposer.hosts", "off", "network = true")),
    "network": (("", "", '[proposer]\nnetwork = "yes"\n'), ("10: proposer.network", '"yes"', "true or false")),
    "backend": (("", "", '[sandbox]\nbackend = "bwrap"\n'), ("10: sandbox.backend", '"bwrap"', "bubblewrap")),
    "device": (("", "", '[sandbox]\ndevices = ["/dev/kvm"]\n'), ("10: sandbox.devices", "/dev/kvm", "nvidia0")),
    "mask": (("", "", '[sandbox]\nmasks = ["x"]\n'), ("10: sandbox.masks", '"x"', "absolute")),
    "profile's key": (("", "", "[profile.a]\nmetric = {}\n"), ("10: profile.a.metric", "here", "[metric]")),
    "profile's value": (("", "", "[profile.a]\nbudget.wall = 1\n"), ("10: profile.a.budget.wall", "no unit", '"60s"')),
    "long name": (("", "", f'[budget]\nwall = "{"x" * 300}"\n'), ("10: budget.wall", "…", '"60s"')),
    "name no file system takes": (("score.py", f"{'x' * 300}.py", ""), ("8: metric.loss.score", "no file", "file")),
}


@pytest.mark.parametrize("case", CASES, ids=CASES)
def test_one_mistake_is_one_line(folder, changed, case):
    change, (where, found, expected) = CASES[case]
    mistakes = folder.mistakes(changed(*change))
    assert len(mistakes) == 1, mistakes
    assert mistakes[0].where == where
    assert found in mistakes[0].found
    assert expected in mistakes[0].expected


def test_all_mistakes_are_reported_at_once_in_the_files_order(folder):
    text = """\
[evalkit]
editable = ["trian.py"]
[metric.loss]
goal = "minimise"
run = "python train.py"
score = ["python", "scores.py"]
[metric.other]
with = "lost"
goal = "maximize"
margin = "5"
[budget]
wall = 60
memroy = "4GiB"
[splits]
vault = "vualt"
"""
    assert [mistake.where for mistake in folder.mistakes(text)] == [
        "2: evalkit.editable",
        "4: metric.loss.goal",
        "5: metric.loss.run",
        "6: metric.loss.score",
        "8: metric.other.with",
        "10: metric.other.margin",
        "12: budget.wall",
        "13: budget.memroy",
        "15: splits.vault",
    ]


def test_a_flood_of_mistakes_is_cut(folder, smallest):
    unknown = "".join(f"key{i} = 1\n" for i in range(20_000))
    assert len(folder.mistakes(f"{smallest}[budget]\n{unknown}")) == 100
    metrics = "".join(f"[metric.m{i}]\ngoal = 1\n" for i in range(20_000))
    assert any("20,001 metrics" in mistake.found for mistake in folder.mistakes(smallest + metrics))


def test_the_message_reads_as_a_list(folder, changed):
    with pytest.raises(ContractError) as caught:
        folder.load(changed(more="[budget]\nwall = 60\npids = 0\n"))
    assert "the contract has 2 mistakes:\n" in str(caught.value)
    assert "--explain" in str(caught.value)


def test_a_project_files_paths_are_its_own(folder):
    text = "[project]\nname = 'x'\n[tool.evalkit]\neditable = []\nevalkit = {}\n[tool.evalkit.metric.a]\nrun = 'x'\n"
    where = [m.where for m in folder.mistakes(text, name="pyproject.toml")]
    assert where == [
        "4: tool.evalkit.editable",
        "5: tool.evalkit.evalkit",
        "6: tool.evalkit.metric.a",
        "7: tool.evalkit.metric.a.run",
    ]


@pytest.mark.parametrize("text", ["", "[tool.other]\n", "tool = 1\n", "[tool]\nevalkit = 1\n"])
def test_a_project_file_without_a_contract(folder, text):
    (mistake,) = folder.mistakes(text, name="pyproject.toml")
    assert "no table [tool.evalkit]" in mistake.found


def test_an_empty_file_says_what_is_missing(folder):
    assert [m.found for m in folder.mistakes("")] == ["there is no metric", "it is missing"]


@pytest.mark.parametrize(
    ("profile", "expected"), [("demo", "known: dmeo, fast"), ("fats", "fast is meant"), ("x", "known: dmeo")]
)
def test_an_unknown_profile_names_the_known_ones(folder, changed, profile, expected):
    (mistake,) = folder.mistakes(changed(more="[profile.dmeo]\n[profile.fast]\n"), profile=profile)
    assert expected in mistake.expected


def test_a_mistake_in_the_applied_profile_is_found_there(folder, changed):
    text = changed(more='[profile.a]\nsplits = { vault = "nowhere" }\n')
    assert folder.load(text).splits.vault is None
    assert [m.where for m in folder.mistakes(text, profile="a")] == ["10: profile.a.splits.vault"]


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"[evalkit\n", "1:9"),
        (b"a = 1\nb = \n", "2:5"),
        (b"a = 1\na = 2\n", "2:6"),
        (b"a = [1,\n", "2:1"),
        (b"a = 1\r\nb = @\r\n", "2:5"),
    ],
)
def test_broken_toml_shows_where(folder, raw, where):
    (mistake,) = folder.mistakes(raw)
    assert mistake.where == where
    assert "no TOML" in mistake.found


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"a = 1\n# \xff\n", "byte 8 is not UTF-8"),
        (b"#" * (1 << 20) + b"\n", "more than 1 MiB"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nests too deeply"),
        (b"a = " + b"[" * 50 + b"]" * 50, "nests too deeply"),
        (b"a = " + b"1" * 5000, "no TOML"),
    ],
)
def test_files_that_are_no_contract(folder, raw, found):
    (mistake,) = folder.mistakes(raw)
    assert found in mistake.found


def test_a_missing_file_points_to_init(tmp_path):
    for path in (tmp_path / "evalkit.toml", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(ContractError, match=r"evalkit init|no path"):
            load_contract(path)


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "evalkit.toml")
    with pytest.raises(ContractError, match="no such file"):
        load_contract(tmp_path / "evalkit.toml")


class TestFind:
    def test_the_nearest_one_above(self, folder, smallest):
        file = folder.file("evalkit.toml", smallest).resolve()
        below = folder.file("a/b/c.txt").parent
        assert find_contract(below) == file
        assert find_contract(file) == file

    def test_a_project_file_counts_when_it_has_the_table(self, folder, smallest):
        folder.file("evalkit.toml", smallest)
        plain = folder.file("a/pyproject.toml", "[project]\nname = 'evalkit'\n")
        assert find_contract(plain.parent).name == "evalkit.toml"
        plain.write_text("[ tool . evalkit ]\n")
        assert find_contract(plain.parent) == plain.resolve()

    def test_its_own_file_comes_before_the_project_file(self, folder, smallest):
        folder.file("pyproject.toml", "[tool.evalkit]\n")
        assert find_contract(folder.root).name == "pyproject.toml"
        folder.file("evalkit.toml", smallest)
        assert find_contract(folder.root).name == "evalkit.toml"

    def test_the_search_ends_at_the_repository(self, folder, smallest):
        folder.file("evalkit.toml", smallest)
        folder.file("repository/.git/HEAD")
        with pytest.raises(ContractError, match="evalkit init"):
            find_contract(folder.root / "repository")
