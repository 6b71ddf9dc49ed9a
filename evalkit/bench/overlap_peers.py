"""Other contamination tools, each in a throwaway environment of its own, on the same documents and items."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from evalkit.overlap import Item

__all__ = ["peer_speeds"]

_JANITOR = """
import importlib.util, json, sys, time, glob
path = glob.glob(sys.prefix + "/lib/python*/site-packages/lm_eval/decontamination/janitor.py")[0]
spec = importlib.util.spec_from_file_location("janitor", path)
janitor = importlib.util.module_from_spec(spec)
spec.loader.exec_module(janitor)
work = json.load(open(sys.argv[1]))
looking = janitor.Janitor()
for item in work["items"]:
    looking.register_contaminant(item)
begun = time.process_time()
for document in work["documents"]:
    looking.clean(document)
print(json.dumps({"seconds": time.process_time() - begun}))
"""
_OVERLAPY = """
import json, sys, time
from overlapy import Overlapy, OverlapyTestSet
work = json.load(open(sys.argv[1]))
tests = OverlapyTestSet("t", min_n=8, max_n=13, examples=[item.lower().split() for item in work["items"]])
documents = [document.lower().split() for document in work["documents"]]
begun = time.process_time()
Overlapy(testsets=[tests], dataset=documents, n_workers=1).run()
print(json.dumps({"seconds": time.process_time() - begun}))
"""
_PEERS = {"lm-eval janitor": ("lm-eval", _JANITOR), "overlapy": ("overlapy", _OVERLAPY)}
_TIMEOUT = 600


def peer_speeds(documents: Sequence[str], items: Sequence[Item]) -> dict[str, tuple[float | None, str]]:
    """Bytes of documents a CPU second for every peer, or None and the reason.

    Args:
        documents: a slice of the corpus; peers are slow.
        items: what is looked for.
    """
    size = sum(len(document.encode()) for document in documents)
    found: dict[str, tuple[float | None, str]] = {}
    with tempfile.TemporaryDirectory(prefix="evalkit-peers-") as name:
        folder = Path(name)
        work = folder / "work.json"
        work.write_text(json.dumps({"documents": list(documents), "items": [item.text for item in items]}))
        for peer, (package, script) in _PEERS.items():
            seconds, note = _run(folder / package, package, script, work)
            found[peer] = (size / seconds if seconds else None, note)
    missing = "" if shutil.which("cargo") else "needs a Rust tool chain, which this machine has not"
    found["decon"] = (None, missing or "not on the package index; build it from its repository")
    return found


def _run(folder: Path, package: str, script: str, work: Path) -> tuple[float | None, str]:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    try:
        install = [str(python), "-m", "pip", "install", "-q", "--no-deps", package]
        subprocess.run(install, check=True, capture_output=True, timeout=_TIMEOUT)
        command = [str(python), "-c", script, str(work)]
        done = subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT, text=True)
        version = subprocess.run(
            [str(python), "-m", "pip", "show", package], capture_output=True, timeout=60, text=True, check=True
        ).stdout.split("\n")[1]
    except subprocess.CalledProcessError as error:
        told = error.stderr if isinstance(error.stderr, str) else (error.stderr or b"").decode("utf-8", "replace")
        return None, f"could not be run: {told.strip().splitlines()[-1] if told.strip() else error}"[:160]
    except subprocess.TimeoutExpired:
        return None, f"took longer than {_TIMEOUT} s"
    return float(
        json.loads(done.stdout.strip().splitlines()[-1])["seconds"]
    ), f"{package} {version}, Python {sys.version_info.minor}"
