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
from PIL import PngImagePlugin

from annotation.api.neutral import bare_jpeg, bare_png, padded
from annotation.flow import enter, next_step
from annotation.models import Answer, Draft
from annotation.people import add_annotator
from annotation.publishing import close
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


def test_every_address_of_a_trial_is_only_its_own_persons(client, world):
    assignment = assignment_of(world, world.reasonability())
    addresses = [
        reverse("trial", args=[assignment.uuid]),
        reverse("trial-picture", args=[assignment.uuid]),
        reverse("trial-thumbnail", args=[assignment.uuid]),
        reverse("trial-map", args=[assignment.uuid, 0]),
        reverse("api-draft", args=[assignment.uuid]),
    ]
    other, nobody = Client(), Client()
    other.force_login(add_annotator("bea", PASSWORD))
    for address in addresses:
        assert client.get(address).status_code == 200
        assert other.get(address).status_code == 404
        assert nobody.get(address).status_code in (302, 403)
    assert post(other, assignment, rating()).status_code == 404
    assert post(nobody, assignment, rating()).status_code == 403
    assert Answer.objects.count() == 0


def test_an_answer_without_the_csrf_token_is_refused(world):
    assignment = assignment_of(world, world.reasonability())
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(world.annotator)
    assert post(strict, assignment, rating()).status_code == 403
    assert Answer.objects.count() == 0


def test_maps_of_a_trial_are_alike_in_everything_but_their_pixels(client, world):
    assignment = assignment_of(world, world.reasonability(maps=3))
    answers = [client.get(reverse("trial-map", args=[assignment.uuid, n])) for n in range(3)]
    assert client.get(reverse("trial-map", args=[assignment.uuid, 3])).status_code == 404
    heads = [{k: v for k, v in answer.headers.items() if k != "Set-Cookie"} for answer in answers]
    assert heads[0] == heads[1] == heads[2]
    assert "private" in heads[0]["Cache-Control"]
    assert not {"ETag", "Last-Modified", "Content-Disposition"} & set(heads[0])
    assert len({len(answer.content) for answer in answers}) == 1
    pictures = [Pillow.open(io.BytesIO(answer.content)) for answer in answers]
    assert {picture.size for picture in pictures} == {(640, 465)}
    assert {picture.mode for picture in pictures} == {"L"}
    slots = [assignment.order.index(slot) for slot in range(3)]
    # Classifiers 0 and 2 look at the object, 1 at the corner: the order is this person's own.
    shown = [np.asarray(pictures[place], dtype=float) for place in slots]
    assert np.abs(shown[0] - shown[2]).mean() < 1
    assert np.abs(shown[0] - shown[1]).mean() > 5
    assert all(values.max() == 255 for values in shown), "each on its own scale"


def test_padding_changes_length_and_nothing_else():
    small, large = (
        png(np.zeros((4, 4), np.uint8)),
        png(np.random.default_rng(0).integers(0, 255, (70, 70)).astype("u1")),
    )
    filled = padded([small, large])
    assert len(filled[0]) == len(filled[1])
    assert len(filled[0]) % 4096 == 0
    for before, after in zip((small, large), filled, strict=True):
        picture = Pillow.open(io.BytesIO(after))
        picture.verify()
        assert (np.asarray(Pillow.open(io.BytesIO(after))) == np.asarray(Pillow.open(io.BytesIO(before)))).all()


def test_metadata_stay_on_the_server_and_pixels_do_not_change():
    picture = Pillow.fromarray(np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype("u1"))
    exif = Pillow.Exif()
    exif[0x010E] = "secret description"
    stream = io.BytesIO()
    picture.save(stream, "JPEG", exif=exif, comment=b"secret comment")
    bare = bare_jpeg(stream.getvalue())
    assert b"secret" in stream.getvalue()
    assert b"secret" not in bare
    assert (np.asarray(Pillow.open(io.BytesIO(bare))) == np.asarray(Pillow.open(stream))).all()
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "secret title")
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=text, exif=exif)
    bare = bare_png(stream.getvalue())
    assert b"secret" not in bare
    assert (np.asarray(Pillow.open(io.BytesIO(bare))) == np.asarray(picture)).all()


def test_a_picture_turned_by_its_camera_arrives_upright(client, world):
    assignment = assignment_of(world, world.map_drawing())
    values = np.zeros((40, 20, 3), np.uint8)
    values[:10] = 255  # the top in the file
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    stream = io.BytesIO()
    Pillow.fromarray(values).save(stream, "JPEG", exif=exif, quality=95)
    image = assignment.trial.image
    image.file.save("turned.jpg", ContentFile(stream.getvalue()))
    answer = client.get(reverse("trial-picture", args=[assignment.uuid]))
    picture = Pillow.open(io.BytesIO(answer.content))
    assert picture.size == (40, 20)
    assert not picture.getexif()
    assert np.asarray(picture.convert("L"))[10, 35] > 200
    assert np.asarray(picture.convert("L"))[10, 5] < 50
