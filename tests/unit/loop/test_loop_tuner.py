from collections import Counter

import pytest

from evalkit.loop import Briefing, Exhausted, Past
from evalkit.loop.literals import find_literals
from evalkit.loop.tuner import Tuner

SOURCE = b"RATE = 0.5\r\nDEPTH = 4\r\nUSE = True\r\n\r\ndef f(x):\r\n    return x * 2\r\n"


@pytest.fixture
def brief(tmp_path):
    """A briefing on a fresh workspace with these files."""

    def make(files, *, experiment=1, history=(), editable=("*.py",)):
        workspace = tmp_path / f"w{len(list(tmp_path.iterdir()))}"
        workspace.mkdir()
        for name, content in files.items():
            path = workspace / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return Briefing(workspace, experiment, "", tuple(history), editable, 60.0)

    return make


def past(proposal, decision, number=1):
    return Past(number, decision, "r", "", proposal.description, dict(proposal.details), None)


def test_one_literal_changes_and_every_other_byte_stays(brief):
    for experiment in range(1, 30):
        briefing = brief({"a.py": SOURCE}, experiment=experiment)
        proposal = Tuner().propose(briefing)
        after = (briefing.workspace / "a.py").read_bytes()
        assert after != SOURCE
        assert after.count(b"\r\n") == after.count(b"\n") == SOURCE.count(b"\n")
        changed = [
            (old, new) for old, new in zip(SOURCE.split(b"\r\n"), after.split(b"\r\n"), strict=True) if old != new
        ]
        assert len(changed) == 1
        assert " → " in proposal.description


def test_the_same_entropy_and_history_propose_the_same(brief):
    said = [Tuner(entropy=5).propose(brief({"a.py": SOURCE}, experiment=3)).description for _ in range(3)]
    assert len(set(said)) == 1
    others = {Tuner(entropy=n).propose(brief({"a.py": SOURCE}, experiment=3)).description for n in range(12)}
    assert len(others) > 1


def test_settings_at_module_level_come_first(brief):
    seen = Counter(Tuner(entropy=n).propose(brief({"a.py": SOURCE})).details["arm"].split(":")[1] for n in range(60))
    assert sum(seen[name] for name in ("RATE", "DEPTH", "USE")) > 50


def test_it_goes_on_in_a_direction_that_paid_and_turns_where_it_did_not(brief):
    def share(decision, direction):
        """How often RATE is moved this way after such verdicts on moving it up."""
        kept = [Past(n, decision, "", "", "", {"arm": "a.py:RATE:up", "value": 100.0 + n}, None) for n in range(3)]
        arms = [Tuner(entropy=n).propose(brief({"a.py": SOURCE}, history=kept)).details["arm"] for n in range(16)]
        return sum(arm == f"a.py:RATE:{direction}" for arm in arms) / len(arms)

    before = [Tuner(entropy=n).propose(brief({"a.py": SOURCE})).details["arm"] for n in range(16)]
    usual = sum(arm == "a.py:RATE:up" for arm in before) / len(before)
    assert share("KEEP", "up") > 0.8 > usual
    assert share("REJECT", "up") < 0.1
    assert share("REJECT", "down") > share("KEEP", "down")


def test_what_was_tried_is_hardly_tried_again(brief):
    tried, history = [], []
    for experiment in range(1, 9):
        proposal = Tuner(entropy=1).propose(brief({"a.py": SOURCE}, experiment=experiment, history=history))
        tried.append((proposal.details["arm"].rpartition(":")[0], proposal.details["value"]))
        history.append(past(proposal, "INCONCLUSIVE", experiment))
    assert len(set(tried)) >= 7


def test_only_editable_python_files_are_touched(brief):
    files = {"a.py": b"X = 1\n", "b.txt": b"X = 1\n", "lib/c.py": b"X = 1\n"}
    for n in range(10):
        briefing = brief(files, editable=("lib/**",))
        assert Tuner(entropy=n).propose(briefing).details["arm"].startswith("lib/c.py:")
        assert (briefing.workspace / "a.py").read_bytes() == b"X = 1\n"


@pytest.mark.parametrize(
    "source",
    [b"x = (", b"\xff\xfe", b"", b"print('hello')\n", b"x = " + b"9" * 5000 + b"\n", b"x = " + b"9" * 400 + b"\n",
     b"x = table[3]\n", b"x = 1j\n", b"\x00"],
)  # fmt: skip
def test_files_without_anything_to_change_end_the_search(brief, source):
    with pytest.raises(Exhausted):
        Tuner().propose(brief({"a.py": source}))


def test_a_file_that_cannot_be_read_does_not_hide_the_others(brief):
    deep = b"x = " + b"(" * 90 + b"1" + b")" * 90 + b"\n" + b"y = " + b"1 + " * 1500 + b"1\n"
    briefing = brief({"a.py": b"x = (", "b.py": deep, "c.py": b"X = 3\n"}, editable=("**",))
    (briefing.workspace / "d.py").mkdir()
    (briefing.workspace / "e.py").symlink_to("nowhere")
    assert Tuner().propose(briefing)


@pytest.mark.parametrize("literal", ["0", "0.0", "1", "1e308", "5e-324", "9007199254740993", "0.1", "100000000000"])
def test_every_move_is_a_finite_other_value(brief, literal):
    for n in range(12):
        briefing = brief({"a.py": f"X = {literal}\nY = 2\n".encode()})
        Tuner(entropy=n).propose(briefing)
        values = {one.key: one.value for one in find_literals((briefing.workspace / "a.py").read_text())}
        assert set(values) == {"X", "Y"}
        assert values != {"X": float(literal), "Y": 2}


def test_literals_have_names_that_stay():
    source = "A = 1\nclass M:\n    b = 2\n    def f(self, c=3):\n        return g(4, key=5) + 6\nA = 7\n"
    keys = {one.key: one.value for one in find_literals(source)}
    assert keys == {"A": 1, "M.b": 2, "M.f#0": 3, "M.f#1": 4, "M.f.key": 5, "M.f#2": 6, "A#1": 7}
    assert [one.constant for one in find_literals(source)] == [True, False, False, False, False, False, True]
