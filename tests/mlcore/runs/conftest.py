import pytest

from mlcore.models import Classifier, Run
from mlcore.runs.perform import perform
from tests.mlcore.runs.world import REFERENCE, World, make_world, start, weights_of


@pytest.fixture(autouse=True)
def _folders(tmp_path, settings):
    """Files of a test stay in its own folder; limits are those of an impatient machine."""
    settings.MEDIA_ROOT = str(tmp_path / "media")
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": settings.MEDIA_ROOT, "base_url": None},
        }
    }
    settings.RUNS_DIR = tmp_path / "runs"
    settings.RUN_WRITE_SECONDS = 0.05
    settings.RUN_BEAT_SECONDS = 0.1


@pytest.fixture
def world(db) -> World:
    return make_world()


@pytest.fixture
def reference(world) -> bytes:
    """The weights of an uninterrupted run with seed 3, trained once for all tests here."""
    if not REFERENCE:
        run = perform(start(world, seed=3).uuid, worker_name="here:1")
        assert run.state == "succeeded", run.reason + run.log
        REFERENCE.append(weights_of(run))
        Run.objects.all().delete()
        Classifier.objects.all().delete()
    return REFERENCE[0]
