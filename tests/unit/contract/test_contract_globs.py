import pytest

from evalkit.contract.globs import glob_problem, is_literal, literal_folder, matches, may_reach


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("train.py", "train.py", True),
        ("train.py", "src/train.py", False),
        ("*.py", "src/train.py", False),
        ("**/*.py", "train.py", True),
        ("**/*.py", "a/b/train.py", True),
        ("src/**", "src/a/b", True),
        ("src/**", "src", False),
        ("src/**", "srcs/a", False),
        ("src/**/x", "src/x", True),
        ("src/**/x", "src/a/b/x", True),
        ("**", "anything/at/all", True),
        ("**/**/x", "x", True),
        ("*", ".hidden", True),
        ("[ab].py", "a.py", True),
        ("[!ab].py", "a.py", False),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
        ("a\n", "a", False),
        ("train.py", "train.py\n", False),
    ],
)
def test_matching(pattern, path, fits):
    assert matches(path, [pattern]) is fits


@pytest.mark.parametrize(
    ("pattern", "folder", "reaches"),
    [
        ("vault/**", "vault", True),
        ("vault", "vault", True),
        ("*/dev/*", "vault", True),
        ("**/*.txt", "vault", True),
        ("*", "vault", True),
        ("*.py", "vault", False),
        ("src/**", "vault", False),
        ("data/*", "data/vault", True),
        ("data/x", "data/vault", False),
    ],
)
def test_reach(pattern, folder, reaches):
    assert may_reach(pattern, folder) is reaches


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/etc",
        "~/x",
        "../x",
        "a/../b",
        "a/",
        "./a",
        "a//b",
        "a\\b",
        "!a",
        "a**b",
        "**.py",
        "a[b",
        "a\0b",
        "a\nb",
        "x" * 600,
    ],
)
def test_patterns_that_are_refused(pattern):
    assert glob_problem(pattern) is not None


@pytest.mark.parametrize("pattern", ["a", "src/**", "**/*.py", "[ab]", "[]]x", "[[]x", "a-b_c.d e", "ä/ö"])
def test_patterns_that_are_taken(pattern):
    assert glob_problem(pattern) is None


def test_a_refusal_shows_the_plain_form():
    assert glob_problem("./a//b") == ("is not in its plain form", '"a/b"')
    assert glob_problem("src/") == ("is a folder", '"src/**" for everything below it')


def test_literals():
    assert is_literal("a/b.py")
    assert not is_literal("a/*.py")
    assert literal_folder("a/b/*/c/*.py") == "a/b"
    assert literal_folder("*.py") == ""


def test_many_stars_take_no_exponential_time():
    assert not matches("a" * 200, ["*a" * 30 + "b"])
    assert not matches("/".join("a" * 100), ["/".join(["**", "a"] * 30 + ["b"])])
