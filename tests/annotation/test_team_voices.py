"""Arms with different AIs: a set that speaks for itself brings its own answer; each arm is weighed by its own AI."""

import csv
import io

import pytest

from annotation.correctness import correctness
from annotation.errors import StudyRefused
from annotation.exchange.export import csv_lines
from annotation.flow import next_step
from annotation.models import Trial
from annotation.publishing import copy_study, groups_of
from annotation.studies import kind_of
from annotation.studies.trials import Group
from annotation.team_ai import AI, ais_of, answers_of
from annotation.team_names import places_of, speaks, spoken
from mlcore.models import ImageLabel, Prediction
from tests.annotation import factories as make
from tests.annotation.test_team import ACCEPT, send
from tests.annotation.voices import predicted, speaking

pytestmark = pytest.mark.django_db


@pytest.fixture
def world():
    """Four images of class 1. The head says 1 1 1 2, the neighbours 1 2 2 2, the parts 1 1 0 1."""
    images = make.images(4)
    classifier = make.ClassifierFactory()
    predicted(classifier, images, [(1, 0.9), (1, 0.8), (1, 0.7), (2, 0.6)])
    near = speaking(images, [(1, 1.0), (2, 0.55), (2, 0.6), (2, 0.4)], classifier)
    parts = speaking(images, [(1, 0.95), (1, 0.5), (0, 0.45), (1, 0.35)], classifier, "emd_corr", "matches")
    groups = [Group("head"), Group("near", (near,)), Group("parts", (parts,)), Group("bare near", speaker=near)]
    study = make.team(images=images, groups=groups, k=None)
    return images, classifier, near, parts, study


def contexts(study, arm: str) -> list[tuple[str, float]]:
    trials = Trial.objects.filter(study=study, arm__name=arm).order_by("image")
    return [(trial.context["class_name"], trial.context["confidence"]) for trial in trials]


def test_each_arm_says_what_its_own_ai_says(world):
    _, _, near, parts, study = world
    assert speaks(near)
    assert speaks(parts)
    assert contexts(study, "head") == [("Monarch", 0.9), ("Monarch", 0.8), ("Monarch", 0.7), ("Zebra", 0.6)]
    voted = [("Monarch", 1.0), ("Zebra", 0.55), ("Zebra", 0.6), ("Zebra", 0.4)]
    assert contexts(study, "near") == voted
    assert contexts(study, "bare near") == voted, "the same answers, without the neighbours"
    assert contexts(study, "parts") == [("Monarch", 0.95), ("Monarch", 0.5), ("Admiral", 0.45), ("Monarch", 0.35)]
    kind = kind_of(study)
    right = [kind.known_gold(trial)["accept"] for trial in Trial.objects.filter(arm__name="near").order_by("image")]
    assert right == [True, False, False, False]


def test_each_arm_is_weighed_by_its_own_ai(world):
    images, classifier, *_, study = world
    found = kind_of(study).statistics(study)
    alone = {one["condition"]: one["ai"]["accuracy"] for one in found["conditions"]}
    assert alone == {"head": 0.75, "near": 0.25, "parts": 0.75, "bare near": 0.25}
    assert [ai["conditions"] for ai in found["ais"]] == [["head"], ["near", "bare near"], ["parts"]]
    assert found["ais"][2]["title"] == f"{classifier}, EMD-Corr"
    # Somebody meets the neighbours' arm and accepts everything: right once in four, and weighed so.
    person = make.participant(study)
    while person.arm.name != "near":
        person = make.participant(study)
    while (step := next_step(person)).kind == "trial":
        send(step.assignment, ACCEPT)
    met = next(one for one in kind_of(study).statistics(study)["conditions"] if one["condition"] == "near")
    assert (met["accuracy"]["overall"]["mean"], met["team"]["mean"]) == (0.25, 0.25)
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(study)))))
    assert {(row["condition"], row["ai"], row["method"]) for row in rows} == {("near", "knn", "knn")}
    assert len(images) == len(rows)


def test_a_vote_is_not_taken_for_what_the_head_predicts(world):
    images, classifier, near, *_ = world
    Prediction.objects.all().delete()
    assert correctness(classifier, [image.pk for image in images]) == {}
    assert answers_of(AI(classifier), images[0].image_set) == {}
    assert [one.right for one in answers_of(AI(classifier, near), images[0].image_set).values()] == [
        True, False, False, False,
    ]  # fmt: skip


def test_a_name_that_stands_twice_and_several_labels_are_right_under_any(world):
    images, classifier, near, *_ = world
    ImageLabel.objects.create(image=images[1], index=2)
    assert answers_of(AI(classifier, near), images[0].image_set)[images[1].pk].right
    classifier.classes = ["Admiral", "Monarch", "Monarch"]
    classifier.save()
    near.refresh_from_db()
    said = answers_of(AI(near.classifier, near), images[0].image_set)
    assert all(one.right for one in said.values())


def test_a_stale_vote_is_none_and_a_head_without_predictions_is_told(world):
    images, classifier, near, *_ = world
    Prediction.objects.filter(classifier=classifier).update(label=0)  # another head says otherwise by now
    make.team(images=images, groups=[Group("near", (near,))], conditions="within", k=None)
    Prediction.objects.all().delete()
    with pytest.raises(StudyRefused, match="has no prediction for image"):
        make.team(images=images, groups=[Group("head"), Group("near", (near,))], k=None)
    silent = make.compare(images, classifier=classifier, options={"again": 1})
    with pytest.raises(StudyRefused, match="no answers of its own"):
        make.team(images=images, groups=[Group("bare", speaker=silent), Group("near", (near,))], k=None)


def test_conditions_come_back_as_they_were_written(world):
    *_, study = world
    copied = copy_study(study, study.owner, "the same")
    for one in (study, copied):
        groups = groups_of(one)
        assert [(group.name, group.speaker is not None) for group in groups][-1] == ("bare near", True)
        ais = ais_of(one)
        assert ais["near"].key == ais["bare near"].key != ais["parts"].key
        assert ais["head"].speaker is None


def test_conditions_may_show_images_of_their_own(world):
    images, _, near, parts, _ = world
    groups = [
        Group("head", images=tuple(images[:2])), Group("near", (near,), images=tuple(images[1:])),
        Group("parts", (parts,), images=tuple(images[2:])),
    ]  # fmt: skip
    study = make.team(images=images, groups=groups, k=None)
    shown = {arm.name: arm.trials.count() for arm in study.arms.all()}
    assert shown == {"head": 2, "near": 3, "parts": 2}
    assert contexts(study, "head") == [("Monarch", 0.9), ("Monarch", 0.8)]


def test_a_head_of_other_names_is_said_in_one_form_and_is_wrong_where_the_set_has_no_such_class(world):
    images, classifier, near, *_ = world
    classifier.classes = ["Lim. arthemis (Admiral)", "Danaus plexippus (Monarch)", "Vanessa cardui (Painted Lady)"]
    classifier.save()
    near.refresh_from_db()
    assert spoken(classifier.classes, images[0].image_set.classes) == ["Admiral", "Monarch", "Painted Lady"]
    Prediction.objects.filter(classifier=classifier, image=images[3]).update(label=2)
    ImageLabel.objects.filter(image=images[3]).update(index=2)  # the place is the same, the class is not
    said = answers_of(AI(classifier), images[0].image_set)
    assert [one.right for one in said.values()] == [True, True, True, False]
    study = make.team(images=images, groups=[Group("head"), Group("near", (near,))], k=None)
    assert [name for name, _ in contexts(study, "head")] == ["Monarch", "Monarch", "Monarch", "Painted Lady"]
    kind = kind_of(study)
    trials = Trial.objects.filter(study=study, arm__name="head").order_by("image")
    assert [kind.known_gold(trial)["accept"] for trial in trials] == [True, True, True, False]


def test_lists_without_a_common_name_number_the_same_classes():
    assert places_of("class 1", ["Admiral", "Monarch"], ["class 0", "class 1"]) == {1}
    assert places_of("Zebra", ["Admiral", "Monarch"], ["Monarch", "Zebra"]) == set()
    assert spoken(["a (b)", "c"], ["x", "y"]) == ["a (b)", "c"]
