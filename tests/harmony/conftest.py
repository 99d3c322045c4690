"""Languages do not go from one test to the next."""

from collections.abc import Iterator

import pytest
from django.utils import translation


@pytest.fixture(autouse=True)
def _own_language() -> Iterator[None]:
    """A request leaves its language behind in the thread; the tests after it begin in English."""
    with translation.override("en"):
        yield
