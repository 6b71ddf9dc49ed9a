"""C, C++ and CUDA, in files of their own or in strings that are compiled at run time (mechanisms 11 and 14)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context, at
from guards.rule import Rule, table
from guards.source.view import FileView

__all__ = ["RULES", "inspect"]

_PROBE = Severity.PROBE

RULES = table(
    [
        Rule(
            "EK165",
            "native-unsynchronised",
            _PROBE,
            "Native code starts work on a stream of its own and does not wait for it.",
            "use the caller's stream, or synchronise before returning",
            11,
        ),
        Rule(
            "EK166",
            "native-does-nothing",
            _PROBE,
            "A native function returns a buffer that nothing has filled.",
            "compute the result",
            14,
        ),
        Rule(
            "EK167",
            "native-input-destroyed",
            _PROBE,
            "A native function overwrites an input with a constant.",
            "work on a copy",
            14,
        ),
    ]
)
"""By name."""

_SUFFIXES = frozenset({".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".cuh", ".hip", ".mm"})
_LOOKS_NATIVE = re.compile(r"#include\s*[<\"]|__global__|torch::Tensor|extern\s+\"C\"")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_STREAM = re.compile(r"\b(?:cuda|hip)StreamCreate\w*\s*\(|getStreamFromPool\s*\(")
_SYNC = re.compile(
    r"\b(?:cuda|hip)(?:StreamSynchronize|DeviceSynchronize|StreamWaitEvent|EventSynchronize|StreamDestroy)\s*\(|\.synchronize\s*\(|\.block\s*\("
)
_FUNCTION = re.compile(r"\b(?:torch::Tensor|at::Tensor|Tensor|std::vector<[\w:]+>)\s+(\w+)\s*\(([^)]*)\)\s*\{")
_WORK = re.compile(
    r"<<<|\bcublas\w+\s*\(|\bcudnn\w+\s*\(|\bfor\s*\(|\bwhile\s*\(|\bdata_ptr|\bat::(?!empty|zeros|ones|Tensor|full)\w+\s*\(|\btorch::(?!empty|zeros|ones|Tensor|full|TensorOptions|k[A-Z]|dtype|device)\w+\s*\(|\blaunch\w*\s*\(|\.(?:matmul|mm|add|mul|copy_|bmm|sum|div|sub|addmm|index\w*)\w*\s*\(|\bcopy_\s*\(|\w+_(?:cuda|kernel|launcher|forward|impl)\s*\("
)
_FRESH = re.compile(r"\b(?:torch|at)::(?:empty|zeros|ones|full)(?:_like)?\s*\(")
_WIPED = re.compile(r"\b(\w+)\s*\.\s*(?:zero_|fill_)\s*\(")


def inspect(view: FileView, _context: Context) -> Iterator[Finding]:
    """Findings ``EK165`` to ``EK167`` in native sources and in strings that hold them."""
    if PurePosixPath(view.path).suffix.lower() in _SUFFIXES:
        yield from _source(view, view.text, min(view.added, default=1))
    elif view.python and _LOOKS_NATIVE.search(view.text):
        for node in view.program.all(ast.Constant):
            if isinstance(node.value, str) and _LOOKS_NATIVE.search(node.value) and view.touches(node):
                yield from _source(view, node.value, node.lineno)


def _source(view: FileView, text: str, first: int) -> Iterator[Finding]:
    code = _COMMENT.sub(lambda match: "\n" * match.group().count("\n"), text)
    if (stream := _STREAM.search(code)) is not None and _SYNC.search(code) is None:
        line = first + code.count("\n", 0, stream.start())
        yield from at(view, RULES["native-unsynchronised"], line, "nothing waits for the stream that is created")
    for match in _FUNCTION.finditer(code):
        body = _body(code, match.end() - 1)
        line = first + code.count("\n", 0, match.start())
        if _FRESH.search(body) and "return" in body and _WORK.search(body) is None:
            yield from at(
                view, RULES["native-does-nothing"], line, f"`{match.group(1)}` returns a buffer that nothing fills"
            )
        params = set(re.findall(r"(\w+)\s*(?:,|$)", match.group(2)))
        wiped = {
            name for name in _WIPED.findall(body) if name in params and not name.startswith(("out", "grad", "dst"))
        }
        if wiped:
            yield from at(view, RULES["native-input-destroyed"], line, f"the input `{min(wiped)}` is overwritten")


def _body(code: str, start: int) -> str:
    """The text between a brace and the one that closes it."""
    depth = 0
    for position in range(start, min(len(code), start + 50_000)):
        if code[position] == "{":
            depth += 1
        elif code[position] == "}":
            depth -= 1
            if depth == 0:
                return code[start:position]
    return code[start : start + 50_000]
