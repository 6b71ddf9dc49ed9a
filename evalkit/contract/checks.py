"""What no single key can show: whether the surface, the files, the vault and the settings fit together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from evalkit.contract.commands import (
    is_file,
    is_folder,
    looks_like_script,
    named_files,
    program_file,
    programs_of,
)
from evalkit.contract.draft import Draft
from evalkit.contract.fields import quoted
from evalkit.contract.globs import is_literal, literal_folder, matches, may_reach
from evalkit.contract.programs import check_metrics, make_programs

__all__ = ["check", "default_hidden"]

_LOOKED_AT = 20_000
"""Files that are looked at, at most, before an editable glob counts as fitting something."""


def check(draft: Draft) -> None:
    """Report everything that does not fit together."""
    check_metrics(draft)
    _check_scripts(draft)
    _check_editable(draft)
    _check_hidden(draft)
    _check_splits(draft)
    _check_proposer(draft)
    _check_sandbox(draft)


def default_hidden(draft: Draft) -> tuple[str, ...]:
    """The files that score commands name, unless a candidate needs them, and always the vault."""
    if draft.head.hidden is not None:
        named = list(draft.head.hidden)
    else:
        needed = _candidates_files(draft)
        editable = draft.head.editable or []
        named = [
            _whole_program(path)
            for path in _named_in(draft, "score")
            if path not in needed and not matches(path, editable)
        ]
    return tuple(dict.fromkeys((*named, *_vault_globs(draft))))


def _whole_program(script: str) -> str:
    """The glob of a script, and of everything beside it where it is a package's main module."""
    folder, _, name = script.rpartition("/")
    return f"{_escaped(folder)}/**" if folder and name == "__main__.py" else _escaped(script)


def _covers(pattern: str, script: str) -> bool:
    folder, _, name = script.rpartition("/")
    return may_reach(pattern, folder) if folder and name == "__main__.py" else matches(script, [pattern])


def _vault_globs(draft: Draft) -> tuple[str, ...]:
    folder = _vault_folder(draft)
    return (f"{_escaped(folder)}/**",) if folder else ()


def _vault_folder(draft: Draft) -> str | None:
    """The vault as a path from the contract's folder; None where it lies elsewhere, or there is none."""
    vault = draft.section("splits").get("vault")
    if not isinstance(vault, str):
        return None
    path = Path(os.path.normpath(draft.root / vault))
    return path.relative_to(draft.root).as_posix() if path.is_relative_to(draft.root) else None


def _escaped(path: str) -> str:
    return path.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")


def _commands(draft: Draft) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name, program in make_programs(draft).items():
        for key in ("run", "serve", "score"):
            if command := getattr(program, key):
                yield name, key, command


def _named_in(draft: Draft, kind: str) -> dict[str, tuple[str, str]]:
    """Files that commands of a kind name → metric and key."""
    return {
        path: (name, key)
        for name, key, command in _commands(draft)
        if key == kind
        for path in named_files(command, draft.root)
    }


def _candidates_files(draft: Draft) -> dict[str, tuple[str, str]]:
    artifacts = {
        name: (program.name, "artifacts") for program in make_programs(draft).values() for name in program.artifacts
    }
    return artifacts | _named_in(draft, "serve") | _named_in(draft, "run")


def _check_scripts(draft: Draft) -> None:
    for name, key, command in _commands(draft):
        script = program_file(command, draft.root)
        path = ("metric", name, key)
        if script is None:
            continue
        if script.split("/")[0] == "..":
            draft.add(path, f"{quoted(script)} lies outside the contract's folder", "a script below it")
        elif is_folder(draft.root / script):
            draft.add(path, f"{quoted(script)} is a folder", "the script in it")
        elif looks_like_script(script) and not is_file(draft.root / script):
            draft.add(path, f"there is no file {quoted(script)}", _nearest_file(draft, script))


def _nearest_file(draft: Draft, missing: str) -> str:
    folder = (draft.root / missing).parent
    names = sorted(entry.name for entry in folder.iterdir()) if is_folder(folder) else []
    near = get_close_matches(PurePosixPath(missing).name, names, n=1)
    if near:
        return f"{quoted((PurePosixPath(missing).parent / near[0]).as_posix())} may be meant"
    return "a file in the contract's folder, or write it first"


def _check_editable(draft: Draft) -> None:
    editable, where = draft.head.editable, draft.where("editable")
    if draft.report.is_broken(*where):
        return
    if not editable:
        found = "it is missing" if editable is None else "it is empty, so nothing could change"
        draft.add(where, found, 'the files a proposer may change, such as editable = ["train.py"]')
        return
    for pattern in editable:
        if is_literal(pattern) and is_folder(draft.root / pattern):
            draft.add(where, f"{quoted(pattern)} is a folder", f"{quoted(pattern + '/**')} for everything below it")
            return
    _check_covered(draft, editable)
    if not any(_fits_something(draft.root, pattern) for pattern in editable):
        literal = next(filter(is_literal, editable), None)
        hint = _nearest_file(draft, literal) if literal else "a glob that fits the files as they are"
        draft.add(where, "no file fits it", hint)


def _check_covered(draft: Draft, editable: list[str]) -> None:
    """The file that judges, the contract and the cases stay out of a proposer's reach."""
    where = draft.where("editable")
    for pattern in editable:
        if matches(draft.file.name, [pattern]):
            draft.add(where, f"{quoted(pattern)} covers the contract itself", "globs that leave it out")
        for name, key, command in _commands(draft):
            scripts = programs_of(command, draft.root) if key == "score" else ()
            for script in sorted(path for path in scripts if _covers(pattern, path)):
                draft.add(
                    where,
                    f"{quoted(pattern)} covers {script}, the scorer of {name}",
                    "globs that leave it out; who edits the scorer sets the score",
                )
        vault = _vault_folder(draft)
        if vault and vault != "." and may_reach(pattern, vault):
            draft.add(where, f"{quoted(pattern)} reaches into the vault ({vault})", "globs that leave it out")


def _fits_something(root: Path, pattern: str) -> bool:
    if is_literal(pattern):
        return os.path.lexists(root / pattern)
    looked = 0
    for folder, folders, files in os.walk(root / literal_folder(pattern)):
        folders[:] = [name for name in folders if name not in {".git", ".evalkit"}]
        below = Path(folder).relative_to(root)
        if any(matches((below / name).as_posix(), [pattern]) for name in files):
            return True
        looked += len(files) + len(folders)
        if looked > _LOOKED_AT:
            return True
    return False


def _check_hidden(draft: Draft) -> None:
    hidden, where = draft.head.hidden, draft.where("hidden")
    if not hidden or draft.report.is_broken(*where):
        return
    needed = _candidates_files(draft)
    for path, (name, key) in needed.items():
        pattern = next((glob for glob in hidden if matches(path, [glob])), None)
        if pattern is not None:
            draft.add(where, f"{quoted(pattern)} hides {path}, which {key} of {name} needs", "globs that leave it out")
    for pattern in draft.head.editable or []:
        if is_literal(pattern) and pattern not in needed and matches(pattern, hidden):
            draft.add(where, f"{pattern} is hidden and editable", "one of the two")


def _check_splits(draft: Draft) -> None:
    splits = draft.section("splits")
    screen, confirm = splits.get("screen", "dev"), splits.get("confirm", "confirm")
    if screen == confirm:
        draft.add(
            draft.where("splits", "confirm" if "confirm" in splits else "screen"),
            f"screen and confirm are both {quoted(str(confirm))}",
            "two splits: what was learned from can't confirm",
        )
    for key in ("screen", "confirm"):
        if splits.get(key) == "sealed":
            draft.add(draft.where("splits", key), "the sealed set is for audits alone", 'another split, such as "dev"')
    vault = splits.get("vault")
    if isinstance(vault, str):
        _check_vault(draft, vault)


def _check_vault(draft: Draft, vault: str) -> None:
    where, folder = draft.where("splits", "vault"), draft.root / vault
    plain = _vault_folder(draft)
    if plain == "." or draft.root.is_relative_to(os.path.normpath(folder)):
        draft.add(where, f"{quoted(vault)} holds the contract", 'a folder of its own, such as "vault"')
    elif plain is None and not vault.startswith("/"):
        draft.add(where, f"{quoted(vault)} leaves the contract's folder", "a folder below it, or an absolute path")
    elif not is_folder(folder):
        draft.add(where, f"there is no folder {quoted(vault)}", "one made by `evalkit split`, with dev/ and confirm/")


_NEEDS = {"command": "command", "python": "function", "patches": "source"}


def _check_proposer(draft: Draft) -> None:
    settings = draft.section("proposer")
    if draft.report.is_broken("proposer"):
        return
    given = [kind for kind, key in _NEEDS.items() if key in settings]
    kind = settings.get("kind", given[0] if given else "tuner")
    for other in given:
        if other != kind:
            key = _NEEDS[other]
            draft.add(
                draft.where("proposer", key), f"it is there, but the kind is {kind}", f'kind = "{other}", or none'
            )
    if kind in _NEEDS and not settings.get(_NEEDS[str(kind)]):
        key = _NEEDS[str(kind)]
        draft.add(draft.where("proposer", "kind"), f"the kind is {kind}, and there is no {key}", f"{key} beside it")
    _check_proposer_details(draft, settings)


def _check_proposer_details(draft: Draft, settings: dict[str, object]) -> None:
    function, instructions = settings.get("function"), settings.get("instructions")
    if isinstance(function, str):
        module, _, name = function.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), name)):
            expected = '"module:callable", such as "proposer:propose"'
            draft.add(draft.where("proposer", "function"), f"{quoted(function)} names no callable", expected)
    if isinstance(instructions, str) and not is_file(draft.root / instructions):
        path = draft.where("proposer", "instructions")
        draft.add(path, f"there is no file {quoted(instructions)}", _nearest_file(draft, instructions))
    if settings.get("hosts") and not settings.get("network"):
        draft.add(draft.where("proposer", "hosts"), "the network is off", "network = true beside it, or no hosts")


def _check_sandbox(draft: Draft) -> None:
    settings = draft.section("sandbox")
    for name in _texts(settings, "devices"):
        if name.startswith("/") or ".." in name.split("/"):
            draft.add(draft.where("sandbox", "devices"), f"{quoted(name)} is no name below /dev", '"nvidia0"')
    for path in _texts(settings, "masks"):
        if not path.startswith(("/", "{stdlib}", "{purelib}", "{platlib}")) or ".." in path.split("/"):
            expected = 'an absolute path, or one below "{stdlib}" or "{purelib}"'
            draft.add(draft.where("sandbox", "masks"), f"{quoted(path)} is no path of this machine", expected)


def _texts(settings: dict[str, object], key: str) -> list[str]:
    value = settings.get(key)
    return value if isinstance(value, list) else []
