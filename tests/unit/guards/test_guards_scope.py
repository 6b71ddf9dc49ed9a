from __future__ import annotations

import base64
import random
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from evalkit.contract import Contract, GuardSettings, Metric, Program, Splits, Trust
from evalkit.errors import UsageError
from evalkit.guarding import Evidence, Severity
from guards.scope import ScopeGuard


@dataclass(frozen=True)
class File:
    path: str
    status: str = "modified"
    old_path: str | None = None
    old_mode: str = "100644"
    new_mode: str = "100644"


@dataclass(frozen=True)
class Patch:
    files: tuple[File, ...]
    patch: str = ""


def contract(**options: object) -> Contract:
    return Contract(
        file=Path("/task/evalkit.toml"),
        name="task",
        editable=("train.py", "src/**"),
        hidden=("secret/**",),
        programs={"loss": Program("loss", run=("python", "train.py"))},
        metrics=(Metric("loss", "minimize", "loss", Trust.SCORED),),
        splits=Splits(vault="vault"),
        guards=GuardSettings(options={"scope": options} if options else {}),
    )


def inspect(*files: File, new: bytes = b"x = 1\n", old: bytes = b"x = 0\n", patch: str = "", **options: object):
    evidence = Evidence(
        "before",
        contract(**options),
        Patch(files, patch),
        read_old=lambda _path: old,
        read_new=lambda _path: new,
    )
    return list(ScopeGuard().inspect(evidence))


def rules(*args: File, **kwargs) -> set[str]:
    return {finding.rule for finding in inspect(*args, **kwargs)}


def test_an_edit_inside_the_surface_is_clean():
    assert inspect(File("train.py"), File("src/deep/model.py", "added"), File("src/old.py", "deleted")) == []


@pytest.mark.parametrize("status", ["added", "modified", "deleted", "renamed"])
def test_anything_outside_blocks(status: str):
    findings = inspect(File("score.py", status))
    assert findings[0].rule == "EK010"
    assert findings[0].severity is Severity.BLOCK
    assert findings[0].file == "score.py"


def test_a_rename_is_judged_at_both_ends():
    assert "EK010" in rules(File("src/b.py", "renamed", old_path="score.py"))
    assert rules(File("src/b.py", "renamed", old_path="src/a.py")) == {"EK019"}


@pytest.mark.parametrize("path", ["vault/dev/1.json", "secret/x", ".evalkit/ledger", "vault"])
def test_hidden_paths_block(path: str):
    assert rules(File(path)) == {"EK011"}


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "src/../score.py", "src/.git/hooks/x", "src/.GIT/config", "src/a\nb.py", "src//a.py", "src\\a"],
)
def test_unsafe_paths_block(path: str):
    assert rules(File(path)) == {"EK012"}


def test_kinds_of_file_block():
    assert rules(File("train.py", new_mode="120000")) == {"EK016"}
    assert rules(File("src/lib", "added", new_mode="160000")) == {"EK017"}
    assert rules(File("train.py", "mode", new_mode="100755")) == {"EK018"}
    assert rules(File("train.py", new_mode="100755")) == {"EK018"}
    assert rules(File("train.py", new_mode="104755")) == {"EK018"}
    assert rules(File("src/run.sh", "added", old_mode="", new_mode="100755")) == set()


def test_binary_files_block_unless_they_are_listed():
    assert rules(File("src/w.bin", "added"), new=b"\0\1\2") == {"EK015"}
    assert rules(File("src/w.bin", "added"), new=b"\0\1\2", binary=["src/*.bin"]) == set()


def test_sizes_block():
    assert rules(File("src/a.txt"), new=b"a b\n" * 300_000) == {"EK013"}
    assert rules(File("src/a.txt"), new=b"a b\n" * 300_000, max_file=2 << 20) == set()
    assert rules(File("train.py"), patch="+a\n" * 30, max_lines=20) == {"EK014"}
    assert rules(*(File(f"src/{i}.py") for i in range(3)), max_files=2) == {"EK014"}


def test_text_that_reads_otherwise_than_it_runs_blocks():
    assert rules(File("train.py"), new=b"x = 1\0\n") == {"EK021"}
    assert rules(File("train.py"), new=b"x = '\xff'\n") == {"EK021"}
    assert rules(File("train.py"), new='ok = "a\u202e"\n'.encode()) == {"EK021"}
    assert rules(File("train.py"), new="# na\u00efve \u03b1 = 1\n".encode()) == set()


def _payload(size: int) -> bytes:
    return base64.b64encode(zlib.compress(random.Random(1).randbytes(size)))


def test_packed_code_blocks_and_opaque_data_asks_for_a_probe():
    packed = b"import base64, zlib\nexec(zlib.decompress(base64.b64decode('" + _payload(3000) + b"')))\n"
    assert rules(File("train.py"), new=packed) == {"EK020"}
    assert rules(File("train.py"), new=packed, old=packed) == set()
    [noted] = inspect(File("train.py"), new=packed, packed=["train.py"])
    assert noted.severity is Severity.NOTE
    assert rules(File("train.py"), new=b"TABLE = '" + _payload(3000) + b"'\n") == {"EK022"}


def test_a_payload_wrapped_into_short_lines_is_seen():
    wide = _payload(3000).decode()
    lines = "\n".join(f'    "{wide[i : i + 76]}"' for i in range(0, len(wide), 76))
    text = f"import base64\nDATA = (\n{lines}\n)\nexec(base64.b64decode(DATA))\n"
    assert rules(File("train.py"), new=text.encode()) == {"EK020"}


def test_long_but_readable_lines_are_not_opaque():
    table = "TABLE = [" + ", ".join(str(i * 37 % 1001) for i in range(2000)) + "]\n"
    words = "TEXT = '" + "a sentence that goes on " * 200 + "'\n"
    names = "\n".join(f"    some_rather_long_function_name_number_{i}," for i in range(60))
    assert rules(File("train.py"), new=(table + words + f"X = (\n{names}\n)\n").encode()) == set()


def test_options_are_checked():
    with pytest.raises(UsageError, match="no 'max_fil'"):
        inspect(File("train.py"), max_fil=3)
    with pytest.raises(UsageError, match="max_file"):
        inspect(File("train.py"), max_file="1MB")
    with pytest.raises(UsageError, match="binary"):
        inspect(File("train.py"), binary="*.bin")


def test_it_looks_only_before_the_trials():
    evidence = Evidence("after", contract(), Patch((File("score.py"),)))
    assert list(ScopeGuard().inspect(evidence)) == []
