"""Marks of the vault, looked for exactly: in files, archives, logs, and every object of a git repository."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evalkit.errors import WorkspaceError
from evalkit.overlap.sources import find_files, open_stream
from evalkit.splits.canaries import FIELD
from evalkit.workspace.git import GIT, environment, git
from guards.contamination.decoding import decoded

__all__ = ["Sighting", "find_in_bytes", "find_in_files", "find_in_git", "marks_in", "members"]

_MARK = re.compile(rb"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_WRITTEN = re.compile(rb"EVALKIT CANARY ([0-9a-f-]{36}) ([0-9a-f]{32})")
_LONG = re.compile(rb"[A-Za-z0-9+/=_-]{44,4096}")
_STEP = 1 << 20
_OVERLAP = 256
_MOST_MEMBERS = 10_000
_MOST_BYTES = 1 << 30
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class Sighting:
    """A mark that was found.

    Attributes:
        where: file, member of an archive, or git object.
        offset: bytes from its beginning.
        mark: the mark.
        meaning: what it stands for.
    """

    where: str
    offset: int
    mark: str
    meaning: str


def _plain(mark: str) -> str:
    return mark.replace("-", "").lower()


def marks_in(name: str, raw: bytes) -> dict[str, str]:
    """The marks that a file of the vault carries.

    Args:
        name: of the file, for the meaning.
        raw: its bytes.
    """
    found: dict[str, str] = {}
    for guid, item in _WRITTEN.findall(raw):
        found[guid.decode()] = f"the split of {name}"
        found[item.decode()] = f"an item of {name}"
    if name.rsplit("/", 1)[-1] == f"{FIELD}.txt":
        found.update({mark.decode(): f"the sealed bytes of {name}" for mark in _MARK.findall(raw)})
    return found


def find_in_bytes(where: str, raw: bytes, marks: Mapping[str, str]) -> Iterator[Sighting]:
    """Marks in bytes, whatever their case and with or without dashes; also in UTF-16, reversed and base64.

    Args:
        where: for the report.
        raw: the bytes.
        marks: meanings by mark.
    """
    wanted = {_plain(mark): (mark, meaning) for mark, meaning in marks.items()}
    seen: set[str] = set()
    for form in _forms(raw):
        for match in _MARK.finditer(form):
            plain = _plain(match.group().decode())
            for spelled in (plain, plain[::-1]):
                if spelled in wanted and spelled not in seen:
                    seen.add(spelled)
                    mark, meaning = wanted[spelled]
                    yield Sighting(where, match.start(), mark, meaning)


def _forms(raw: bytes) -> Iterator[bytes]:
    yield raw
    if b"\x00" in raw:
        yield raw.replace(b"\x00", b"")
    if len(raw) <= _STEP:
        for match in _LONG.finditer(raw):
            yield from (form for form in decoded(match.group()) if len(form) < _STEP)


def find_in_files(paths: Iterable[Path | str], marks: Mapping[str, str]) -> Iterator[Sighting]:
    """Marks in files and folders, compressed files and archives too; memory stays small whatever their size."""
    for path in find_files(paths):
        name = str(path)
        with open_stream(name) as stream:
            kept, offset, seen = b"", 0, set()
            head = b""
            while data := stream.read(_STEP):
                head = head or data[:8]
                for sighting in find_in_bytes(name, kept + data, marks):
                    if sighting.mark not in seen:
                        seen.add(sighting.mark)
                        at = offset - len(kept) + sighting.offset
                        yield Sighting(name, at, sighting.mark, sighting.meaning)
                offset += len(data)
                kept = data[-_OVERLAP:]
        if head.startswith(b"PK"):
            for member, content in members(name, path.read_bytes()):
                yield from find_in_bytes(member, content, marks)


def members(name: str, raw: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """What a zip (npz, whl, docx …) or tar file holds, archives inside it too, within caps.

    Args:
        name: of the archive.
        raw: its bytes.
        depth: of nesting so far.
    """
    if depth >= _DEEPEST:
        return
    for inner, content in _zip_members(raw) if raw[:2] == b"PK" else _tar_members(raw):
        shown = f"{name}!{inner}"
        yield shown, content
        yield from members(shown, content, depth + 1)


def _zip_members(raw: bytes) -> Iterator[tuple[str, bytes]]:
    left = _MOST_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for info in archive.infolist()[:_MOST_MEMBERS]:
                with archive.open(info) as file:
                    content = file.read(left)
                left -= len(content)
                yield info.filename, content
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        return


def _tar_members(raw: bytes) -> Iterator[tuple[str, bytes]]:
    if raw[257:262] != b"ustar" and raw[:2] != b"\x1f\x8b":
        return
    left = _MOST_BYTES
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for number, info in enumerate(archive):
                if number >= _MOST_MEMBERS:
                    return
                file = archive.extractfile(info) if info.isfile() else None
                if file:
                    content = file.read(left)
                    left -= len(content)
                    yield info.name, content
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return


def find_in_git(repository: Path, marks: Mapping[str, str]) -> Iterator[Sighting]:
    """Marks in every object that a repository holds, unreachable ones too. Nothing of its configuration is run.

    Args:
        repository: a checkout or a bare repository.
        marks: meanings by mark.

    Raises:
        WorkspaceError: it is no repository, or git is missing.
    """
    found = git(["rev-parse", "--absolute-git-dir"], folder=repository)
    if found.code:
        raise WorkspaceError(f"{repository}: not a git repository: {found.said}")
    git_dir = Path(found.out.decode().strip())
    reachable: frozenset[str] | None = None
    for name, kind, content in _objects(git_dir):
        for sighting in find_in_bytes(name, content, marks):
            if reachable is None:
                reachable = _reachable(git_dir)
            state = "reachable" if name in reachable else "unreachable"
            yield Sighting(f"git {state} {kind} {name[:12]}", sighting.offset, sighting.mark, sighting.meaning)


def _reachable(git_dir: Path) -> frozenset[str]:
    listed = git(["rev-list", "--objects", "--all"], git_dir=git_dir)
    return frozenset(line.split(" ", 1)[0] for line in listed.out.decode("utf-8", "replace").splitlines())


def _objects(git_dir: Path) -> Iterator[tuple[str, str, bytes]]:
    """Every object, one at a time."""
    command = [*GIT, "--git-dir", str(git_dir), "cat-file", "--batch-all-objects", "--batch", "--unordered", "--buffer"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as process:
        out = process.stdout
        try:
            while out is not None and (line := out.readline()):
                name, kind, size = line.decode().split()
                yield name, kind, _exactly(out, int(size))
                out.read(1)
        finally:
            process.kill()


def _exactly(out: IO[bytes], size: int) -> bytes:
    """An object's bytes; of a giant one the first gigabyte, the rest is read over."""
    content = out.read(min(size, _MOST_BYTES))
    left = size - len(content)
    while left > 0 and (skipped := out.read(min(left, _STEP))):
        left -= len(skipped)
    return content
