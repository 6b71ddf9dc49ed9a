"""Write ``data/train.txt`` and ``vault/*/text.txt`` from the help topics that CPython ships (``pydoc_data.topics``).

The committed text was made by CPython 3.11.7; other versions ship other topics, so run this only to start a new
series of measurements. Standard library only; the same topics give the same bytes.

    python prepare.py [FOLDER]      # default: the folder of this file
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

KEY = b"evalkit/charlm/1"
SHARES = {"train": 0.45, "dev": 0.17, "confirm": 0.28, "sealed": 0.10}
CONTAINED = 0.5
"""A topic that shares more of its n-grams than this with larger topics is a copy of a part of them: left out."""
GRAM = 40
"""Characters that two splits may not have in common."""
ASCII = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "°": " deg", "ß": "ss"})


def normal(text: str) -> str:
    """The text with white space folded, as overlap is looked for."""
    return re.sub(r"\s+", " ", text)


def grams(text: str) -> set[str]:
    """All runs of ``GRAM`` characters of the folded text."""
    folded = normal(text)
    return {folded[start : start + GRAM] for start in range(len(folded) - GRAM + 1)}


def distinct(topics: Mapping[str, str]) -> dict[str, str]:
    """The topics that are not parts of larger ones, in 7-bit ASCII."""
    kept: dict[str, str] = {}
    seen: set[str] = set()
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        text = topics[name].translate(ASCII).encode("ascii", "replace").decode()
        own = grams(text)
        if len(own & seen) <= CONTAINED * len(own):
            kept[name] = text.strip() + "\n\n"
        seen |= own
    return kept


def assign(topics: Mapping[str, str]) -> dict[str, list[str]]:
    """Whole topics to splits: in the order of a keyed hash, each to the split that lacks most of its share."""
    total = sum(map(len, topics.values()))
    room = {split: share * total for split, share in SHARES.items()}
    members: dict[str, list[str]] = {split: [] for split in SHARES}
    for name in sorted(topics, key=lambda name: hashlib.blake2b(name.encode(), key=KEY).digest()):
        split = max(room, key=lambda split: room[split])
        members[split].append(name)
        room[split] -= len(topics[name])
    return members


def without(text: str, forbidden: set[str]) -> str:
    """The text without the lines that take part in a forbidden n-gram."""
    lines = text.splitlines(keepends=True)
    owner = [number for number, line in enumerate(lines) for _ in line]
    # Folding keeps a map from folded to original positions, so that a hit can name its lines.
    places, folded = [], []
    for match in re.finditer(r"\s+|\S", text):
        places.append(match.start())
        folded.append(" " if match.group().isspace() else match.group())
    joined = "".join(folded)
    hit: set[int] = set()
    for start in range(len(joined) - GRAM + 1):
        if joined[start : start + GRAM] in forbidden:
            hit.update(owner[place] for place in places[start : start + GRAM])
    return "".join(line for number, line in enumerate(lines) if number not in hit)


def splits(topics: Mapping[str, str]) -> dict[str, str]:
    """The text of every split; no ``GRAM`` characters of one stand in another."""
    texts = distinct(topics)
    members = assign(texts)
    result: dict[str, str] = {}
    forbidden: set[str] = set()
    for split in ("sealed", "confirm", "dev", "train"):
        joined = "".join(texts[name] for name in members[split])
        # Taking lines out joins their neighbours, which can make a new hit: again until nothing changes.
        while (cleaned := without(joined, forbidden)) != joined:
            joined = cleaned
        result[split] = joined
        forbidden |= grams(joined)
    return result


def write(folder: Path, texts: Mapping[str, str]) -> Iterable[Path]:
    """Write each split where the contract looks for it."""
    for split, text in texts.items():
        path = folder / "data" / "train.txt" if split == "train" else folder / "vault" / split / "text.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("ascii"))
        yield path


def main() -> None:
    """Write all splits and say how large they are."""
    from pydoc_data.topics import topics  # noqa: PLC0415 - only here, so that tests need no particular CPython

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for path in write(folder, splits(topics)):
        print(f"{path.stat().st_size:7d}  {path}")


if __name__ == "__main__":
    main()
