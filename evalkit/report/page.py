"""The page of a run: one HTML file that needs nothing else, to pass on.

What candidates wrote is on it, so it is hostile: everything is escaped by default, what can't be seen is written out
(:mod:`evalkit.report.page_text`), and a content security policy that names the hashes of its one style sheet and its
one script forbids everything else, the network included.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit import __version__
from evalkit.contract import Contract
from evalkit.errors import UsageError
from evalkit.ledger import Ledger
from evalkit.report.page_chart import NARROW, WIDE, chart
from evalkit.report.page_data import read_run
from evalkit.report.page_overview import overview
from evalkit.report.page_rows import rows_of
from evalkit.report.page_text import visible

if TYPE_CHECKING:
    from jinja2 import Template

    from evalkit.workspace import Store

__all__ = ["page_html", "write_page"]


def write_page(contract: Contract, ledger: Ledger, store: Store | None, target: Path) -> None:
    """Write the page of a run; where there is one already it is replaced as a whole.

    Args:
        contract: in force.
        ledger: open for reading.
        store: where the run's trees are; None leaves the diffs out.
        target: the file.

    Raises:
        UsageError: ``target`` can't be written.
        LedgerCorrupt: a record is not what was written.
    """
    text = page_html(contract, ledger, store)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"{visible(str(target))} can't be written: {error.strerror}", "name a file in a folder of yours with --out"
        ) from error


def page_html(contract: Contract, ledger: Ledger, store: Store | None) -> str:
    """The page as text. See :func:`write_page`."""
    run = read_run(contract, ledger)
    style, script = _asset("page.css"), _asset("page.js")
    return _template().render(
        run=run,
        over=overview(run, contract),
        charts=[chart(run, frame) for frame in (WIDE, NARROW)] if run.experiments else [],
        rows=rows_of(run, store),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        version=__version__,
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - 40 ms, needed only for a page

    environment = Environment(
        loader=PackageLoader("evalkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _finalize(value: Any) -> Any:
    """Every expression of the template goes through here, so that none can be forgotten."""
    return visible(value) if type(value) is str else value


def _asset(name: str) -> Any:
    """Our own style sheet and script: the only texts that are not escaped."""
    from markupsafe import Markup  # noqa: PLC0415 - comes with jinja2

    return Markup(files("evalkit.report").joinpath("templates", name).read_text(encoding="utf-8"))  # noqa: S704


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
