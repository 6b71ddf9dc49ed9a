"""For plain pytest: SARIF and a job summary of a suite's gates, beside pytest's own JUnit. A second, thin plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from evalkit.report.gating import Report
    from evalkit.suite.result import SuiteResult

__all__ = ["report_of"]

_OPTIONS = (("sarif", "write what the gates say as SARIF 2.1.0"), ("summary", "append a markdown summary of the gates"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where to write."""
    group = parser.getgroup("evalkit", "evals as tests")
    for name, text in _OPTIONS:
        group.addoption(f"--evalkit-{name}", metavar="FILE", default=None, help=text)


@pytest.hookimpl(optionalhook=True)
def pytest_evalkit_finished(config: pytest.Config, result: SuiteResult) -> None:
    """Every gate is decided."""
    sarif, summary = config.getoption("evalkit_sarif"), config.getoption("evalkit_summary")
    if not sarif and not summary:
        return
    import json  # noqa: PLC0415 - only suites that write these files pay for them

    from evalkit.report.jobsummary import markdown  # noqa: PLC0415
    from evalkit.report.sarif import sarif_document  # noqa: PLC0415

    report, folder = report_of(result), config.invocation_params.dir
    if sarif:
        (folder / sarif).write_text(json.dumps(sarif_document(report), indent=1) + "\n", encoding="utf-8")
    if summary:
        with (folder / summary).open("a", encoding="utf-8") as stream:
            stream.write(markdown(report))


def report_of(result: SuiteResult) -> Report:
    """A suite's result in the shape that every writer takes."""
    from evalkit.report.gating import Report, judged_suite  # noqa: PLC0415

    return Report("", "", tuple(judged_suite("suite", result.as_json())))
