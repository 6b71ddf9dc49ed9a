"""Every case on every engine that this machine has; ``EVALKIT_REQUIRE=bwrap,docker`` makes a missing one a failure."""

import pytest

from evalkit.errors import SandboxUnavailable
from evalkit.sandbox.redteam.arena import Arena
from evalkit.sandbox.testing import open_for_test, private_docker, required


@pytest.fixture(scope="session")
def arena():
    with Arena() as arena:
        yield arena


@pytest.fixture(scope="session")
def docker_daemon():
    try:
        with private_docker():
            yield ""
    except SandboxUnavailable as error:
        if required("docker"):
            raise
        yield error.message


@pytest.fixture(scope="session")
def engine(request):
    name = request.param
    if name.startswith("docker") and (reason := request.getfixturevalue("docker_daemon")):
        pytest.skip(reason)
    try:
        sandbox = open_for_test(name)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    yield sandbox
    sandbox.close()
