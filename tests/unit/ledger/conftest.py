from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Syncing is what these tests would spend their time on; processes that are killed sync as they always do."""
    with mock.patch("os.fsync"), mock.patch("os.fdatasync"):
        yield
