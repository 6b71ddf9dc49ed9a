"""Engines for this folder's tests."""

import pytest

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox.testing import open_for_test

LOCAL = ("bubblewrap", "landlock", "process")


@pytest.fixture(scope="session")
def engines():
    """Opened once for the whole session, by name; a missing one is remembered with its reason."""
    opened = {}
    yield opened
    for sandbox in opened.values():
        if not isinstance(sandbox, str):
            sandbox.close()


def _engine(engines, name):
    if name not in engines:
        try:
            engines[name] = open_for_test(name)
        except SandboxUnavailable as error:
            engines[name] = error.message
    if isinstance(engines[name], str):
        pytest.skip(engines[name])
    return engines[name]


@pytest.fixture(params=LOCAL)
def sandbox(request, engines):
    return _engine(engines, request.param)


@pytest.fixture
def bubblewrap(engines):
    return _engine(engines, "bubblewrap")
