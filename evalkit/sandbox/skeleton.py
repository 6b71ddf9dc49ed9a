"""An image without a registry: empty directories and links, into which the system's own programs are bound."""

from __future__ import annotations

import io
import os
import tarfile

from evalkit.sandbox.runtime import FILES, system_view

__all__ = ["IMAGE", "skeleton"]

IMAGE = "evalkit-skeleton:2"
_INIT_PLACE = "/sbin"
"""The engine binds its init program there, which takes a real directory."""
_DIRECTORIES = ("usr", "etc", "proc", "sys", "dev", "box", "root", "tmp", "run", "var", "sbin")


def skeleton() -> bytes:
    """The image's one layer, as a tar archive."""
    binds, links = system_view()
    links = [(path, target) for path, target in links if path != _INIT_PLACE]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        linked = {path.lstrip("/") for path, _ in links}
        for name in sorted(set(_DIRECTORIES) - linked | {b.lstrip("/") for b in binds if os.path.isdir(b)}):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(entry)
        for path, target in links:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
        for path, text in FILES.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
