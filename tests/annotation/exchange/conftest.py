"""A published study of two cells, and a second installation for it."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from django.apps import apps

from annotation.models import Study
from annotation.pair_studies import create_pair_study
from annotation.publishing import TrialItem, add_trials, publish
from annotation.study_pictures import add_picture
from tests.annotation import factories as make
from tests.annotation.pairs import Cells, make_cells


@pytest.fixture
def cells() -> Cells:
    return make_cells()


@pytest.fixture
def study(cells) -> Study:
    made = create_pair_study(cells.pair_sets, name="Two cells", owner=cells.owner, answers_per_trial=2)
    add_trials(made, cells.owner, "practice", [TrialItem(cells.images[-1], gold={"choice": "second"}, feedback="So.")])
    add_picture(made, cells.owner, io.BytesIO(make.drawing()), "a-map")
    return publish(made, cells.owner)


@pytest.fixture
def elsewhere(settings, tmp_path) -> Callable[[], Path]:
    """Makes the test's installation an empty one with a media folder of its own."""

    def empty() -> Path:
        for label in ("annotation", "mlcore"):
            for model in apps.get_app_config(label).get_models(include_auto_created=True):
                model._base_manager.all()._raw_delete("default")
        folder = tmp_path / f"media-{len(list(tmp_path.glob('media-*')))}"
        storages = {name: dict(value) for name, value in settings.STORAGES.items()}
        storages["default"]["OPTIONS"] = {"location": str(folder), "base_url": None}
        settings.STORAGES, settings.MEDIA_ROOT = storages, str(folder)
        return folder

    return empty
