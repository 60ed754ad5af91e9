from __future__ import annotations

from collections.abc import Iterator

import pytest

from test_client.scripts import Vacant


@pytest.fixture
def vacant() -> Iterator[Vacant]:
    """A port on which nobody listens for as long as the test lasts."""
    vacant = Vacant()
    yield vacant
    vacant.release()
