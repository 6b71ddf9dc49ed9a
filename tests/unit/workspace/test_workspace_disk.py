"""Real disks that are full: small ones, mounted in a namespace that goes away with the test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

INSIDE = ["unshare", "--user", "--map-root-user", "--mount", "--"]


def run_on_small_disk(folder: Path, code: str) -> str:
    mount = ["sh", "-c", 'mount -t tmpfs -o size=2m none "$1" && shift && exec "$@"', "sh", str(folder)]
    probe = subprocess.run([*INSIDE, *mount, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no mounts in namespaces here: {probe.stderr.decode().strip()}")
    done = subprocess.run(
        [*INSIDE, *mount, sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PHASE = """
import os, pathlib, sys
from evalkit.errors import InfrastructureError
from evalkit.workspace import Store
root = pathlib.Path(sys.argv[1])
work = root / "work"
work.mkdir()

def leave(free):
    (root / "ballast").unlink(missing_ok=True)
    room = os.statvfs(root)
    (root / "ballast").write_bytes(b"x" * (room.f_bavail * room.f_frsize - free))

def refused(action):
    try:
        action()
    except InfrastructureError as error:
        print(error)
    else:
        raise AssertionError("there was room")
    assert not list((root / "store" / "git" / "objects").glob("??/tmp_obj_*"))
"""


@pytest.mark.parametrize("files", [3, 40])
def test_a_snapshot_fills_the_disk(tmp_path, files):
    said = run_on_small_disk(
        tmp_path,
        f"""{PHASE}
for number in range({files}):
    (work / f"f{{number}}").write_bytes(os.urandom(600_000 // {files}))
with Store.open(root / "store") as store:
    leave(200_000)
    refused(lambda: store.snapshot(work, like=""))
    leave(900_000)
    tree = store.snapshot(work, like="")
    assert len(store.files(tree)) == {files}
    assert store.snapshot(work, like=tree) == tree
""",
    )
    assert "No space left" in said


def test_a_workspace_fills_the_disk(tmp_path):
    said = run_on_small_disk(
        tmp_path,
        f"""{PHASE}
(work / "a").write_bytes(b"x" * 500_000)
with Store.open(root / "store") as store:
    tree = store.snapshot(work, like="")
    leave(100_000)
    refused(lambda: store.pristine(tree))
    leave(700_000)
    store.pristine(tree)
    refused(lambda: store.materialise(tree, root / "copy"))
    assert not (root / "copy").exists() and not list(root.glob(".tmp-*"))
    leave(700_000)
    store.materialise(tree, root / "copy")
    assert store.snapshot(root / "copy", like=tree) == tree
""",
    )
    assert said.count("No space left") == 2


def test_a_store_on_a_full_disk(tmp_path):
    said = run_on_small_disk(
        tmp_path,
        f"""{PHASE}
leave(0)
refused(lambda: Store.open(root / "store"))
leave(500_000)
Store.open(root / "store").close()
""",
    )
    assert "store" in said
