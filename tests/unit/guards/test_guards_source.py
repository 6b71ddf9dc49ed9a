from __future__ import annotations

import ast
import base64
import lzma
import zlib

import pytest

from guards.source import Program, fold, parse, parse_fragments, parse_patch
from guards.source.flow import analyse
from guards.source.roles import Role, role_of, words
from guards.source.unpack import unpacked

PATCH = """\
diff --git a/train.py b/train.py
index 1111111..2222222 100644
--- a/train.py
+++ b/train.py
@@ -10,3 +10,4 @@ def f():
 a
-b
+c
+d
 e
diff --git a/old.py b/new.py
similarity index 90%
rename from old.py
rename to new.py
diff --git a/run.sh b/run.sh
old mode 100644
new mode 100755
diff --git a/gone.py b/gone.py
deleted file mode 100644
--- a/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/fresh.py b/fresh.py
new file mode 100644
--- /dev/null
+++ b/fresh.py
@@ -0,0 +1 @@
+x
diff --git a/w.bin b/w.bin
Binary files a/w.bin and b/w.bin differ
"""


def test_a_patch_is_read_file_by_file():
    change = parse_patch(PATCH)
    assert [(f.path, f.status) for f in change.files] == [
        ("train.py", "modified"),
        ("new.py", "renamed"),
        ("run.sh", "mode"),
        ("gone.py", "deleted"),
        ("fresh.py", "added"),
        ("w.bin", "modified"),
    ]
    assert change.files[0].hunks[0].new_side() == [
        (10, "a", False),
        (11, "c", True),
        (12, "d", True),
        (13, "e", False),
    ]
    assert change.files[0].hunks[0].old_side()[1] == (11, "b", True)
    assert change.files[1].old_path == "old.py"
    assert change.files[5].binary


def test_plain_diffs_quoted_names_and_lines_that_look_like_headers():
    plain = parse_patch("--- a/x.py\t2024-01-01\n+++ b/x.py\t2024-01-02\n@@ -1,2 +1,2 @@\n---- old\n+++ new\n same\n")
    assert [f.path for f in plain.files] == ["x.py"]
    assert plain.files[0].hunks[0].lines == ["---- old", "+++ new", " same"]
    quoted = parse_patch('diff --git "a/na\\303\\257ve.py" "b/na\\303\\257ve.py"\nnew file mode 100644\n')
    assert quoted.files[0].path == "na\u00efve.py"


@pytest.mark.parametrize(
    "text", ["", "no patch", "@@ -1 +1 @@\n+x", "--- a/x\n", "diff --git\n+++ b/x\n@@ -1,9 +1,9 @@\n+a"]
)
def test_half_patches_give_what_there_is(text: str):
    parse_patch(text)


def _names(text: str) -> list[str]:
    return [name for _, name in Program(parse(text)).calls()]


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos._exit(0)",
        "import os as o\no._exit(0)",
        "from os import _exit\n_exit(0)",
        "from os import _exit as leave\nleave(0)",
        "import os\nf = os._exit\nf(0)",
        "import os\ng = os\nf = g._exit\nf(0)",
        "import os\ngetattr(os, '_exit')(0)",
        "import os\ngetattr(os, '_' + 'exit')(0)",
        "__import__('os')._exit(0)",
        "import importlib\nimportlib.import_module('o' + 's')._exit(0)",
        "import sys\nsys.modules['os']._exit(0)",
        "import os\nn = '_exit'\ngetattr(os, n)(0)",
        "import os\nos.__dict__['_exit'](0)",
        "import os\nvars(os)['_exit'](0)",
        "import os\nglobals()['os']._exit(0)",
        "import os\ngetattr(os, 'tixe_'[::-1])(0)",
        "import os\ngetattr(os, ''.join(['_', 'exit']))(0)",
    ],
)
def test_aliases_are_followed(text: str):
    assert "os._exit" in _names(text)


def test_writes_by_any_spelling():
    text = (
        "import time\ntime.time = f\nsetattr(time, 'time', f)\ntime.__dict__['time'] = f\nvars(time)['time'] = f\n"
        "time.__setattr__('time', f)\na, time.time = 1, f\n"
    )
    assert [write.name for write in Program(parse(text)).writes()].count("time.time") == 6


def test_names_that_refer_to_themselves_end():
    Program(parse("a = b\nb = a\na()\nx = x.y\nx()\n"))
    assert _names("a = a\na()") == ["a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a' + 'b'", "ab"),
        ("''.join(['a', 'b'])", "ab"),
        ("chr(97)", "a"),
        ("'ba'[::-1]", "ab"),
        ("f'a{\"b\"}'", "ab"),
        ("-3", -3),
        ("x + 'b'", None),
    ],
)
def test_constants_are_folded(text: str, value: object):
    assert fold(ast.parse(text, mode="eval").body) == value


def test_fragments_that_begin_and_end_anywhere():
    lines = [
        "        total += x",
        "    else:",
        "        y = 2",
        "    return total",
        "def g(a,",
        "      b):",
        "    if a:",
    ]
    tree = parse_fragments([list(enumerate(lines, 40))]).tree
    numbers = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)}
    assert {40, 42, 43} <= numbers
    assert [f.name for f in Program(parse_fragments([list(enumerate(lines, 40))])).functions] == ["g"]


@pytest.mark.parametrize(
    "text",
    [
        "print 'python 2'\nx = 1\nimport os\nos._exit(0)\n",
        "x = (1,\nimport os\nos._exit(0)\n",
        "def f(:\n    pass\nimport os\nos._exit(0)\n",
        "exec 'code' in ns\nimport os\nos._exit(0)\n",
    ],
)
def test_what_parses_of_a_broken_file_is_seen(text: str):
    parsed = parse(text)
    assert parsed.error
    assert "os._exit" in [name for _, name in Program(parsed).calls()]


def test_packed_sources_are_unpacked_and_bombs_are_not():
    source = "import time\ntime.time = lambda: 0\n"
    packed = base64.b85encode(lzma.compress(source.encode())).decode()
    text = f"import lzma as L, base64 as B\nexec(L.decompress(B.b85decode({packed!r})))"
    [(_, found)] = unpacked(Program(parse(text)))
    assert found == source
    bomb = base64.b64encode(zlib.compress(b" " * (16 << 20))).decode()
    [(_, nothing)] = unpacked(Program(parse(f"import zlib, base64\nexec(zlib.decompress(base64.b64decode({bomb!r})))")))
    assert nothing is None
    raw = lzma.compress(source.encode(), lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])
    inner = f"L.decompress({raw!r}, format=L.FORMAT_RAW, filters=[])"
    [(_, again)] = unpacked(Program(parse(f"import lzma as L\ndata = {inner}\nexec(data.decode())")))
    assert again == source


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("val_tokens", Role.HELD_OUT),
        ("X_test", Role.HELD_OUT),
        ("validationData", Role.HELD_OUT),
        ("holdout", Role.HELD_OUT),
        ("val_loss", Role.NONE),
        ("eval_batch_size", Role.NONE),
        ("value", Role.NONE),
        ("targets", Role.LABEL),
        ("train_files", Role.TRAINING),
        ("train_loss", Role.NONE),
    ],
)
def test_roles_of_names(name: str, role: Role):
    assert role_of(name) == role


def test_words_of_identifiers():
    assert words("xValTokens_2D") == ("x", "val", "tokens", "2", "d")


def test_roles_reach_the_parameters_of_functions():
    flow = analyse(
        Program(
            parse(
                "def f(rows):\n    loss = model(rows)\n    loss.backward()\n\ndef g(val_tokens):\n    f(val_tokens)\n"
            )
        )
    )
    [(_, event)] = list(flow.events("train"))
    assert event.role & Role.DERIVED
