"""The kind is known as long as a test runs."""

from collections.abc import Iterator
from typing import Any

import pytest

from annotation.studies import register, unregister
from tests.annotation.fifth_kind import TEMPLATES, Caption


@pytest.fixture
def caption(settings: Any) -> Iterator[Caption]:
    """A fifth kind: registered, with its own folder of templates beside the application's."""
    engine = dict(settings.TEMPLATES[0])
    settings.TEMPLATES = [engine | {"DIRS": [*engine["DIRS"], TEMPLATES]}]
    kind = Caption()
    register(kind)
    yield kind
    unregister(kind.name)
