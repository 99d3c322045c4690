"""Which sets of maps a cell is made from, and what is said to be missing."""

from typing import Any

import pytest

from mlcore.models import Classifier, Explanation, ExplanationSet, Prediction, Run
from mlcore.runs.pair_maps import both_maps, explain_runs, score_run, tuned_for, usual_way
from tests.mlcore.runs.maps import add_maps
from tests.mlcore.runs.world import World, make_classifier, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.fixture
def both(world: World) -> list[Classifier]:
    found = [make_classifier(world), make_classifier(world)]
    for one in found:
        Prediction.objects.bulk_create(
            Prediction(classifier=one, image=image, label=0, confidence=0.9) for image in world.part("test")
        )
    return found


def there(world: World, both: list[Classifier], **values: Any):
    return both_maps(*both, partition=world.partition, part="test", **{"method": "grad_cam"} | values)


def test_nothing_is_there_at_first(world, both):
    found = there(world, both)
    assert (found.original, found.tuned, found.images, found.complete) == (None, None, 6, False)
    assert (found.lacks_original, found.lacks_tuned) == (6, 6)


def test_sets_that_were_made_in_one_way_are_found_the_newest_of_the_fullest(world, both):
    images = world.part("test")
    older = [add_maps(one, images) for one in both]
    newer = [add_maps(one, images, layer="features.12") for one in both]
    add_maps(both[0], images, preset="other")  # of the original alone
    found = there(world, both)
    assert ([found.original, found.tuned], found.complete) == (newer, True)
    found = there(world, both, layer="features.12")
    assert [found.original, found.tuned] == newer
    Explanation.objects.filter(set=newer[1], image=images[0]).delete()
    assert [there(world, both).original, there(world, both).tuned] == older
    Prediction.objects.filter(classifier=both[1], image=images[1]).delete()
    assert (there(world, both).lacks_original, there(world, both).lacks_tuned) == (0, 1)


def test_maps_of_two_versions_of_the_code_do_not_go_together(world, both):
    images = world.part("test")
    first, second = (add_maps(one, images) for one in both)
    ExplanationSet.objects.filter(pk=second.pk).update(code_version="newer")
    found = there(world, both)
    assert (found.original, found.tuned, found.complete) == (None, None, False)
    assert (found.lacks_original, found.lacks_tuned) == (6, 6)  # both are needed in one way
    assert first.code_version != "newer"


def test_maps_of_the_predicted_class_do_not_count(world, both):
    for one in both:
        made = add_maps(one, world.part("test"))
        ExplanationSet.objects.filter(pk=made.pk).update(target="predicted")
    assert there(world, both).original is None


def test_runs_explain_the_true_class_of_the_part(world, both):
    both[0].transform, both[1].transform = {}, {"image_size": 48, "resize": "none", "normalise": "imagenet"}
    runs = explain_runs(*both, partition=world.partition, part="test", method="grad_cam", layer="features.12")
    assert [run.classifier for run in runs] == both
    for run in runs:
        assert (run.recipe["target"], run.recipe["part"], run.recipe["methods"]) == ("true", "test", ["grad_cam"])
        assert run.recipe["grad_cam.layer"] == "features.12"
        assert list(run.manifest) == ["test"]
        # As the copy was tuned, both of them: else their maps would not go together.
        assert (run.recipe["image_size"], run.recipe["resize"]) == (48, "none")
    (other, _) = explain_runs(*both, partition=world.partition, part="test", method="rise", options={"image_size": 32})
    assert other.recipe["image_size"] == 32


def test_both_sets_are_scored_by_the_plain_metric_once(world, both):
    first, second = (add_maps(one, world.part("test")) for one in both)
    run = score_run("rma", first, second, partition=world.partition, part="test")
    assert run is not None
    assert run.recipe["metrics"] == ["content_heat_map"]
    assert set(run.explanation_sets.all()) == {first, second}
    for one in (first, second):
        run.scores.create(
            classifier=one.classifier, explanation_set=one, part="test", metric="content_heat_map", per_image={}
        )
    assert score_run("rma", first, second, partition=world.partition, part="test") is None


def test_what_a_classifier_was_tuned_for_stands_in_its_run(world, both):
    assert (tuned_for(both[0]), usual_way(both[0])) == (None, ("grad_cam", ""))
    recipe = {"objective": "harmony", "metric": "road", "method": "lrp", "layer": "features.12"}
    both[1].run = Run.objects.create(name="tuning", kind="train", image_set=world.image_set, recipe=recipe)
    assert (tuned_for(both[1]), usual_way(both[1])) == ("road", ("lrp", "features.12"))
    both[1].run.recipe = {"objective": "gradia"}
    assert (tuned_for(both[1]), usual_way(both[1])) == (None, ("grad_cam", ""))
