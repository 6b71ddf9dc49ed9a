"""Material for the overlap bench: real items, real text of this machine, and the forms that leaks take."""

from __future__ import annotations

import ast
import gzip
import json
import os
import random
import re
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from evalkit.overlap import Item, Problems, read_items

__all__ = ["FORMS", "data_folder", "items", "prose", "source_files"]

_PIECE = 2500
_SOURCES = 4000


def data_folder() -> Path | None:
    """The measuring data (``EVALKIT_DATA``, else beside the repository), or None where there are none."""
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("EVALKIT_DATA", root.parent / "shared" / "data")) / "contamination"
    return folder if folder.is_dir() else None


@cache
def _docstrings() -> tuple[str, ...]:
    found = []
    for path in source_files()[:_SOURCES]:
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, RecursionError):
            continue
        named = (n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef))
        found += [ast.get_docstring(node) or "" for node in named]
    return tuple(text for text in found if len(text) > 200)  # noqa: PLR2004 - a paragraph


@cache
def source_files() -> tuple[Path, ...]:
    """Library sources of this interpreter, in a fixed order, shuffled."""
    roots = {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}
    files = [path for root in sorted(roots) for path in sorted(Path(root).rglob("*.py"))]
    files = [path for path in files if 500 < path.stat().st_size < 200_000]  # noqa: PLR2004 - of a usual size
    random.Random(20).shuffle(files)  # noqa: S311 - a fixed order
    return tuple(files)


def items(count: int) -> tuple[list[Item], str]:
    """Held-out items, and where they come from."""
    folder = data_folder()
    if folder is None:
        texts = [" ".join(text.split())[:300] for text in _docstrings()]
        chosen = list(dict.fromkeys(texts))[:count]
        return [Item(f"d{n}", (("text", text),)) for n, text in enumerate(chosen)], "docstrings"
    files = [folder / name for name in ("gsm8k-test.jsonl.gz", "mmlu-validation.jsonl.gz", "agieval-train.jsonl.gz")]
    found = {item.text: item for item in _questions(files)}
    return list(found.values())[:count], "GSM8K, MMLU and AGIEval questions"


def _questions(files: list[Path]) -> Iterator[Item]:
    for file in files:
        for item in read_items([file], Problems(keep_going=True), fields=["question"]):
            yield Item(f"{file.name}:{item.id}", item.parts, item.where, item.answer)


def prose(size: int) -> list[str]:
    """About ``size`` characters of documents: docstrings and documentation of this machine, no held-out ones."""
    texts = list(_docstrings() if data_folder() else _docstrings()[5000:])
    texts += _documentation()
    random.Random(21).shuffle(texts)  # noqa: S311 - a fixed order
    documents: list[str] = []
    total = 0
    while texts and total < size:
        for text in texts:
            documents.append(re.sub(r"[ \t]+", " ", re.sub(r"\n(?!\n)", " ", text)))
            total += len(documents[-1])
            if total >= size:
                break
    return documents


@cache
def _documentation() -> list[str]:
    found: list[str] = []
    for path in sorted(Path("/usr/share/doc").rglob("*"))[:20_000]:
        if path.suffix in {".txt", ".md", ".rst", ".gz"} or path.name == "copyright":
            try:
                raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
                text = raw[:60_000].decode("utf-8")
            except (OSError, EOFError, ValueError):
                continue
            found += [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    return found


@cache
def _words() -> tuple[str, ...]:
    return tuple(word for word in " ".join(_docstrings()[:50]).split() if word.isalpha())


def _edited(text: str, rng: random.Random, replaced: float, dropped: float) -> str:
    words = _words()
    kept = (word for word in text.split() if rng.random() >= dropped)
    return " ".join(rng.choice(words) if rng.random() < replaced else word for word in kept)


Form = Callable[[str, random.Random], str]
FORMS: dict[str, Form] = {
    "verbatim": lambda text, _: text,
    "reformatted": lambda text, _: "**" + text.upper().replace(". ", ".\n\n* ").replace(",", " ,") + "**",
    "5 % edited": lambda text, rng: _edited(text, rng, 0.05, 0.0),
    "light paraphrase": lambda text, rng: _edited(text, rng, 0.08, 0.04),
    "truncated to half": lambda text, _: text[: max(40, len(text) // 2)],
}
"""How a leak may read; each takes the item's text."""


def as_json_lines(documents: list[str], *, ascii_only: bool) -> bytes:
    """The documents as JSON lines, non-ASCII characters escaped or not."""
    return "".join(json.dumps({"text": text}, ensure_ascii=ascii_only) + "\n" for text in documents).encode()
