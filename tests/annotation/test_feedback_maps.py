"""People's maps as they are: one a person and image, numbers that say nothing of who drew, a snapshot that stays."""

import uuid
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from annotation.answers import submit
from annotation.drawings import read_palette
from annotation.errors import FeedbackRefused
from annotation.feedback import make_human_maps
from annotation.flow import enter, next_step
from annotation.models import Trial
from annotation.people import forget
from mlcore.exchange.human_maps import HumanMapsRefused, save_human_maps
from mlcore.models import AuditEntry, HumanMapSet
from tests.annotation import factories as make
from tests.annotation.test_feedback import draw

pytestmark = pytest.mark.django_db


def important(row) -> int:
    """How many columns are painted in the first row of a kept map."""
    with row.map.open("rb") as stream:
        return int((read_palette(stream.read())[0] == 1).sum())


def test_each_persons_map_is_kept_under_a_number():
    images = make.images(3)
    study = make.drawings(images=images, k=None)
    a, b, c = (image.pk for image in images)
    people = [make.participant(study) for _ in range(6)]
    for place, person in enumerate(people):
        draw(person, {a: 1 + place, b: 6 if place < 2 else 0, c: 0})
    found = make_human_maps(name=" first ", owner=study.owner, drawings=[study])
    assert (found.name, found.source, found.image_set) == ("first", study.uuid, study.image_set)
    assert found.participants == {"human": 6}
    assert found.spec == {"drawings": [str(study.uuid)], "kinds": ["human"]}
    rows = list(found.maps.select_related("image"))
    assert [row.image_id for row in rows] == [a] * 6 + [b] * 2
    assert [row.rater for row in rows[:6]] == [1, 2, 3, 4, 5, 6]
    assert sorted(important(row) for row in rows[:6]) == [1, 2, 3, 4, 5, 6]
    # Each person has one number; whoever drew on b has the same one there.
    of = {important(row): row.rater for row in rows[:6]}
    assert {row.rater for row in rows[6:]} == {of[1], of[2]}
    told = AuditEntry.objects.get(action="human_maps.create").after
    assert told == {"maps": 8, "images": 2, "people": {"human": 6}}
    text = str([row.map.name for row in rows]) + str(found.spec)
    assert not any(person.pseudonym in text for person in people)
    # By lot: ten snapshots of six people do not all number them in the order in which they came.
    orders = set()
    for _ in range(10):
        again = make_human_maps(name="", owner=None, drawings=[study])
        orders.add(tuple(important(row) for row in again.maps.filter(image=a)))
    assert len(orders) > 1


def test_one_person_has_one_number_over_studies_and_only_main_answers_count():
    images = make.images(2)
    first, second = make.drawings(images=images[:1], k=None), make.drawings(images=images, k=None)
    person = make.annotator()
    draw(enter(person, first), {images[0].pk: 2})
    draw(enter(person, second), {images[0].pk: 5, images[1].pk: 3})
    practice = make.drawings(images=images[:1], k=None)
    draw(make.participant(practice), {images[0].pk: 4})
    Trial.objects.filter(study=practice).update(phase="practice")
    found = make_human_maps(name="", owner=None, drawings=[first, second, practice])
    assert [(row.image_id, row.rater, important(row)) for row in found.maps.all()] == [
        (images[0].pk, 1, 5), (images[1].pk, 1, 3),
    ]  # fmt: skip
    assert (found.name, found.participants) == (first.name, {"human": 1})


def test_refusals_are_sentences():
    images = make.images(1)
    study, ratings = make.drawings(images=images, k=None), make.ratings(images=images, k=None)
    for field, wish, words in (
        ("drawings", {"drawings": []}, "Choose a study"),
        ("drawings", {"drawings": [ratings]}, "not map_drawing"),
        ("drawings", {"drawings": [study]}, "There is no drawn map"),
        ("studies", {"drawings": [study, make.drawings(1)]}, "different image sets"),
        ("kinds", {"drawings": [study], "kinds": ["robot"]}, "Kinds of people are"),
    ):
        with pytest.raises(FeedbackRefused) as refused:
            make_human_maps(name="x", owner=None, **wish)
        assert words in refused.value.errors[field]
    assert not HumanMapSet.objects.exists()
    small = make.png(np.zeros((4, 3), dtype=np.uint8), "P")
    with pytest.raises(HumanMapsRefused, match="is 3×4, the image"):
        save_human_maps(study.image_set, [(images[0], 1, small)], name="x")


def test_a_person_who_is_deleted_marks_the_snapshot():
    images = make.images(1)
    first, second = make.drawings(images=images, k=None), make.drawings(images=images, k=None)
    people = [make.participant(study) for study in (first, second)]
    for person in people:
        draw(person, {images[0].pk: 4})
    both = make_human_maps(name="both", owner=None, drawings=[first, second])
    alone = make_human_maps(name="one", owner=None, drawings=[first])
    forget(people[1], second.owner)
    assert HumanMapSet.objects.get(pk=both.pk).stale
    assert not HumanMapSet.objects.get(pk=alone.pk).stale
    assert both.maps.count() == 2  # runs have read them


def test_the_command_freezes_and_says_what_it_did():
    images = make.images(2)
    study = make.drawings(images=images, k=None)
    person = make.participant(study)
    step = next_step(person)
    submit(assignment=step.assignment, submission=uuid.uuid4(), payload={}, drawing=make.drawing(5))
    out = StringIO()
    call_command("human_maps", str(study.uuid), "--name=frozen", f"--owner={study.owner.username}", stdout=out)
    made = HumanMapSet.objects.get(name="frozen")
    assert out.getvalue() == f"{made.uuid} frozen: 1 map of 1 image by 1 human\n"
    assert made.owner == study.owner
    for wish, words in (
        (["nowhere"], "There is no study “nowhere”"),
        ([study.name, "--kinds", "simulated"], "no drawn map to take"),
        ([study.name, "--owner=eve"], "There is no user “eve”"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("human_maps", *wish, stdout=StringIO())
