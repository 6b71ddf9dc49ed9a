"""Programs packed into literals, unpacked by following the decoders statically; nothing is ever run.

Self-extracting sources (``exec(lzma.decompress(base64.b85decode("…")))``) are common where code size counts. What can
be unpacked can be read, and is inspected like any other source; what can't be, nobody can read.
"""

from __future__ import annotations

import ast
import base64
import binascii
import bz2
import codecs
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from guards.source.program import Program

__all__ = ["MAX_UNPACKED", "decoded", "unpacked"]

MAX_UNPACKED = 4 << 20
"""Bytes that one literal may unpack to; a bomb gives no text."""
_MAX_DEPTH = 12


class _Decompressor(Protocol):
    """What the standard decompressors have in common."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """At most ``max_length`` bytes."""


def unpacked(program: Program) -> Iterator[tuple[ast.Call, str | None]]:
    """Every call that runs what a literal decodes to.

    Yields:
        The call, and the source that it would run; None where that can't be told without running it.
    """
    for call, name in program.calls():
        if name.removeprefix("builtins.") in {"exec", "eval", "compile"} and call.args:
            parent = program.parent(call)
            if (
                name.endswith("compile")
                and isinstance(parent, ast.Call)
                and program.name(parent.func) in {"exec", "eval"}
            ):
                continue
            argument = call.args[0]
            if isinstance(argument, ast.Constant) or not _decodes(argument, program):
                continue
            yield call, _text(_value(argument, program, 0))


def decoded(node: ast.expr, program: Program) -> str | None:
    """The text that an expression of known decoders and literals stands for; None where it can't be told."""
    return _text(_value(node, program, 0))


def _decodes(node: ast.AST, program: Program) -> bool:
    """Whether an expression decodes something, itself or by the variable that it names."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            name = (program.name(part.func) or "").rsplit(".", 1)[-1]
            if name in _DECODERS or name in {"decompress", "loads", "decode"}:
                return True
    return isinstance(node, ast.Name) and (bound := _bound(node.id, program)) is not None and _decodes(bound, program)


def _bound(name: str, program: Program) -> ast.expr | None:
    for assign in program.all(ast.Assign):
        if any(isinstance(target, ast.Name) and target.id == name for target in assign.targets):
            return None if isinstance(assign.value, ast.Name) and assign.value.id == name else assign.value
    return None


def _text(value: str | bytes | None) -> str | None:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return value


def _value(  # noqa: PLR0911 - one return a kind of expression
    node: ast.AST | None, program: Program, depth: int
) -> str | bytes | None:
    """The bytes or text that an expression of known decoders and literals stands for."""
    if node is None or depth > _MAX_DEPTH:
        return None
    constant = program.constant(node)
    if isinstance(constant, str | bytes):
        return constant
    if isinstance(node, ast.Name):
        return _value(_bound(node.id, program), program, depth + 1)
    if isinstance(node, ast.Subscript):
        inner = _value(node.value, program, depth + 1)
        return inner[::-1] if inner is not None and _is_reversal(node.slice) else None
    if not isinstance(node, ast.Call):
        return None
    name = program.name(node.func) or ""
    if (
        isinstance(node.func, ast.Attribute)
        and node.func.attr in {"decode", "encode"}
        and not name.startswith("codecs.")
    ):
        inner = _value(node.func.value, program, depth + 1)
        return _recode(inner, node, program)
    argument = _value(node.args[0], program, depth + 1) if node.args else None
    return _decode(name, argument, node, program)


def _is_reversal(index: ast.expr) -> bool:
    match index:
        case ast.Slice(lower=None, upper=None, step=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1))):
            return True
    return False


def _recode(inner: str | bytes | None, node: ast.Call, program: Program) -> str | bytes | None:
    codec = program.constant(node.args[0]) if node.args else "utf-8"
    if not isinstance(codec, str) or inner is None:
        return None
    if isinstance(inner, str):
        return inner.encode("utf-8", "replace")
    return inner.decode("latin-1" if codec.lower().startswith(("latin", "iso")) else "utf-8", "replace")


def _decode(name: str, data: str | bytes | None, node: ast.Call, program: Program) -> str | bytes | None:
    last = name.rsplit(".", 1)[-1]
    if data is None or name.removeprefix("builtins.") in {"compile", "str", "bytes"}:
        return data
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    if name.startswith("codecs.") and last == "decode":
        codec = program.constant(node.args[1]) if len(node.args) > 1 else "utf-8"
        return codecs.decode(raw.decode("latin-1"), "rot13") if codec in {"rot13", "rot_13"} else None
    if last == "decompress":
        return _decompress(name, raw)
    try:
        return _DECODERS[last](raw) if last in _DECODERS else None
    except (binascii.Error, ValueError):
        return None


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "b16decode": base64.b16decode,
    "b32decode": base64.b32decode,
    "b64decode": base64.b64decode,
    "standard_b64decode": base64.b64decode,
    "urlsafe_b64decode": base64.urlsafe_b64decode,
    "decodebytes": base64.b64decode,
    "b85decode": base64.b85decode,
    "a85decode": base64.a85decode,
    "unhexlify": binascii.unhexlify,
    "a2b_hex": binascii.unhexlify,
    "a2b_base64": binascii.a2b_base64,
    "fromhex": lambda raw: bytes.fromhex(raw.decode("ascii")),
}


_ZLIB: tuple[Callable[[], _Decompressor], ...] = (
    lambda: zlib.decompressobj(wbits=47),
    lambda: zlib.decompressobj(wbits=-15),
)
_LZMA: tuple[Callable[[], _Decompressor], ...] = (
    lambda: lzma.LZMADecompressor(memlimit=1 << 28),
    lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9}]),
)
_BY_MODULE = {"zlib": _ZLIB, "gzip": _ZLIB, "lzma": _LZMA, "bz2": (bz2.BZ2Decompressor,)}


def _decompress(name: str, raw: bytes) -> bytes | None:
    """Decompress as the named module would; never more than :data:`MAX_UNPACKED` bytes."""
    for make in _BY_MODULE.get(name.split(".", maxsplit=1)[0], (*_ZLIB[:1], *_LZMA[:1], bz2.BZ2Decompressor)):
        try:
            out = make().decompress(raw, MAX_UNPACKED + 1)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
            continue
        if out:
            return out if len(out) <= MAX_UNPACKED else None
    return None
