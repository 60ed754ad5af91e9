from __future__ import annotations

from collections.abc import Iterator

import pytest

from equipment.ports import VacantPort


@pytest.fixture
def vacant() -> Iterator[VacantPort]:
    """A port on which nobody listens for as long as the test lasts."""
    vacant = VacantPort()
    yield vacant
    vacant.release()
