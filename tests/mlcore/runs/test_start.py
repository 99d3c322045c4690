"""What a run is made of, and every reason for which it is refused."""

import hashlib
import json

import pytest

from mlcore.models import AuditEntry, ImageLabel, ImageSet, Mask, Partition, PartitionMember, Run, SupervisionItem
from mlcore.runs.start import RunRefused, start_control
from tests.mlcore.runs.world import World, add_boxes, make_classifier, make_supervision, make_world, start


def refusal(world: World, kind: str = "train", **changes) -> dict[str, str]:
    with pytest.raises(RunRefused) as caught:
        start(world, kind, **changes)
    assert not Run.objects.exists()
    return caught.value.errors


def test_the_manifest_is_frozen_and_hashed(world) -> None:
    run = start(world, seed=7)
    assert {part: len(entries) for part, entries in run.manifest.items()} == {"train": 12, "validation": 6}
    first = world.part("train")[0]
    assert run.manifest["train"][0] == [str(first.uuid), first.labels.get().index, first.sha256]
    canonical = json.dumps(run.manifest, sort_keys=True, separators=(",", ":")).encode()
    assert run.manifest_hash == hashlib.sha256(canonical).hexdigest()
    assert (run.state, run.seed, run.recipe["epochs"], run.recipe["flip"]) == ("queued", 7, 2, True)
    assert AuditEntry.objects.get(action="run.start").after["images"] == {"train": 12, "validation": 6}
    assert start(world, seed=8).manifest_hash == run.manifest_hash


def test_supervised_images_of_the_pool_join_the_training(world) -> None:
    supervision = make_supervision(world)
    supervision.items.last().delete()
    run = start(world, supervision=supervision, recipe={"objective": "gradia"})
    chosen = [str(item.image.uuid) for item in supervision.items.order_by("image")]
    assert [entry[0] for entry in run.manifest["annotation_pool"]] == chosen
    assert len(chosen) == 3


def test_a_look_at_the_test_part_is_on_record(world) -> None:
    start(world)
    assert not AuditEntry.objects.filter(action="run.look_at_test").exists()
    run = start(world, recipe={"evaluate_test": True})
    assert len(run.manifest["test"]) == 6
    assert AuditEntry.objects.get(action="run.look_at_test").object_id == str(run.uuid)
    assert "looks at the test part" in run.log


def test_a_classifier_keeps_its_own_way_of_reading_images(world) -> None:
    classifier = make_classifier(world)
    run = start(world, "explain", classifier=classifier)
    assert (run.recipe["image_size"], run.recipe["resize"], run.recipe["normalise"]) == (32, "none", "imagenet")
    assert start(world, "explain", classifier=classifier, recipe={"image_size": 64}).recipe["image_size"] == 64


def test_explaining_all_images_needs_no_partition(world) -> None:
    run = start(world, "explain", classifier=make_classifier(world), partition=None, recipe={"part": "all"})
    assert {part: len(entries) for part, entries in run.manifest.items()} == {"all": 28}


def test_a_control_differs_in_the_attention_alone(world) -> None:
    recipe = {"objective": "gradia", "attention_weight": 3.0, "select": "best_attention_iou"}
    run = start(world, supervision=make_supervision(world), seed=5, recipe=recipe)
    control = start_control(run, enqueue=False)
    run.refresh_from_db()
    assert run.control == control
    assert (control.manifest_hash, control.seed, control.supervision) == (run.manifest_hash, 5, run.supervision)
    assert control.recipe["objective"] == "supervised"
    same = set(control.recipe) - {"objective"}
    assert {key: control.recipe[key] for key in same} == {key: run.recipe[key] for key in same}
    assert start_control(run) == control
    with pytest.raises(RunRefused, match="no attention term"):
        start_control(control)


def test_the_message_is_sent_once_the_row_can_be_seen(world, monkeypatch, django_capture_on_commit_callbacks) -> None:
    sent = []
    monkeypatch.setattr("mlcore.runs.queue.current_app.send_task", lambda name, **how: sent.append((name, how["args"])))
    with django_capture_on_commit_callbacks(execute=True):
        run = start(world, enqueue=True)
        assert sent == []
    assert sent == [("mlcore.tasks.perform_run", [str(run.uuid)])]


def test_a_broker_that_is_down_loses_no_run(world, monkeypatch, django_capture_on_commit_callbacks) -> None:
    def refuse(*args, **kwargs) -> None:
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr("mlcore.runs.queue.current_app.send_task", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        run = start(world, enqueue=True)
    assert Run.objects.get(pk=run.pk).state == "queued"


# --- refusals ---


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"kind": "bake"}, "kind", "not a kind of run"),
        ({"recipe": {"epochs": 0}}, "epochs", "smallest"),
        ({"recipe": {"epochs": "many"}}, "epochs", "not a number"),
        ({"recipe": {"nonsense": 1}}, "nonsense", "no option"),
        ({"recipe": {"architecture": "lenet"}}, "architecture", "lenet"),
        ({"recipe": {"objective": "gradia", "attention_weight": 0}}, "attention_weight", "supervised"),
        ({"name": "  "}, "name", "name"),
        ({"name": "x" * 161}, "name", "160"),
        ({"seed": -1}, "seed", "whole number"),
        ({"seed": "one"}, "seed", "not a whole number"),
        ({"partition": None}, "partition", "Choose the partition"),
        ({"recipe": {"objective": "gradia"}}, "supervision", "learns from people's maps"),
        ({"recipe": {"objective": "res"}}, "supervision", "learns from people's maps"),
        ({"recipe": {"objective": "energy", "supervision_source": "boxes"}}, "supervision_source", "boxes"),
    ],
)
def test_a_wish_that_cannot_be_fulfilled(world, changes, field, words) -> None:
    assert words in refusal(world, **changes)[field]


def test_a_partition_of_another_set(world) -> None:
    other = make_world("others", {"train": 1})
    assert "cuts another image set" in refusal(world, partition=other.partition)["partition"]


@pytest.mark.parametrize(
    ("part", "recipe", "refused"),
    [
        ("train", {}, True),
        ("validation", {}, True),
        ("validation", {"select": "last"}, False),
        ("test", {}, False),
        ("test", {"evaluate_test": True}, True),
    ],
)
def test_an_empty_part_that_is_needed(world, part, recipe, refused) -> None:
    PartitionMember.objects.filter(part=part).delete()
    if refused:
        assert f"“{part}”" in refusal(world, recipe=recipe)["partition"]
    else:
        assert start(world, recipe=recipe).state == "queued"


def test_images_without_one_label(world) -> None:
    first, second = world.part("train")[:2]
    first.labels.all().delete()
    ImageLabel.objects.create(image=second, index=1 - second.labels.get().index)
    sentence = refusal(world)["image_set"]
    assert sentence.startswith("2 images have no label, or several")
    assert first.name in sentence
    classifier = make_classifier(world)
    start(world, "explain", classifier=classifier, recipe={"part": "train"})
    Run.objects.all().delete()
    wish = {"classifier": classifier, "recipe": {"part": "train", "target": "true"}}
    assert "2 images" in refusal(world, "explain", **wish)["image_set"]


def test_a_label_outside_the_classes_and_a_single_class(world) -> None:
    ImageSet.objects.update(classes=["only one"])
    world.image_set.refresh_from_db()
    assert "outside the 1 classes" in refusal(world)["image_set"]


@pytest.mark.parametrize("kind", ["explain", "evaluate"])
def test_without_a_classifier_nothing_is_judged(world, kind) -> None:
    assert "Choose the classifier" in refusal(world, kind)["classifier"]


def test_classes_that_do_not_fit(world) -> None:
    swapped = make_classifier(world, world.image_set.classes[::-1])
    assert "another order" in refusal(world, classifier=swapped)["classifier"]
    foreign = make_classifier(world, ["cat", "dog", "cow"])
    for kind, recipe in (("evaluate", {}), ("explain", {"target": "true"})):
        sentence = refusal(world, kind, classifier=foreign, recipe=recipe)["classifier"]
        assert "3 classes (cat, dog, cow)" in sentence
    nameless = make_classifier(world, [])
    assert "no list of classes" in refusal(world, "explain", classifier=nameless)["classifier"]
    wish = {"classifier": foreign, "recipe": {"target": "given", "target_class": 3}}
    assert "0 to 2" in refusal(world, "explain", **wish)["target_class"]
    start(world, "explain", classifier=foreign)


def test_a_head_of_another_size_is_replaced_and_said_so(world) -> None:
    run = start(world, classifier=make_classifier(world, ["cat", "dog", "cow"]))
    assert "replaced by a fresh one for 2 classes" in run.log
    assert "is kept" in start(world, classifier=make_classifier(world, ["cat", "dog"])).log
    assert start(world, classifier=make_classifier(world)).log == ""


def test_a_classifier_without_weights(world) -> None:
    classifier = make_classifier(world)
    classifier.weights = ""
    classifier.save()
    assert "has no weights" in refusal(world, classifier=classifier)["classifier"]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_rated_images_in_a_part_that_judges(world, part) -> None:
    supervision = make_supervision(world)
    image = world.part(part)[2]
    SupervisionItem.objects.create(supervision=supervision, image=image, w_p=1, w_a=0)
    sentence = refusal(world, supervision=supervision, recipe={"objective": "gradia"})["supervision"]
    assert f"“{part}”" in sentence
    assert image.name in sentence


def test_supervision_that_does_not_belong(world) -> None:
    other = make_supervision(make_world("others", {"annotation_pool": 1}))
    assert "another image set" in refusal(world, supervision=other)["supervision"]
    ours = make_supervision(world)
    classifier = make_classifier(world)
    assert "Only training" in refusal(world, "evaluate", classifier=classifier, supervision=ours)["supervision"]
    elsewhere = Partition.objects.create(image_set=world.image_set, name="smaller")
    for image in world.part("train"):
        PartitionMember.objects.create(partition=elsewhere, image=image, part="train")
    wish = {"supervision": ours, "partition": elsewhere, "recipe": {"select": "last"}}
    assert "4 of its images are in no part" in refusal(world, **wish)["supervision"]


def test_supervision_that_teaches_nothing(world) -> None:
    rated_only = make_supervision(world, w_p=1.0, w_a=0.0)
    wish = {"supervision": rated_only, "recipe": {"objective": "gradia"}}
    assert "w_a > 0" in refusal(world, **wish)["supervision"]
    rated_only.items.all().delete()
    assert "holds no images" in refusal(world, supervision=rated_only)["supervision"]
    type(rated_only).objects.update(stale=True)
    rated_only.refresh_from_db()
    assert "was deleted" in refusal(world, supervision=rated_only)["supervision"]


def test_boxes_can_supervise(world) -> None:
    add_boxes(world.part("train")[:3])
    run = start(world, recipe={"objective": "energy", "supervision_source": "boxes"})
    assert run.supervision is None


def test_selecting_by_attention_needs_truth_for_every_validation_image(world) -> None:
    recipe = {"select": "best_attention_iou"}
    images = world.part("validation")
    Mask.objects.filter(image__in=images[4:]).delete()
    sentence = refusal(world, recipe=recipe)["select"]
    assert sentence.startswith("2 of 6 validation images")
    assert images[4].name in sentence
    add_boxes(images[4:])
    assert start(world, recipe=recipe).state == "queued"
