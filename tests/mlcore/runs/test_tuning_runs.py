"""Runs that tune a copy of a classifier for a metric: why they are refused, what their job says, what they leave."""

import pytest
from django.core.management import call_command

from mlcore.models import Classifier, Mask, Run, RunMetric, Score
from mlcore.runs.job import build
from mlcore.runs.perform import perform
from mlcore.runs.start import RunRefused, start_control
from mlcore.runs.state import claim
from tests.mlcore.runs.world import World, add_boxes, make_classifier, make_supervision, make_world, start

FOREIGN = ["Admiral", "Monarch", "Peacock"]


def tune(world: World, **changes) -> Run:
    changes.setdefault("classifier", make_classifier(world))
    recipe = {"objective": "harmony", "metric": "rma"} | changes.pop("recipe", {})
    return start(world, recipe=recipe, **changes)


def refusal(world: World, **changes) -> dict[str, str]:
    with pytest.raises(RunRefused) as caught:
        tune(world, **changes)
    assert not Run.objects.exists()
    return caught.value.errors


def job_of(run: Run) -> dict:
    found = claim(run.uuid, "here:1")
    assert found is not None
    return build(run, found)


def test_it_is_refused_by_its_field(world) -> None:
    assert "choose the classifier" in refusal(world, classifier=None)["classifier"]
    nameless = make_classifier(world, classes=[])
    assert "no list of classes" in refusal(world, classifier=nameless)["classifier"]
    swin = make_classifier(world)
    Classifier.objects.filter(pk=swin.pk).update(architecture="swin_t")
    swin.refresh_from_db()
    assert "attention in it" in refusal(world, classifier=swin, recipe={"method": "lrp"})["method"]
    assert "best score" in refusal(world, recipe={"select": "last"})["select"]
    assert (
        "no image of the part “train” has a box" in refusal(world, recipe={"object_source": "boxes"})["object_source"]
    )
    assert "choose whose" in refusal(world, recipe={"object_source": "maps"})["supervision"]
    supervision = make_supervision(world)
    assert "asks nothing of people's maps" in refusal(world, supervision=supervision)["supervision"]


def test_without_a_validation_part_nothing_can_be_chosen(db) -> None:
    world = make_world(counts={"train": 4, "test": 4})
    assert "“validation” of “split” holds no images" in refusal(world)["partition"]


def test_the_job_says_where_the_objects_are(world) -> None:
    run = tune(world, recipe={"evaluate_test": True})
    lost = world.part("test")[0]
    lost.masks.all().delete()
    job = job_of(run)
    for part in ("train", "validation", "test"):
        for image, item in zip(world.part(part), job["parts"][part], strict=True):
            mask = image.masks.first()
            assert item.get("map") == (mask.file.path if mask else None)
            assert item.get("w_a", 0) == 0
    assert job["classifier"]["replace_head"] is False
    assert job["parts"]["train"][0]["label"] is not None
    plain = job_of(tune(world, recipe={"metric": "focus"}))
    assert all(item.get("map") is None for items in plain["parts"].values() for item in items)


def test_boxes_and_peoples_maps_are_sources_too(world) -> None:
    add_boxes([*world.part("train"), *world.part("validation")])
    boxed = job_of(tune(world, recipe={"object_source": "boxes"}))
    for part in ("train", "validation"):
        assert all(item["boxes"] == [[4, 4, 20, 24]] for item in boxed["parts"][part])
    supervision = make_supervision(world, w_a=0.0)
    drawn = job_of(tune(world, supervision=supervision, recipe={"object_source": "maps"}))
    assert [item["map"] for item in drawn["parts"]["annotation_pool"]] == [
        item.map.path for item in supervision.items.order_by("image")
    ]
    assert drawn["parts"]["train"] == []
    assert all(item["map"] == item["truth"] for item in drawn["parts"]["validation"])  # by the masks


def test_images_without_an_object_are_left_out_and_said(world) -> None:
    Mask.objects.filter(image__in=[*world.part("train")[:3], world.part("validation")[0]]).delete()
    run = tune(world, recipe={"evaluate_test": True})
    assert {part: len(entries) for part, entries in run.manifest.items()} == {"train": 9, "validation": 5, "test": 6}
    assert "3 images of the part “train” are left out: without a mask" in run.log
    assert "1 image of the part “validation” is left out" in run.log
    assert len(tune(world, recipe={"metric": "focus"}).manifest["train"]) == 12


def test_a_classifier_of_other_classes_keeps_its_head(world) -> None:
    classifier = make_classifier(world, classes=FOREIGN)
    run = tune(world, classifier=classifier)
    job = job_of(run)
    assert (job["classifier"]["num_classes"], job["classifier"]["replace_head"], job["classes"]) == (3, False, FOREIGN)
    assert all(item["label"] is None for items in job["parts"].values() for item in items)
    assert "keeps its own 3 classes" in run.log


def test_it_has_no_control(world) -> None:
    with pytest.raises(RunRefused, match="no attention term"):
        start_control(tune(world))


@pytest.mark.slow
def test_a_tuned_copy_has_the_originals_classes_and_the_gain_is_in_its_scores(world, reference) -> None:
    """From the command line; nothing but the objective and the metric is said of how it is chosen."""
    classifier = make_classifier(world, classes=["A", "B"], weights=reference)
    call_command(
        "train", "--image-set", "scenes", "--classifier", str(classifier.uuid), "--name", "tuned", "--wait",
        "--option", "objective=harmony", "--option", "metric=rma", "--option", "max_steps=4",
        "--option", "evaluate_steps=2", "--option", "device=cpu", "--option", "evaluate_test=yes",
    )  # fmt: skip
    run = Run.objects.get()
    assert run.state == Run.State.SUCCEEDED, run.reason
    assert (run.recipe["learning_rate"], run.recipe["flip"], run.recipe["select"]) == (3e-6, False, "best_score")
    made = run.made_classifier
    assert (made.classes, made.parent, made.architecture) == (["A", "B"], classifier, "sixconv")
    for part, count in (("validation", 6), ("test", 6)):
        scores = {score.metric: score for score in Score.objects.filter(run=run, part=part)}
        before, after = scores["harmony_score_before"], scores["harmony_score"]
        assert (before.n, after.n, scores["harmony_agreement"].value) == (count, count, 1.0)
        assert after.low <= after.value <= after.high
        assert set(after.per_image) == {str(image.uuid) for image in world.part(part)}
        assert run.result["summary"][part]["harmony_gain"] == pytest.approx(after.value - before.value)
        assert "accuracy" not in scores
    curves = RunMetric.objects.filter(run=run, part="validation")
    assert list(curves.filter(name="score").values_list("step", flat=True)) == [0, 2, 4]
    assert list(curves.filter(name="agreement").values_list("step", flat=True)) == [0, 2, 4]


@pytest.mark.slow
def test_a_run_whose_copy_does_not_agree_fails_with_one_line(world, reference) -> None:
    classifier = make_classifier(world, weights=reference)
    run = tune(
        world, classifier=classifier,
        recipe={"max_steps": 4, "evaluate_steps": 2, "learning_rate": 10.0, "optimizer": "sgd", "term_weight": 100.0},
    )  # fmt: skip
    run = perform(run.uuid, worker_name="here:1")
    assert run.state == Run.State.FAILED
    assert "No measurement agreed with the original" in run.reason
    assert not Classifier.objects.filter(run=run).exists()
