"""The page of a team study: what it shows and what it keeps to itself; neighbours' pictures; real birds."""

import html
import io
import re
import uuid
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from django.utils import translation
from PIL import Image as Pillow

from annotation.flow import next_step
from annotation.models import Assignment, Trial
from annotation.studies import kind_of
from annotation.studies.team import readable
from annotation.studies.trials import Group
from mlcore.models import ImageLabel, Prediction
from tests.annotation import factories as make
from tests.annotation.birds import make_birds
from tests.annotation.test_team import ACCEPT, one, send, trial_of, visit

pytestmark = pytest.mark.django_db


def page_of(assignment: Assignment, settings: dict | None = None) -> dict[str, Any]:
    return kind_of(assignment.trial.study).page_context(assignment, settings)


def test_the_page_of_neighbours():
    images = make.images(4)
    ImageLabel.objects.filter(image=images[1]).update(index=2)
    assignment = trial_of(one(images=images))
    shown = assignment.trial.stimuli.get().explanation.data["neighbours"]
    page = page_of(assignment)
    assert (page["class_name"], page["confidence"], page["explanation"]) == ("Monarch", 72, "neighbours")
    names = {str(image.uuid): "Zebra" if image == images[1] else "Monarch" for image in images}
    assert [item["name"] for item in page["neighbours"]] == [names[item["image"]] for item in shown]
    assert [item["index"] for item in page["neighbours"]] == [0, 1]
    assert (page["neighbours"][0]["width"], page["neighbours"][0]["height"]) == (180, 120)
    settings = assignment.trial.study.version.settings
    assert len(page_of(assignment, settings | {"neighbours_shown": 1})["neighbours"]) == 1
    assert page_of(assignment, settings | {"show_confidence": False})["confidence"] is None


def test_boxes_of_matches_lie_where_the_shares_say():
    page = page_of(trial_of(one("matches")))
    first = page["neighbours"][0]
    # The picture is 12 × 8, so 640 × 427 units: (0, 0)–(½, ½) is 320 × 214, its badge moved in from the corner.
    assert first["on_picture"][0] == {"x": 0, "y": 0, "width": 320, "height": 214, "cx": 13, "cy": 13, "r": 13}
    assert first["on_neighbour"][0] == {"x": 90, "y": 60, "width": 90, "height": 60, "cx": 90, "cy": 60, "r": 8}
    assert list(page["patches"]) == [1, 2]


def test_a_neighbour_that_is_there_no_more_is_passed_over():
    assignment = trial_of(one())
    explanation = assignment.trial.stimuli.get().explanation
    explanation.data["neighbours"][0]["image"] = str(uuid.uuid4())
    explanation.save()
    assert [item["index"] for item in page_of(assignment)["neighbours"]] == [1]


def test_class_names_are_shown_as_people_read_them():
    assert readable("036.Northern_Flicker") == "Northern Flicker"
    assert readable("tabby, tabby cat") == "tabby, tabby cat"
    assert readable("7.5") == "7.5"
    assert readable("_") == "_"


@pytest.mark.parametrize("payload", [None, "map", "neighbours", "matches"])
@pytest.mark.parametrize("asks", ["none", "scale"])
def test_the_form_says_everything_in_the_html(payload, asks):
    study = one(payload, settings={"own_confidence": asks})
    _, page = visit(trial_of(study))
    assert page.count('name="accept"') == 2
    assert page.count('name="confidence"') == (5 if asks == "scale" else 0)
    assert ("data-at-once" in page) == (asks == "none")
    assert "checked" not in page.split('id="answer-form"')[1].split("</form>")[0], "nothing is preselected"
    assert ("90 % sure" if payload == "map" else "72 % sure") in html.unescape(page)


@pytest.mark.parametrize("payload", [None, "map", "neighbours", "matches"])
def test_the_page_tells_neither_condition_nor_who_is_right(payload):
    """Two trials, one where the AI is right and one where it is wrong, differ in nothing but addresses."""
    images = make.images(2)
    ImageLabel.objects.filter(image=images[1]).update(index=2)
    others = make.images(3, image_set=images[0].image_set)
    shown = (
        make.explain(images) if payload == "map" else make.compare([*images, *others], payload=payload or "neighbours")
    )
    if payload != "map":  # the same neighbours for both, so that these make no difference
        first = shown.explanations.get(image=images[0])
        data = {
            "neighbours": [item | {"image": str(others[0].uuid), "label": 1} for item in first.data["neighbours"][:1]]
        }
        shown.explanations.update(data=data)
    if payload == "map":
        Prediction.objects.update(confidence=0.72)
    groups = [Group("secret-arm", (shown,))] + ([Group("bare-arm")] if payload is None else [])
    study = make.team(images=images, groups=groups, conditions="within", k=None, image_once=False)
    person = make.participant(study)
    pages = {}
    while (step := next_step(person)).kind == "trial":
        assignment = step.assignment
        _, page = visit(assignment)
        for secret in ("secret-arm", "bare-arm", "knn", "squeezenet", "Zebra", "ai_right", "gold", "Monarch/"):
            assert secret not in page, secret
        stimulus = assignment.trial.stimuli.first()
        names = [assignment.uuid, assignment.trial.uuid, *([stimulus.picture] if stimulus else [])]
        arm = assignment.trial.arm.name if payload is None else ""
        pages.setdefault(arm, {})[assignment.trial.image_id] = _without_addresses(page, names)
        send(assignment, ACCEPT)
    assert sum(len(found) for found in pages.values()) == 2 * len(groups)
    for found in pages.values():
        assert found[images[0].pk] == found[images[1].pk]


def _without_addresses(page: str, names: list[Any]) -> list[str]:
    """The lines of a page without names that are made at random and without what counts the person's own trials."""
    for name in names:
        page = page.replace(str(name), "NAME")
    page = re.sub(r'(csrfmiddlewaretoken" value=")[^"]*', r"\1", page)
    page = re.sub(r'<span class="place">.*?</span>|<progress.*?</progress>', "", page, flags=re.DOTALL)
    # Going back is offered from the second trial on.
    return [re.sub(r'"back": (null|"[^"]*")', "", line) for line in page.splitlines()]


def test_a_page_takes_few_queries_whatever_it_shows(django_assert_max_num_queries):
    for payload in (None, "map", "neighbours", "matches"):
        assignment = trial_of(one(payload))
        client = Client()
        client.force_login(assignment.participant.user)
        with django_assert_max_num_queries(12):
            client.get(reverse("trial", args=[assignment.uuid]))


def test_numbers_in_drawings_are_the_same_in_every_language():
    assignment = trial_of(one("matches"))
    with translation.override("de"):
        _, page = visit(assignment)
    assert 'viewBox="0 0 640 427"' in page
    assert 'width="320" height="214"' in page


# --- neighbours' pictures -------------------------------------------------------------------------------------------


def address(assignment: Assignment, index: int) -> str:
    return reverse("trial-neighbour", args=[assignment.trial.uuid, index])


def test_neighbours_come_small_and_bare():
    out = io.BytesIO()
    picture = Pillow.new("RGB", (900, 600), (200, 30, 40))
    exif = Pillow.Exif()
    exif[0x010E] = "a secret place"
    picture.save(out, "JPEG", comment=b"a secret comment", exif=exif)
    images = make.images(3)
    for image in images:
        image.file.save("big.jpg", ContentFile(out.getvalue()), save=False)
        image.width, image.height = 900, 600
        image.save()
    assignment = trial_of(one(images=images))
    client, _ = visit(assignment)
    response = client.get(address(assignment, 0))
    assert response["Content-Type"] == "image/jpeg"
    assert response["Cache-Control"] == "private, max-age=3600"
    assert "Last-Modified" not in response
    assert b"secret" not in response.content
    assert Pillow.open(io.BytesIO(response.content)).size == (320, 213)
    assert client.get(address(assignment, 2)).status_code == 404


def test_neighbours_are_for_those_who_may_see_the_trial():
    assignment = trial_of(one())
    stranger = Client()
    stranger.force_login(make.annotator())
    assert stranger.get(address(assignment, 0)).status_code == 404
    assert Client().get(address(assignment, 0)).status_code == 302
    bare = trial_of(one("map"))
    client = Client()
    client.force_login(bare.participant.user)
    assert client.get(address(bare, 0)).status_code == 404, "a map has no neighbours"


# --- real pictures ----------------------------------------------------------------------------------------------


def test_real_birds_with_computed_neighbours(test_data, tmp_path):
    birds = make_birds(test_data / "cub832", tmp_path)
    assert 0 < sum(birds.right.values()) < len(birds.images), "sometimes right, sometimes wrong"
    groups = [Group("none"), Group("alike", (birds.neighbours,)), Group("parts", (birds.matches,))]
    study = make.team(images=birds.images, groups=groups, k=None)
    kind = kind_of(study)
    for trial in Trial.objects.filter(study=study).select_related("study__image_set"):
        assert kind.known_gold(trial) == {"accept": birds.right[trial.image_id]}
    person = make.participant(study)
    while person.arm.name != "parts":
        person = make.participant(study)
    assignment = trial_of(study, person)
    page = page_of(assignment)
    assert len(page["neighbours"]) == 5
    assert [len(item["on_picture"]) for item in page["neighbours"]] == [5] * 5
    assert all("_" not in item["name"] and "." not in item["name"] for item in page["neighbours"])
    client, text = visit(assignment)
    assert assignment.trial.image.name not in text
    for item in page["neighbours"]:
        response = client.get(address(assignment, item["index"]))
        assert Pillow.open(io.BytesIO(response.content)).size <= (320, 320)
    found = kind.statistics(study)
    (ai,) = found["ais"]
    assert ai["accuracy"] == pytest.approx(sum(birds.right.values()) / len(birds.right))
    assert ai["images"] == len(birds.right)
