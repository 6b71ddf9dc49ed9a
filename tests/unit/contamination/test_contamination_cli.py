"""The three commands, from the outside."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from evalkit.cli.main import main

TOPICS = ["glaciers", "harbours", "painters", "rivers", "torches", "markets", "bridges"]


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def _question(number: int) -> str:
    return f"Counting from {number * 7919}, how many {TOPICS[number % 7]} stand beside each of the {number * 31} roads?"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    rows = [{"id": f"c{n}", "question": _question(n), "answer": str(n * 37 % 1000), "kind": n % 3} for n in range(120)]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.jsonl").write_text("".join(json.dumps({"text": f"nothing {n}"}) + "\n" for n in range(50)))
    return tmp_path


@pytest.fixture
def vault(project: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert _run(capsys, "vault", "key", project / "key")[0] == 0
    code, out, _ = _run(
        capsys, "split", project / "cases.jsonl", "--out", project / "vault", "--method", "stratified",
        "--label", "kind", "--seal", "confirm", "--seal", "sealed", "--key-file", project / "key",
    )  # fmt: skip
    assert code == 0
    assert "dev                60   50.0%" in out
    return project / "vault"


def test_split_needs_a_key(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVALKIT_VAULT_KEY", raising=False)
    code, _, err = _run(capsys, "split", project / "cases.jsonl", "--out", project / "v")
    assert code == 2
    assert "evalkit vault key" in err
    assert not (project / "v").exists()


def test_the_vault_from_key_to_audit(vault: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stat.S_IMODE((project / "key").stat().st_mode) == 0o600
    assert _run(capsys, "vault", "key", project / "key")[0] == 2
    assert sorted(path.name for path in vault.iterdir()) == ["confirm.sealed", "dev", "manifest.json", "sealed.sealed"]
    code, _, err = _run(
        capsys, "vault", "open", vault, "sealed", "--to", project / "o", "--reason", "x", "--key-file", project / "key"
    )
    assert (code, "needs a reason" in err) == (2, True)
    code, _, _ = _run(
        capsys, "vault", "open", vault, "sealed", "--to", project / "opened", "--reason", "audit of the head",
        "--key-file", project / "key",
    )  # fmt: skip
    assert code == 0
    assert len((project / "opened" / "cases.jsonl").read_text().splitlines()) == 24
    code, out, _ = _run(capsys, "vault", "status", vault, "--json")
    document = json.loads(out)
    assert document["openings"][0]["why"] == "audit of the head"
    assert [row["sealed"] for row in document["splits"]] == [False, True, True]
    code, out, _ = _run(
        capsys, "vault", "rotate", vault, "--experiment", 3, "--cases", 10, "--key-file", project / "key"
    )
    assert len(set(json.loads(out)["cases"])) == 10


def test_reseal_changes_the_key(vault: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(capsys, "vault", "key", project / "new")
    assert (
        _run(capsys, "vault", "reseal", vault, "--new-key-file", project / "new", "--key-file", project / "key")[0] == 0
    )
    code, _, err = _run(
        capsys,
        "vault",
        "open",
        vault,
        "confirm",
        "--to",
        project / "o",
        "--reason",
        "a look",
        "--key-file",
        project / "key",
    )
    assert (code, "does not open it" in err) == (2, True)
    assert not (project / "o").exists()


def test_check_notices_a_changed_case(vault: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("split", project / "cases.jsonl", "--out", vault, "--check", "--key-file", project / "key")
    assert _run(capsys, *arguments)[0] == 0
    path = project / "cases.jsonl"
    path.write_text(path.read_text().replace("7919", "7918"))
    code, out, _ = _run(capsys, *arguments)
    assert (code, "c1: its content changed" in out) == (1, True)


def test_contamination_of_a_corpus(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("contamination", project / "corpus", "--against", project / "cases.jsonl", "--jobs", 1)
    code, out, _ = _run(capsys, *arguments)
    assert (code, "0 contaminated, 0 uncheckable, 120 clean" in out) == (0, True)
    (project / "corpus" / "b.txt").write_text(f"Intro.\n<script>{_question(17).upper()}\n")
    code, out, _ = _run(
        capsys, *arguments, "--json", "--html", project / "r.html", "--sarif", project / "r.sarif",
        "--state", project / "state",
    )  # fmt: skip
    document = json.loads(out)
    assert code == 1
    assert document["schema"] == "evalkit/contamination/1"
    assert document["counts"] == {"clean": 119, "contaminated": 1, "uncheckable": 0}
    (found,) = [item for item in document["items"] if item["state"] == "contaminated"]
    assert (found["id"], found["found"][0]["match"]["line"]) == ("c17", 2)
    assert len(document["items"]) == 120
    page = (project / "r.html").read_text()
    assert "c17" in page
    assert "<script" not in page
    log = json.loads((project / "r.sarif").read_text())
    assert log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] == 2
    assert list((project / "state").iterdir())


def test_contamination_of_sources(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [n * 37 % 1000 for n in range(40, 60)]
    (project / "corpus" / "solve.py").write_text(f"TABLE = {answers}\n\ndef solve(n):\n    return TABLE[n - 40]\n")
    arguments = ("contamination", project / "corpus", "--against", project / "cases.jsonl", "--jobs", 1)
    assert _run(capsys, *arguments)[0] == 0
    code, out, _ = _run(capsys, *arguments, "--source")
    assert (code, "solve.py:1: holds 20 answers" in out) == (1, True)


def test_canaries_in_files_and_in_unreachable_git_objects(
    vault: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(
        capsys,
        "vault",
        "open",
        vault,
        "confirm",
        "--to",
        project / "o",
        "--reason",
        "a test",
        "--key-file",
        project / "key",
    )
    repository = project / "repository"
    repository.mkdir()

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (repository / "x.txt").write_text("hello\n")
    git("add", "x.txt")
    git("commit", "-qm", "one")
    look = ("contamination", project / "corpus", "--canaries", project / "o", "--git", repository)
    assert _run(capsys, *look)[0] == 0
    mark = json.loads((project / "o" / "cases.jsonl").read_text().splitlines()[0])["evalkit_canary"]
    blob = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"],
        cwd=repository,
        input=mark.upper(),
        check=True,
        text=True,
        capture_output=True,
    )
    code, out, _ = _run(capsys, *look)
    assert code == 1
    assert f"git unreachable blob {blob.stdout[:12]}" in out
    (project / "corpus" / "log.bin").write_bytes(b"\x00\xff" * 700_000 + mark.encode("utf-16-le"))
    code, out, _ = _run(capsys, *look, "--json")
    assert {sighting["where"].split()[0] for sighting in json.loads(out)["canaries"]} == {
        "git", str(project / "corpus" / "log.bin")
    }  # fmt: skip


def test_paraphrases_are_a_queue(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    near = "Each of 31 roads has glaciers beside it; counting begins at 7919. What is their number?"
    with (project / "corpus" / "a.jsonl").open("a") as file:
        file.write(json.dumps({"text": near}) + "\n")
    code, out, _ = _run(
        capsys, "contamination", project / "corpus", "--against", project / "cases.jsonl", "--paraphrases", 0.02,
        "--jobs", 1, "--json",
    )  # fmt: skip
    document = json.loads(out)
    assert code == 0
    assert document["paraphrases"][0]["text"].endswith(near)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["contamination"], "nothing to look in"),
        (["contamination", "."], "nothing to look for"),
        (["contamination", "/no/where", "--against", "{cases}"], "no such file"),
        (["contamination", ".", "--against", "{cases}", "--engine", "cray"], "no engine 'cray'"),
        (["split", "{cases}", "--out", "v", "--shares", "dev=lots", "--key-file", "{cases}"], "is no share"),
        (["split", "{cases}", "--out", "v", "--method", "time", "--key-file", "{cases}"], "needs a time"),
        (["split", "{cases}", "--out", "v", "--label", "colour", "--key-file", "{cases}"], "no 'colour'"),
    ],
)
def test_mistakes_are_sentences(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    code, _, err = _run(capsys, *(argument.format(cases=project / "cases.jsonl") for argument in arguments))
    assert code == 2
    assert complaint in err
    assert "Traceback" not in err
