import pytest

from tests.annotation.admin.world import Loop, make_loop


@pytest.fixture
def loop(db) -> Loop:
    return make_loop()
