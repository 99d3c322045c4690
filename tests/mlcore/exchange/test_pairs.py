"""Which images a cell of attribution pairs takes, by hand; and what is refused."""

import uuid
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from mlcore.exchange.pairs import Cell, PairsRefused, make_pairs
from mlcore.models import (
    AuditEntry,
    Explanation,
    ExplanationSet,
    Image,
    PairSet,
    Partition,
    PartitionMember,
    Prediction,
    Run,
    Score,
)
from tests.annotation.factories import ClassifierFactory, ImageFactory, ImageSetFactory, explain

pytestmark = pytest.mark.django_db


@pytest.fixture
def images() -> list[Image]:
    image_set = ImageSetFactory()
    return [ImageFactory(image_set=image_set, label=1) for _ in range(8)]


@pytest.fixture
def partition(images: list[Image]) -> Partition:
    made = Partition.objects.create(image_set=images[0].image_set, name="split")
    # The part's own order, which is not that of the images' keys.
    PartitionMember.objects.bulk_create(
        PartitionMember(partition=made, image=image, part="test") for image in reversed(images)
    )
    return made


def maps(images: list[Image], **values: Any) -> ExplanationSet:
    made = explain(images, **values)
    ExplanationSet.objects.filter(pk=made.pk).update(target="true")
    made.refresh_from_db()
    return made


def pictures(pair_set: PairSet) -> list[int]:
    return list(pair_set.pairs.values_list("image", flat=True))


def test_both_right_both_maps_sound_in_the_order_of_the_part(images, partition):
    original, tuned = maps(images), maps(images)
    order = [image.pk for image in reversed(images)]
    wrong = Prediction.objects.filter(classifier=original.classifier, image=order[0])
    wrong.update(label=2)
    Prediction.objects.filter(classifier=tuned.classifier, image=order[2]).update(label=0)
    Explanation.objects.filter(set=tuned, image=order[3]).update(status="constant")
    Explanation.objects.filter(set=original, image=order[5]).delete()
    (made,) = make_pairs([Cell("focus", original, tuned)], partition=partition, n=3)
    assert pictures(made) == [order[1], order[4], order[6]]
    assert made.spec["left_out"] == {
        "no map of the original classifier": 1,
        "the original classifier is wrong": 1,
        "the tuned classifier is wrong": 1,
        "the tuned classifier's map is constant": 1,
    }
    assert (made.spec["wanted"], made.spec["pairs"], made.spec["images"]) == (3, 3, 8)
    assert made.agreement == 6 / 8
    assert [(pair.original.set, pair.tuned.set) for pair in made.pairs.all()] == [(original, tuned)] * 3
    assert AuditEntry.objects.get(object_id=str(made.uuid)).after == {"metric": "focus", "pairs": 3}


def test_cells_made_together_take_disjoint_images_one_after_another(images, partition):
    original, first, second = maps(images), maps(images), maps(images)
    order = [image.pk for image in reversed(images)]
    Prediction.objects.filter(classifier=first.classifier, image=order[1]).update(label=0)
    cells = [Cell("focus", original, first), Cell("rma", original, second)]
    one, two = make_pairs(cells, partition=partition, n=4)
    assert pictures(one) == [order[0], order[2], order[3], order[4]]
    # What the first cell could not use comes last, so that it is taken only where images are few.
    assert pictures(two) == [order[5], order[6], order[7], order[1]]
    assert two.spec["left_out"] == {"shown in another cell": 4}


def test_fewer_than_wanted_is_said(images, partition):
    (made,) = make_pairs([Cell("road", maps(images), maps(images))], partition=partition)
    assert (made.spec["wanted"], made.spec["pairs"]) == (200, 8)


def test_a_cell_without_images_is_refused_and_nothing_is_written(images, partition):
    original, first, second = maps(images), maps(images), maps(images)
    with pytest.raises(PairsRefused, match=r"8: shown in another cell.*fewer pairs"):
        make_pairs([Cell("focus", original, first), Cell("rma", original, second)], partition=partition, n=8)
    assert not PairSet.objects.exists()


def test_images_that_the_tuning_saw_never_enter(images, partition):
    original, tuned = maps(images), maps(images)
    seen = {"validation": [[str(images[-1].uuid), 1, "x"]], "test": [[str(images[-2].uuid), 1, "x"]]}
    run = Run.objects.create(
        name="tuning", kind="train", image_set=images[0].image_set, manifest=seen, state="succeeded",
        ended=timezone.now(),
    )  # fmt: skip
    tuned.classifier.run = run
    tuned.classifier.save()
    (made,) = make_pairs([Cell("focus", original, tuned)], partition=partition)
    assert len(pictures(made)) == 7
    assert images[-1].pk not in pictures(made)
    assert made.spec["left_out"] == {"trained or selected the tuned classifier": 1}


def scored(judged: ExplanationSet, values: dict[str, float], run: Run, part: str = "test") -> None:
    Score.objects.create(
        run=run, classifier=judged.classifier, explanation_set=judged, part=part, metric="content_heat_map",
        value=float(np.mean(list(values.values()))), n=len(values), per_image=values,
    )  # fmt: skip


def score_run(images: list[Image], **values: Any) -> Run:
    return Run.objects.create(
        name="scores", kind="score", image_set=images[0].image_set, state="succeeded", ended=timezone.now(), **values
    )


def test_values_before_and_after_are_the_plain_metrics_of_both(images, partition):
    original, tuned = maps(images), maps(images)
    first, second = str(images[-1].uuid), str(images[-2].uuid)
    run = score_run(images)
    scored(original, {first: 0.25, second: 0.5}, run)
    scored(tuned, {first: 0.75}, run)
    # Measured otherwise, and of the tuned maps alone: no before to compare it with.
    scored(tuned, {first: 0.99}, score_run(images, recipe={"content_heat_map.other": 2}))
    (made,) = make_pairs([Cell("rma", original, tuned)], partition=partition)
    values = list(made.pairs.values_list("before", "after"))
    assert values[:3] == [(0.25, 0.75), (0.5, None), (None, None)]
    assert made.spec["scores"] == {"metric": "content_heat_map", "runs": [str(run.uuid)]}


def test_values_of_another_metric_are_not_taken(images, partition):
    original, tuned = maps(images), maps(images)
    run = score_run(images)
    for one in (original, tuned):
        scored(one, {str(images[-1].uuid): 0.25}, run)
    (made,) = make_pairs([Cell("focus", original, tuned)], partition=partition)
    assert set(made.pairs.values_list("before", "after")) == {(None, None)}
    assert made.spec["scores"] is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": "rise"}, "differ in method"),
        ({"layer": "other"}, "differ in layer"),
        ({"options": {"masks": 3}}, "differ in options"),
        ({"code_version": "2"}, "different versions of the method"),
        ({"target": "predicted"}, "explains the predicted class"),
    ],
)
def test_maps_that_differ_by_more_than_the_tuning_are_refused(images, partition, change, sentence):
    original, tuned = maps(images), maps(images)
    ExplanationSet.objects.filter(pk=tuned.pk).update(**change)
    tuned.refresh_from_db()
    with pytest.raises(PairsRefused, match=sentence):
        make_pairs([Cell("focus", original, tuned)], partition=partition)


def test_other_refusals(images, partition):
    original, tuned = maps(images), maps(images)
    elsewhere = maps([ImageFactory(label=1)])
    same = maps(images, classifier=original.classifier, predict=False)
    stranger = maps(images, classifier=ClassifierFactory(classes=["a", "b", "c"]))
    empty = Partition.objects.create(image_set=images[0].image_set, name=uuid.uuid4().hex)
    for cell, sentence in (
        (Cell("sharpness", original, tuned), "no metric to tune for"),
        (Cell("focus", original, same), "needs two classifiers"),
        (Cell("focus", original, elsewhere), "explains other images"),
        (Cell("focus", original, stranger), "knows other classes"),
    ):
        with pytest.raises(PairsRefused, match=sentence):
            make_pairs([cell], partition=partition)
    good = [Cell("focus", original, tuned)]
    for arguments, sentence in (
        ({"partition": empty}, "holds no images"),
        ({"partition": partition, "part": "tset"}, "no part"),
        ({"partition": partition, "n": 0}, "at least one"),
    ):
        with pytest.raises(PairsRefused, match=sentence):
            make_pairs(good, **arguments)
    with pytest.raises(PairsRefused, match="Choose what is compared"):
        make_pairs([], partition=partition)
