"""The builder of a team study: the published course where the images suffice, balanced images, people alone."""

from collections import Counter

import pytest
from django.urls import reverse

from annotation.models import Study, Trial
from mlcore.models import ImageLabel
from tests.annotation import factories as make
from tests.annotation.admin.forms import form_of
from tests.annotation.voices import predicted, speaking

pytestmark = pytest.mark.django_db
CREATE = "admin:annotation_study_create"


@pytest.fixture
def rita(client):
    rita = make.researcher()
    client.force_login(rita)
    return rita


def world(rita, number: int):
    """Every other image is of class 1; the head and the votes say 1 of all, the votes 2 of every third."""
    images = make.images(number)
    images[0].image_set.owner = rita
    images[0].image_set.save()
    ImageLabel.objects.filter(image__in=images[1::2]).update(index=2)
    classifier = make.ClassifierFactory(owner=rita)
    predicted(classifier, images, [(1, 0.5 + place / 1000) for place in range(number)])
    votes = [(2 if place % 3 == 0 else 1, 0.2 + place / 500) for place in range(number)]
    near = speaking(images, votes, classifier)
    near.owner = rita
    near.save()
    return images, near


def test_the_published_course_is_filled_in_where_the_images_suffice(client, rita):
    _, near = world(rita, 96)
    page = client.get(reverse(CREATE), {"explanations": near.pk, "kind": "team"})
    sent = form_of(page)
    told = {name: sent[name] for name in ("balance", "practice_trials", "validation_trials", "trials_per_person")}
    assert told == {
        "balance": ["balanced"],
        "practice_trials": ["6"],
        "validation_trials": ["10"],
        "trials_per_person": ["30"],
    }
    assert sent["introduction.0.title"] == ["What you will do"]
    text = page.content.decode()
    assert "Too few to balance" not in text
    assert "AI wrong, least sure" in text
    answer = client.post(reverse(CREATE), sent | {"live": "yes"})
    assert answer.status_code == 302, (answer.context["form"].errors, answer.context["form"].refused)
    study = Study.objects.get()
    assert (study.state, study.trials_per_person) == ("live", 30)
    for arm in study.arms.all():
        by_phase = {phase: arm.trials.filter(phase=phase) for phase in ("practice", "qualification", "main")}
        assert {phase: trials.count() for phase, trials in by_phase.items()}["practice"] == 6
        assert by_phase["qualification"].count() == 10
        right = Counter(trial.gold["answer"]["accept"] for trial in by_phase["qualification"])
        assert right == {True: 5, False: 5}
        images = [trials.values_list("image", flat=True) for trials in by_phase.values()]
        assert len(set().union(*images)) == sum(len(one) for one in images), "no image is in two phases of an arm"
        main = [study_right(trial) for trial in by_phase["main"].select_related("image")]
        assert len(main) >= 30
        assert sum(main) * 2 == len(main), "as many right as wrong, by the arm's own AI"


def study_right(trial: Trial) -> bool:
    names = {1: "Monarch", 2: "Zebra"}
    return trial.context["class_name"] == names[trial.image.labels.get().index]


def test_few_images_are_balanced_without_the_course(client, rita):
    _, near = world(rita, 24)
    sent = form_of(client.get(reverse(CREATE), {"explanations": near.pk, "kind": "team"}))
    assert (sent["balance"], sent["practice_trials"], sent["validation_trials"]) == (["balanced"], ["0"], ["0"])
    assert sent["trials_per_person"] == [""]
    short = client.post(reverse(CREATE), sent | {"do": "refresh", "most": "40"}).content.decode()
    assert "Too few to balance" in short
    assert "AI wrong, most sure: 7 are wanted, there are 4." in short


def test_what_cannot_be_balanced_is_refused_until_taken_as_it_comes(client, rita):
    images, near = world(rita, 6)
    ImageLabel.objects.filter(image__in=images).update(index=1)  # the head is right about all
    sent = form_of(client.get(reverse(CREATE), {"explanations": near.pk, "kind": "team"}))
    assert sent["balance"] == ["all"], "nothing is filled in that cannot be"
    refused = client.post(reverse(CREATE), sent | {"balance": "balanced", "live": "no"})
    assert refused.status_code == 422
    assert "cannot be balanced" in refused.context["form"].errors["balance"]
    assert client.post(reverse(CREATE), sent | {"live": "no"}).status_code == 302


def test_people_alone_and_a_vote_without_neighbours_are_conditions(client, rita):
    _, near = world(rita, 24)
    page = client.get(reverse(CREATE), {"explanations": near.pk, "kind": "team"})
    text = page.content.decode()
    for option in ("none", f"none:{near.pk}", "alone", f"alone:{near.pk}"):
        assert f'value="{option}"' in text
    sent = form_of(page)
    refreshed = client.post(reverse(CREATE), sent | {"do": "groups.add"})
    sent = form_of(refreshed) | {"groups.0.sets.0": f"none:{near.pk}", "groups.2.sets.0": f"alone:{near.pk}"}
    answer = client.post(reverse(CREATE), sent | {"live": "no"})
    assert answer.status_code == 302, (answer.context["form"].errors, answer.context["form"].refused)
    study = Study.objects.get()
    names = [arm.name for arm in study.arms.all()]
    assert names[0] == "no explanation, Nearest neighbours"
    assert names[1:] == [f"{near.classifier}, Nearest neighbours", "people alone, Nearest neighbours"]
    images = [set(arm.trials.values_list("image", flat=True)) for arm in study.arms.all()]
    assert images[0] == images[1] == images[2], "one AI: the same images for all"
    edit = reverse("admin:annotation_study_edit", args=[study.pk])
    kept = form_of(client.get(edit), "name")
    assert kept["groups.2.sets.0"] == [f"alone:{near.pk}"]
    before = list(study.trials.values_list("pk", flat=True))
    assert client.post(edit, kept).status_code == 302
    assert list(study.trials.values_list("pk", flat=True)) == before, "keeping it as it is changes nothing"
    client.post(edit, kept | {"seed": "5"})
    again = Study.objects.get()
    assert again.seed == 5
    assert {frozenset(arm.trials.values_list("image", flat=True)) for arm in again.arms.all()} == {frozenset(images[0])}


def test_another_kind_forgets_what_was_filled_in_for_a_team(client, rita):
    _, near = world(rita, 96)
    sent = form_of(client.get(reverse(CREATE), {"explanations": near.pk, "kind": "team"}))
    other = client.post(reverse(CREATE), sent | {"kind": "map_drawing", "do": "regroup"})
    found = form_of(other)
    assert found["trials_per_person"] == [""]
    assert not any(name.startswith("introduction.") for name in found)
    back = form_of(
        client.post(reverse(CREATE), found | {"kind": "team", "groups.0.sets.0": str(near.pk), "do": "regroup"})
    )
    assert back["kind"] == ["team"]


def test_within_people_the_phases_take_turns(client, rita):
    _, near = world(rita, 96)
    sent = form_of(client.get(reverse(CREATE), {"explanations": near.pk, "kind": "team", "conditions": "within"}))
    answer = client.post(reverse(CREATE), sent | {"live": "no", "conditions": "within"})
    assert answer.status_code == 302, (answer.context["form"].errors, answer.context["form"].refused)
    study = Study.objects.get()
    arms = Counter(study.trials.filter(phase="practice").values_list("arm__name", flat=True))
    assert sorted(arms.values()) == [3, 3]
    images = list(study.trials.filter(phase="qualification").values_list("image", flat=True))
    assert len(images) == len(set(images)) == 10
