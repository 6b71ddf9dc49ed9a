"""Hooks that other plugins may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from evalkit.suite.result import SuiteResult

__all__ = ["pytest_evalkit_finished"]


@pytest.hookspec
def pytest_evalkit_finished(config: pytest.Config, result: SuiteResult) -> None:
    """Every gate is decided; called once, in the controller, before the terminal's summary."""
