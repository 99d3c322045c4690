import pytest

from mlcore.models import Classifier
from tests.annotation.admin.world import Loop, make_loop, owned_world
from tests.annotation.factories import researcher
from tests.mlcore.runs.world import World, make_classifier


@pytest.fixture
def loop(db) -> Loop:
    return make_loop()


@pytest.fixture
def rita(client, db):
    """A researcher, signed in."""
    made = researcher()
    client.force_login(made)
    return made


@pytest.fixture
def world(rita) -> World:
    """Images and a partition of hers."""
    return owned_world(rita)


@pytest.fixture
def classifier(world, rita) -> Classifier:
    """A classifier of hers, trained on them."""
    made = make_classifier(world)
    made.owner = rita
    made.save()
    return made
