"""The wire between scorer, parent and candidate: frames of a length, a kind and a body.

A frame is four bytes of big-endian length, then that many bytes: one byte that says the kind, one that says the
encoding of the body, then the body::

    kind      from        to          meaning
    H         parent      scorer      hello: JSON {"nonce", "split", "seed"}
    Q         scorer      candidate   a query (relayed by the parent, which only checks and counts it)
    A         candidate   scorer      the answer to the last query
    X         parent      scorer      the candidate is gone: JSON {"reason"}; there will be no more answers
    R         scorer      parent      the result: JSON {"nonce", "metrics"}

    encoding  J  one strict JSON document        N  one ``.npy`` array, no objects

A candidate sees ``Q`` frames on its standard input and writes ``A`` frames to its standard output.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalkit.protocol.strict import StrictJSONError, loads

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MAX_FRAME", "FrameError", "decode", "encode", "pack", "read_frame", "write_frame"]

MAX_FRAME = 64 << 20
"""Bytes that a frame may have at most, unless the caller says otherwise."""
_HEADER = 4
_NPY_MAGIC = b"\x93NUMPY"
_NPY_MAX_HEADER = 4 << 10
_JSON_MAX_DEPTH = 64


class FrameError(ValueError):
    """Bytes that are not a frame of this protocol."""


def pack(kind: bytes, body: bytes) -> bytes:
    """A frame's bytes: ``kind`` is one letter, ``body`` starts with its encoding."""
    return (len(body) + 1).to_bytes(_HEADER, "big") + kind + body


def encode(value: Any) -> bytes:
    """A value's body: arrays as ``N``, everything else as ``J``.

    Raises:
        TypeError, ValueError: the value is not JSON and not an array of numbers.
    """
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "dtype"):
        return b"N" + _npy_bytes(value)
    import json  # noqa: PLC0415 - candidates that only speak npy need not load it

    return b"J" + json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _npy_bytes(array: np.ndarray[Any, Any]) -> bytes:
    import io  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415

    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
    return buffer.getvalue()


def decode(body: bytes) -> Any:
    """The value of a body.

    Raises:
        FrameError: the body is neither strict JSON nor an array of plain numbers.
    """
    encoding, content = body[:1], body[1:]
    if encoding == b"J":
        try:
            return loads(content, max_bytes=MAX_FRAME, max_depth=_JSON_MAX_DEPTH)
        except StrictJSONError as error:
            raise FrameError(f"not strict JSON: {error}") from None
    if encoding == b"N":
        return _npy_array(content)
    raise FrameError(f"unknown encoding {encoding!r}")


def _npy_array(content: bytes) -> np.ndarray[Any, Any]:
    import numpy as np  # noqa: PLC0415

    description, fortran, shape, start = _npy_header(content)
    try:
        dtype = np.dtype(description)
        if dtype.hasobject or dtype.kind not in "biufc":
            raise FrameError(f"an array of {dtype}, not of plain numbers")
        count = 1
        for length in shape:
            count *= length
        if count * dtype.itemsize != len(content) - start:
            raise FrameError(f"shape {shape} does not fit {len(content) - start} bytes")
        flat = np.frombuffer(content, dtype=dtype, count=count, offset=start) if count else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if fortran else "C")
    except FrameError:
        raise
    except (ValueError, TypeError, SyntaxError, OverflowError, MemoryError) as error:
        raise FrameError(f"a broken .npy header: {type(error).__name__}") from None


def _npy_header(content: bytes) -> tuple[str, bool, tuple[int, ...], int]:
    """Type, order, shape, and where the numbers start.

    Read here and not by numpy, whose reader tries a tokenizer on what it does not understand.
    """
    from ast import literal_eval  # noqa: PLC0415 - JSON needs none of this

    width = {b"\x01\x00": 2, b"\x02\x00": 4}.get(content[6:8])
    if not content.startswith(_NPY_MAGIC) or width is None:
        raise FrameError("not an .npy array of version 1 or 2")
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    if start > min(len(content), _NPY_MAX_HEADER):
        raise FrameError("an .npy header that is cut off or too long")
    try:
        header = literal_eval(content[8 + width : start].decode("latin-1"))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise FrameError(f"a broken .npy header: {type(error).__name__}") from None
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise FrameError("an .npy header needs descr, fortran_order and shape, and nothing else")
    description, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    sizes = isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)
    if not isinstance(description, str) or not isinstance(fortran, bool) or not sizes:
        raise FrameError("an .npy header with a type, an order or a shape that is none of plain numbers")
    return description, fortran, shape, start


def _read_exactly(read: Callable[[int], bytes], count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = read(min(count, 1 << 20))
        if not part:
            raise EOFError("the other side closed the pipe inside a frame")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read_frame(fd: int, *, max_bytes: int = MAX_FRAME, already: bytes = b"") -> tuple[bytes, bytes] | None:
    """The next frame's kind and body; None at a clean end of the stream.

    Args:
        fd: to read from.
        max_bytes: cap on a frame.
        already: bytes of the frame (at most its four of length) that were read before.

    Raises:
        FrameError: too long, or empty.
        EOFError: the stream ended inside a frame.
    """

    def read(count: int) -> bytes:
        return os.read(fd, count)

    first = already or read(_HEADER)
    if not first:
        return None
    header = first + _read_exactly(read, _HEADER - len(first))
    length = int.from_bytes(header, "big")
    if not 2 <= length <= max_bytes:  # noqa: PLR2004 - a kind and an encoding
        raise FrameError(f"a frame of {length} bytes; 2 to {max_bytes} are allowed")
    content = _read_exactly(read, length)
    return content[:1], content[1:]


def write_frame(fd: int, kind: bytes, body: bytes) -> None:
    """Write a whole frame.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    view = memoryview(pack(kind, body))
    while view:
        view = view[os.write(fd, view) :]
