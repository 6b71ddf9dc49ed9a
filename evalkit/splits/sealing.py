"""Files encrypted at rest: scrypt for the key, ChaCha20-Poly1305 for every record, nothing readable but the header.

A sealed file is a line of JSON (the header) followed by records. The header holds the salt, the scrypt parameters
(RFC 7914) and a random data key wrapped by the derived one; it is bound to every record as associated data. Each record
(RFC 8439) has a counter as its nonce, and the last one says that it is the last: records can't be changed, dropped,
repeated or put in another order, and the file can't be cut short.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from evalkit.errors import DataError, UsageError

__all__ = ["SUFFIX", "mounted", "read_header", "seal", "unseal"]

SUFFIX = ".sealed"
_FORMAT = "evalkit-sealed/1"
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 1}
_MOST_SCRYPT_N = 1 << 20
_LONGEST_HEADER = 1 << 16
_LONGEST_RECORD = 1 << 30
_SHORTEST_SECRET = 16


def _derived(secret: bytes, salt: bytes, parameters: Mapping[str, int]) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415 - slow to import

    return Scrypt(salt=salt, length=32, n=parameters["n"], r=parameters["r"], p=parameters["p"]).derive(secret)


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415 - slow to import

    return ChaCha20Poly1305(key)


def _nonce(counter: int) -> bytes:
    return struct.pack(">IQ", 0, counter)


def seal(path: Path, secret: bytes, files: Iterable[tuple[str, bytes]], facts: Mapping[str, Any]) -> None:
    """Write a sealed file, whole or not at all.

    Args:
        path: where.
        secret: at least 16 bytes; a random key, or a passphrase.
        files: names and contents.
        facts: what anyone may read in the header (plain JSON): the split's name, counts.

    Raises:
        UsageError: the secret is too short.
    """
    if len(secret) < _SHORTEST_SECRET:
        raise UsageError(f"a key of {len(secret)} bytes", "`evalkit vault key` makes one of 32 random bytes")
    salt, data_key = os.urandom(16), os.urandom(32)
    wrapped = _cipher(_derived(secret, salt, _SCRYPT)).encrypt(_nonce(0), data_key, _FORMAT.encode())
    header = {
        "format": _FORMAT,
        "facts": dict(facts),
        "scrypt": _SCRYPT,
        "salt": base64.b64encode(salt).decode(),
        "key": base64.b64encode(wrapped).decode(),
    }
    line = json.dumps(header, sort_keys=True).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(line)
            _write_records(file, _cipher(data_key), line, files)
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def _write_records(file: IO[bytes], cipher: Any, line: bytes, files: Iterable[tuple[str, bytes]]) -> None:
    counter = 0
    for counter, (name, content) in enumerate(files, 1):
        encoded = name.encode()
        record = cipher.encrypt(_nonce(counter), struct.pack(">I", len(encoded)) + encoded + content, line + b"more")
        file.write(struct.pack(">Q", len(record)) + record)
    record = cipher.encrypt(_nonce(counter + 1), b"", line + b"last")
    file.write(struct.pack(">Q", len(record)) + record)


def _header(file: IO[bytes], path: Path) -> tuple[dict[str, Any], bytes]:
    line = file.readline(_LONGEST_HEADER)
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise DataError(f"{path}: not a sealed file of evalkit", "`evalkit vault status` lists those that are")
    return header, line


def read_header(path: Path) -> dict[str, Any]:
    """What anyone may read of a sealed file: the facts it was sealed with.

    Raises:
        DataError: it is no sealed file.
    """
    with path.open("rb") as file:
        facts = _header(file, path)[0].get("facts")
    return facts if isinstance(facts, dict) else {}


def unseal(path: Path, secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a sealed file, one after another.

    Raises:
        DataError: the key is wrong, or the file was changed or cut short. What was given before that is authentic.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - slow to import

    with path.open("rb") as file:
        header, line = _header(file, path)
        cipher = _cipher(_unwrapped(header, secret, path))
        counter = 0
        while True:
            counter += 1
            record = _record(file, path)
            try:
                plain = cipher.decrypt(_nonce(counter), record, line + b"more")
            except InvalidTag:
                try:
                    cipher.decrypt(_nonce(counter), record, line + b"last")
                except InvalidTag as error:
                    raise DataError(f"{path}: record {counter} was changed", "restore the file from a copy") from error
                if file.read(1):
                    raise DataError(f"{path}: something was added at the end", "restore the file from a copy") from None
                return
            (length,) = struct.unpack(">I", plain[:4])
            yield plain[4 : 4 + length].decode(), plain[4 + length :]


def _unwrapped(header: Mapping[str, Any], secret: bytes, path: Path) -> bytes:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - slow to import

    try:
        parameters = {name: int(header["scrypt"][name]) for name in ("n", "r", "p")}
        salt, wrapped = base64.b64decode(header["salt"]), base64.b64decode(header["key"])
        if not 1 < parameters["n"] <= _MOST_SCRYPT_N or parameters["r"] > 64 or parameters["p"] > 16:  # noqa: PLR2004
            raise ValueError("scrypt parameters out of range")
        derived = _derived(secret, salt, parameters)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: the header was changed: {error}", "restore the file from a copy") from error
    try:
        key: bytes = _cipher(derived).decrypt(_nonce(0), wrapped, _FORMAT.encode())
    except InvalidTag as error:
        raise DataError(f"{path}: the key does not open it", "give the key that it was sealed with") from error
    return key


def _record(file: IO[bytes], path: Path) -> bytes:
    size = file.read(8)
    length = struct.unpack(">Q", size)[0] if len(size) == 8 else -1  # noqa: PLR2004 - bytes of a ">Q"
    record = file.read(length) if 0 <= length <= _LONGEST_RECORD else b""
    if length < 0 or len(record) != length:
        raise DataError(f"{path}: the file is cut short", "restore it from a copy")
    return record


@contextmanager
def mounted(path: Path, secret: bytes) -> Iterator[Path]:
    """A sealed file's contents as a folder in memory where the machine has one, for as long as the context lasts.

    The folder belongs to this user alone (mode 0700). Names that would leave it are refused.

    Raises:
        DataError: as :func:`unseal`.
    """
    shared = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own there
    root = shared if shared.is_dir() and os.access(shared, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="evalkit-vault-", dir=root))
    try:
        for name, content in unseal(path, secret):
            target = folder / name
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise DataError(f"{path}: the name {name!r} leaves the folder", "seal the files again")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
