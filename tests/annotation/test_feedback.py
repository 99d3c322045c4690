"""Answers become supervision (definitions §2): consensus, the table of weights, and the run that reads it."""

import uuid

import numpy as np
import pytest

from annotation.answers import submit
from annotation.drawings import read_palette
from annotation.errors import FeedbackRefused
from annotation.feedback import companions, make_supervision, phase2_recipe, start_phase2
from annotation.flow import enter_as, next_step
from annotation.models import Trial
from mlcore.exchange.matrix import weights_of
from mlcore.models import AuditEntry, ImageLabel, Partition, PartitionMember, Prediction, Run, SupervisionSet
from mlcore.runs.start import RunRefused
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db


def rate(person, reasonable: dict[int, bool]) -> None:
    while (step := next_step(person)).kind == "trial":
        page = step.assignment
        payload = make.rating(page, unnecessary=not reasonable[page.trial.image_id])
        submit(assignment=page, submission=uuid.uuid4(), payload=payload)


def draw(person, columns: dict[int, int]) -> None:
    while (step := next_step(person)).kind == "trial":
        number = columns[step.assignment.trial.image_id]
        payload, drawing = ({}, make.drawing(number)) if number else ({"nothing": True}, None)
        submit(assignment=step.assignment, submission=uuid.uuid4(), payload=payload, drawing=drawing)


@pytest.mark.parametrize(
    ("case", "has_map", "preset", "expected"),
    [
        ("unreasonable_inaccurate", True, "default", (1.0, 1.0)),
        ("unreasonable_accurate", True, "default", (0.4, 1.6)),
        ("reasonable_inaccurate", True, "default", (0.8, 0.2)),
        ("reasonable_accurate", True, "default", (1.0, 0.0)),
        ("not_rated", True, "default", (1.0, 1.0)),
        ("not_rated", True, "gradia", (1.0, 0.0)),
        ("unreasonable_accurate", True, "gradia", (0.4, 1.6)),
        ("unreasonable_inaccurate", False, "default", (1.0, 0.0)),
        ("unreasonable_accurate", False, "default", (1.0, 0.0)),
        ("reasonable_inaccurate", False, "default", (1.0, 0.0)),
        ("not_rated", False, "default", (1.0, 0.0)),
    ],
)
def test_the_table_of_weights(case, has_map, preset, expected):
    assert weights_of(case, has_map=has_map, preset=preset) == expected


@pytest.fixture
def pool():
    """Seven images of class 1; the classifier is wrong about the images 0 and 2."""
    images = make.images(7)
    explanations = make.explain(images, target=1)
    for image in (images[0], images[2]):
        Prediction.objects.filter(image=image).update(label=2)
    return images, explanations


def test_a_snapshot_by_hand(pool):
    images, explanations = pool
    ids = [image.pk for image in images]
    ratings = make.ratings(images=images[:6], explanation_sets=[explanations], k=None)
    drawings = make.drawings(images=[*images[:5], images[6]], k=None)
    #              0 unr. wrong  1 unr. right  2 reas. wrong  3 reas. right  4 tied        5 unr., no map
    rate(make.participant(ratings), dict(zip(ids, [False, False, True, True, True, False], strict=False)))
    rate(make.participant(ratings), dict(zip(ids, [False, False, True, True, False, False], strict=False)))
    columns = dict(zip([*ids[:5], ids[6]], [6, 6, 6, 6, 6, 6], strict=True))
    draw(make.participant(drawings), columns)
    draw(make.participant(drawings), {**columns, ids[0]: 3})
    found = make_supervision(
        name="first", owner=ratings.owner, ratings=[ratings], drawings=[drawings], classifier=explanations.classifier
    )
    told = {item.image_id: (item.case, bool(item.map), item.w_p, item.w_a) for item in found.items.all()}
    assert told == {
        ids[0]: ("unreasonable_inaccurate", True, 1.0, 1.0),
        ids[1]: ("unreasonable_accurate", True, 0.4, 1.6),
        ids[2]: ("reasonable_inaccurate", True, 0.8, 0.2),
        ids[3]: ("reasonable_accurate", True, 1.0, 0.0),
        ids[4]: ("not_rated", True, 1.0, 1.0),
        ids[5]: ("unreasonable_accurate", False, 1.0, 0.0),
        ids[6]: ("not_rated", True, 1.0, 1.0),
    }
    with found.items.get(image=images[0]).map.open("rb") as stream:
        values = read_palette(stream.read())
    assert (values[:, :3] == 1).all()  # both painted it
    assert (values[:, 3:6] == 0).all()  # one of two
    assert (values[:, 6:] == 2).all()  # neither
    assert found.participants == {"human": 4}
    assert found.source == ratings.uuid
    assert (found.spec["ratings"], found.spec["drawings"]) == ([str(ratings.uuid)], [str(drawings.uuid)])
    assert AuditEntry.objects.get(action="supervision.create").after["images"] == 7
    released = make_supervision(name="r", owner=None, ratings=[ratings], drawings=[drawings], preset="gradia")
    assert released.items.get(image=ids[6]).w_a == 0.0
    assert released.items.get(image=ids[1]).w_a == 1.6


def test_who_drew_nothing_does_not_vote_on_pixels_and_no_pixel_in_common_is_no_map():
    images = make.images(2)
    drawings = make.drawings(images=images, k=None)
    a, b = (image.pk for image in images)
    draw(make.participant(drawings), {a: 3, b: 0})
    draw(make.participant(drawings), {a: 0, b: 0})
    found = make_supervision(name="d", owner=None, drawings=[drawings])
    assert [(item.image_id, item.w_a) for item in found.items.all()] == [(a, 1.0)]
    left, right = make.drawing(6), make.png(np.pad(np.full((8, 6), 255, dtype=np.uint8), ((0, 0), (6, 0))))
    apart = make.drawings(images=images[:1], k=None)
    for picture in (left, right):
        page = next_step(make.participant(apart)).assignment
        submit(assignment=page, submission=uuid.uuid4(), payload={}, drawing=picture)
    found = make_supervision(name="e", owner=None, drawings=[apart])
    item = found.items.get()
    assert (bool(item.map), item.w_p, item.w_a, item.case) == (False, 1.0, 0.0, "not_rated")


def test_only_the_kinds_asked_for_and_only_main_trials_count(pool):
    images, explanations = pool
    ratings = make.ratings(images=images[:2], explanation_sets=[explanations], k=None)
    ids = [image.pk for image in images]
    rate(enter_as(ratings, "scripted-1", "simulated"), {ids[0]: False, ids[1]: False})
    with pytest.raises(FeedbackRefused) as refused:
        make_supervision(name="x", owner=None, ratings=[ratings])
    assert "human" in refused.value.errors["answers"]
    assert not SupervisionSet.objects.exists()
    Trial.objects.filter(image=images[1]).update(phase="practice")
    found = make_supervision(name="x", owner=None, ratings=[ratings], kinds=("human", "simulated"))
    assert found.participants == {"simulated": 1}
    assert [item.image_id for item in found.items.all()] == [ids[0]]


def test_ratings_of_another_classifier_do_not_count():
    images = make.images(1)
    sets = [make.explain(images), make.explain(images)]
    ratings = make.ratings(images=images, explanation_sets=sets)
    page = next_step(make.participant(ratings)).assignment
    payload = make.rating(page)
    payload["maps"][page.order.index(1)]["unnecessary"] = True
    submit(assignment=page, submission=uuid.uuid4(), payload=payload)
    cases = [
        make_supervision(name="x", owner=None, ratings=[ratings], classifier=item.classifier).items.get().case
        for item in sets
    ]
    assert cases == ["reasonable_accurate", "unreasonable_accurate"]
    with pytest.raises(FeedbackRefused, match="several classifiers"):
        make_supervision(name="x", owner=None, ratings=[ratings])
    with pytest.raises(FeedbackRefused, match="No map of"):
        make_supervision(name="x", owner=None, ratings=[ratings], classifier=make.ClassifierFactory())


def test_two_sets_of_one_classifier_have_to_be_told_apart():
    images = make.images(1)
    one = make.explain(images)
    two = make.explain(images, classifier=one.classifier, method="layer_cam", predict=False)
    ratings = make.ratings(images=images, explanation_sets=[one, two])
    rate(make.participant(ratings), {images[0].pk: True})
    with pytest.raises(FeedbackRefused) as refused:
        make_supervision(name="x", owner=None, ratings=[ratings])
    assert "explanation_set" in refused.value.errors
    assert make_supervision(name="x", owner=None, ratings=[ratings], explanation_set=two).items.count() == 1


def test_refusals_say_why(pool):
    images, explanations = pool
    ratings = make.ratings(images=images[:1], explanation_sets=[explanations])
    drawings = make.drawings(1)
    for values, field in (
        ({}, "studies"),
        ({"ratings": [drawings]}, "ratings"),
        ({"drawings": [ratings]}, "drawings"),
        ({"ratings": [ratings], "drawings": [drawings]}, "studies"),
        ({"ratings": [ratings], "preset": "other"}, "preset"),
        ({"ratings": [ratings], "kinds": ("robot",)}, "kinds"),
        ({"ratings": [ratings], "kinds": ()}, "kinds"),
    ):
        with pytest.raises(FeedbackRefused) as refused:
            make_supervision(name="x", owner=None, **values)
        assert field in refused.value.errors
    rate(make.participant(ratings), {images[0].pk: True})
    ImageLabel.objects.all().delete()
    with pytest.raises(FeedbackRefused) as refused:
        make_supervision(name="x", owner=None, ratings=[ratings])
    assert images[0].name in refused.value.errors["classifier"]


def partition_of(images, parts: list[str]) -> Partition:
    made = Partition.objects.create(image_set=images[0].image_set, name="cut")
    PartitionMember.objects.bulk_create(
        PartitionMember(partition=made, image=image, part=part) for image, part in zip(images, parts, strict=True)
    )
    return made


@pytest.fixture
def loop(pool):
    images, explanations = pool
    partition = partition_of(images, ["train", "train", *["annotation_pool"] * 3, "validation", "validation"])
    shown = images[2:5]
    owner = make.researcher()
    ratings = make.ratings(images=shown, explanation_sets=[explanations], owner=owner)
    drawings = make.drawings(images=shown, explanation_sets=[explanations], owner=owner)
    rate(make.participant(ratings), {image.pk: False for image in shown})
    draw(make.participant(drawings), {image.pk: 6 for image in shown})
    return ratings, drawings, partition, explanations.classifier


def test_phase_2_and_its_control_start_from_the_same_snapshot(loop):
    ratings, drawings, partition, classifier = loop
    assert companions(ratings) == [drawings]
    assert companions(drawings) == [ratings]
    run, control = start_phase2(
        ratings, ratings.owner, drawings=[drawings], partition=partition, seed=3, recipe={"epochs": 2}, enqueue=False
    )
    run.refresh_from_db()
    assert run.control == control
    assert run.recipe["objective"] == "gradia"
    assert (run.seed, control.seed, run.recipe["epochs"], control.recipe["epochs"]) == (3, 3, 2, 2)
    assert run.supervision == control.supervision
    assert run.manifest_hash == control.manifest_hash
    assert run.classifier == classifier
    assert run.supervision.items.count() == 3
    assert {item.w_a for item in run.supervision.items.all()} == {1.0, 1.6}
    assert len(run.manifest["annotation_pool"]) == 3


def test_phase_2_that_is_refused_leaves_nothing(loop):
    ratings, drawings, partition, _ = loop
    with pytest.raises(FeedbackRefused) as refused:
        start_phase2(ratings, None, drawings=[drawings], enqueue=False)
    assert "partition" in refused.value.errors
    with pytest.raises(RunRefused):
        start_phase2(ratings, None, partition=partition, recipe={"epochs": -1}, enqueue=False)
    assert not Run.objects.exists()
    assert not SupervisionSet.objects.exists()


def test_drawings_alone_teach_the_classifier_whose_images_were_chosen(loop):
    _, drawings, partition, classifier = loop
    run, _ = start_phase2(drawings, drawings.owner, partition=partition, enqueue=False)
    assert run.classifier == classifier
    assert {item.case for item in run.supervision.items.all()} == {"not_rated"}


def test_phase_2_repeats_phase_1_but_for_the_objective_and_the_test_part(loop):
    *_, partition, classifier = loop
    classifier.run = Run.objects.create(
        name="phase 1", kind="train", image_set=partition.image_set,
        recipe={"objective": "supervised", "epochs": 7, "evaluate_test": True, "select": "last"},
    )  # fmt: skip
    recipe = phase2_recipe(classifier, partition)
    assert (recipe["objective"], recipe["epochs"], recipe["evaluate_test"]) == ("gradia", 7, False)
    assert recipe["select"] == "best_accuracy"
    image = partition.members.filter(part="validation").first().image
    make.MaskFactory(image=image)
    assert phase2_recipe(classifier, partition)["select"] == "best_attention_iou"
