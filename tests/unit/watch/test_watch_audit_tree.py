"""Whether what a commit changed could explain any gain."""

import subprocess

import pytest

from evalkit.errors import WorkspaceError
from evalkit.interop import History, HistoryRow, Segment, Status
from evalkit.watch.audit import Verdict, audit
from evalkit.watch.audit_rows import Mark
from evalkit.watch.audit_tree import tree_reader, what_changed

CODE = b'"""Doc."""\nSEED = 1\nx = 2  # comment\nrun(x, seed=SEED, random_state=3)\nnp.random.default_rng(4)\n'


@pytest.mark.parametrize(
    ("after", "mark"),
    [
        (CODE.replace(b"# comment", b"# other"), Mark.COSMETIC),
        (CODE.replace(b"Doc.", b"Docs."), Mark.COSMETIC),
        (CODE.replace(b"SEED = 1", b"SEED = 7"), Mark.SEED_ONLY),
        (CODE.replace(b"default_rng(4)", b"default_rng(5)").replace(b"=3", b"=9"), Mark.SEED_ONLY),
        (CODE.replace(b"x = 2", b"x = 3"), None),
        (CODE.replace(b"SEED = 1", b"SEED = f()"), None),
        (b"def (", None),
        (b"(" * 5000, None),
    ],
)
def test_what_changed(after, mark):
    assert what_changed(CODE, after) is mark


@pytest.fixture
def repository(tmp_path):
    def run(*arguments):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    def commit(**files):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        run("add", ".")
        run("commit", "-q", "--allow-empty", "-m", "x")
        return run("rev-parse", "--short", "HEAD")

    run("init", "-q")
    return tmp_path, commit


def test_commits(repository):
    folder, commit = repository
    first = commit(train_py="SEED = 1\nx = 1\n", notes_md="a")
    empty = commit()
    seed = commit(train_py="SEED = 2\nx = 1\n", notes_md="b")
    real = commit(train_py="SEED = 2\nx = 5\n")
    data = commit(data_bin="1")
    explain = tree_reader(folder)
    assert [explain(name) for name in (first, empty, seed, real, data)] == [
        None,
        Mark.SAME_TREE,
        Mark.SEED_ONLY,
        None,
        None,
    ]
    assert explain("--output=x") is None
    assert explain("ffffffff") is None


def test_an_unexplained_keep_is_grave(repository):
    folder, commit = repository
    names = [commit(train_py="x = 1\n"), commit(train_py="x = 1  # faster\n"), commit(train_py="x = 2\n")]
    rows = tuple(
        HistoryRow(index + 2, Status.KEEP, float(index), commit=name, description="faster")
        for index, name in enumerate(names)
    )
    history = History("x", "results.tsv", (Segment("score", "maximize"),), rows)
    segment = audit(history, sd=0.1, explain=tree_reader(folder)).segments[0]
    assert [row.verdict for row in segment.rows] == [Verdict.START, Verdict.SAME, Verdict.SURVIVES]
    assert segment.findings[0].rule == "beyond-tree"
    assert segment.findings[0].grave


def test_no_repository(tmp_path):
    with pytest.raises(WorkspaceError):
        tree_reader(tmp_path)
