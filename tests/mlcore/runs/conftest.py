import pytest

from tests.mlcore.runs.world import World, make_world


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
