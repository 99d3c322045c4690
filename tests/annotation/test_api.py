"""The answer and draft endpoints, and what pictures and maps give away (nothing)."""

import io
import json
from uuid import uuid4

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from PIL import Image as Pillow

from annotation.flow import enter, next_step
from annotation.making import TrialItem, add_trials
from annotation.models import Answer, Draft
from annotation.people import add_annotator
from annotation.publishing import close, create_study, publish
from tests.browser.world import HEIGHT, PASSWORD, WIDTH, make_world, png

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return make_world(images=2, classifiers=3)


@pytest.fixture
def client(world):
    client = Client()
    client.force_login(world.annotator)
    return client


def assignment_of(world, study):
    return next_step(enter(world.annotator, study)).assignment


def rating(number=4, maps=1):
    return {"maps": [{"position": n, "necessary": True, "unnecessary": False, "quality": number} for n in range(maps)]}


def post(client, assignment, payload, **extra):
    body = {"submission": str(uuid4()), "payload": payload, **extra}
    return client.post(reverse("api-answer", args=[assignment.uuid]), json.dumps(body), content_type="application/json")


def drawing(width=WIDTH, height=HEIGHT):
    mask = np.zeros((height, width), np.uint8)
    mask[10:20, 30:60] = 255
    return ContentFile(png(mask), name="drawing.png")


def test_an_answer_is_kept_and_leads_to_the_next_trial(client, world):
    study = world.reasonability()
    first = assignment_of(world, study)
    answer = post(client, first, rating(), duration_ms=1234, events=[[0, "shown"]])
    assert answer.status_code == 200
    body = answer.json()
    assert body["revision"] == 1
    assert body["repeated"] is False
    second = assignment_of(world, study)
    assert body["next"] == reverse("trial", args=[second.uuid])
    assert second != first
    assert Answer.objects.get().duration_ms == 1234
    last = post(client, second, rating()).json()
    assert last["next"] == reverse("study", args=[study.uuid])


def test_the_same_submission_again_gives_the_first_result(client, world):
    assignment = assignment_of(world, world.reasonability())
    submission = str(uuid4())
    first = post(client, assignment, rating(4), submission=submission).json()
    again = post(client, assignment, rating(1), submission=submission).json()
    assert again["repeated"] is True
    assert again["answer"] == first["answer"]
    assert Answer.objects.get().judgements.get(question="quality").number == 4


def test_an_answer_from_a_stale_page_meets_what_stands(client, world):
    assignment = assignment_of(world, world.reasonability())
    post(client, assignment, rating(4))
    stale = post(client, assignment, rating(1))
    assert stale.status_code == 409
    assert stale.json()["current"]["revision"] == 1
    assert stale.json()["current"]["payload"] == rating(4)
    changed = post(client, assignment, rating(1), base_revision=1)
    assert changed.status_code == 200
    assert changed.json()["revision"] == 2
    assert changed.json()["next"].endswith("/answers/")


def test_after_closing_an_answer_gets_410_and_nothing_is_kept(client, world):
    study = world.reasonability()
    assignment = assignment_of(world, study)
    close(study, None)
    assert post(client, assignment, rating()).status_code == 410
    assert Answer.objects.count() == 0


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"maps": []}, "maps"),
        ({"maps": [{"position": 0, "necessary": True, "quality": 3}]}, "maps.0.unnecessary"),
        ({"maps": [{"position": 0, "necessary": "yes", "unnecessary": False, "quality": 3}]}, "maps.0.necessary"),
        ({"maps": [{"position": 0, "necessary": True, "unnecessary": False, "quality": 6}]}, "maps.0.quality"),
        ("nonsense", "answer"),
    ],
)
def test_what_is_no_answer_is_refused_by_name(client, world, payload, field):
    refused = post(client, assignment_of(world, world.reasonability()), payload)
    assert refused.status_code == 400
    assert field in refused.json()["errors"]
    assert Answer.objects.count() == 0


def test_a_missing_or_broken_submission_is_refused(client, world):
    assignment = assignment_of(world, world.reasonability())
    address = reverse("api-answer", args=[assignment.uuid])
    for body in ({"payload": rating()}, {"payload": rating(), "submission": "7"}):
        refused = client.post(address, json.dumps(body), content_type="application/json")
        assert refused.status_code == 400
        assert "submission" in refused.json()["errors"]


def test_a_drawing_arrives_as_multipart(client, world):
    assignment = assignment_of(world, world.map_drawing())
    sent = client.post(
        reverse("api-answer", args=[assignment.uuid]),
        {
            "submission": str(uuid4()),
            "payload": json.dumps({"strokes": [{"t": "b", "s": 5, "p": [30, 10]}], "nothing": False}),
            "events": '[[0, "shown"]]',
            "drawing": drawing(),
        },
    )
    assert sent.status_code == 200, sent.content
    with Answer.objects.get().drawn_map.file.open("rb") as stream:
        values = np.asarray(Pillow.open(io.BytesIO(stream.read())))
    assert (values[10:20, 30:60] == 1).all()
    assert (values == 1).sum() == 300


@pytest.mark.parametrize("size", [(WIDTH + 1, HEIGHT), (HEIGHT, WIDTH)])
def test_a_drawing_of_another_size_is_refused_with_both_sizes(client, world, size):
    assignment = assignment_of(world, world.map_drawing())
    refused = client.post(
        reverse("api-answer", args=[assignment.uuid]),
        {"submission": str(uuid4()), "payload": "{}", "drawing": drawing(*size)},
    )
    assert refused.status_code == 400
    assert f"{size[0]} × {size[1]}" in refused.json()["errors"]["drawing"]


def test_a_drawing_larger_than_allowed_is_refused_unread(client, world, settings):
    settings.MAX_DRAWING_BYTES = 100
    assignment = assignment_of(world, world.map_drawing())
    refused = client.post(
        reverse("api-answer", args=[assignment.uuid]),
        {"submission": str(uuid4()), "payload": "{}", "drawing": ContentFile(b"x" * 101, name="a.png")},
    )
    assert refused.status_code == 400
    assert "larger" in refused.json()["errors"]["drawing"]


def multipart_put(client, address, fields):
    from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

    return client.put(address, encode_multipart(BOUNDARY, fields), content_type=MULTIPART_CONTENT)


def test_a_draft_is_kept_replaced_and_gone_with_the_answer(client, world):
    assignment = assignment_of(world, world.map_drawing())
    address = reverse("api-draft", args=[assignment.uuid])
    assert client.get(address).json() == {"payload": None, "drawing": None, "saved_at": None}
    for strokes in ([1], [1, 2]):
        saved = multipart_put(client, address, {"payload": json.dumps({"strokes": strokes}), "drawing": drawing()})
        assert saved.status_code == 200, saved.content
        assert saved.json()["saved_at"]
    kept = client.get(address).json()
    assert kept["payload"] == {"strokes": [1, 2]}
    assert kept["drawing"].startswith("data:image/png;base64,")
    assert post(client, assignment, {"nothing": True}).status_code == 200
    assert Draft.objects.count() == 0


def test_a_draft_handed_over_by_a_leaving_page_keeps_the_drawing(client, world):
    assignment = assignment_of(world, world.map_drawing())
    address = reverse("api-draft", args=[assignment.uuid])
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(world.annotator)
    token = "a" * 32
    strict.cookies["csrftoken"] = token
    first = {"payload": '{"strokes": [1]}', "csrfmiddlewaretoken": token}
    assert strict.post(address, first).status_code == 200
    assert client.get(address).json()["drawing"] is None
    multipart_put(client, address, {"payload": '{"strokes": [1, 2]}', "drawing": drawing()})
    before = client.get(address).json()
    handed = strict.post(address, {"payload": '{"strokes": [1, 2, 3]}', "csrfmiddlewaretoken": token})
    assert handed.status_code == 200, handed.content
    after = client.get(address).json()
    assert after["payload"] == {"strokes": [1, 2, 3]}
    assert after["drawing"] == before["drawing"] is not None
    assert handed.json()["saved_at"] > before["saved_at"]
    # A page that saves without a drawing says that there is none.
    assert multipart_put(client, address, {"payload": '{"strokes": []}'}).status_code == 200
    assert client.get(address).json()["drawing"] is None
    assert strict.post(address, {"payload": "{}"}).status_code == 403, "without the token nothing is taken"


def test_a_draft_handed_over_late_does_not_come_back_as_newer_work(client, world):
    assignment = assignment_of(world, world.reasonability())
    assert post(client, assignment, rating()).status_code == 200
    late = client.post(reverse("api-draft", args=[assignment.uuid]), {"payload": '{"maps": [], "base_revision": 0}'})
    assert late.status_code == 409
    assert Draft.objects.count() == 0


def test_a_practice_answer_tells_what_was_right_about_it(client, world):
    """The sentence comes with the acknowledgement, and with the repeat of a submission whose first one was lost."""
    study = create_study(
        kind="reasonability", name="With practice", owner=None, image_set=world.image_set, images=world.images[:1],
        explanation_sets=world.sets[:1],
    )  # fmt: skip
    gold = {"quality_at_most": 3}
    add_trials(study, None, "practice", [TrialItem(world.images[1], gold=gold, feedback="Look at the corner.")])
    assignment = assignment_of(world, publish(study, None))
    submission = str(uuid4())
    for repeated in (False, True):
        body = post(client, assignment, rating(4), submission=submission).json()
        assert body["feedback"]["right"] is False
        assert body["feedback"]["sentence"].endswith("Look at the corner.")
        assert body["repeated"] is repeated
    main = assignment_of(world, study)
    assert body["next"] == reverse("trial", args=[main.uuid])
    assert post(client, assignment, rating(3), base_revision=1).status_code == 410, "practice is answered once"
    assert post(client, main, rating()).json()["feedback"] is None, "a main trial tells nothing"


def test_every_address_of_a_trial_is_only_its_own_persons(client, world):
    assignment = assignment_of(world, world.reasonability())
    addresses = [
        reverse("trial", args=[assignment.uuid]),
        reverse("trial-picture", args=[assignment.trial.uuid]),
        reverse("trial-thumbnail", args=[assignment.uuid]),
        reverse("stimulus-picture", args=[assignment.trial.stimuli.get().picture]),
        reverse("api-ahead", args=[assignment.uuid]),
        reverse("api-draft", args=[assignment.uuid]),
    ]
    other, nobody = Client(), Client()
    other.force_login(add_annotator("bea", PASSWORD))
    for address in addresses:
        assert client.get(address).status_code == 200
        assert other.get(address).status_code == 404
        assert nobody.get(address).status_code in (302, 403, 404)
    assert post(other, assignment, rating()).status_code == 404
    assert post(nobody, assignment, rating()).status_code == 403
    assert Answer.objects.count() == 0


def test_an_answer_without_the_csrf_token_is_refused(world):
    assignment = assignment_of(world, world.reasonability())
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(world.annotator)
    assert post(strict, assignment, rating()).status_code == 403
    assert Answer.objects.count() == 0
