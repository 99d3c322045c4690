"""What every test may rely on: files in a folder of its own, and the test data where it is present."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_files(tmp_path: Path, settings) -> None:
    """Media, runs, features and the embedded queue live below the test's own folder."""
    storages = {name: dict(value) for name, value in settings.STORAGES.items()}
    storages["default"] = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "media"), "base_url": None},
    }
    settings.STORAGES = storages
    settings.MEDIA_ROOT = str(tmp_path / "media")
    settings.RUNS_DIR = tmp_path / "runs"
    settings.GALLERIES_DIR = tmp_path / "galleries"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images, weights and answers; tests that ask for it skip where it is absent."""
    folder = os.environ.get("HARMONY_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HARMONY_TEST_DATA does not name a folder with the test data")
    return Path(folder)
