"""The commented contract that ``evalkit init`` writes."""

from __future__ import annotations

from evalkit.contract.fields import quoted
from evalkit.contract.layout import Layout
from evalkit.contract.mistakes import dotted
from evalkit.contract.reference import Row, rows

__all__ = ["render"]

_TAIL = ("[splits]", "[policy]", "[proposer]", "[sandbox]")
_WIDTH = 34


def render(layout: Layout, name: str) -> str:
    """The text of a contract: what the layout says, then every other constant default, commented out."""
    parts = [_head(layout, name), _METRICS[layout.template](layout), _budget(layout)]
    parts += [_defaults(header, layout) for header in _TAIL]
    return "\n".join(parts)


def _head(layout: Layout, name: str) -> str:
    lines = [
        "# What a proposer may change, which metric counts, what a trial may cost.",
        "# `evalkit init --explain` prints every key with its default and the reason.",
        "",
        "[evalkit]",
        f"name = {quoted(name)}",
        _line("editable", _list(layout.editable), "globs; everything else is read-only"),
    ]
    if layout.hidden:
        hidden = (*layout.hidden, *layout.score[-1:])
        lines.append(_line("hidden", _list(hidden), "neither proposers nor candidates see them"))
    else:
        lines.append("# hidden = [...]                   # default: the files that score commands name, and the vault")
    lines += [
        "",
        "[evalkit.env]                      # all that trials get of an environment",
        'OMP_NUM_THREADS = "1"',
        "",
    ]
    return "\n".join(lines)


def _artifacts(layout: Layout) -> str:
    return "\n".join(
        (
            _table(layout),
            f"goal = {quoted(layout.goal)}",
            _line("run", _list(layout.run), "in the sandbox; EVALKIT_SEED carries the seed"),
            _line("artifacts", _list(layout.artifacts), "what may leave it"),
            _line("score", _list(layout.score), "trusted, in a sandbox of its own; reads the artifacts"),
            "",
        )
    )


def _served(layout: Layout) -> str:
    lines = [_table(layout), f"goal = {quoted(layout.goal)}"]
    if layout.hidden:
        lines += [
            f"# {layout.hidden[0]} imports the program into its own process, where a candidate can set its own score.",
            "# Here the program answers queries (evalkit.protocol.candidate.serve) and the scorer grades the answers.",
        ]
    else:
        lines += [
            _line("run", _list(layout.run), "in the sandbox; EVALKIT_SEED carries the seed"),
            _line("artifacts", _list(layout.artifacts), "what may leave it"),
        ]
    lines += [
        _line("serve", _list(layout.serve), "answers the scorer's queries: sees inputs, never labels"),
        _line("score", _list(layout.score), "trusted, in a sandbox of its own; asks and grades"),
        "",
        "# [metric.calibration]             # a second number of the same scorer, guarded",
        '# goal = "minimize"',
        f"# with = {quoted(layout.metric)}",
        '# margin = "5%"                    # what may be lost in total against the start',
        "",
    ]
    return "\n".join(lines)


def _measured(layout: Layout) -> str:
    return "\n".join(
        (
            _table(layout),
            f"goal = {quoted(layout.goal)}",
            _line("measure", '"cpu"', "or wall, memory, bytes, instructions: taken from outside"),
            'phase = "run"',
            _line("run", _list(layout.run), "in the sandbox; EVALKIT_SEED carries the seed"),
            _line("artifacts", _list(layout.artifacts), "what may leave it"),
            _line("score", _list(layout.score), "trusted: is the answer still right?"),
            "",
            "[metric.correct]                   # fast and wrong is no improvement",
            'goal = "maximize"',
            f"with = {quoted(layout.metric)}",
            _line("margin", "0.001", "less than one case in a thousand"),
            "",
        )
    )


def _reported(layout: Layout) -> str:
    return "\n".join(
        (
            "# The program prints this number itself, so a candidate can FORGE it, and every verdict will say so.",
            "# Close the hole: let `run` leave a model, and let a scorer of your own compute the number (see below).",
            _table(layout),
            f"goal = {quoted(layout.goal)}",
            _line("run", _list(layout.run), "in the sandbox; EVALKIT_SEED carries the seed"),
            f"report = {_expression(layout.report or '')}",
            '# artifacts = ["model.npz"]',
            '# serve = ["python", "predict.py"]   # answers the scorer\'s queries: sees inputs, never labels',
            '# score = ["python", "score.py"]     # trusted; then leave `report` out',
            "",
        )
    )


_METRICS = {"artifacts": _artifacts, "served": _served, "measured": _measured, "reported": _reported}


def _budget(layout: Layout) -> str:
    own = _line("wall", quoted(layout.wall), "each phase of a trial")
    rest = [_comment(row) for row in rows() if row.table == "[budget]" and row.constant and row.key != "wall"]
    return "\n".join(("[budget]", own, *rest, ""))


def _defaults(header: str, layout: Layout) -> str:
    """A table with its constant defaults, all of it commented out unless the layout sets something."""
    given = {"[splits]": ("vault", layout.vault), "[proposer]": ("instructions", layout.instructions)}
    key, value = given.get(header, ("", None))
    lines = [header if value else f"# {header}"]
    if value:
        lines.append(f"{key} = {quoted(value)}")
    elif header == "[splits]":
        lines.append('# vault = "vault"                  # dev/, confirm/ and sealed/: read by scorers alone')
    lines += [_comment(row) for row in rows() if row.table == header and row.constant]
    return "\n".join((*lines, ""))


def _comment(row: Row) -> str:
    return f"# {f'{row.key} = {row.default}':<{_WIDTH - 2}} # {row.why}"


def _table(layout: Layout) -> str:
    return f"[{dotted(('metric', layout.metric))}]"


def _line(key: str, value: str, comment: str) -> str:
    return f"{f'{key} = {value}':<{_WIDTH}} # {comment}"


def _expression(pattern: str) -> str:
    """A literal string, so that backslashes stay as people read them."""
    return quoted(pattern) if "'" in pattern else f"'{pattern}'"


def _list(items: tuple[str, ...]) -> str:
    return f"[{', '.join(map(quoted, items))}]"
