"""Rows of before live on: an explain run with one set of maps, through the migrations and back."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

BEFORE = ("mlcore", "0002_neighbours_and_matches")
AFTER = ("mlcore", "0005_one_set_a_method")


def migrate(*targets: tuple[str, str]):
    """The apps as they are after the migrations."""
    executor = MigrationExecutor(connection)
    executor.migrate(list(targets))
    return executor.loader.project_state(list(targets)).apps


@pytest.mark.django_db(transaction=True)
def test_a_runs_one_set_becomes_the_first_of_several_and_back() -> None:
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        old = migrate(BEFORE)
        images = old.get_model("mlcore", "ImageSet").objects.create(name="scenes", classes=["a", "b"])
        classifier = old.get_model("mlcore", "Classifier").objects.create(name="c", classes=["a", "b"])
        made = old.get_model("mlcore", "ExplanationSet").objects.create(
            classifier=classifier, image_set=images, method="grad_cam", code_version="1", hash="1"
        )
        runs = old.get_model("mlcore", "Run").objects
        explained = runs.create(
            name="maps", kind="explain", image_set=images, classifier=classifier, explanation_set=made,
            recipe={"method": "grad_cam", "layer": "features", "preset": "gradia"},
        )  # fmt: skip
        trained = runs.create(name="trained", kind="train", image_set=images)
        scores = old.get_model("mlcore", "Score").objects
        scores.create(run=trained, classifier=classifier, part="validation", metric="accuracy", value=0.5, n=2)

        new = migrate(AFTER)
        now = new.get_model("mlcore", "Run").objects
        assert [one.pk for one in now.get(pk=explained.pk).explanation_sets.all()] == [made.pk]
        assert not now.get(pk=trained.pk).explanation_sets.exists()
        score = new.get_model("mlcore", "Score").objects.get()
        assert (score.value, score.low, score.explanation_set) == (0.5, None, None)
        second = new.get_model("mlcore", "ExplanationSet").objects.create(
            classifier_id=classifier.pk, image_set_id=images.pk, method="lrp", code_version="1", hash="2"
        )
        now.get(pk=explained.pk).explanation_sets.add(second)

        back = migrate(BEFORE).get_model("mlcore", "Run").objects
        assert back.get(pk=explained.pk).explanation_set_id == made.pk
        assert back.get(pk=trained.pk).explanation_set_id is None
    finally:
        migrate(*newest)
