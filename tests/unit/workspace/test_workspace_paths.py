from __future__ import annotations

import pytest

from evalkit.errors import WorkspaceError
from evalkit.workspace.globs import Globs
from evalkit.workspace.ignoring import Ignored
from evalkit.workspace.paths import fold, leads_outside, name_problem, printable, relative_folder, to_bytes, to_text


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"..",
        b"a/b",
        b"a\0b",
        b"x" * 256,
        b".git",
        b".GIT",
        b".Git",
        b".git ",
        b".git.",
        b".git. .",
        b"git~1",
        b"GIT~1",
        b".git::$INDEX_ALLOCATION",
        ".g\u200cit".encode(),
        "\ufeff.git".encode(),
    ],
)
def test_names_that_no_tree_may_hold(name):
    assert name_problem(name)


@pytest.mark.parametrize(
    "name",
    [b"-rf", b"a\nb", b"\xff\xfe", b"x" * 255, b".gitignore", b".gitattributes", b"git", b"...", b" ", b"git~10"],
)
def test_names_that_are_merely_odd(name):
    assert name_problem(name) == ""


@pytest.mark.parametrize("path", [b"plain", b"\xff\xfe.bin", "ä/ß".encode(), b"a\nb"])
def test_any_bytes_survive_text(path):
    assert to_bytes(to_text(path)) == path


def test_printable_hides_nothing_and_harms_no_terminal():
    assert printable("a\x1b[31m\n\u202eb") == "a\\x1b[31m\\n\\u202eb"
    assert printable(b"\xff") == "\\udcff"
    assert printable("é") == "é"
    assert len(printable("x" * 5000)) < 250


def test_fold():
    assert fold("README") == fold("readme")
    assert fold("caf\u00e9") == fold("cafe\u0301")
    assert fold("a") != fold("b")


@pytest.mark.parametrize(("folder", "clean"), [("", ""), (".", ""), ("a/b/", "a/b"), ("./a", "a")])
def test_relative_folder(folder, clean):
    assert relative_folder(folder) == clean


@pytest.mark.parametrize("folder", ["/etc", "../x", "a/../../b", "a\0"])
def test_relative_folder_refuses(folder):
    with pytest.raises(WorkspaceError, match="not below the repository"):
        relative_folder(folder)


@pytest.mark.parametrize(
    ("links", "outside"),
    [
        ({b"a": b"b"}, set()),
        ({b"a": b"missing/inside"}, set()),
        ({b"d/a": b"../b"}, set()),
        ({b"a": b"./d/../b"}, set()),
        ({b"a": b".."}, {b"a"}),
        ({b"a": b"/etc/passwd"}, {b"a"}),
        ({b"d/a": b"../../b"}, {b"d/a"}),
        ({b"a": b"b", b"b": b"a"}, {b"a", b"b"}),
        ({b"a": b"a"}, {b"a"}),
        ({b"a": b""}, {b"a"}),
        # a lexical check would call these inside
        ({b"sub/d": b"..", b"x": b"sub/d/../y"}, {b"x"}),
        ({b"a": b"b/c", b"b": b".."}, {b"a", b"b"}),
        ({b"deep/er/d": b"../..", b"x": b"deep/er/d/a"}, set()),
    ],
)
def test_where_symlinks_lead(links, outside):
    assert {link for link in links if leads_outside(link, links)} == outside


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("train.py", ["train.py"], ["src/train.py", "train.pyc", "xtrain.py", "TRAIN.py"]),
        ("**/train.py", ["train.py", "a/train.py", "a/b/train.py"], ["a/xtrain.py"]),
        ("src", ["src", "src/a", "src/a/b"], ["srcs/a", "a/src"]),
        ("src/", ["src/a", "src/a/b"], ["src", "srcs/a"]),
        ("src/*", ["src/a", "src/.hidden"], ["src/a/b", "src"]),
        ("src/**", ["src/a", "src/a/b"], ["src", "srcs"]),
        ("src/**/x.py", ["src/x.py", "src/a/b/x.py"], ["x.py", "src/ax.py"]),
        ("*.py", ["a.py", "-rf.py", "a\nb.py", "\udcff.py"], ["a/b.py", "a.pyc"]),
        ("**", ["a", "a/b"], []),
        ("*", ["a"], ["a/b"]),
        ("a?c", ["abc"], ["a/c", "ac"]),
        ("a[bc]d", ["abd", "acd"], ["aed", "a[bc]d"]),
        ("a[!b]d", ["acd"], ["abd", "a/d"]),
        ("a[]]d", ["a]d"], ["ad"]),
        ("a[d", ["a[d"], ["ad"]),
        ("a\\*b", ["a*b"], ["axb"]),
        ("./a", ["a"], ["b/a"]),
        ("/a", ["a"], ["b/a"]),
        ("a.b+c", ["a.b+c"], ["axb+c", "a.bbc"]),
    ],
)
def test_globs(pattern, inside, outside):
    globs = Globs([pattern])
    assert [path for path in inside if not globs.matches(path)] == []
    assert [path for path in outside if globs.matches(path)] == []


def test_the_last_glob_that_matches_decides():
    globs = Globs(["src/**", "!src/eval/**", "src/eval/ok.py"])
    assert globs.matches("src/a.py")
    assert not globs.matches("src/eval/a.py")
    assert globs.matches("src/eval/ok.py")
    assert not Globs([]).matches("a")


def test_covers_hides_everything_below():
    globs = Globs(["vault*", "a/*"])
    assert globs.covers("vault/x/y")
    assert globs.covers("vault2/x")
    assert globs.covers("a/b/c")
    assert not globs.covers("b/vault/x")
    assert not globs.matches("vault/x/y")


@pytest.mark.parametrize("pattern", ["", "!", "/", "../x", "a/../b", "a\0"])
def test_malformed_globs(pattern):
    with pytest.raises(WorkspaceError, match="not a pattern"):
        Globs([pattern])


def test_gitignore_rules():
    rules = Ignored(["out/**"]).below(b"", b"*.log\n!keep.log\n/build\ncache/\na/b.txt\n# note\n\n\\#odd\ntrail  \n")
    expected = {
        (b"x.log", False): True,
        (b"d/x.log", False): True,
        (b"keep.log", False): False,
        (b"build", False): True,
        (b"d/build", False): False,
        (b"cache", True): True,
        (b"cache", False): False,
        (b"d/cache", True): True,
        (b"a/b.txt", False): True,
        (b"d/a/b.txt", False): False,
        (b"#odd", False): True,
        (b"trail", False): True,
        (b"out/x", False): True,
        (b"__pycache__", True): True,
        (b"d/e.pyc", False): True,
        (b"note", False): False,
    }
    assert {key: rules.ignored(key[0], folder=key[1]) for key in expected} == expected
    inner = rules.below(b"d/", b"!x.log\nonly\n")
    assert not inner.ignored(b"d/x.log", folder=False)
    assert inner.ignored(b"d/e/only", folder=False)
    assert not inner.ignored(b"only", folder=False)
    assert rules.within(b"a/__pycache__/x.pyc")
