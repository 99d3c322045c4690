"""Runs on images with several labels, from COCO's JSON to the classifier: what is frozen, refused, and left behind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.core.management import call_command
from PIL import Image as Pictures

from mlcore.exchange.images import import_folder
from mlcore.models import (
    Box,
    Classifier,
    ExplanationSet,
    Image,
    ImageLabel,
    ImageSet,
    Partition,
    PartitionMember,
    Prediction,
    Run,
    RunMetric,
    Score,
)
from mlcore.runs import manifest as manifests
from mlcore.runs.control import repeat
from mlcore.runs.job import build
from mlcore.runs.manifest import entries_of, labels_of
from mlcore.runs.perform import perform
from mlcore.runs.start import RunRefused
from mlcore.runs.state import claim
from tests.mlcore.runs.station import Station, fresh, wait_for
from tests.mlcore.runs.world import SIZE, TINY, World, make_classifier, start

KINDS = ((0,), (1,), (2,), (0, 1), (1, 1, 2), (2, 0))  # the annotations of an image, by category
COUNTS = {"train": 24, "validation": 12, "test": 6}
SEVERAL = {"labels": "several", "epochs": 4, "batch_size": 8, "learning_rate": 3e-3}


def make_coco(folder: Path) -> Path:
    """Pictures with a coloured square for each annotation, and COCO's instances of them."""
    rng = np.random.default_rng(4)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "images").mkdir(parents=True)
    for part, count in COUNTS.items():
        for index in range(count):
            picture = rng.integers(60, 120, (SIZE, SIZE, 3), dtype=np.uint8)
            name, kind = f"{part}-{index:02d}.png", KINDS[index % len(KINDS)]
            images.append({"id": len(images) + 1, "file_name": name, "width": SIZE, "height": SIZE})
            for place, category in zip(rng.permutation(4).tolist(), kind, strict=False):
                left, top = place % 2 * 16 + 2, place // 2 * 16 + 3
                picture[top : top + 9, left : left + 9, category] = 250
                annotations.append({
                    "id": len(annotations) + 1, "image_id": len(images), "category_id": 10 * (category + 1),
                    "bbox": [left, top, 9, 9], "iscrowd": 0,
                })  # fmt: skip
            Pictures.fromarray(picture).save(folder / "images" / name)
    categories = [{"id": 10 * (one + 1), "name": name} for one, name in enumerate(("red", "green", "blue"))]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def take_in(folder: Path) -> World:
    path = make_coco(folder)
    report = import_folder(folder / "images", name="Squares", coco=path)
    assert report.problems == []
    image_set = ImageSet.objects.get()
    partition = Partition.objects.create(image_set=image_set, name="split")
    for image in image_set.images.order_by("pk"):
        PartitionMember.objects.create(partition=partition, image=image, part=image.name.split("-")[0])
    return World(image_set, partition)


@pytest.fixture
def squares(db, tmp_path) -> World:
    return take_in(tmp_path / "coco")


def refusal(world: World, **changes: Any) -> dict[str, str]:
    with pytest.raises(RunRefused) as caught:
        start(world, **changes)
    assert not Run.objects.exists()
    return caught.value.errors


def job_of(run: Run) -> dict[str, Any]:
    found = claim(run.uuid, "here:1")
    assert found is not None
    return build(run, found)


def test_the_manifest_keeps_each_annotations_category(squares) -> None:
    run = start(squares, recipe=SEVERAL)
    told = [label for _, _, label, _ in entries_of(run.manifest)]
    assert told[:6] == [list(kind) for kind in KINDS]
    Box.objects.all().delete()
    ImageLabel.objects.filter(index=0).delete()
    assert [label for _, _, label, _ in entries_of(Run.objects.get().manifest)] == told, "frozen"
    assert manifests.digest(Run.objects.get().manifest) == run.manifest_hash
    job = job_of(run)
    for item, kind in zip(job["parts"]["train"], KINDS, strict=False):
        assert (item["labels"], item["label"]) == (list(kind), kind[0])


def test_labels_without_boxes_and_boxes_without_labels_count(squares) -> None:
    first, second, third, fourth = squares.part("train")[2:6]
    first.boxes.all().delete()  # its label alone
    second.boxes.filter(category=1).delete()  # one of its labels has no box
    Box.objects.create(image=third, x0=0, y0=0, x1=4, y1=4, category=None)  # of which class?
    fourth.labels.filter(index=0).delete()  # its box of class 0 is an annotation all the same
    told = [label for _, _, label, _ in entries_of(start(squares, recipe=SEVERAL).manifest)]
    assert told[2:6] == [[2], [0, 1], [1, 1, 2], [2, 0]]


def test_a_box_without_a_class_is_of_the_images_only_one(squares) -> None:
    first = squares.part("train")[0]
    Box.objects.create(image=first, x0=0, y0=0, x1=4, y1=4, category=None)
    told = [label for _, _, label, _ in entries_of(start(squares, recipe=SEVERAL).manifest)]
    assert told[0] == [0, 0]


def test_older_manifests_and_runs_of_one_label_stay_as_they_were(squares) -> None:
    assert [labels_of(told) for told in (None, 3, [3, 3, 5])] == [[], [3], [3, 3, 5]]
    sentence = refusal(squares, recipe={"labels": "one"})["image_set"]
    assert sentence.startswith("18 images have no label, or several, where one is needed; the first is train-03.png.")
    assert "choose “Labels an image: several”" in sentence
    Image.objects.filter(labels__index__in=(1, 2)).exclude(labels__index=0).delete()
    ImageLabel.objects.exclude(index=0).delete()
    Box.objects.all().delete()
    told = [label for _, _, label, _ in entries_of(start(squares, recipe={"labels": "one"}).manifest)]
    assert set(told) == {0}


def test_images_without_a_label_are_refused_by_a_sentence(squares) -> None:
    bare = squares.part("validation")[1]
    bare.boxes.all().delete()
    bare.labels.all().delete()
    assert refusal(squares, recipe=SEVERAL)["image_set"] == "1 images have no label; the first is validation-01.png."
    ImageSet.objects.update(classes=["red", "green"])
    squares.image_set.refresh_from_db()
    ImageLabel.objects.create(image=bare, index=0)
    assert "outside the 2 classes" in refusal(squares, recipe=SEVERAL)["image_set"]


@pytest.mark.parametrize("objective", ["gradia", "res", "energy", "harmony"])
def test_other_objectives_are_refused(squares, objective) -> None:
    errors = refusal(squares, recipe=SEVERAL | {"objective": objective})
    assert "learns from one label an image; several are learned by Supervised or Grid" in errors["labels"]


def test_the_published_settings_are_the_defaults(squares) -> None:
    wish = {"objective": "grid", "labels": "several"}
    for name in ("epochs", "learning_rate", "batch_size"):
        wish[name] = None  # as if it had not been said
    recipe = start(squares, recipe=wish).recipe
    assert {name: recipe[name] for name in ("epochs", "learning_rate", "weight_decay", "optimizer", "momentum")} == {
        "epochs": 36, "learning_rate": 0.01, "weight_decay": 5e-4, "optimizer": "sgd", "momentum": 0.9,
    }  # fmt: skip
    assert {name: recipe[name] for name in ("grid_weight", "bce_weight", "schedule", "schedule_at", "select")} == {
        "grid_weight": 1.0, "bce_weight": 80.0, "schedule": "step", "schedule_at": "24,30", "select": "best_accuracy",
    }  # fmt: skip
    alone = start(squares, recipe=wish | {"grid_weight": 5, "epochs": 2}).recipe
    assert (alone["grid_weight"], alone["epochs"], alone["learning_rate"]) == (5.0, 2, 0.01)
    assert "not a list" not in str(refusal_of(squares, wish | {"schedule_at": "24"}))
    assert "no list of epochs" in refusal_of(squares, wish | {"schedule_at": "24;30"})["schedule_at"]
    assert "each stands after" in refusal_of(squares, wish | {"schedule_at": "30,24"})["schedule_at"]
    assert "nothing is learned" in refusal_of(squares, wish | {"bce_weight": 0})["bce_weight"]


def test_a_network_whose_scores_are_never_negative_is_refused(squares) -> None:
    errors = refusal(squares, recipe=SEVERAL | {"architecture": "squeezenet1_1"})
    assert "no class score is below 0" in errors["architecture"]
    former = make_classifier(squares)
    Classifier.objects.update(architecture="squeezenet1_0")
    former.refresh_from_db()
    assert "squeezenet1_0 ends in a ReLU" in refusal(squares, recipe=SEVERAL, classifier=former)["classifier"]
    assert start(squares, recipe={"labels": "several", "architecture": None}).recipe["architecture"] == "resnet18"


def refusal_of(world: World, recipe: dict[str, Any]) -> dict[str, str]:
    try:
        start(world, recipe=recipe)
    except RunRefused as refused:
        return refused.errors
    return {}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_from_cocos_json_to_maps_through_a_worker(tmp_path) -> None:
    """Import, train, evaluate and explain by command; a Celery worker and its child do the work."""
    path = make_coco(tmp_path / "coco")
    call_command("import_images", str(path.parent / "images"), "--name=Squares", f"--coco={path}")
    image_set = ImageSet.objects.get()
    partition = Partition.objects.create(image_set=image_set, name="split")
    for image in image_set.images.all():
        PartitionMember.objects.create(partition=partition, image=image, part=image.name.split("-")[0])
    here = Station(tmp_path, settings.BROKER_URL)
    try:
        options = TINY | SEVERAL | {"objective": "grid", "grid_weight": 1, "evaluate_test": "yes", "optimizer": "adam"}
        wish = [part for key, value in options.items() for part in ("--option", f"{key}={value}")]
        here.manage("train", "--image-set", "Squares", "--name", "squares", "--seed", "3", *wish)
        here.worker()
        run = Run.objects.get()
        done = wait_for(lambda: fresh(run).state in Run.ENDED and fresh(run))
        assert done.state == "succeeded", done.reason + done.log + here.said
    finally:
        here.end()
    assert "the epoch with the best mean average precision is kept" in done.log
    curve = RunMetric.objects.filter(run=run, part="validation", name="mean_average_precision").order_by("step")
    assert len(curve) == 4
    for part, count in (("validation", 12), ("test", 6)):
        score = Score.objects.get(run=run, part=part, metric="mean_average_precision")
        assert score.n == count
        assert score.value > 0.5
    assert Score.objects.get(run=run, part="validation", metric="mean_average_precision").value == max(
        point.value for point in curve
    )
    assert RunMetric.objects.filter(run=run, name="images_in_collage", value=8).count() == 12
    made = run.made_classifier
    assert made.transform["labels"] == "several"
    assert Prediction.objects.filter(classifier=made, confidence__gt=0, confidence__lt=1).count() == 18


@pytest.mark.slow
def test_its_classifier_is_evaluated_and_explained_as_it_was_taught(squares) -> None:
    """Nobody has to say again that images have several labels."""
    run = perform(start(squares, recipe=SEVERAL, seed=3).uuid, worker_name="here:1")
    assert run.state == Run.State.SUCCEEDED, run.reason
    made = run.made_classifier
    before = dict(Prediction.objects.filter(classifier=made).values_list("image__name", "confidence"))
    evaluated = start(squares, "evaluate", classifier=made, recipe={"part": "validation", "device": "cpu"})
    assert evaluated.recipe["labels"] == "several"
    assert perform(evaluated.uuid, worker_name="here:1").state == "succeeded"
    score = Score.objects.get(run=evaluated, metric="mean_average_precision")
    assert score.value == pytest.approx(Score.objects.get(run=run, metric="mean_average_precision").value, abs=1e-9)
    wish = {"part": "validation", "target": "true", "device": "cpu"}
    explained = start(squares, "explain", classifier=made, recipe=wish)
    assert perform(explained.uuid, worker_name="here:1").state == "succeeded"
    maps = ExplanationSet.objects.get().explanations.order_by("image__name")
    assert [one.target for one in maps] == [kind[0] for kind in KINDS] * 2
    wish = {"metrics": "content_heat_map", "part": "validation", "device": "cpu"}
    scored = start(squares, "score", recipe=wish, explanation_sets=list(ExplanationSet.objects.all()))
    assert perform(scored.uuid, worker_name="here:1").state == "succeeded"
    here, there = (Score.objects.get(run=one, metric="content_heat_map") for one in (scored, evaluated))
    assert (here.n, here.left_out) == (there.n, there.left_out)
    assert here.per_image == pytest.approx(there.per_image, abs=1e-5)
    after = dict(Prediction.objects.filter(classifier=made).values_list("image__name", "confidence"))
    assert after == pytest.approx(before, abs=1e-6)
    wish = {"objective": "harmony", "metric": "complexity", "max_steps": 2, "evaluate_steps": 2, "epochs": None}
    wish |= {"batch_size": None, "learning_rate": None}
    copied = perform(start(squares, recipe=wish, classifier=made).uuid, worker_name="here:1")
    assert copied.made_classifier.transform["labels"] == "several", "a tuned copy says what the original says"
    again = repeat(run, None, {"labels": "several", "epochs": 2}, enqueue=False)
    assert (again.recipe["labels"], again.manifest) == ("several", run.manifest)
