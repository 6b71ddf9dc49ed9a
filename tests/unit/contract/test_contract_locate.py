import tomllib

from evalkit.contract.locate import locate

TEXT = '''# a comment with [brackets] and = signs
title = "x # no comment"

[metric.loss]   # trailing
goal = "minimize"
"quoted key" = 1
run = [
    "python",   # the program
    """a
b""",
    ["nested"],
]
a.b.c = { d = [1, 2], e.f = 'x' }

[[guards.suppress]]
rule = "EK1"

[[guards.suppress]]
rule = "EK2"
when = 1979-05-27 07:32:00
  [guards.suppress.more]
  x = 1
'''

EXPECTED = {
    ("title",): 2,
    ("metric",): 4,
    ("metric", "loss"): 4,
    ("metric", "loss", "goal"): 5,
    ("metric", "loss", "quoted key"): 6,
    ("metric", "loss", "run"): 7,
    ("metric", "loss", "run", 0): 8,
    ("metric", "loss", "run", 1): 9,
    ("metric", "loss", "run", 2): 11,
    ("metric", "loss", "run", 2, 0): 11,
    ("metric", "loss", "a"): 13,
    ("metric", "loss", "a", "b"): 13,
    ("metric", "loss", "a", "b", "c"): 13,
    ("metric", "loss", "a", "b", "c", "d"): 13,
    ("metric", "loss", "a", "b", "c", "d", 0): 13,
    ("metric", "loss", "a", "b", "c", "d", 1): 13,
    ("metric", "loss", "a", "b", "c", "e"): 13,
    ("metric", "loss", "a", "b", "c", "e", "f"): 13,
    ("guards",): 15,
    ("guards", "suppress"): 15,
    ("guards", "suppress", 0): 15,
    ("guards", "suppress", 0, "rule"): 16,
    ("guards", "suppress", 1): 18,
    ("guards", "suppress", 1, "rule"): 19,
    ("guards", "suppress", 1, "when"): 20,
    ("guards", "suppress", 1, "more"): 21,
    ("guards", "suppress", 1, "more", "x"): 22,
}


def test_every_key_has_its_line():
    tomllib.loads(TEXT)
    assert dict(locate(TEXT).lines) == EXPECTED


def test_windows_line_ends_change_nothing():
    assert dict(locate(TEXT.replace("\n", "\r\n")).lines) == EXPECTED


def test_an_unknown_path_has_the_line_of_what_is_around_it():
    found = locate(TEXT)
    assert found.line(("metric", "loss", "absent", 3)) == 4
    assert found.line(("absent",)) is None
    assert found.line(()) is None


def test_escapes_in_quoted_keys():
    text = '"a\\u00e9\\"]" = 1\n\'b.c\'.d = 2\n'
    assert dict(locate(text).lines) == {('aé"]',): 1, ("b.c",): 2, ("b.c", "d"): 2}


def test_quotes_at_the_end_of_long_strings():
    text = 'a = """x"""""\nb = \'\'\'y\'\'\'\'\nc = """\\""""\nd = """"""\ne = 1\n'
    tomllib.loads(text)
    assert list(locate(text).lines.values()) == [1, 2, 3, 4, 5]
