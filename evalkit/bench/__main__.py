"""``python -m evalkit.bench NAME [--quick] [--out FOLDER]``."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import click

_NAMES = ("spine", "sandbox", "stats", "overlap", "guards", "suite", "watch")


def _row(figure: dict[str, Any]) -> str:
    mark = {True: "ok", False: "SHORT", None: ""}[figure["ok"]]
    value = figure["value"]
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    columns = f"{figure['name'][:64]:64} {shown:>12} {figure['unit']:<10} {figure['target']!s:>14}"
    return f"{columns} {mark:6} {figure['detail']}"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(_NAMES))
@click.option("--quick", is_flag=True, help="Fewer repeats: a look, not a claim.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/bench"), show_default=True)
def bench(names: tuple[str, ...], quick: bool, out: Path) -> None:
    """Measure what the project claims; a figure that falls short says so and does not fail the command."""
    from evalkit.measure.environment import fingerprint  # noqa: PLC0415 - after the help page

    out.mkdir(parents=True, exist_ok=True)
    for name in names or _NAMES:
        figures = import_module(f"evalkit.bench.{name}").figures(quick=quick)
        click.echo(f"\n{name}\n{'-' * len(name)}")
        for figure in figures:
            click.echo(_row(figure))
        document = {"schema": 1, "environment": fingerprint().as_json(), "quick": quick, "figures": figures}
        (out / f"{name}.json").write_text(json.dumps(document, indent=1, default=float) + "\n")


if __name__ == "__main__":
    bench()
