"""What a candidate should not read: answers, the repository's past, the network (mechanisms 7, 8 and 20)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from evalkit.guarding import Finding, Severity
from guards.gaming.finding import Context, at, is_test
from guards.rule import Rule, table
from guards.source.program import Program
from guards.source.roles import words
from guards.source.view import FileView

__all__ = ["RULES", "inspect"]

_PROBE, _NOTE = Severity.PROBE, Severity.NOTE

RULES = table(
    [
        Rule(
            "EK120",
            "answers-read",
            _PROBE,
            "A file is opened whose path says that it holds answers, or that the contract hides.",
            "read the declared inputs only",
            7,
        ),
        Rule(
            "EK121",
            "disk-search",
            _PROBE,
            "The file system is searched from its root, or harness variables are read.",
            "open the declared inputs by their names",
            7,
        ),
        Rule(
            "EK122",
            "history-read",
            _PROBE,
            "The repository's past or its git folder is read.",
            "work from the tree alone",
            8,
        ),
        Rule(
            "EK123",
            "network",
            _PROBE,
            "The network is used, or something is installed at run time.",
            "declare what is needed beforehand",
            20,
        ),
    ]
)
"""By name."""

_SECRET = frozenset(
    {"answer", "answers", "expected", "solution", "solutions", "gold", "groundtruth", "holdout", "hidden", "sealed"}
    | {"vault", "private", "grader", "grading", "secret", "canary", "oracle", "key"}
)
_HARNESS = frozenset({"vault", "state", "ledger", "key", "secret", "scorer", "answers", "expected", "split", "nonce"})
_OPENS = frozenset(
    {"open", "read_text", "read_bytes", "load", "read_csv", "read_json", "read_parquet", "loadtxt", "genfromtxt"}
    | {"listdir", "scandir", "glob", "iglob", "rglob", "walk", "memmap", "fromfile", "Path", "connect", "copyfile"}
    | {"iterdir", "read_pickle", "load_dataset", "copy", "exists"}
)
_NETWORK = re.compile(
    r"(?:requests|httpx|aiohttp|urllib3|paramiko|ftplib|smtplib|telnetlib|websocket|websockets|boto3|grpc)(?:\.\w+)*"
    r"|urllib\.request\.\w+|http\.client\.\w+|socket\.(?:socket|create_connection|gethostbyname|getaddrinfo)"
    r"|xmlrpc\.client\.\w+|pip\.main|pip\._internal\.\w+|ensurepip\.\w+|torch\.hub\.\w+"
)
_SHELLS = re.compile(
    r"(?:subprocess\.\w+|os\.(?:system|popen|exec\w*|spawn\w*)|pty\.spawn|asyncio\.create_subprocess_\w+)"
)
_FETCHES = re.compile(
    r"\b(?:curl|wget|ncat?|ssh|scp|rsync|telnet|aria2c|gsutil|aws s3)\b|\bpip3?\b.*\binstall\b|\bgit\b.*\bclone\b"
)
_PAST = re.compile(
    r"\bgit\b[^|;&]*\b(?:show|reflog|cat-file|checkout|restore|stash|fsck|rev-list|bundle|worktree|log|blame)\b"
)
_STAMP = re.compile(r"\blog\b[^|;&]*(?:-1\b|-n ?1\b|--oneline\b|--format|--pretty)")


def inspect(view: FileView, context: Context) -> Iterator[Finding]:
    """Findings ``EK120`` to ``EK123`` in one Python file."""
    if not view.python or is_test(view.path):
        return
    program = view.program
    for call in program.all(ast.Call):
        name = program.name(call.func) or ""
        yield from _opened(view, program, call, name, context)
        yield from _commands(view, program, call, name)
        known = not view.whole or name.split(".", 1)[0] in program.imported
        if known and _NETWORK.fullmatch(name) and not name.endswith(("Error", "exceptions")):
            yield from at(view, RULES["network"], call, f"`{name}` uses the network")
    yield from _folders(view, program)


def _opened(view: FileView, program: Program, call: ast.Call, name: str, context: Context) -> Iterator[Finding]:
    last = call.func.attr if isinstance(call.func, ast.Attribute) else name
    if last in _OPENS:
        for text in _texts(call, program):
            parts = {word for piece in re.split(r"[/\\]", text) for word in words(piece)}
            hidden = [h for h in context.hidden if text.strip("./").startswith(h)]
            looks = "/" in text or "." in text
            if hidden or (looks and parts & (_SECRET - {"key"}) and not _writes(call, program)):
                yield from at(view, RULES["answers-read"], call, f"{text[:80]!r} is opened")
                break
        if last in {"walk", "rglob", "glob", "iglob", "scandir", "listdir", "iterdir"} and _at_root(call, program):
            yield from at(view, RULES["disk-search"], call, "the file system is searched from its root")
    if name in {"os.environ.get", "os.getenv"} and call.args:
        variable = program.constant(call.args[0])
        if isinstance(variable, str) and variable.startswith("EVALKIT_") and set(words(variable)) & _HARNESS:
            yield from at(view, RULES["disk-search"], call, f"the harness's variable {variable} is read")


def _texts(call: ast.Call, program: Program) -> list[str]:
    """String constants in a call and in what its method is called on."""
    roots: list[ast.AST] = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg != "mode")]
    if isinstance(call.func, ast.Attribute):
        roots.append(call.func.value)
    found: list[str] = []
    for root in roots:
        folded = program.constant(root)
        if isinstance(folded, str):
            found.append(folded)
            continue
        for node in ast.walk(root):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and 1 < len(node.value) < 400:  # noqa: PLR2004
                found.append(node.value)
            elif isinstance(node, ast.Name) and isinstance(value := program.constant(node), str):
                found.append(value)
    return found


def _writes(call: ast.Call, program: Program) -> bool:
    modes = [program.constant(argument) for argument in call.args[1:2]]
    modes += [program.constant(keyword.value) for keyword in call.keywords if keyword.arg == "mode"]
    return any(isinstance(mode, str) and mode[:1] in {"w", "a", "x"} for mode in modes)


_ROOTS = re.compile(r"/(?:home|root|tmp|mnt|var)?/?|~|/\*\*.*")


def _at_root(call: ast.Call, program: Program) -> bool:
    return any(_ROOTS.fullmatch(text) for text in _texts(call, program))


def _commands(view: FileView, program: Program, call: ast.Call, name: str) -> Iterator[Finding]:
    if not _SHELLS.fullmatch(name) or not call.args:
        return
    command = " ".join(_texts(call, program))
    if _PAST.search(command) and not _STAMP.search(command):
        yield from at(view, RULES["history-read"], call, f"{command[:80]!r} reads the repository's past")
    if _FETCHES.search(command):
        yield from at(view, RULES["network"], call, f"{command[:80]!r} fetches or installs something")


def _folders(view: FileView, program: Program) -> Iterator[Finding]:
    for node in program.all(ast.Constant):
        text = node.value
        if isinstance(text, str) and re.search(r"(?:^|/)\.git/(?:objects|refs|logs|HEAD|packed-refs|index|ORIG)", text):
            yield from at(view, RULES["history-read"], node, f"{text[:80]!r} is in the git folder")
    for call, name in program.calls():
        if name.startswith(("git.Repo", "pygit2.", "dulwich.")):
            severity = _NOTE if name.endswith((".hexsha", ".commit")) else None
            yield from at(view, RULES["history-read"], call, "the repository is read by a git library", severity)
