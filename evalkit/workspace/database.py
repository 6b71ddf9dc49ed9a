"""The object database behind a store: long-lived readers, cheap writers."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from evalkit.errors import InfrastructureError, WorkspaceError
from evalkit.workspace.disk import disk_errors, write_all
from evalkit.workspace.git import GIT, environment, git
from evalkit.workspace.lru import Lru
from evalkit.workspace.objects import EMPTY_TREE, Item, build_pack, build_tree, object_id, parse_tree

__all__ = ["ObjectDatabase"]

_ID = re.compile(r"[0-9a-f]{40}")
_LOOSE = 24  # more new objects than this go into one pack
_BATCH = 96  # ids in one question: below PIPE_BUF, so that writing it can't block while the answer waits
_TREES = 4096
_SIZES = 65536


class _Reader:
    """One long-lived ``git cat-file``; started when first asked, started again when it died."""

    def __init__(self, git_dir: Path, mode: str, alternates: Path | None) -> None:
        self._command = [*GIT, "--git-dir", str(git_dir), "cat-file", mode]
        self._environment = environment(
            {"GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(alternates)} if alternates else None
        )
        self._git_dir = git_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def ask(self, ids: Sequence[str], *, contents: bool) -> list[tuple[str, int, bytes] | None]:
        """(kind, size, bytes) of each object, None where it is missing."""
        for id_ in ids:
            if not _ID.fullmatch(id_):  # anything else could ask git for two things, or for something else
                raise WorkspaceError(f"{id_[:60]!r} is not the id of an object", "ids have 40 hexadecimal digits")
        out: list[tuple[str, int, bytes] | None] = []
        with self._lock:
            for start in range(0, len(ids), _BATCH):
                out.extend(self._batch(ids[start : start + _BATCH], contents))
        return out

    def _batch(self, ids: Sequence[str], contents: bool) -> list[tuple[str, int, bytes] | None]:
        try:
            return self._exchange(ids, contents)
        except (BrokenPipeError, EOFError):
            self.stop()
        try:
            return self._exchange(ids, contents)
        except (BrokenPipeError, EOFError):
            self.stop()
            raise InfrastructureError(
                "git cat-file keeps dying", "see whether the machine runs out of memory"
            ) from None

    def _exchange(self, ids: Sequence[str], contents: bool) -> list[tuple[str, int, bytes] | None]:
        process = self._start()
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018, S101 - both are pipes
        done = False
        try:
            process.stdin.write("".join(f"{id_}\n" for id_ in ids).encode())
            process.stdin.flush()
            answers = [_answer(process.stdout, contents) for _ in ids]
            done = True
        finally:
            if not done:  # an interrupt between question and answer would leave the two out of step
                self.stop()
        return answers

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid():
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                cwd=self._git_dir,
                start_new_session=True,  # Ctrl-C is for us, not for it
            )
            self._owner = os.getpid()
        return self._process

    def stop(self) -> None:
        """End the process, if it is ours."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # unsent bytes to a dead process
                    continue


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _answer(stream: IO[bytes], contents: bool) -> tuple[str, int, bytes] | None:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    words = line.split()
    if words[-1] in {b"missing", b"ambiguous"}:
        return None
    kind, size = words[1].decode(), int(words[2])
    if not contents:
        return kind, size, b""
    data = stream.read(size + 1)
    if len(data) != size + 1:
        raise EOFError
    return kind, size, data[:-1]


class ObjectDatabase:
    """Reads and writes objects of one bare repository.

    Args:
        git_dir: the bare repository.
        alternates: a further folder of objects to read from (never to depend on).
    """

    def __init__(self, git_dir: Path, alternates: Path | None = None) -> None:
        self.git_dir = git_dir
        self._alternates = alternates
        self._contents = _Reader(git_dir, "--batch", alternates)
        self._info = _Reader(git_dir, "--batch-check", alternates)
        self._trees: Lru[str, tuple[Item, ...]] = Lru(_TREES)
        self._sizes: Lru[str, int] = Lru(_SIZES)

    def close(self) -> None:
        """End the readers."""
        self._contents.stop()
        self._info.stop()

    def read(self, id_: str, kind: str) -> bytes:
        """The bytes of one object.

        Raises:
            WorkspaceError: there is no such object, or it is of another kind.
        """
        return self.read_many([id_], kind)[0]

    def read_many(self, ids: Sequence[str], kind: str) -> list[bytes]:
        """The bytes of several objects of one kind."""
        out: list[bytes] = []
        for id_, answer in zip(ids, self._contents.ask(ids, contents=True), strict=True):
            if answer is None or answer[0] != kind:
                raise self._absent(kind, id_, f"is a {answer[0]}" if answer else "is missing")
            out.append(answer[2])
        return out

    def tree(self, id_: str) -> tuple[Item, ...]:
        """The items of one tree."""
        found = self._trees.get(id_)
        if found is None:
            found = () if id_ == EMPTY_TREE else parse_tree(self.read(id_, "tree"))
            self._trees.put(id_, found)
        return found

    def sizes(self, ids: Sequence[str]) -> list[int]:
        """Bytes of each blob."""
        unknown = [id_ for id_ in dict.fromkeys(ids) if self._sizes.get(id_) is None]
        fresh: dict[str, int] = {}
        for id_, answer in zip(unknown, self._info.ask(unknown, contents=False), strict=True):
            if answer is None:
                raise self._absent("blob", id_, "is missing")
            fresh[id_] = answer[1]
            self._sizes.put(id_, answer[1])
        return [fresh[id_] if id_ in fresh else self._known_size(id_) for id_ in ids]

    def _absent(self, kind: str, id_: str, found: str) -> WorkspaceError:
        if self._alternates is None:
            return WorkspaceError(f"the {kind} {id_[:12]} {found} in evalkit's store", "import the revision again")
        return WorkspaceError(
            f"the {kind} {id_[:12]} {found} in the repository, which is damaged or a partial clone",
            "fetch everything: git fetch --refetch --no-filter (and see: git fsck)",
        )

    def _known_size(self, id_: str) -> int:
        size = self._sizes.get(id_)
        return size if size is not None else self.sizes([id_])[0]

    def has(self, id_: str, kind: str) -> bool:
        """Whether there is an object of this id and kind."""
        answer = self._info.ask([id_], contents=False)[0]
        return answer is not None and answer[0] == kind

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those that the store does not hold."""
        wanted = list(dict.fromkeys(ids))
        answers = self._info.ask(wanted, contents=False)
        return [id_ for id_, answer in zip(wanted, answers, strict=True) if answer is None]

    def write(self, objects: Sequence[tuple[str, bytes]]) -> list[str]:
        """Store (kind, data) durably; ids in the same order. What is there already is left alone.

        Raises:
            InfrastructureError: the disk is full or can't be written.
        """
        ids = [object_id(kind, data) for kind, data in objects]
        self.store(dict(zip(ids, objects, strict=True)))
        return ids

    def store(self, objects: Mapping[str, tuple[str, bytes]]) -> None:
        """Store (kind, data) under the ids that :func:`object_id` gave them."""
        new = {id_: objects[id_] for id_ in self.missing(objects)}
        if len(new) > _LOOSE:
            self.add_pack(build_pack(new.values()))
            return
        self._write_loose(new)

    def write_tree(self, items: Iterable[Item]) -> str:
        """Store one tree."""
        return self.write([("tree", build_tree(items))])[0]

    def add_pack(self, pack: bytes) -> None:
        """Take every object of a pack stream; git checks each one's id."""
        ran = git(["index-pack", "--stdin", "--fix-thin"], git_dir=self.git_dir, data=pack)
        if ran.code:
            raise InfrastructureError(f"the objects can't be stored: {ran.said}", "see whether the disk is full")

    def copy_from(self, objects: Path, ids: Iterable[str]) -> None:
        """Copy those of ``ids`` that are missing from another repository's folder of objects, each id checked."""
        wanted = self.missing(ids)
        if not wanted:
            return
        pack = [*GIT, "--git-dir", str(self.git_dir), "pack-objects", "-q", "--stdout", "--window=0"]
        take = [*GIT, "--git-dir", str(self.git_dir), "index-pack", "--stdin"]
        with tempfile.TemporaryFile() as listed, tempfile.TemporaryFile() as said:
            listed.write("".join(f"{id_}\n" for id_ in wanted).encode())
            listed.seek(0)
            extra = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(objects)}
            source = subprocess.Popen(pack, stdin=listed, stdout=subprocess.PIPE, stderr=said, env=environment(extra))
            with source:
                taken = subprocess.run(
                    take, stdin=source.stdout, stdout=subprocess.DEVNULL, stderr=said, env=environment(), check=False
                )
            said.seek(0)
            if taken.returncode or source.returncode:
                reason = said.read().decode("utf-8", "replace").strip().splitlines()
                raise InfrastructureError(f"the objects can't be copied: {'; '.join(reason[:3])[:400]}", "try again")

    def _write_loose(self, objects: Mapping[str, tuple[str, bytes]]) -> None:
        """Write first, then sync all at once, then give them their names."""
        written: list[tuple[int, str, Path]] = []
        with disk_errors(f"store objects in {self.git_dir}"):
            try:
                for id_, (kind, data) in objects.items():
                    folder = self.git_dir / "objects" / id_[:2]
                    folder.mkdir(exist_ok=True)
                    handle, temporary = tempfile.mkstemp(prefix="tmp_obj_", dir=folder)
                    written.append((handle, temporary, folder / id_[2:]))
                    write_all(handle, zlib.compress(b"%s %d\0%s" % (kind.encode(), len(data), data), 1))
                    os.fchmod(handle, 0o444)
                _sync([handle for handle, _, _ in written])
                for _, temporary, target in written:
                    Path(temporary).replace(target)
            finally:
                for handle, temporary, _ in written:
                    os.close(handle)
                    Path(temporary).unlink(missing_ok=True)


def _sync(handles: Sequence[int]) -> None:
    """Make several files durable in about the time of one: the disk takes their syncs together."""
    if len(handles) <= 1:
        for handle in handles:
            os.fsync(handle)
        return
    with ThreadPoolExecutor(len(handles)) as threads:
        for done in [threads.submit(os.fsync, handle) for handle in handles]:
            done.result()
